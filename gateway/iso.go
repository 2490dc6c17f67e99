package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/pos/iso8583"
)

// ISOOptions configures an ISO 8583 listener. Where a default is given, zero
// means the default.
type ISOOptions struct {
	Dialect *iso8583.Dialect // how messages are written. Default iso8583.ASCII
	Framing iso8583.Framing  // how one message is told from the next

	// Authorize carries out requests that came together: authz.Engine.Authorize.
	Authorize func(context.Context, []authz.Ask)
	Engine    *authz.Engine        // opens dialogues, hears of cards that were kept, and tells what customers decided. Default: none of it is served
	Hasher    *kessai.MediumHasher // turns card numbers into medium IDs
	Acquirer  kessai.AcquirerID    // the gateway's own, which a message need not name
	Codes     PhoneCodes           // for payments that customers confirm

	RequireSignOn      bool          // refuse financial messages with 58 before sign-on and after sign-off
	MaxConnections     int           // more are closed at once. Default 1,024
	MaxInFlight        int           // messages of the whole listener; more are answered with 96. Default 8,192
	MaxInFlightPerConn int           // messages of one connection; at the bound, reading stops. Default 256
	MaxWaiting         int           // messages that wait for a customer; more are answered with 09 at once. Default 100,000
	MaxWaitingPerConn  int           // the same on one connection. Default 16,384
	MaxFrame           int           // bytes of one message. Default 4,096
	IdleTimeout        time.Duration // without a message and with none in flight. Default 5 min
	WriteTimeout       time.Duration // for the other side to take answers. Default 10 s
	HandshakeTimeout   time.Duration // for TLS. Default 10 s

	Logger  *slog.Logger     // default: none
	Metrics *Metrics         // default: a set that nobody reads
	Now     func() time.Time // default time.Now
}

func (o *ISOOptions) defaults() error {
	if o.Authorize == nil || o.Hasher == nil {
		return errors.New("an ISO 8583 listener needs an engine and a hasher for card numbers")
	}
	if o.Dialect == nil {
		o.Dialect, _ = iso8583.ByName(iso8583.ASCII)
	}
	for _, n := range []struct {
		name     string
		is       *int
		standard int
	}{
		{"connections", &o.MaxConnections, 1024},
		{"messages in flight", &o.MaxInFlight, 8192},
		{"messages in flight on one connection", &o.MaxInFlightPerConn, 256},
		{"messages that wait", &o.MaxWaiting, 100_000},
		{"messages that wait on one connection", &o.MaxWaitingPerConn, 16_384},
		{"frame bytes", &o.MaxFrame, 4096},
	} {
		if *n.is < 0 {
			return fmt.Errorf("the maximum of %s is negative", n.name)
		}
		if *n.is == 0 {
			*n.is = n.standard
		}
	}
	for _, d := range []struct {
		name     string
		is       *time.Duration
		standard time.Duration
	}{
		{"idle", &o.IdleTimeout, 5 * time.Minute},
		{"write", &o.WriteTimeout, 10 * time.Second},
		{"handshake", &o.HandshakeTimeout, 10 * time.Second},
	} {
		if *d.is < 0 {
			return fmt.Errorf("the %s timeout is negative", d.name)
		}
		if *d.is == 0 {
			*d.is = d.standard
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(MetricsOptions{})
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// ISO answers ISO 8583 messages on one listener.
//
// Each connection has a goroutine that takes the messages that are there, has
// them carried out together, answers with one write, and takes what came
// meanwhile; only where that takes long does another one read on beside it. A
// message has a place on its connection from when it is taken up until its
// answer is written: a terminal that sends faster than it is answered, or does
// not read its answers, is slowed down by TCP and costs no memory.
//
// Tried and left: a goroutine for each message, or for what one read brings.
// Waking another goroutine is dear when nothing else goes on; and under load
// messages that are carried out one by one, each with its own write, cost more
// than all the rest.
type ISO struct {
	o        ISOOptions
	mapper   isoMapper
	inFlight atomic.Int64
	waiting  atomic.Int64 // messages that wait for a customer
	pool     sync.Pool    // of *isoBatch
	codecs   sync.Pool    // of *isoCodec

	ctx  context.Context // of every request; ends when Shutdown's patience does
	kill context.CancelFunc

	draining atomic.Bool
	mu       sync.Mutex
	listener net.Listener
	conns    map[*isoConn]struct{}
	lastID   uint64
	running  sync.WaitGroup // connections
}

// NewISO makes a listener. It fails when an option cannot be.
func NewISO(o ISOOptions) (*ISO, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	s := &ISO{
		o:      o,
		mapper: newISOMapper(o.Hasher, o.Acquirer),
		conns:  make(map[*isoConn]struct{}),
	}
	if o.Engine != nil {
		s.mapper.expect = o.Engine.Expect
	}
	s.pool.New = func() any { return new(isoBatch) }
	s.codecs.New = func() any { return new(isoCodec) }
	s.ctx, s.kill = context.WithCancel(context.Background())
	return s, nil
}

// Serve takes connections until [ISO.Shutdown], after which it returns nil. It
// closes l. It may be called once.
func (s *ISO) Serve(l net.Listener) error {
	defer l.Close()
	s.mu.Lock()
	twice := s.listener != nil
	if !twice {
		s.listener = l
	}
	s.mu.Unlock()
	switch {
	case twice:
		return errors.New("this ISO 8583 listener serves already")
	case s.draining.Load():
		return nil
	}
	var pause time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(nc)
		case s.draining.Load():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("ISO 8583 listener: %w", err)
		default: // out of file descriptors, most likely: it passes
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.o.Logger.Error("cannot take ISO 8583 connections", "error", err, "next_try_in", pause)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
		}
	}
}

// take begins a connection, or closes it where there is no room.
func (s *ISO) take(nc net.Conn) {
	s.mu.Lock()
	var refused string
	switch {
	case s.draining.Load():
		refused = "draining"
	case len(s.conns) >= s.o.MaxConnections:
		refused = "too_many"
	}
	if refused != "" {
		s.mu.Unlock()
		_ = nc.Close()
		s.o.Metrics.iso.refused.WithLabelValues(refused).Inc()
		s.o.Logger.Warn("ISO 8583 connection refused", "remote", remote(nc), "reason", refused, "max_connections", s.o.MaxConnections)
		return
	}
	s.lastID++
	c := newISOConn(s, nc, s.lastID)
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	s.o.Metrics.iso.accepted.Inc()
	s.o.Metrics.iso.open.Inc()
	go func() {
		defer s.running.Done()
		c.run()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.o.Metrics.iso.open.Dec()
	}()
}

// Shutdown stops taking connections and reading messages, has everything in
// flight answered, and closes. When ctx ends before that, connections are cut
// and the context of their requests ends.
func (s *ISO) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.mu.Lock()
	if s.listener != nil {
		_ = s.listener.Close()
	}
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	defer s.kill()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.cut()
	}
	return fmt.Errorf("ISO 8583 listener: %d connections were cut: %w", len(s.conns), ctx.Err())
}

// InFlight gives the number of messages that the engine is working on.
func (s *ISO) InFlight() int { return int(s.inFlight.Load()) }

func remote(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}
