package gateway

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/iso8583"
)

// isoBatch is what was there together on one connection, on its way to the
// answers. Its memory is used again and again, and wiped in between: it holds
// card numbers for a while.
type isoBatch struct {
	frames   []byte       // the messages, as they came
	messages []isoMessage // all of them
	asks     []authz.Ask  // of those that the engine is asked about
	asked    []isoMessage // the same, in the same order
	answers  []byte       // those that are ready, as they are written
	n        int          // how many
	began    time.Time

	terminal kessai.TerminalID // of a batch that was set aside
	aside    []*isoBatch       // those that were: see isoConn.setAside
}

// isoMessage is one message of a batch.
type isoMessage struct {
	at, size int // in frames
	tpdu     iso8583.TPDU
	number   uint64 // on its connection
}

func (b *isoBatch) add(f iso8583.Frame) {
	b.messages = append(b.messages, isoMessage{at: len(b.frames), size: len(f.Body), tpdu: f.TPDU})
	b.frames = append(b.frames, f.Body...)
}

func (b *isoBatch) body(x isoMessage) []byte { return b.frames[x.at : x.at+x.size : x.at+x.size] }

// ask gives room for one more question to the engine.
func (b *isoBatch) ask(x isoMessage) *authz.Ask {
	b.asked = append(b.asked, x)
	b.asks = append(b.asks, authz.Ask{})
	return &b.asks[len(b.asks)-1]
}

// unask takes the last question back.
func (b *isoBatch) unask() {
	b.asked, b.asks = b.asked[:len(b.asked)-1], b.asks[:len(b.asks)-1]
}

// maxKeptBatch bounds the memory that a batch keeps for the next, in messages.
const maxKeptBatch = 256

// release wipes a batch and keeps its memory for another.
func (s *ISO) release(b *isoBatch) {
	if cap(b.asks) > maxKeptBatch || cap(b.frames) > maxSpare {
		return
	}
	clear(b.frames)
	clear(b.asks)
	clear(b.answers)
	*b = isoBatch{
		frames: b.frames[:0], messages: b.messages[:0], asks: b.asks[:0], asked: b.asked[:0], answers: b.answers[:0],
	}
	s.pool.Put(b)
}

// isoCodec is a message and its answer while they are read and written. There
// are as many as goroutines that do so at a time, not one for each message in
// flight: they are large, and what is large does not stay in the processor's
// cache.
type isoCodec struct {
	in, out iso8583.Message
}

func (s *ISO) codec() *isoCodec { return s.codecs.Get().(*isoCodec) }

func (s *ISO) done(x *isoCodec) {
	x.in.Reset()
	x.out.Reset()
	s.codecs.Put(x)
}

// networkManagement is the kind under which 0800 is counted: it is not one of
// the book's.
const networkManagement = "network_management"

// handle reads what was there together, and finds out what the engine is to be
// asked. It gives a reason where the connection must end because a message cannot
// be answered.
func (c *isoConn) handle(b *isoBatch) (why isoEnd) {
	s := c.s
	x := s.codec()
	b.began = s.o.Now()
	s.o.Metrics.Began(ledger.WireISO, len(b.messages))
	last := time.Now()
	for i := range b.messages {
		m := &b.messages[i]
		c.requests++
		m.number = c.requests
		err := s.o.Dialect.Decode(&x.in, b.body(*m))
		if why = c.sort(b, *m, x, err); why != "" {
			c.forget(b, len(b.messages)-i-1, string(why))
			break
		}
		last = s.lap(authz.StageDecode, last)
	}
	s.done(x)
	return why
}

// lap counts the time since the end of the last lap for one message.
func (s *ISO) lap(stage authz.Stage, last time.Time) time.Time {
	now := time.Now()
	s.o.Metrics.Stage(stage, now.Sub(last), 1)
	return now
}

// sort answers a message that the engine has nothing to do with, and puts every
// other one to those that it is asked about.
func (c *isoConn) sort(b *isoBatch, m isoMessage, x *isoCodec, err error) isoEnd {
	s := c.s
	if err != nil {
		return c.unparsable(b, m, x, err)
	}
	if _, ok := x.in.MTI.Reply(); !ok {
		c.log.Warn("ISO 8583 message that no answer exists for", "request", m.number, "mti", x.in.MTI.String())
		return c.drop(b, endNoAnswer)
	}
	switch {
	case s.draining.Load():
		s.o.Metrics.Refused(ledger.WireISO, RefusedDraining)
		c.refuse(b, m, x, kessai.KindNone, isoFault{code: kessai.SystemMalfunction})
	case x.in.MTI[1] == '8':
		c.network(b, m, x)
	case s.o.RequireSignOn && !c.signedOn:
		c.refuse(b, m, x, kessai.KindNone, isoFault{code: kessai.NotPermittedToTerminal})
	default:
		if kind := isoBeside(x.in.MTI, x.in.Get(3)); kind != "" {
			c.besides(b, m, x, kind)
		} else {
			c.financial(b, m, x)
		}
	}
	return ""
}

// carryOut has the engine carry out what it is asked, and has everything
// answered.
func (c *isoConn) carryOut(b *isoBatch) {
	s := c.s
	c.flush(b) // what needed no engine need not wait for it
	for _, own := range b.aside {
		c.serving.Add(1)
		go func() {
			defer c.serving.Done()
			c.carryOut(own)
		}()
	}
	if len(b.asks) > 0 {
		s.o.Authorize(s.ctx, b.asks)
		s.inFlight.Add(-int64(len(b.asks)))
		x := s.codec()
		last := time.Now()
		for i := range b.asks {
			c.decided(b, b.asked[i], x, &b.asks[i])
			last = s.lap(authz.StageEncode, last)
		}
		s.done(x)
		c.flush(b)
	}
	s.release(b)
}

// flush has the answers that are ready written.
func (c *isoConn) flush(b *isoBatch) {
	if b.n == 0 {
		return
	}
	c.s.o.Metrics.Ended(ledger.WireISO, c.s.o.Now().Sub(b.began), b.n)
	c.put(b.answers, b.n)
	clear(b.answers)
	b.answers, b.n = b.answers[:0], 0
}

// unparsable answers a message that could be read in part with 30, if that part
// tells who to answer and what.
func (c *isoConn) unparsable(b *isoBatch, m isoMessage, x *isoCodec, err error) isoEnd {
	f := isoFault{code: kessai.FormatError, why: "cannot be read"}
	if at := (*iso8583.FieldError)(nil); errors.As(err, &at) {
		f.field, f.why = at.Field, at.Reason.String()
	}
	_, answerable := x.in.MTI.Reply()
	if answerable && x.in.Has(11) && x.in.Has(41) {
		c.refuse(b, m, x, kessai.KindNone, f)
		return ""
	}
	c.noteFault(m, x, f)
	return c.drop(b, endUnreadable)
}

// network answers network management, in the order of the messages: one sent
// after the sign-on finds the connection signed on.
func (c *isoConn) network(b *isoBatch, m isoMessage, x *isoCodec) {
	code, f := kessai.Approved, missing(&x.in, 7, 11, 70)
	switch {
	case f.code != 0:
		code = f.code
		c.noteFault(m, x, f)
	case x.in.MTI[2] != '0' || x.in.MTI[3] > '1':
		code = kessai.InvalidTransaction
	default:
		switch string(x.in.Get(70)) {
		case "001":
			c.signedOn = true
		case "002":
			c.signedOn = false
		case "301":
		default:
			code = kessai.InvalidTransaction
		}
	}
	if c.encode(b, m, x, code, nil, nil) {
		c.s.o.Metrics.answeredNetwork(code)
		c.logAnswer(b, m, x, networkManagement, code, nil)
	}
}

// financial puts a message to those that the engine is asked about.
func (c *isoConn) financial(b *isoBatch, m isoMessage, x *isoCodec) {
	s := c.s
	a := b.ask(m)
	f := s.mapper.request(&a.Request, &x.in, b.began)
	if f.code == 0 && s.inFlight.Add(1) > int64(s.o.MaxInFlight) {
		s.inFlight.Add(-1)
		s.o.Metrics.Refused(ledger.WireISO, RefusedInFlight)
		f = isoFault{code: kessai.SystemMalfunction}
	}
	if f.code != 0 {
		kind := a.Request.Kind
		b.unask()
		c.refuse(b, m, x, kind, f)
		return
	}
	if in := a.Request.Dialogue; in != nil {
		in.By = c.party
	}
	if len(b.messages) > 1 && s.o.Engine != nil && s.o.Engine.Waits() {
		c.setAside(b, m)
	}
}

// decided answers with what the engine said.
func (c *isoConn) decided(b *isoBatch, m isoMessage, x *isoCodec, a *authz.Ask) {
	if err := c.s.o.Dialect.Decode(&x.in, b.body(m)); err != nil && a.Err == nil {
		a.Err = err // cannot be: it was decoded before
	}
	metrics := c.s.o.Metrics
	code, reply := kessai.SystemMalfunction, (*authz.Reply)(nil)
	switch {
	case a.Err == nil && c.later(b, m, x, a):
		return
	case a.Err == nil:
		if code, reply = a.Reply.Code, &a.Reply; reply.Replayed {
			metrics.Replayed(ledger.WireISO)
		}
	case errors.Is(a.Err, ledger.ErrBusy):
		metrics.Refused(ledger.WireISO, RefusedBusy)
	case errors.Is(a.Err, ledger.ErrClosed):
		metrics.Refused(ledger.WireISO, RefusedDraining)
	default: // nobody knows what was done: any answer would be a guess
		c.log.Error("ISO 8583 request with unknown outcome is not answered", "request", m.number, "error", a.Err)
		c.unanswered(b, "outcome_unknown")
		return
	}
	c.answer(b, m, x, a.Request.Kind, code, reply)
}

// refuse answers without asking the engine: nothing was done.
func (c *isoConn) refuse(b *isoBatch, m isoMessage, x *isoCodec, kind kessai.Kind, f isoFault) {
	if f.code == kessai.FormatError {
		c.noteFault(m, x, f)
	}
	c.answer(b, m, x, kind, f.code, nil)
}

// noteFault logs and counts what is wrong with a message, but nothing of what
// it holds.
func (c *isoConn) noteFault(m isoMessage, x *isoCodec, f isoFault) {
	c.s.o.Metrics.iso.formatErrors.WithLabelValues(strconv.Itoa(f.field)).Inc()
	c.log.Warn("ISO 8583 message refused for its form", "request", m.number, "mti", x.in.MTI.String(), "field", f.field, "why", f.why)
}

// answer puts the answer to those that are ready.
func (c *isoConn) answer(b *isoBatch, m isoMessage, x *isoCodec, kind kessai.Kind, code kessai.ResponseCode, reply *authz.Reply) {
	if c.encode(b, m, x, code, reply, c.s.confirming(reply)) {
		c.s.o.Metrics.Answered(ledger.WireISO, kind, code)
		c.logAnswer(b, m, x, kind.String(), code, reply)
	}
}

// encode writes an answer behind those that are ready, with private as its DE48
// (nil: without one). It is false where the dialect cannot write what it can
// read, or lacks a field that answers need.
func (c *isoConn) encode(b *isoBatch, m isoMessage, x *isoCodec, code kessai.ResponseCode, reply *authz.Reply, private []byte) bool {
	isoReply(&x.out, &x.in, code, reply)
	if private != nil {
		x.out.Set(48, private)
	}
	var err error
	b.answers, err = c.s.o.Framing.AppendMessage(b.answers, m.tpdu.Swapped(), c.s.o.Dialect, &x.out)
	if err != nil {
		c.log.Error("ISO 8583 answer cannot be written in this dialect", "request", m.number, "error", err)
		c.unanswered(b, "unwritable")
		return false
	}
	b.n++
	return true
}

// unanswered ends a message without an answer.
func (c *isoConn) unanswered(b *isoBatch, why string) { c.forget(b, 1, why) }

// drop ends a message whose connection must end with it.
func (c *isoConn) drop(b *isoBatch, why isoEnd) isoEnd {
	c.forget(b, 1, string(why))
	return why
}

// forget gives up n messages and their places.
func (c *isoConn) forget(b *isoBatch, n int, why string) {
	if n == 0 {
		return
	}
	c.s.o.Metrics.iso.unanswered.WithLabelValues(why).Add(float64(n))
	c.s.o.Metrics.Ended(ledger.WireISO, c.s.o.Now().Sub(b.began), n)
	c.leave(n)
}

// logAnswer says what was asked and answered, from a list of fields that hold
// no secret.
func (c *isoConn) logAnswer(b *isoBatch, m isoMessage, x *isoCodec, kind string, code kessai.ResponseCode, reply *authz.Reply) {
	ctx := context.Background()
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	var id kessai.TxID
	var replayed bool
	if reply != nil {
		id, replayed = reply.Tx.ID, reply.Replayed
	}
	terminal, _ := kessai.ParseTerminalID(x.in.Get(41))
	c.log.LogAttrs(ctx, slog.LevelDebug, "ISO 8583 request answered",
		slog.Uint64("request", m.number),
		slog.String("mti", x.in.MTI.String()),
		slog.String("kind", kind),
		slog.String("code", code.String()),
		slog.String("transaction", id.String()),
		slog.String("terminal", terminal.String()),
		slog.Bool("replayed", replayed),
		slog.Duration("took", c.s.o.Now().Sub(b.began)))
}
