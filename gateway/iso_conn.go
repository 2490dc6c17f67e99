package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"kessai/authz"
	"kessai/pos/iso8583"
)

// isoEnd says why a connection ended.
type isoEnd string

const (
	endByClient   isoEnd = "closed_by_client"
	endIdle       isoEnd = "idle"
	endCutFrame   isoEnd = "ended_inside_frame"
	endFrame      isoEnd = "bad_frame"
	endUnreadable isoEnd = "unreadable_message"
	endNoAnswer   isoEnd = "message_without_answer"
	endRead       isoEnd = "read_error"
	endSlow       isoEnd = "slow_reader"
	endWrite      isoEnd = "write_error"
	endHandshake  isoEnd = "tls_handshake"
	endDrained    isoEnd = "drained"
	endKilled     isoEnd = "killed"
)

// isoLinger is how long a connection that the gateway ends may take to read the
// last answers. Closed at once, with bytes of the other side unread, TCP would
// send a reset, and that can destroy answers on their way.
const isoLinger = time.Second

// isoConn is one connection.
type isoConn struct {
	s     *ISO
	nc    net.Conn
	id    uint64
	party authz.Party // who holds the dialogues that are opened here
	log   *slog.Logger
	read  isoReader
	out   isoOutbox

	inFlight atomic.Int64   // messages read and not answered yet
	room     chan struct{}  // holds a token when one of them has left
	serving  sync.WaitGroup // goroutines of this connection: see serve
	waits    isoWaits       // messages that wait for a customer
	signedOn bool           // the reading goroutine's
	requests uint64         // the reading goroutine's

	reason atomic.Pointer[isoEnd]
}

func newISOConn(s *ISO, nc net.Conn, id uint64) *isoConn {
	c := &isoConn{
		s: s, nc: nc, id: id, party: authz.NewConnection(),
		log:  s.o.Logger.With("connection", id, "remote", remote(nc)),
		room: make(chan struct{}, 1),
	}
	c.read = isoReader{nc: nc, idle: s.o.IdleTimeout, busy: c.busy}
	return c
}

// busy reports whether a message is in flight, or waits for a customer.
func (c *isoConn) busy() bool { return c.inFlight.Load() > 0 || c.waits.any() }

// leave gives the places of n messages back.
func (c *isoConn) leave(n int) {
	c.inFlight.Add(-int64(n))
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// end notes why the connection ends; the first reason stands.
func (c *isoConn) end(why isoEnd) { c.reason.CompareAndSwap(nil, &why) }

// drain has the connection read no more.
func (c *isoConn) drain() { c.read.stop() }

// cut ends the connection at once, whatever it is doing.
func (c *isoConn) cut() {
	why := endKilled
	c.reason.Store(&why)
	_ = c.nc.Close()
}

// run serves the connection until it has ended and everything that it asked for
// is decided.
func (c *isoConn) run() {
	defer c.nc.Close()
	if !c.handshake() {
		c.report()
		return
	}
	c.serving.Add(1)
	c.serve()
	c.serving.Wait()
	c.abandon()
	if c.s.o.Engine != nil {
		c.s.o.Engine.HangUp(c.party)
	}
	c.linger()
	c.report()
}

func (c *isoConn) report() {
	why := *c.reason.Load()
	c.s.o.Metrics.iso.disconnects.WithLabelValues(string(why)).Inc()
	level := slog.LevelInfo
	switch why {
	case endFrame, endUnreadable, endNoAnswer, endSlow, endHandshake, endKilled:
		level = slog.LevelWarn
	}
	c.log.Log(context.Background(), level, "ISO 8583 connection ended", "reason", string(why), "requests", c.requests)
}

// handshake does what TLS needs before the first message, within its time.
func (c *isoConn) handshake() bool {
	t, ok := c.nc.(interface{ HandshakeContext(context.Context) error })
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(c.s.ctx, c.s.o.HandshakeTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		c.end(endHandshake)
		c.log.Debug("TLS handshake failed", "error", err)
		return false
	}
	return true
}

// isoSeat is how long a goroutine that reads may be kept by what it read
// before another one reads in its place.
const isoSeat = 20 * time.Millisecond

// serve reads messages, has them carried out and answered, and reads on. What
// comes meanwhile is there together afterwards, and goes on together. But where
// that takes long, because an answer waits for more than the disk or the other
// side does not take it, another goroutine reads on, and this one ends when it
// is done.
func (c *isoConn) serve() {
	defer c.serving.Done()
	var patience *time.Timer
	for {
		b, why := c.readMessages()
		if b != nil && why == "" {
			why = c.handle(b)
		}
		if why != "" {
			c.end(why)
			if b != nil {
				c.carryOut(b)
			}
			return
		}
		c.serving.Add(1) // for the one that may take over
		if patience == nil {
			patience = time.AfterFunc(isoSeat, c.serve)
		} else {
			patience.Reset(isoSeat)
		}
		c.carryOut(b)
		if !patience.Stop() {
			return // another one reads
		}
		c.serving.Done()
	}
}

// readMessages waits for messages and gives all that are there together, or the
// reason why there will be none.
func (c *isoConn) readMessages() (*isoBatch, isoEnd) {
	free, ok := c.places()
	if !ok {
		return nil, endKilled
	}
	b := c.s.pool.Get().(*isoBatch)
	err := c.read.take(b, c.s.o.Framing, c.s.o.MaxFrame, free)
	n := len(b.messages)
	if n == 0 {
		c.s.release(b)
		return nil, c.readEnd(err)
	}
	c.inFlight.Add(int64(n))
	c.s.o.Metrics.iso.framesIn.Add(float64(n))
	return b, ""
}

// places waits until the connection may take another message and gives the
// number that it may take.
func (c *isoConn) places() (free int, ok bool) {
	for {
		if free := c.s.o.MaxInFlightPerConn - int(c.inFlight.Load()); free > 0 {
			return free, true
		}
		select {
		case <-c.room:
		case <-c.s.ctx.Done():
			return 0, false
		}
	}
}

func (c *isoConn) readEnd(err error) isoEnd {
	switch {
	case err == io.EOF:
		return endByClient
	case errors.Is(err, io.ErrUnexpectedEOF):
		return endCutFrame
	case errors.Is(err, os.ErrDeadlineExceeded) && c.s.draining.Load():
		return endDrained
	case errors.Is(err, os.ErrDeadlineExceeded):
		return endIdle
	case errors.Is(err, iso8583.ErrFrameEmpty), errors.Is(err, iso8583.ErrFrameLength),
		errors.Is(err, iso8583.ErrFrameTPDU), errors.Is(err, iso8583.ErrFrameTooBig):
		c.s.o.Metrics.iso.formatErrors.WithLabelValues("frame").Inc()
		c.log.Warn("ISO 8583 frame refused", "error", err)
		return endFrame
	}
	return endRead
}

// linger lets the other side read the last answers before the connection is
// closed; what it still sends is thrown away unread.
func (c *isoConn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(isoLinger))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, 1<<20))
}
