package kernel

import "testing"

func TestSlab(t *testing.T) {
	for _, n := range []int{0, 1, 1<<19 - 1, 3 << 18, 5<<19 + 7} {
		s := Slab[float32](n)
		if len(s) != n {
			t.Fatalf("%d numbers instead of %d", len(s), n)
		}
		for i, v := range s {
			if v != 0 {
				t.Fatalf("number %d of %d is %v", i, n, v)
			}
			s[i] = 1
		}
	}
}
