package load

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is one connection and all that it needs. What stands under "writes" is
// touched only by the goroutine that writes, what stands under "reads" only by
// the one that reads. In a closed loop both are the same one.
//
// A slot is a request in flight. The low bits of its STAN are its number, so that
// an answer finds it without a search; the high bits count how often it was used.
type conn struct {
	run   *run
	wire  wire
	nc    net.Conn
	raw   syscall.RawConn
	pacer *pacer      // open loop: who sends
	turn  int64       // its place among the pacer's connections
	dead  atomic.Bool // it failed

	slots   []slot
	free    ring[uint32]   // slots that may be used: put by the reader
	undo    ring[undoable] // purchases that may be reversed: put by the reader
	places  []place
	numbers []uint32 // of the places, in the population
	base    uint32   // STANs begin behind this one
	perSlot uint32   // STANs that a slot has

	// writes
	rng       rand.PCG
	asking    request
	out       []byte // written to the wire's form and not sent yet
	scheduled int64  // open loop: requests that were due so far
	taken     int64  // open loop: of these, those that were sent
	second    int64  // of the clock, as the wire knows it
	flushing  func(fd uintptr) bool
	wrote     int
	writeErr  error
	flying    atomic.Int64 // requests written so far

	// reads
	said      reply
	in        []byte
	have      int // bytes in it
	answered  int64
	approvals approvals
	shard     *shard
}

type slot struct {
	due, sent int64
	stan      uint32
	terminal  uint32
	amount    uint32
	uses      uint32 // so far
	mark      uint32 // uses when the present second began
	second    int64
	place     uint32
	kind      Kind
	busy      bool
	measured  bool
}

// undoable is a purchase that was approved and not reversed.
type undoable struct {
	rrn    uint64
	amount uint32
	place  uint32
}

const maxUndoable = 256

func (c *conn) init() error {
	n := powerOfTwo(c.run.Window)
	c.slots = make([]slot, n)
	c.free = newRing[uint32](n)
	if c.run.Mix[Reversal] > 0 {
		c.undo = newRing[undoable](maxUndoable)
	}
	for i := range c.run.Window {
		c.free.put(uint32(i))
	}
	c.free.publish()
	c.in = make([]byte, max(4<<10, min(64<<10, c.run.Window*512)))
	c.flushing = func(fd uintptr) bool {
		c.wrote, c.writeErr = syscall.Write(int(fd), c.out)
		return true // never wait here: what does not fit goes later
	}
	tcp, ok := c.nc.(*net.TCPConn)
	if !ok {
		return errors.New("the connection is not TCP")
	}
	var err error
	c.raw, err = tcp.SyscallConn()
	return err
}

// fill writes a request into every free slot, at most n of them, and gives how
// many that were. Each was due at the time that due gives for it.
func (c *conn) fill(now int64, n int, due func(i int) int64) (filled int) {
	c.tick(now)
	for filled < n && !c.free.empty() {
		number := c.free.items[c.free.head&uint32(len(c.free.items)-1)]
		s := &c.slots[number]
		if s.second != c.second {
			s.second, s.mark = c.second, s.uses
		}
		if s.uses-s.mark >= c.perSlot {
			break // its STANs are used up until the next second
		}
		c.free.take()
		c.compose(s, number)
		s.sent, s.due = now, now
		if due != nil {
			s.due = due(filled)
		}
		s.measured = s.due >= c.run.from && s.due < c.run.until
		s.busy = true
		filled++
	}
	c.flying.Add(int64(filled))
	return filled
}

// tick tells the wire the time when the second has changed.
func (c *conn) tick(now int64) {
	at := c.run.began.Add(time.Duration(now))
	if s := at.Unix(); s != c.second {
		c.second = s
		c.wire.tick(at)
	}
}

// compose makes up a request and writes it behind the others.
func (c *conn) compose(s *slot, number uint32) {
	random := c.rng.Uint64()
	r := &c.asking
	*r = request{kind: c.run.Mix.pick(uint32(random))}
	place := (s.uses + number) % uint32(len(c.places))
	if r.kind == Reversal {
		if u, ok := c.undo.take(); ok {
			r.original, r.amount, place = u.rrn, u.amount, u.place
		} else {
			r.kind = Purchase
		}
	}
	if r.kind == Purchase {
		r.amount = 1 + uint32(random>>32)%maxAmount
	}
	r.card = uint32(c.rng.Uint64() >> 32 * uint64(c.run.Population.Media) >> 32)
	r.stan = c.base + 1 + s.uses%c.perSlot*uint32(len(c.slots)) + number
	r.terminal, r.at = c.numbers[place], &c.places[place]
	c.out = c.wire.request(c.out, r)
	s.stan, s.terminal, s.amount, s.kind, s.place = r.stan, r.terminal, r.amount, r.kind, place
	s.uses++
}

// maxAmount is the largest amount that is asked for, in minor units.
const maxAmount = 10_000

// flush sends what was written, as far as the connection takes it.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if err := c.raw.Write(c.flushing); err != nil {
		return err
	}
	switch {
	case c.writeErr == syscall.EAGAIN || c.writeErr == syscall.EINTR:
	case c.writeErr != nil:
		return c.writeErr
	default:
		c.out = c.out[:copy(c.out, c.out[c.wrote:])]
	}
	return nil
}

// read waits for answers and counts those that came.
func (c *conn) read() error {
	n, err := c.nc.Read(c.in[c.have:])
	now := c.run.now()
	c.have += n
	if n > 0 {
		if err := c.take(now); err != nil {
			return err
		}
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the connection was closed by the other side")
	}
	return err
}

// take counts the answers that are there whole. They have all arrived now.
func (c *conn) take(now int64) error {
	_ = c.flying.Load() // what was written before the answers is seen
	rest, count := c.in[:c.have], int64(0)
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	r := &c.said
	for {
		size, err := c.wire.reply(rest, r)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		rest = rest[size:]
		number := (r.stan - c.base - 1) & uint32(len(c.slots)-1)
		if r.stan == 0 {
			number = 0
		}
		s := &c.slots[number]
		if !s.busy || r.stan != 0 && s.stan != r.stan {
			return fmt.Errorf("an answer came that nobody waits for (STAN %06d)", r.stan)
		}
		count++
		c.shard.answered(s, r, now)
		c.remember(s, r)
		s.busy = false
		c.free.put(number)
	}
	c.have = copy(c.in, rest)
	if c.have == len(c.in) { // one answer is longer than all that is expected
		if c.have > maxReply {
			return errors.New("an answer is longer than 64 KiB")
		}
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	if now >= c.run.from && now < c.run.until {
		c.shard.inWindow += count
	}
	c.answered += count
	c.undo.publish()
	c.free.publish()
	return nil
}

const maxReply = 64 << 10

// fail notes why a connection is of no use any more. The others go on.
func (c *conn) fail(err error) {
	if c.dead.Swap(true) {
		return
	}
	c.run.alive.Add(-1)
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.shard.fault == nil {
		c.shard.fault = err
	}
}

func (c *conn) remember(s *slot, r *reply) {
	if r.code < 0 || !approves[r.code] {
		return
	}
	if c.run.Remember && r.rrn != 0 {
		c.approvals.add(Approval{RRN: r.rrn, Terminal: s.terminal, STAN: r.stan, Amount: s.amount, Kind: s.kind})
	}
	if s.kind == Purchase && c.undo.items != nil && r.rrn != 0 {
		c.undo.put(undoable{r.rrn, s.amount, s.place})
	}
}
