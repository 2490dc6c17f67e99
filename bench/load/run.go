package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"kessai/pos/iso8583"
)

// Options says what to ask for, and how hard.
type Options struct {
	Addr       string
	Population Population
	Mix        Mix    // zero: purchases only
	Seed       uint64 // the same seed draws the same cards and amounts on each connection

	// JSON speaks HTTP instead of ISO 8583. A connection then carries one request
	// at a time, and Conns×Window connections are made.
	JSON    bool
	Dialect *iso8583.Dialect // nil: iso87-ascii
	Framing iso8583.Framing

	Conns    int
	Window   int           // requests in flight on each connection, at most
	Rate     float64       // a second, over all connections; zero: closed loop
	Warmup   time.Duration // not measured
	Duration time.Duration
	Patience time.Duration // how long to wait for answers after the end; default 5s

	Remember  bool           // keep every approval, for the check of the book: 24 bytes each
	Progress  func(Progress) // told once a second; may be nil
	Measuring func()         // told when the warm-up is over; may be nil
}

// Progress is how far a run is.
type Progress struct {
	Elapsed, Of time.Duration
	Rate        float64       // answers in the last second
	P99         time.Duration // of what was measured so far; zero before
	Counts      Counts        // with the warm-up
}

// Outcome is what a run measured. Its counts are of the requests that were due (in
// a closed loop: sent) after the warm-up and before the end; Total counts all.
type Outcome struct {
	Counts
	Total      Counts
	Throughput float64                 // answers a second that came between warm-up and end
	Latency    *hdrhistogram.Histogram // nanoseconds from when a request was due
	Service    *hdrhistogram.Histogram // nanoseconds from when it was sent
	Codes      map[string]int64        // answers by response code
	Series     []float64               // throughput of each second
	Took       time.Duration           // from the first request to the last answer

	Approvals  [][]Approval // with those of the warm-up, where they were to be remembered
	Unanswered []Unanswered
	Recorded   int64 // declines, with those of the warm-up, that have a number in the book
	Fault      error // the first reason for which a connection failed
}

// The limits of a run.
const (
	MaxConns  = 20_000
	MaxWindow = 1 << 15
	MaxRate   = 10_000_000
	MaxTime   = 24 * time.Hour
)

// Validate checks whether a run can be made so.
func (o *Options) Validate() error {
	if err := o.Population.Validate(); err != nil {
		return err
	}
	switch {
	case o.Conns < 1 || o.Conns > MaxConns:
		return fmt.Errorf("the number of connections must be 1 to %d", MaxConns)
	case o.Window < 1 || o.Window > MaxWindow:
		return fmt.Errorf("the window must be 1 to %d", MaxWindow)
	case o.JSON && o.Conns*o.Window > MaxConns:
		return fmt.Errorf("over JSON a connection carries one request at a time, and connections times window must be at most %d", MaxConns)
	case o.Conns*o.Window > maxInFlight:
		return fmt.Errorf("connections times window must be at most %d", maxInFlight)
	case !(o.Rate >= 0 && o.Rate <= MaxRate):
		return fmt.Errorf("the rate must be 0 (as fast as answers come) to %d a second", MaxRate)
	case o.Duration <= 0 || o.Warmup < 0 || o.Duration > MaxTime || o.Warmup > MaxTime:
		return errors.New("the duration must be more than zero, and it and the warm-up at most a day")
	}
	return nil
}

const maxInFlight = 1 << 22

// complete fills in the defaults.
func (o *Options) complete() {
	if o.Patience <= 0 {
		o.Patience = 5 * time.Second
	}
	if o.Mix == (Mix{}) {
		o.Mix[Purchase] = 1
	}
	if o.Dialect == nil {
		o.Dialect = iso8583.BuiltIn()[0]
	}
	if o.JSON {
		o.Conns, o.Window = o.Conns*o.Window, 1
	}
}

// run is one run. Its times are nanoseconds since began.
type run struct {
	Options
	began       time.Time
	from, until int64 // what is due between is measured
	patience    int64 // when waiting for answers ends
	conns       []*conn
	shards      []shard
	alive       atomic.Int64 // connections
	sentAll     atomic.Bool  // open loop: the pacers have ended
}

func (r *run) now() int64 { return int64(time.Since(r.began)) }

// Run connects, asks, and gives what it measured. It fails when the options make
// no sense, when a connection cannot be made, when every connection failed, and
// when ctx ends; of the last two it gives the outcome so far too.
func Run(ctx context.Context, o Options) (*Outcome, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.complete()
	r := &run{Options: o, shards: make([]shard, min(16, o.Conns))}
	for i := range r.shards {
		r.shards[i].latency = NewHistogram()
		if o.Rate > 0 {
			r.shards[i].service = NewHistogram()
		}
	}
	defer r.close()
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	var pacers []*pacer
	if o.Rate > 0 {
		var err error
		if pacers, err = r.pacers(); err != nil {
			return nil, err
		}
	}
	r.began = time.Now()
	r.from, r.until = int64(o.Warmup), int64(o.Warmup+o.Duration)
	r.patience = r.until + int64(o.Patience)
	r.alive.Store(int64(len(r.conns)))
	stop := context.AfterFunc(ctx, r.close)
	defer stop()
	series := r.watch(ctx)
	r.work(pacers)
	out := r.outcome()
	out.Series = series()
	switch {
	case ctx.Err() != nil:
		return out, ctx.Err()
	case r.alive.Load() == 0:
		return out, fmt.Errorf("every connection failed: %w", out.Fault)
	}
	return out, nil
}

// connect makes all connections, some at a time, so that no listen queue overflows.
func (r *run) connect(ctx context.Context) error {
	r.conns = make([]*conn, r.Conns)
	var wg sync.WaitGroup
	const atOnce = 32
	errs := make([]error, atOnce)
	for lane := range atOnce {
		wg.Go(func() {
			for i := lane; i < r.Conns && errs[lane] == nil; i += atOnce {
				r.conns[i], errs[lane] = r.dial(ctx, i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *run) dial(ctx context.Context, i int) (*conn, error) {
	c := &conn{run: r, shard: &r.shards[i%len(r.shards)]}
	c.rng.Seed(r.Seed, uint64(i))
	if err := c.settle(i); err != nil {
		return nil, err
	}
	var err error
	if r.JSON {
		c.wire = newJSONWire(r.Addr, r.Population, r.Seed, i)
	} else if c.wire, err = newISOWire(r.Dialect, r.Framing); err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	if c.nc, err = d.DialContext(ctx, "tcp", r.Addr); err != nil {
		return nil, err
	}
	return c, c.init()
}

// settle gives a connection its terminals: every so-manieth, or, where there are
// fewer terminals than connections, one, of whose STANs it has a part to itself.
func (c *conn) settle(i int) error {
	p, conns := c.run.Population, c.run.Conns
	sharers, turn := 1, 0
	if conns > p.Terminals {
		sharers, turn = (conns+p.Terminals-1)/p.Terminals, i/p.Terminals
		c.numbers = []uint32{uint32(i % p.Terminals)}
	} else {
		for t := i; t < p.Terminals; t += conns {
			c.numbers = append(c.numbers, uint32(t))
		}
	}
	for _, t := range c.numbers {
		c.places = append(c.places, place{
			[]byte(p.TerminalID(int(t))), []byte(p.MerchantID(p.MerchantOf(int(t)))),
		})
	}
	const maxSTAN = 999_999
	c.base = uint32(maxSTAN / sharers * turn)
	c.perSlot = uint32(maxSTAN / sharers / powerOfTwo(c.run.Window))
	if c.perSlot == 0 {
		return fmt.Errorf("%d terminals are too few for %d connections with a window of %d: they run out of STANs", p.Terminals, conns, c.run.Window)
	}
	return nil
}

// work runs every connection until all have ended.
func (r *run) work(pacers []*pacer) {
	var reading, pacing sync.WaitGroup
	read := (*conn).closed
	if r.Rate > 0 {
		read = (*conn).answers
	}
	r.wake(r.patience)
	for _, c := range r.conns {
		reading.Go(func() {
			if err := read(c); err != nil {
				c.fail(err)
			}
		})
	}
	for _, p := range pacers {
		pacing.Go(p.pace)
	}
	pacing.Wait()
	if r.Rate > 0 {
		r.sentAll.Store(true)
		r.wake(0)
	}
	reading.Wait()
}

// wake sets the time at which reading gives up.
func (r *run) wake(at int64) {
	for _, c := range r.conns {
		_ = c.nc.SetReadDeadline(r.began.Add(time.Duration(at))) // a closed one needs none
	}
}

func (r *run) pacers() (ps []*pacer, err error) {
	n := min(r.Conns, runtime.GOMAXPROCS(0))
	gap := float64(time.Second) / r.Rate
	for g := range n {
		p := &pacer{run: r, first: float64(g) * gap}
		if p.alarm, err = newAlarm(); err != nil {
			return nil, err
		}
		for i := g; i < r.Conns; i += n {
			r.conns[i].pacer, r.conns[i].turn = p, int64(len(p.conns))
			p.conns = append(p.conns, r.conns[i])
		}
		p.every = gap * float64(r.Conns) / float64(len(p.conns))
		ps = append(ps, p)
	}
	return ps, nil
}

func (r *run) close() {
	for _, c := range r.conns {
		if c != nil && c.nc != nil {
			_ = c.nc.Close()
		}
	}
}
