package load

import "sync/atomic"

// ring hands values from one goroutine to another, in batches: what is put shows
// when it is published. It never grows; put is false when it is full.
type ring[T any] struct {
	items []T // of a size that is a power of two
	head  uint32
	tail  uint32 // the writer's own
	_     [64]byte
	taken atomic.Uint32 // what the reader has taken
	_     [64]byte
	shown atomic.Uint32 // what the writer has published
}

func newRing[T any](size int) ring[T] { return ring[T]{items: make([]T, powerOfTwo(size))} }

func (r *ring[T]) put(v T) bool {
	if r.tail-r.taken.Load() == uint32(len(r.items)) {
		return false
	}
	r.items[r.tail&uint32(len(r.items)-1)] = v
	r.tail++
	return true
}

func (r *ring[T]) publish() { r.shown.Store(r.tail) }

func (r *ring[T]) take() (v T, ok bool) {
	if r.head == r.shown.Load() {
		return v, false
	}
	v = r.items[r.head&uint32(len(r.items)-1)]
	r.head++
	r.taken.Store(r.head)
	return v, true
}

// empty is for the reader to ask.
func (r *ring[T]) empty() bool { return r.head == r.shown.Load() }

func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}
