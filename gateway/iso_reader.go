package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"kessai/pos/iso8583"
)

// isoReader reads from a connection with deadlines: a connection may be silent
// for the idle time between messages, longer while something is in flight, and
// a message that has begun must be whole within the idle time.
type isoReader struct {
	nc    net.Conn
	idle  time.Duration
	busy  func() bool
	buf   []byte // its first bytes are what was read and not taken yet
	n     int    // how many
	full  bool   // the last read filled buf
	begun bool   // what is there has a deadline

	mu      sync.Mutex
	stopped bool
}

// The sizes of a connection's read buffer: small while little comes at a time,
// for there may be thousands of connections, larger when it was full, and larger
// still for a message that needs it.
const (
	minReadBuffer = 2 << 10
	maxReadBuffer = 32 << 10
)

// take gives b the messages that are there, at most so many, and waits for one
// when there is none. It fails when there is none and never will be.
func (r *isoReader) take(b *isoBatch, framing iso8583.Framing, maxFrame, most int) error {
	for {
		at := 0
		var err error
		for len(b.messages) < most {
			f, size, ferr := framing.Split(r.buf[at:r.n], maxFrame)
			if err = ferr; err != nil || size == 0 {
				break
			}
			b.add(f)
			at += size
		}
		if at > 0 {
			r.drop(at)
		}
		if len(b.messages) > 0 || err != nil {
			return err
		}
		if err := r.more(); err != nil {
			return err
		}
	}
}

// drop forgets the first bytes, which may hold card numbers.
func (r *isoReader) drop(n int) {
	left := copy(r.buf, r.buf[n:r.n])
	clear(r.buf[left:r.n])
	r.n, r.begun = left, false
}

// more waits for more bytes.
func (r *isoReader) more() error {
	if r.n == len(r.buf) || r.full && len(r.buf) < maxReadBuffer {
		larger := make([]byte, max(2*len(r.buf), minReadBuffer))
		copy(larger, r.buf[:r.n])
		clear(r.buf)
		r.buf = larger
	}
	for {
		if !r.begun {
			if err := r.deadline(); err != nil {
				return err
			}
			r.begun = r.n > 0
		}
		n, err := r.nc.Read(r.buf[r.n:])
		if r.n += n; n > 0 {
			r.full = r.n == len(r.buf)
			return nil
		}
		switch {
		case err == io.EOF && r.n > 0:
			return io.ErrUnexpectedEOF
		case err != nil && r.n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && r.busy() && !r.isStopped():
		case err != nil:
			return err
		}
	}
}

// deadline gives the next read the idle time, unless reading was stopped.
func (r *isoReader) deadline() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return os.ErrDeadlineExceeded
	}
	return r.nc.SetReadDeadline(time.Now().Add(r.idle))
}

func (r *isoReader) isStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// stop ends the read that is going on and all later ones.
func (r *isoReader) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	_ = r.nc.SetReadDeadline(time.Unix(1, 0))
}
