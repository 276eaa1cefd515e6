package kernel

import (
	"os"
	"regexp"
	"testing"
)

// A processor with AVX2 has 16 vector registers and no mask registers; the assembler would take more and need AVX-512.
func TestAVX2IsOnlyAVX2(t *testing.T) {
	src, err := os.ReadFile("avx2_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`.*\b([XY](1[6-9]|2\d|3[01])|Z\d+|K\d)\b.*`).Find(src); m != nil {
		t.Fatalf("an instruction of AVX-512 among those of AVX2: %s", m)
	}
}
