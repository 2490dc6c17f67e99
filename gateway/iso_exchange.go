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

// isoExchange is one message on its way to its answer. Its memory is used again
// and again, and wiped in between: it holds a card number for a while.
type isoExchange struct {
	buf     []byte // the frame lies in it
	frame   iso8583.Frame
	in, out iso8583.Message
	wire    []byte // the answer as it is written
	request authz.Request
	kind    string
	number  uint64 // of the request on its connection
	began   time.Time
}

func (x *isoExchange) begin(f iso8583.Frame, number uint64, now time.Time) {
	x.frame, x.buf, x.number, x.began = f, f.Body, number, now
	x.kind = kessai.KindNone.String()
}

// release wipes an exchange and keeps its memory for another.
func (s *ISO) release(x *isoExchange) {
	clear(x.buf[:cap(x.buf)])
	x.in.Reset()
	x.out.Reset()
	*x = isoExchange{buf: x.buf[:0], in: x.in, out: x.out, wire: x.wire[:0]}
	s.pool.Put(x)
}

// networkManagement is the kind under which 0800 is counted: it is not one of
// the book's.
const networkManagement = "network_management"

// handle brings one message on its way. It gives a reason where the connection
// must end because the message cannot be answered.
func (c *isoConn) handle(x *isoExchange) isoEnd {
	s := c.s
	began := time.Now()
	err := s.o.Dialect.Decode(&x.in, x.frame.Body)
	s.o.Metrics.Stage(authz.StageDecode, time.Since(began))
	s.o.Metrics.Began(ledger.WireISO)
	if err != nil {
		return c.unparsable(x, err)
	}
	if _, ok := x.in.MTI.Reply(); !ok {
		c.log.Warn("ISO 8583 message that no answer exists for", "request", x.number, "mti", x.in.MTI.String())
		return c.drop(x, endNoAnswer)
	}
	switch {
	case s.draining.Load():
		s.o.Metrics.Refused(ledger.WireISO, RefusedDraining)
		c.refuse(x, isoFault{code: kessai.SystemMalfunction})
	case x.in.MTI[1] == '8':
		c.network(x)
	case s.o.RequireSignOn && !c.signedOn:
		c.refuse(x, isoFault{code: kessai.NotPermittedToTerminal})
	default:
		c.financial(x)
	}
	return ""
}

// unparsable answers a message that could be read in part with 30, if that part
// tells who to answer and what.
func (c *isoConn) unparsable(x *isoExchange, err error) isoEnd {
	f := isoFault{code: kessai.FormatError, why: "cannot be read"}
	if at := (*iso8583.FieldError)(nil); errors.As(err, &at) {
		f.field, f.why = at.Field, at.Reason.String()
	}
	_, answerable := x.in.MTI.Reply()
	if answerable && x.in.Has(11) && x.in.Has(41) {
		c.refuse(x, f)
		return ""
	}
	c.noteFault(x, f)
	return c.drop(x, endUnreadable)
}

// network answers network management. It is the reading goroutine's own work, so
// that a message sent after the sign-on finds the connection signed on.
func (c *isoConn) network(x *isoExchange) {
	x.kind = networkManagement
	code, f := kessai.Approved, missing(&x.in, 7, 11, 70)
	switch {
	case f.code != 0:
		c.refuse(x, f)
		return
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
	c.answer(x, code, nil)
}

// financial hands a message to the engine, in a goroutine of its own.
func (c *isoConn) financial(x *isoExchange) {
	s := c.s
	f := s.mapper.request(&x.request, &x.in, x.began)
	x.kind = x.request.Kind.String()
	if f.code != 0 {
		c.refuse(x, f)
		return
	}
	select {
	case s.inFlight <- struct{}{}:
	default:
		s.o.Metrics.Refused(ledger.WireISO, RefusedInFlight)
		c.refuse(x, isoFault{code: kessai.SystemMalfunction})
		return
	}
	c.handlers.Add(1)
	go func() {
		defer c.handlers.Done()
		reply, err := s.o.Authorize(s.ctx, &x.request)
		<-s.inFlight
		c.decided(x, &reply, err)
	}()
}

// decided answers with what the engine said.
func (c *isoConn) decided(x *isoExchange, reply *authz.Reply, err error) {
	m := c.s.o.Metrics
	switch {
	case err == nil:
		if reply.Replayed {
			m.Replayed(ledger.WireISO)
		}
		c.answer(x, reply.Code, reply)
	case errors.Is(err, ledger.ErrBusy):
		m.Refused(ledger.WireISO, RefusedBusy)
		c.answer(x, kessai.SystemMalfunction, nil)
	case errors.Is(err, ledger.ErrClosed):
		m.Refused(ledger.WireISO, RefusedDraining)
		c.answer(x, kessai.SystemMalfunction, nil)
	default: // nobody knows what was done: any answer would be a guess
		c.log.Error("ISO 8583 request with unknown outcome is not answered", "request", x.number, "error", err)
		c.unanswered(x, "outcome_unknown")
	}
}

// refuse answers without asking the engine: nothing was done.
func (c *isoConn) refuse(x *isoExchange, f isoFault) {
	if f.code == kessai.FormatError {
		c.noteFault(x, f)
	}
	c.answer(x, f.code, nil)
}

// noteFault logs and counts what is wrong with a message, but nothing of what
// it holds.
func (c *isoConn) noteFault(x *isoExchange, f isoFault) {
	c.s.o.Metrics.iso.formatErrors.WithLabelValues(strconv.Itoa(f.field)).Inc()
	c.log.Warn("ISO 8583 message refused for its form", "request", x.number, "mti", x.in.MTI.String(), "field", f.field, "why", f.why)
}

// answer writes the answer and puts it behind those that wait to be sent.
func (c *isoConn) answer(x *isoExchange, code kessai.ResponseCode, reply *authz.Reply) {
	m := c.s.o.Metrics
	began := time.Now()
	isoReply(&x.out, &x.in, code, reply)
	var err error
	x.wire, err = c.s.o.Framing.AppendMessage(x.wire[:0], x.frame.TPDU.Swapped(), c.s.o.Dialect, &x.out)
	now := time.Now()
	m.Stage(authz.StageEncode, now.Sub(began))
	if err != nil { // a dialect that cannot write what it can read, or lacks a field that answers need
		c.log.Error("ISO 8583 answer cannot be written in this dialect", "request", x.number, "error", err)
		c.unanswered(x, "unwritable")
		return
	}
	m.answered(ledger.WireISO, x.kind, code)
	m.Ended(ledger.WireISO, c.s.o.Now().Sub(x.began))
	c.logAnswer(x, code, reply)
	c.out <- x
}

// unanswered ends an exchange without an answer and gives its place back.
func (c *isoConn) unanswered(x *isoExchange, why string) {
	c.forget(x, why)
	<-c.slots
}

// drop ends an exchange whose connection must end with it.
func (c *isoConn) drop(x *isoExchange, why isoEnd) isoEnd {
	c.forget(x, string(why))
	return why
}

func (c *isoConn) forget(x *isoExchange, why string) {
	c.s.o.Metrics.iso.unanswered.WithLabelValues(why).Inc()
	c.s.o.Metrics.Ended(ledger.WireISO, c.s.o.Now().Sub(x.began))
	c.s.release(x)
}

// logAnswer says what was asked and answered, from a list of fields that hold
// no secret.
func (c *isoConn) logAnswer(x *isoExchange, code kessai.ResponseCode, reply *authz.Reply) {
	ctx := context.Background()
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	var id kessai.TxID
	var replayed bool
	if reply != nil {
		id, replayed = reply.Tx.ID, reply.Replayed
	}
	c.log.LogAttrs(ctx, slog.LevelDebug, "ISO 8583 request answered",
		slog.Uint64("request", x.number),
		slog.String("mti", x.in.MTI.String()),
		slog.String("kind", x.kind),
		slog.String("code", code.String()),
		slog.String("transaction", id.String()),
		slog.String("terminal", x.request.Terminal.String()),
		slog.Bool("replayed", replayed),
		slog.Duration("took", c.s.o.Now().Sub(x.began)))
}
