package ad_test

import (
	"testing"

	"hepmorph/internal/ad"
	"hepmorph/internal/ad/adtest"
)

// operations is the registry: one line for each operation, and every property holds for all.
var operations = []struct {
	name   string
	record func(b *adtest.Builder) ad.Tensor
}{
	{"linear", func(b *adtest.Builder) ad.Tensor {
		return b.P.Linear(b.Input(5, 3), b.Param(7, 5), b.Param(7, 1))
	}},
	{"linear without bias", func(b *adtest.Builder) ad.Tensor { return b.P.Linear(b.Input(18, 1), b.Param(3, 18), nil) }},
	{"linear relu", func(b *adtest.Builder) ad.Tensor {
		return b.P.LinearReLU(b.Input(5, 2), b.Param(9, 5), b.Param(9, 1))
	}},
	{"two layers", func(b *adtest.Builder) ad.Tensor {
		return b.P.Linear(b.P.LinearReLU(b.Input(5, 1), b.Param(9, 5), b.Param(9, 1)), b.Param(2, 9), nil)
	}},
	{"silu", func(b *adtest.Builder) ad.Tensor { return b.P.Activate(ad.SiLU, b.Input(3, 2)) }},
	{"gelu", func(b *adtest.Builder) ad.Tensor { return b.P.Activate(ad.GELU, b.Input(3, 2)) }},
	{"tanh", func(b *adtest.Builder) ad.Tensor { return b.P.Activate(ad.Tanh, b.Input(3, 2)) }},
	{"leaky relu", func(b *adtest.Builder) ad.Tensor { return b.P.Activate(ad.LeakyReLU, b.Input(3, 2)) }},
	{"sum", func(b *adtest.Builder) ad.Tensor { return b.P.Sum2(b.Input(3, 2), b.Input(3, 2)) }},
	{"product", func(b *adtest.Builder) ad.Tensor { return b.P.Product(b.Input(3, 2), b.Input(3, 2)) }},
	{"gated add", func(b *adtest.Builder) ad.Tensor {
		return b.P.GatedAdd(b.Input(4, 3), b.Input(4, 3), b.Input(9, 3).Part(2, 6))
	}},
	{"gated add, one gate an item", func(b *adtest.Builder) ad.Tensor {
		return b.P.GatedAdd(b.Input(4, 45), b.Input(4, 45), b.Input(9, 1).Part(2, 6))
	}},
	{"concat", func(b *adtest.Builder) ad.Tensor { return b.P.Concat(b.Input(2, 2), b.Input(3, 2), b.Input(1, 2)) }},
	{"slice", func(b *adtest.Builder) ad.Tensor { return b.P.Slice(b.Input(6, 2), 1, 4) }},
	{"expand", func(b *adtest.Builder) ad.Tensor { return b.P.Expand(b.Input(3, 1), 7) }},
	{"table", func(b *adtest.Builder) ad.Tensor { return b.P.AddTable(b.Input(3, 7), b.Param(7, 3)) }},
	{"layer norm", func(b *adtest.Builder) ad.Tensor { return b.P.LayerNorm(b.Input(6, 5), 1e-5) }},
	{"affine norm", func(b *adtest.Builder) ad.Tensor {
		return b.P.AffineNorm(b.Input(6, 5), b.Param(6, 1), b.Param(6, 1), 1e-5)
	}},
	{"modulated norm", func(b *adtest.Builder) ad.Tensor {
		m := b.Input(14, 5)
		return b.P.ModulatedNorm(b.Input(6, 5), m.Part(1, 7), m.Part(8, 14), 1e-5)
	}},
	{"modulated norm, one row an item", func(b *adtest.Builder) ad.Tensor {
		m := b.Input(12, 1)
		return b.P.ModulatedNorm(b.Input(6, 45), m.Part(0, 6), m.Part(6, 12), 1e-5)
	}},
	{"attention", func(b *adtest.Builder) ad.Tensor {
		qkv := b.Input(18, 35)
		return b.P.Attention(qkv.Part(0, 6), qkv.Part(6, 12), qkv.Part(12, 18), 2, false)
	}},
	{"causal attention", func(b *adtest.Builder) ad.Tensor {
		qkv := b.Input(18, 35)
		return b.P.Attention(qkv.Part(0, 6), qkv.Part(6, 12), qkv.Part(12, 18), 3, true)
	}},
	{"cross attention", func(b *adtest.Builder) ad.Tensor {
		kv := b.Input(10, 3)
		return b.P.Attention(b.Input(4, 7).All(), kv.Part(0, 4), kv.Part(4, 10), 2, false)
	}},
	{"causal cross attention", func(b *adtest.Builder) ad.Tensor {
		kv := b.Input(10, 9)
		return b.P.Attention(b.Input(4, 7).All(), kv.Part(0, 4), kv.Part(4, 10), 2, true)
	}},
	{"neighbours", func(b *adtest.Builder) ad.Tensor {
		return b.P.Neighbours(b.Input(3, 5), [][]int32{{0, 1, -1}, {1, 0, 2}, {-1, -1, 3}, {3, 3, 4}, {4, -1, 0}})
	}},
	{"gaussian sample", func(b *adtest.Builder) ad.Tensor {
		x := b.Input(7, 5)
		return b.P.GaussianSample(x.Part(1, 4), x.Part(4, 7), b.Input(3, 5))
	}},
	{"gaussian divergence", func(b *adtest.Builder) ad.Tensor {
		x := b.Input(6, 5)
		b.P.GaussianKL(x.Part(0, 3), x.Part(3, 6), b.Fixed(1, 5))
		return ad.Tensor{}
	}},
	{"gaussian fit", func(b *adtest.Builder) ad.Tensor {
		x := b.Input(6, 5)
		b.P.GaussianFit(x.Part(0, 3), x.Part(3, 6), b.Fixed(3, 5), b.Fixed(3, 5))
		return ad.Tensor{}
	}},
	{"squared error", func(b *adtest.Builder) ad.Tensor {
		b.P.SquaredError(b.Input(3, 4), b.Input(3, 4), b.Fixed(1, 4))
		return ad.Tensor{}
	}},
	{"logistic loss", func(b *adtest.Builder) ad.Tensor {
		b.P.LogisticLoss(b.Input(1, 1), b.Fixed(1, 1), b.Fixed(1, 1))
		return ad.Tensor{}
	}},
	{"weighted sum", func(b *adtest.Builder) ad.Tensor {
		b.P.WeightedSum(b.Input(1, 3), b.Fixed(1, 3), -1.5)
		return ad.Tensor{}
	}},
	{"gaussian nll", func(b *adtest.Builder) ad.Tensor {
		b.P.GaussianNLL(b.Input(3, 1), b.Input(1, 1), b.Fixed(1, 1))
		return ad.Tensor{}
	}},
}

func TestGradients(t *testing.T) {
	for _, o := range operations {
		t.Run(o.name, func(t *testing.T) { adtest.Gradients(t, o.record) })
	}
}
