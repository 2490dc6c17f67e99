package load

import (
	"errors"
	"os"
	"time"
)

// closed keeps the window full until the end, and then takes what is still coming.
// One goroutine does it all: while it writes nothing needs reading, because a
// write takes only what fits.
func (c *conn) closed() error {
	for {
		now := c.run.now()
		if now < c.run.until && len(c.out) == 0 {
			c.fill(now, c.run.Window, nil)
		}
		if err := c.flush(); err != nil {
			return err
		}
		if c.answered == c.flying.Load() {
			if c.run.now() >= c.run.until {
				return nil
			}
			time.Sleep(time.Millisecond) // every STAN of this second is used
			continue
		}
		if err := c.read(); err != nil {
			return c.ended(err)
		}
	}
}

// answers reads until the end of an open loop.
func (c *conn) answers() error {
	for {
		err := c.read()
		done := c.run.sentAll.Load() && c.answered == c.flying.Load()
		switch {
		case done:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && c.run.now() < c.run.patience:
			// Woken only to see that all is sent: what is in flight may still come.
			err = c.nc.SetReadDeadline(c.run.began.Add(time.Duration(c.run.patience)))
		}
		if err != nil {
			return c.ended(err)
		}
	}
}

// ended turns the end of patience into no error: what is missing is counted.
func (c *conn) ended(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// pacer sends the requests of some connections when they are due. Request i of
// its schedule belongs to connection i modulo their number.
//
// One goroutine for many connections, and not one for each, because waiting is
// what costs: a timer of the runtime may come a millisecond late when all else is
// idle, and that would be taken for the gateway's.
type pacer struct {
	run     *run
	conns   []*conn
	every   float64 // nanoseconds from one request to the next
	first   float64 // when the first is due
	passed  int64   // requests that were due so far
	blocked []*conn // those that have more due than they could send
	alarm   *alarm
}

// finest is the shortest pause. Shorter ones would cost more in system calls than
// they gain; requests that become due within one go together, late by that much at most, which
// their latency includes.
const finest = time.Millisecond

// tardy is how long a pacer waits for a connection that takes no more.
const tardy = 100 * time.Microsecond

func (p *pacer) pace() {
	defer p.alarm.close()
	for p.run.alive.Load() > 0 {
		now := p.run.now()
		end := now >= p.run.until
		upTo := p.dueBy(min(now, p.run.until-1))
		p.hand(upTo)
		p.retry()
		if end {
			return
		}
		next := int64(p.first+float64(p.passed)*p.every) + 1
		wait := time.Duration(min(next, p.run.until) - p.run.now())
		if len(p.blocked) > 0 {
			wait = min(wait, tardy)
		} else if left := time.Duration(p.run.until - p.run.now()); left > 2*finest {
			wait = max(wait, finest) // at the end there is no time to lose
		}
		if wait > 0 {
			p.alarm.pause(wait)
		}
	}
}

// dueBy gives how many requests are due at a time.
func (p *pacer) dueBy(now int64) int64 {
	if float64(now) < p.first {
		return 0
	}
	return int64((float64(now)-p.first)/p.every) + 1
}

// hand tells the connections of the requests that have become due.
func (p *pacer) hand(upTo int64) {
	n := int64(len(p.conns))
	for i := p.passed; i < min(upTo, p.passed+n); i++ {
		c := p.conns[i%n]
		if c.scheduled == c.taken && len(c.out) == 0 {
			p.blocked = append(p.blocked, c)
		}
		c.scheduled += (upTo - i + n - 1) / n
	}
	p.passed = max(p.passed, upTo)
}

// retry sends what can be sent and keeps the connections that have more.
func (p *pacer) retry() {
	still := p.blocked[:0]
	for _, c := range p.blocked {
		if err := p.send(c); err != nil {
			c.fail(err)
		}
		if !c.dead.Load() && (c.scheduled > c.taken || len(c.out) > 0) {
			still = append(still, c)
		}
	}
	p.blocked = still
}

func (p *pacer) send(c *conn) error {
	if len(c.out) == 0 {
		first := c.taken
		n := c.fill(p.run.now(), int(c.scheduled-c.taken), func(i int) int64 { return c.dueAt(first + int64(i)) })
		c.taken += int64(n)
	}
	return c.flush()
}

// dueAt gives when request j of the connection is due.
func (c *conn) dueAt(j int64) int64 {
	p := c.pacer
	return int64(p.first + float64(j*int64(len(p.conns))+c.turn)*p.every)
}
