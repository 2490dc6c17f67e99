package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	loadgen "kessai/bench/load"
)

// live is the line that tells how a run is going. It shows on a terminal only.
type live struct {
	w    io.Writer // nil: no terminal
	name string
}

func newLive(w io.Writer, name string) live {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return live{w, name}
	}
	return live{}
}

func (l live) show(p loadgen.Progress) {
	if l.w != nil {
		fmt.Fprintf(l.w, "\r\x1b[K%s  %s of %s  %.0f a second  p99 %s  missed %d  errors %d", l.name,
			p.Elapsed.Round(time.Second), p.Of, p.Rate, p.P99.Round(10*time.Microsecond), p.Counts.Missed, p.Counts.Errors)
	}
}

// say tells what is being done before there are numbers.
func (l live) say(what string) {
	if l.w != nil {
		fmt.Fprintf(l.w, "\r\x1b[K%s", what)
	}
}

func (l live) clear() { l.say("") }

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
