package gateway

import (
	"errors"
	"os"
	"sync"
	"time"
)

// isoOutbox gathers the answers of a connection. There is no goroutine that
// writes: whoever brings answers while nobody writes does it, for all who come
// meanwhile.
type isoOutbox struct {
	mu      sync.Mutex // never held while writing
	answers []byte     // waiting to be written
	n       int        // how many
	spare   []byte     // memory for answers, used in turn
	writing bool
	failed  bool // the writer's: what comes now is thrown away
}

// maxSpare bounds the memory that a connection keeps for answers.
const maxSpare = 64 << 10

// put has n answers written, by this goroutine or by another. Each gives its
// place on the connection back when it is written.
func (c *isoConn) put(answers []byte, n int) {
	o := &c.out
	o.mu.Lock()
	o.answers = append(o.answers, answers...)
	o.n += n
	if o.writing {
		o.mu.Unlock()
		return
	}
	o.writing = true
	o.mu.Unlock()
	for {
		o.mu.Lock()
		if o.n == 0 {
			o.writing = false
			o.mu.Unlock()
			return
		}
		b, n := o.answers, o.n
		o.answers, o.n, o.spare = o.spare[:0], 0, nil
		o.mu.Unlock()
		c.write(b, n)
		clear(b)
		if cap(b) <= maxSpare {
			o.mu.Lock()
			o.spare = b
			o.mu.Unlock()
		}
		c.leave(n)
	}
}

// write writes within the write timeout. After a failure it goes on taking
// answers, so that nobody waits for it.
func (c *isoConn) write(b []byte, n int) {
	o, m := &c.out, &c.s.o.Metrics.iso
	if !o.failed {
		o.failed = !c.send(b)
	}
	if o.failed {
		m.unanswered.WithLabelValues("connection_lost").Add(float64(n))
	} else {
		m.framesOut.Add(float64(n))
	}
}

// send writes within the write timeout. A connection that cannot be written to
// is closed, which ends its reading too.
func (c *isoConn) send(b []byte) bool {
	err := c.nc.SetWriteDeadline(time.Now().Add(c.s.o.WriteTimeout))
	if err == nil {
		_, err = c.nc.Write(b)
	}
	if err == nil {
		return true
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.end(endSlow)
	} else {
		c.end(endWrite)
	}
	_ = c.nc.Close()
	return false
}
