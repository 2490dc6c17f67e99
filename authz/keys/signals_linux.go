package keys

import (
	"runtime"
	"syscall"
	"unsafe"
)

// undisturbed runs f while no signal interrupts this thread, and then overwrites the
// stack below. A signal puts the registers, with sixteen bytes of a key in each, onto
// a stack that is nobody's to overwrite, and the collector sends signals often. Those
// that come meanwhile are delivered afterwards.
func undisturbed(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	held, before := ^faults, uint64(0)
	sigprocmask(&held, &before)
	defer sigprocmask(&before, nil)
	f()
	overwrite()
	overwriteRegisters(256)
}

// faults are the signals that a mistake in the code causes. They are not held: the
// system ends a process that causes one of them while it is.
const faults uint64 = 1<<(syscall.SIGSEGV-1) | 1<<(syscall.SIGBUS-1) | 1<<(syscall.SIGFPE-1) | 1<<(syscall.SIGILL-1) | 1<<(syscall.SIGTRAP-1) | 1<<(syscall.SIGSYS-1)

func sigprocmask(to, before *uint64) {
	const sigSetMask = 2
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(before)), 8, 0, 0)
}
