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

// maxISOBatch bounds the bytes of answers that are gathered for one write.
const maxISOBatch = 64 << 10

// isoConn is one connection.
type isoConn struct {
	s    *ISO
	nc   net.Conn
	id   uint64
	log  *slog.Logger
	read isoReader

	slots    chan struct{}     // one for each message read or being read, until it is answered
	out      chan *isoExchange // answers; has room for every slot, so nobody waits to put one in
	handlers sync.WaitGroup
	signedOn bool   // the reading goroutine's
	requests uint64 // the reading goroutine's

	reason atomic.Pointer[isoEnd]
}

func newISOConn(s *ISO, nc net.Conn, id uint64) *isoConn {
	c := &isoConn{
		s: s, nc: nc, id: id,
		log:   s.o.Logger.With("connection", id, "remote", remote(nc)),
		slots: make(chan struct{}, s.o.MaxInFlightPerConn),
		out:   make(chan *isoExchange, s.o.MaxInFlightPerConn),
	}
	c.read = isoReader{nc: nc, idle: s.o.IdleTimeout, busy: c.busy}
	return c
}

// busy reports whether a message is in flight beside the one being read.
func (c *isoConn) busy() bool { return len(c.slots) > 1 }

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
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.writeAnswers()
	}()
	c.end(c.readMessages())
	c.handlers.Wait()
	close(c.out)
	<-written
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

// readMessages reads until the connection ends or has to.
func (c *isoConn) readMessages() isoEnd {
	frames := iso8583.NewFrameReader(&c.read, c.s.o.Framing, c.s.o.MaxFrame)
	for {
		select {
		case c.slots <- struct{}{}:
		case <-c.s.ctx.Done():
			return endKilled
		}
		x := c.s.pool.Get().(*isoExchange)
		c.read.nextFrame()
		f, err := frames.Next(x.buf)
		if err != nil {
			c.s.release(x)
			<-c.slots
			return c.readEnd(err)
		}
		c.s.o.Metrics.iso.framesIn.Inc()
		c.requests++
		x.begin(f, c.requests, c.s.o.Now())
		if why := c.handle(x); why != "" {
			<-c.slots
			return why
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

// writeAnswers writes whatever answers are ready with one call each time. After
// a failure it goes on taking answers, so that nobody waits for it.
func (c *isoConn) writeAnswers() {
	var batch []byte
	var failed bool
	for x := range c.out {
		var n int
		batch, n = c.gather(batch[:0], x)
		if !failed {
			failed = !c.send(batch)
		}
		if failed {
			c.s.o.Metrics.iso.unanswered.WithLabelValues("connection_lost").Add(float64(n))
		} else {
			c.s.o.Metrics.iso.framesOut.Add(float64(n))
		}
		for range n {
			<-c.slots
		}
	}
}

// gather puts x and all answers that wait behind it into batch.
func (c *isoConn) gather(batch []byte, x *isoExchange) (_ []byte, n int) {
	for {
		batch = append(batch, x.wire...)
		n++
		c.s.release(x)
		if len(batch) >= maxISOBatch {
			return batch, n
		}
		var ok bool
		select {
		case x, ok = <-c.out:
			if !ok {
				return batch, n
			}
		default:
			return batch, n
		}
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
