package ad

import (
	"slices"

	"hepmorph/internal/kernel"
)

// Shards are partial gradients that several programs over the same parameters add to.
type Shards[T kernel.Float] struct {
	G     [][]T
	spent [][]bool // by shard and parameter: what is there belongs to the past, and the next operation that adds to it begins anew
	list  []*Param
	clear func(worker, task int) // of one parameter in one shard
}

// largeNetwork is the number of parameters from which on partial gradients do not stay in any cache.
const largeNetwork = 1 << 22

// Shards is the number of gradient shards that suits a network: four, each of which a worker fills with tiles of its own, or one, to which the
// workers add together, for a network so large that its weights and gradients come from memory for every tile.
func (ps *Params[T]) Shards() int {
	if ps.Len() < largeNetwork {
		return 4
	}
	return 1
}

// NewShards makes n zeroed gradients for ps.
func NewShards[T kernel.Float](ps *Params[T], n int) *Shards[T] {
	s := &Shards[T]{list: ps.List}
	for range n {
		s.G = append(s.G, kernel.Slab[T](ps.Len()))
		s.spent = append(s.spent, make([]bool, len(ps.List)))
	}
	s.clear = func(_, task int) {
		shard, p := task/len(s.list), s.list[task%len(s.list)]
		if spent := &s.spent[shard][p.index]; *spent {
			clear(s.G[shard][p.Off:][:p.Size()])
			*spent = false
		}
	}
	return s
}

// Spend says that the gradients have been used: what is added from now on is added to zero.
func (s *Shards[T]) Spend() {
	for _, spent := range s.spent {
		for i := range spent {
			spent[i] = true
		}
	}
}

// Settle clears what is spent and to which nothing was added since: G is then the gradient.
func (s *Shards[T]) Settle(p *Pool) {
	for _, spent := range s.spent {
		if slices.Contains(spent, true) {
			p.Run(len(s.G)*len(s.list), s.clear)
			return
		}
	}
}

// Clear sets all partial gradients to zero.
func (s *Shards[T]) Clear(p *Pool) {
	s.Spend()
	s.Settle(p)
}
