package toys

import (
	"math"
	"slices"
	"testing"

	"hepmorph/internal/rng"
)

// A histogram of the sample must be what the density says, cell by cell.
func TestSamplesFollowTheirDensity(t *testing.T) {
	const n, cells = 100000, 24
	for _, d := range All() {
		if d.Dim() != 2 {
			continue
		}
		lo, hi := d.box()
		step := (hi - lo) / cells
		var seen, want [cells * cells]float64
		x := Sample(d, n, 1)
		for i := range n {
			a, b := int((x[2*i]-lo)/step), int((x[2*i+1]-lo)/step)
			if a < 0 || b < 0 || a >= cells || b >= cells {
				t.Fatalf("%s: point (%g, %g) outside the box", d.Name(), x[2*i], x[2*i+1])
			}
			seen[cells*a+b]++
		}
		const fine = 10
		total := 0.0
		for i := range cells * fine {
			for j := range cells * fine {
				h := step / fine
				p := math.Exp(d.LogProb([]float64{lo + (float64(i)+0.5)*h, lo + (float64(j)+0.5)*h})) * h * h
				want[cells*(i/fine)+j/fine] += p
				total += p
			}
		}
		if math.Abs(total-1) > 1e-6 {
			t.Errorf("%s: density integrates to %.9f", d.Name(), total)
		}
		chi2, ndf := 0.0, -1
		for k, p := range want {
			if p*n > 10 {
				chi2 += (seen[k] - p*n) * (seen[k] - p*n) / (p * n)
				ndf++
			}
		}
		if z := (chi2 - float64(ndf)) / math.Sqrt(2*float64(ndf)); z > 2.5 {
			t.Errorf("%s: chi2 %.1f for %d cells", d.Name(), chi2, ndf)
		}
	}
}

func TestEntropyIsTheMeanOfMinusLogProb(t *testing.T) {
	const n = 50000
	for _, d := range All() {
		h, sd := Entropy(d)
		x := Sample(d, n, 2)
		var sum, sq float64
		for i := range n {
			l := -d.LogProb(x[i*d.Dim() : (i+1)*d.Dim()])
			sum += l
			sq += l * l
		}
		mean := sum / n
		err := math.Hypot(math.Sqrt(max(0, sq/n-mean*mean)/n), sd)
		if math.Abs(mean-h) > 3.5*err+1e-9 {
			t.Errorf("%s: entropy %.5f, sample says %.5f +- %.5f", d.Name(), h, mean, err)
		}
		if got := -MeanLogProb(d, x); math.Abs(got-mean) > 1e-9 {
			t.Errorf("%s: MeanLogProb %.9f, want %.9f", d.Name(), -got, -mean)
		}
	}
}

// Eight Gaussians that hardly overlap: the entropy is that of one plus ln 8, less what the overlap takes.
func TestEightGaussiansEntropy(t *testing.T) {
	h, _ := Entropy(newEight())
	apart := 1 + math.Log(2*math.Pi*eightSD*eightSD) + math.Log(8)
	if h > apart || apart-h > 1e-3 {
		t.Errorf("entropy %.6f, must be just below %.6f", h, apart)
	}
}

// LogProb of a Gaussian mixture is checked against importance sampling: E_q[p/q] = 1 for a wider q.
func TestGaussians16Integrates(t *testing.T) {
	g := newGaussians16()
	const n, wide = 100000, 1.15
	key := rng.NewKey(3, "test")
	var sum, sq float64
	x := make([]float64, dim16)
	for i := range uint64(n) {
		s := key.At(i)
		p := s.IntN(parts)
		var z [dim16]float64
		for k := range z {
			z[k] = wide * s.Norm()
			x[k] = g.mean[p][k]
			for j, v := range z[:k+1] {
				x[k] += g.l[p][dim16*k+j] * v
			}
		}
		var t [parts]float64
		for q := range parts { // the density of the wide mixture, by components scaled about their means
			t[q] = -math.Log(parts) - dim16*math.Log(wide) - g.norm[q]
			var u [dim16]float64
			for k := range u {
				v := x[k] - g.mean[q][k]
				for j := range k {
					v -= g.l[q][dim16*k+j] * u[j]
				}
				u[k] = v / g.l[q][dim16*k+k]
				t[q] -= u[k] * u[k] / (2 * wide * wide)
			}
		}
		w := math.Exp(g.LogProb(x) - logSumExp(t[:]))
		sum += w
		sq += w * w
	}
	mean := sum / n
	if err := math.Sqrt((sq/n - mean*mean) / n); math.Abs(mean-1) > 4*err || err > 0.02 {
		t.Errorf("density integrates to %.4f +- %.4f", mean, err)
	}
}

func TestLogI0(t *testing.T) { // values from tables of exp(-z) I0(z)
	for _, c := range []struct{ z, want float64 }{{0, 1}, {1, 0.46575960759364043}, {10, 0.1278333371634286}, {29.999, 0.0731484}, {30.001, 0.0731459}, {100, 0.03994437929909668}} {
		tol := 1e-13
		if c.z > 20 && c.z < 40 {
			tol = 1e-4
		}
		if got := math.Exp(logI0Scaled(c.z)); math.Abs(got-c.want) > tol*max(c.want, 1e-3)+tol*1e-2 {
			t.Errorf("exp(-z) I0(z) at %g: %.16f, want %.16f", c.z, got, c.want)
		}
	}
	if a, b := logI0Scaled(30-1e-9), logI0Scaled(30+1e-9); math.Abs(a-b) > 1e-9 {
		t.Errorf("series and asymptotic series differ at 30: %g, %g", a, b)
	}
}

func TestSampleIsAFunctionOfSeedAndIndex(t *testing.T) {
	for _, d := range All() {
		a, b := Sample(d, 500, 5), Sample(d, 5000, 5)
		if !slices.Equal(a, b[:len(a)]) {
			t.Errorf("%s: a longer sample begins otherwise", d.Name())
		}
		if slices.Equal(a, Sample(d, 500, 6)) {
			t.Errorf("%s: another seed, same sample", d.Name())
		}
		if got, err := ByName(d.Name()); err != nil || got.Name() != d.Name() {
			t.Errorf("ByName(%q): %v, %v", d.Name(), got, err)
		}
	}
	if _, err := ByName("moon"); err == nil {
		t.Error("no error for an unknown name")
	}
}
