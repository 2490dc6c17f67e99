package keys

import (
	"fmt"
	"syscall"
)

const (
	madvDontDump   = 16 // MADV_DONTDUMP
	madvWipeOnFork = 18 // MADV_WIPEONFORK
	prSetDumpable  = 4  // PR_SET_DUMPABLE
)

// arena is memory outside the heap: the garbage collector neither moves nor copies
// it, and the system is asked to keep it out of swap, core dumps and child processes.
type arena struct {
	at     *byte // not a slice: fmt would print it
	size   int
	locked error
}

func newArena(size int) (*arena, error) {
	page := syscall.Getpagesize()
	size = (size + page - 1) / page * page
	bytes, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("memory for keys cannot be had: %w", err)
	}
	a := &arena{at: &bytes[0], size: size}
	for _, ask := range []struct {
		what string
		err  error
	}{
		{"kept out of swap (mlock; RLIMIT_MEMLOCK must allow it)", syscall.Mlock(bytes)},
		{"kept out of core dumps (MADV_DONTDUMP)", syscall.Madvise(bytes, madvDontDump)},
		{"kept from child processes (MADV_WIPEONFORK)", syscall.Madvise(bytes, madvWipeOnFork)},
	} {
		if ask.err != nil && a.locked == nil {
			a.locked = fmt.Errorf("%d bytes of memory for keys cannot be %s: %w", size, ask.what, ask.err)
		}
	}
	return a, nil
}

func (a *arena) close() error {
	b := a.bytes()
	clear(b)
	a.at, a.size = nil, 0
	return syscall.Munmap(b)
}

// HardenProcess asks the system for no core dumps of this process and no looking
// into its memory by other processes of the same user.
func HardenProcess() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps cannot be switched off: %w", err)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0); errno != 0 {
		return fmt.Errorf("looking into this process cannot be switched off: %w", errno)
	}
	return nil
}
