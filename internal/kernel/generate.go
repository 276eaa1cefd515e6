package kernel

//go:generate go -C gen run . -isa AVX512 -out ../avx512_amd64.s -stubs ../avx512_amd64.go -pkg kernel
//go:generate go -C gen run . -isa AVX2 -out ../avx2_amd64.s -stubs ../avx2_amd64.go -pkg kernel
