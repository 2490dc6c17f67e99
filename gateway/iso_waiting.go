package gateway

import (
	"sync"

	"kessai"
	"kessai/authz"
	"kessai/authz/confirm"
	"kessai/authz/ledger"
	"kessai/pos/iso8583"
)

// isoWait is a message whose answer waits for a customer. It holds no goroutine,
// and no place among the messages in flight.
type isoWait struct {
	c      *isoConn
	frame  []byte // the message as it came: it carries no card
	tpdu   iso8583.TPDU
	number uint64
	kind   kessai.Kind
	ticket confirm.Ticket
}

// isoWaits are those of one connection, and what was decided and is not answered
// yet. A goroutine answers while there is something to answer.
type isoWaits struct {
	mu        sync.Mutex
	open      map[*isoWait]struct{}
	decided   []isoDecision
	answering bool
	ended     bool // the connection is ending: nobody waits any more
	done      sync.WaitGroup
}

type isoDecision struct {
	w *isoWait
	t ledger.Tx
}

// later reports whether a message is answered when the customer has decided, and
// keeps it until then. The first answer to a terminal that is to show a number or a
// QR code comes at once; the repeat of such a message (0201) waits.
func (c *isoConn) later(b *isoBatch, m isoMessage, x *isoCodec, a *authz.Ask) bool {
	if a.Reply.Code != kessai.RequestInProgress || c.s.o.Engine == nil {
		return false
	}
	how, _, _ := iso8583.Private(x.in.Get(48), iso8583.PrivateConfirm)
	waits := string(how) == isoConfirmWaits || string(how) == isoConfirmReader
	if !waits && (!a.Reply.Replayed || x.in.MTI[3] != '1') {
		return false
	}
	w := &isoWait{c: c, tpdu: m.tpdu, number: m.number, kind: a.Request.Kind}
	if !c.waits.add(w, c.s) {
		c.s.o.Metrics.Refused(ledger.WireISO, RefusedWaiting)
		return false // 09 is the truth, and the terminal may ask again
	}
	w.frame = append([]byte(nil), b.body(m)...)
	c.s.o.Metrics.Ended(ledger.WireISO, c.s.o.Now().Sub(b.began), 1)
	c.leave(1)
	ticket, err := c.s.o.Engine.Await(a.Reply.Tx.ID, w.decided)
	if err != nil { // too many wait for this one
		w.decided(a.Reply.Tx)
		return true
	}
	c.waits.mu.Lock()
	w.ticket = ticket
	ended := c.waits.ended
	c.waits.mu.Unlock()
	if ended {
		c.s.o.Engine.Leave(ticket)
	}
	return true
}

// add keeps a message, where there is room on its connection and its listener.
func (q *isoWaits) add(w *isoWait, s *ISO) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended || len(q.open) >= s.o.MaxWaitingPerConn {
		return false
	}
	if s.waiting.Add(1) > int64(s.o.MaxWaiting) {
		s.waiting.Add(-1)
		return false
	}
	if q.open == nil {
		q.open = make(map[*isoWait]struct{})
	}
	q.open[w] = struct{}{}
	return true
}

// any reports whether a message waits.
func (q *isoWaits) any() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.open) > 0 || q.answering
}

// decided hands a payment that waits no more to whoever answers on the connection.
// It does not block: it is called while the book makes its blocks.
func (w *isoWait) decided(t ledger.Tx) {
	q := &w.c.waits
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.open[w]; !ok {
		return // the connection is gone
	}
	delete(q.open, w)
	w.c.s.waiting.Add(-1)
	q.decided = append(q.decided, isoDecision{w, t})
	if !q.answering {
		q.answering = true
		q.done.Add(1)
		go w.c.answerDecided()
	}
}

// answerDecided answers what was decided until there is nothing left.
func (c *isoConn) answerDecided() {
	q := &c.waits
	defer q.done.Done()
	for {
		q.mu.Lock()
		decided := q.decided
		if q.decided = nil; len(decided) == 0 {
			q.answering = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for len(decided) > 0 {
			n := min(len(decided), maxKeptBatch)
			c.answerLate(decided[:n])
			decided = decided[n:]
		}
	}
}

// answerLate writes answers together. They count as in flight while that lasts.
func (c *isoConn) answerLate(decided []isoDecision) {
	s := c.s
	b := s.pool.Get().(*isoBatch)
	b.began = s.o.Now()
	c.inFlight.Add(int64(len(decided)))
	s.o.Metrics.Began(ledger.WireISO, len(decided))
	x := s.codec()
	for i := range decided {
		w, t := decided[i].w, &decided[i].t
		m := isoMessage{tpdu: w.tpdu, number: w.number}
		if err := s.o.Dialect.Decode(&x.in, w.frame); err != nil || t.Status == 0 {
			// The book has failed, and nobody can say how the payment stands; or the
			// message cannot be read, which it could before.
			c.unanswered(b, "outcome_unknown")
			continue
		}
		reply := authz.Reply{Tx: *t, Code: t.Standing()}
		c.answer(b, m, x, w.kind, reply.Code, &reply)
	}
	s.done(x)
	c.flush(b)
	s.release(b)
}

// abandon lets nobody wait any more on a connection that is ending. What was decided
// is still answered; what waits stays in the book, and a repeat joins it.
func (c *isoConn) abandon() {
	q := &c.waits
	q.mu.Lock()
	q.ended = true
	open := q.open
	q.open = nil
	tickets := make([]confirm.Ticket, 0, len(open))
	for w := range open {
		tickets = append(tickets, w.ticket)
	}
	q.mu.Unlock()
	for _, t := range tickets {
		c.s.o.Engine.Leave(t)
	}
	if n := len(open); n > 0 {
		c.s.waiting.Add(-int64(n))
		c.s.o.Metrics.iso.unanswered.WithLabelValues("still_waiting").Add(float64(n))
	}
	q.done.Wait()
}
