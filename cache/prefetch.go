//go:build amd64 || arm64

package cache

import "unsafe"

// prefetch begins to bring a line of memory into the processor's cache, and does
// not wait for it. Reading a word of it would do the same, but the processor can
// go on only so far behind a read that has not come back: not as far as hashing a
// card number. Go has no such instruction for programs.
//
//go:noescape
func prefetch(p unsafe.Pointer)
