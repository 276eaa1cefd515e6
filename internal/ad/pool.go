package ad

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"hepmorph/internal/par"
)

// spinTime is how long an idle worker waits awake. Waking a parked one costs up to 100 µs, but a node that grants fractions of a core must
// not burn its quota.
const spinTime = 50 * time.Microsecond

// A Pool is a set of persistent workers that share tasks. The caller of Run is worker 0. One Run at a time.
type Pool struct {
	n    int
	next atomic.Int64 // next task
	left atomic.Int64 // workers still busy
	gen  atomic.Int64
	task func(worker, task int)
	size int64
	stop bool

	mu      sync.Mutex
	cond    *sync.Cond // for workers: there is work
	parked  atomic.Int64
	done    *sync.Cond // for Run: all workers are done
	waiting atomic.Bool
	failed  atomic.Pointer[any]
}

// NewPool starts threads workers (0: [par.Threads]).
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = par.Threads()
	}
	p := &Pool{n: threads}
	p.cond, p.done = sync.NewCond(&p.mu), sync.NewCond(&p.mu)
	for w := 1; w < threads; w++ {
		go p.worker(w)
	}
	return p
}

// Workers is the number of workers.
func (p *Pool) Workers() int { return p.n }

// Close ends the workers.
func (p *Pool) Close() {
	p.stop = true
	p.release()
}

func (p *Pool) release() {
	p.gen.Add(1)
	if p.parked.Load() > 0 {
		p.mu.Lock()
		p.cond.Broadcast()
		p.mu.Unlock()
	}
}

func (p *Pool) worker(w int) {
	seen := int64(0)
	for {
		p.await(seen)
		seen = p.gen.Load()
		if p.stop {
			return
		}
		p.work(w)
		if p.left.Add(-1) == 0 && p.waiting.Load() {
			p.mu.Lock()
			p.done.Signal()
			p.mu.Unlock()
		}
	}
}

// spin waits awake, for a while, until ready is true, and says whether it is.
func spin(ready func() bool) bool {
	var start time.Time
	for i := 1; !ready(); i++ {
		if i%256 != 0 {
			continue
		}
		if start.IsZero() {
			start = time.Now()
		}
		if time.Since(start) >= spinTime {
			return ready()
		}
		runtime.Gosched()
	}
	return true
}

func (p *Pool) await(seen int64) {
	if spin(func() bool { return p.gen.Load() != seen }) {
		return
	}
	p.mu.Lock()
	p.parked.Add(1)
	for p.gen.Load() == seen {
		p.cond.Wait()
	}
	p.parked.Add(-1)
	p.mu.Unlock()
}

// finish waits for the workers.
func (p *Pool) finish() {
	if spin(func() bool { return p.left.Load() == 0 }) {
		return
	}
	p.mu.Lock()
	p.waiting.Store(true)
	for p.left.Load() > 0 {
		p.done.Wait()
	}
	p.waiting.Store(false)
	p.mu.Unlock()
}

func (p *Pool) work(w int) {
	defer func() {
		if r := recover(); r != nil {
			failure := r // a variable of its own: r would move to the heap in every call
			p.failed.CompareAndSwap(nil, &failure)
			p.next.Store(p.size)
		}
	}()
	for {
		t := p.next.Add(1) - 1
		if t >= p.size {
			return
		}
		p.task(w, int(t))
	}
}

// Run calls f(worker, task) for each task and returns when all are done. f must not call Run. A panic in f is raised again here.
func (p *Pool) Run(tasks int, f func(worker, task int)) {
	p.task, p.size = f, int64(tasks)
	p.next.Store(0)
	if p.n > 1 && tasks > 1 {
		p.left.Store(int64(p.n - 1))
		p.release()
		p.work(0)
		p.finish()
	} else {
		p.work(0)
	}
	if r := p.failed.Swap(nil); r != nil {
		panic(*r)
	}
}
