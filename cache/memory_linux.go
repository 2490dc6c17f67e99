package cache

import (
	"syscall"
	"unsafe"
)

// largePages asks the system to map memory in large pages. A look-up goes to a
// place that no other went to for long: with pages of 4 KiB, the processor has to
// look for the page, too, which takes about as long as reading. Where the system
// does not do it, or the memory is in use already, nothing is lost.
//
// Memory of this size has pages of the allocator to itself, so its end is rounded
// up to one: between pieces that lie side by side there is no gap, and a large
// page may span them.
func largePages(p unsafe.Pointer, bytes int) {
	const (
		least = 64 << 10 // in bytes; below, it is not worth the call
		page  = 8 << 10  // of the allocator, in bytes
	)
	if bytes >= least {
		_ = syscall.Madvise(unsafe.Slice((*byte)(p), (bytes+page-1)&^(page-1)), syscall.MADV_HUGEPAGE)
	}
}
