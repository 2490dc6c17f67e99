package cache

import (
	"cmp"
	"slices"
	"syscall"
	"unsafe"
)

// largePages asks the system to map memory in large pages. A look-up goes to a
// place that no other went to for long: with pages of 4 KiB, the processor has to
// look for the page, too, which takes about half as long as reading. Where the
// system does not do it, nothing is lost.
func largePages(p unsafe.Pointer, bytes int) {
	if bytes >= minLarge {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, uintptr(p), uintptr(bytes), syscall.MADV_HUGEPAGE)
	}
}

// collapse is MADV_COLLAPSE, of Linux 6.1 on. The package syscall does not name it.
const collapse = 25

// largePagesNow has the system do so at once with memory that is in use already.
// That is what the allocator gives where the heap was larger before, and left to
// itself the system takes minutes to get to it. The pieces may lie side by side.
func largePagesNow(pieces []piece) {
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.from, b.from) })
	for i := 0; i < len(pieces); {
		p := pieces[i]
		for i++; i < len(pieces) && pieces[i].from == p.from+p.bytes; i++ {
			p.bytes += pieces[i].bytes
		}
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, p.from, p.bytes, collapse)
	}
}
