//go:build !linux

package keys

import "errors"

// arena is plain memory: what keeps it out of swap and dumps is known on Linux only.
type arena struct {
	at     *byte // not a slice: fmt would print it
	size   int
	locked error
}

func newArena(size int) (*arena, error) {
	return &arena{&make([]byte, size)[0], size, errors.New("memory for keys is kept out of swap and core dumps on Linux only")}, nil
}

func (a *arena) close() error {
	clear(a.bytes())
	a.at, a.size = nil, 0
	return nil
}

// HardenProcess does nothing on this system.
func HardenProcess() error { return nil }
