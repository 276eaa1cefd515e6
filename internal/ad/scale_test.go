package ad_test

import (
	"os"
	"strings"
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/ad/adtest"
	"hepmorph/internal/kernel"
)

// begin
// scale is y = a·x with one learned number a for each unit.
type scale[T kernel.Float] struct {
	x, y ad.Tensor
	a    *ad.Param
}

func Scale[T kernel.Float](p *ad.Program[T], x ad.Tensor, a *ad.Param) ad.Tensor {
	o := &scale[T]{x, p.New(x.Width, x.Rep), a}
	p.Add(o)
	return o.y
}

func (o *scale[T]) In() []ad.Tensor { return []ad.Tensor{o.x} }

func (o *scale[T]) Forward(f *ad.Frame[T]) {
	x, y, a := f.V(o.x), f.V(o.y), f.W(o.a)
	for p := range f.Panels(o.x) {
		for u := range o.x.Width {
			at := p*o.x.Stride() + u*kernel.Lanes
			for e, v := range x[at:][:kernel.Lanes] {
				y[at+e] = a[u] * v
			}
		}
	}
}

func (o *scale[T]) Backward(f *ad.Frame[T], fresh []bool) {
	x, gy, a, da := f.V(o.x), f.G(o.y), f.W(o.a), f.DW(o.a)
	product := f.Temp(kernel.Lanes)
	for p := range f.Panels(o.x) {
		for u := range o.x.Width {
			at := p*o.x.Stride() + u*kernel.Lanes
			g := gy[at:][:kernel.Lanes]
			for e, v := range x[at:][:kernel.Lanes] {
				product[e] = v * g[e]
			}
			f.K.RowSum(da[u:], product, kernel.Lanes, 1, 1) // adds
			if !f.HasGrad(o.x) {
				continue
			}
			gx := f.G(o.x)[at:][:kernel.Lanes]
			if fresh[0] {
				clear(gx)
			}
			f.K.Axpy(gx, a[u], g)
		}
	}
}

// end

func TestScale(t *testing.T) {
	adtest.Gradients(t, func(b *adtest.Builder) ad.Tensor { return Scale(b.P, b.Input(5, 2), b.Param(5, 1)) })
}

// TestEngineDocument holds that docs/engine.md shows the operation above as it is.
func TestEngineDocument(t *testing.T) {
	source, err := os.ReadFile("scale_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(source), "// begin\n")
	code, _, _ = strings.Cut(code, "\n// end\n")
	doc, err := os.ReadFile("../../docs/engine.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), code) {
		t.Error("docs/engine.md shows another operation than scale_test.go")
	}
}
