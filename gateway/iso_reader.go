package gateway

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// isoReader reads from a connection with deadlines: a connection may be silent
// for the idle time between messages, longer while something is in flight, and
// a message that has begun must be whole within the idle time.
type isoReader struct {
	nc    net.Conn
	idle  time.Duration
	busy  func() bool
	begun bool

	mu      sync.Mutex
	stopped bool
}

// nextFrame says that a new frame is waited for.
func (r *isoReader) nextFrame() { r.begun = false }

func (r *isoReader) Read(b []byte) (int, error) {
	for {
		if !r.begun {
			if err := r.deadline(); err != nil {
				return 0, err
			}
		}
		n, err := r.nc.Read(b)
		if n > 0 && !r.begun {
			r.begun = true
			if err := r.deadline(); err != nil {
				return n, err
			}
		}
		if err != nil && n == 0 && !r.begun && errors.Is(err, os.ErrDeadlineExceeded) && r.busy() && !r.isStopped() {
			continue
		}
		return n, err
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
