package kernel

import "golang.org/x/sys/cpu"

// fastSets are the assembly sets that this processor runs, fastest first.
func fastSets() []*Set[float32] {
	var sets []*Set[float32]
	x := &cpu.X86
	if x.HasAVX2 && x.HasFMA && x.HasBMI2 {
		if x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL {
			sets = append(sets, avx512.set("avx512"))
		}
		sets = append(sets, avx2.set("avx2"))
	}
	return sets
}

// set starts from the portable kernels, which serve where there is no assembly.
func (s isa) set(name string) *Set[float32] {
	k := Portable[float32]()
	k.Name = name
	k.Mul = s.mul
	k.RoundPairs = s.roundPairs
	k.MulPairs = unpaired(s.mul)
	if s == avx512 && cpu.X86.HasAVX512BF16 {
		k.MulPairs = s.mulPairs
	}
	k.GradW = s.gradW
	k.Transpose = s.transpose
	k.RowSum = s.rowSum
	k.Exp, k.Log, k.Tanh, k.Sigmoid, k.Softplus, k.SiLU, k.GELU = s.exp, s.log, s.tanh, s.sigmoid, s.softplus, s.silu, s.gelu
	k.TanhGrad, k.SiLUGrad, k.GELUGrad = s.tanhGrad, s.siluGrad, s.geluGrad
	k.Axpy, k.MulAdd = s.axpy, s.mulAdd
	k.AffineForward, k.AffineBackward, k.AffineInverse = s.affineForward, s.affineBackward, s.affineInverse
	k.SplineForward, k.SplineBackward, k.SplineInverse = s.splineForward, s.splineBackward, s.splineInverse
	if s == avx512 {
		k.SplineForwardLate, k.SplineInverseLate, k.SlopeTable = splineForwardLate, splineInverseLate, slopeTable
	}
	k.LayerNorm, k.LayerNormBackward = s.layerNorm, s.layerNormBackward
	k.Softmax, k.SoftmaxBackward = s.softmax, s.softmaxBackward
	k.GaussMix = s.gaussMix
	k.Adam, k.SumSq = s.adam, s.sumSq
	return k
}
