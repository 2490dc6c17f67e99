package cache

import (
	"syscall"
	"unsafe"
)

// largePages asks the system to map memory in large pages. A look-up goes to a
// place that no other went to for long: with pages of 4 KiB, the processor has to
// look for the page, too, which takes about half as long as reading. Where the
// system does not do it, or the memory is in use already, nothing is lost.
func largePages(p unsafe.Pointer, bytes int) {
	if bytes >= minLarge {
		_ = syscall.Madvise(unsafe.Slice((*byte)(p), bytes), syscall.MADV_HUGEPAGE)
	}
}
