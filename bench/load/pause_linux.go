package load

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes a pacer. It is a timer of the kernel that the runtime's poller waits
// for, like a socket. The runtime's own timers wait in whole milliseconds when
// nothing else runs, and a sleep in the kernel would keep a processor from the
// goroutines that read answers.
type alarm struct {
	f   *os.File
	raw func(set func(fd uintptr)) error
	buf [8]byte
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{f: os.NewFile(uintptr(fd), "timer")}
	conn, err := a.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	a.raw = conn.Control
	return a, nil
}

// pause waits.
func (a *alarm) pause(d time.Duration) {
	var err error
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, int64(d)))}
	if e := a.raw(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &spec, nil) }); e == nil && err == nil {
		_, err = a.f.Read(a.buf[:])
	}
	if err != nil {
		time.Sleep(d)
	}
}

func (a *alarm) close() { _ = a.f.Close() }
