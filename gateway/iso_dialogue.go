package gateway

import (
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/iso8583"
)

// isoBeside tells the two messages about a medium that are none of the book's
// kinds: empty where it is neither. 33 is account verification among the inquiry
// services of ISO 8583:1993; the edition of 1987 leaves it to those who use it.
func isoBeside(t iso8583.MTI, processing []byte) string {
	if len(processing) != 6 || string(processing[:2]) != "33" || !isoServed(t) {
		return ""
	}
	switch string(t[1:3]) {
	case "10":
		return kindDialogue
	case "12":
		return kindRetained
	}
	return ""
}

// beside reads such a message: who asks, and about which card.
func (t *isoMapper) beside(r *authz.Request, m *iso8583.Message, now time.Time) isoFault {
	*r = authz.Request{Wire: ledger.WireISO, Received: now}
	if f := missing(m, 7, 11, 41); f.code != 0 {
		return f
	}
	if f := t.source(r, m); f.code != 0 {
		return f
	}
	if _, _, err := iso8583.Private(m.Get(48), iso8583.PrivateDialogue); err != nil {
		return badField(48, whyPrivate)
	}
	return t.card(r, m)
}

const whyPrivate = "is not made of elements with a tag of two characters and a length of three digits, each once"

// private reads the elements of DE48, where there are any or must be.
func (t *isoMapper) private(r *authz.Request, m *iso8583.Message) isoFault {
	if len(m.Get(48)) == 0 && !r.Kind.OnPurse() {
		return isoFault{}
	}
	for _, read := range [...]func(*isoMapper, *authz.Request, *iso8583.Message) isoFault{
		(*isoMapper).dialogue, (*isoMapper).purse, (*isoMapper).confirm,
	} {
		if f := read(t, r, m); f.code != 0 {
			return f
		}
	}
	return isoFault{}
}

// dialogue reads the number of the dialogue that a transaction belongs to.
// Reversals belong to none, and may repeat what their original said.
func (t *isoMapper) dialogue(r *authz.Request, m *iso8583.Message) isoFault {
	number, given, err := iso8583.Private(m.Get(48), iso8583.PrivateDialogue)
	switch {
	case err != nil:
		return badField(48, whyPrivate)
	case !given || r.Kind == kessai.Reversal:
		return isoFault{}
	}
	id, ok := authz.ParseDialogueID(number)
	if !ok {
		return badField(48, "has a dialogue (DI) that is no number of 32 hexadecimal digits")
	}
	r.Dialogue = &authz.InDialogue{ID: id}
	return isoFault{}
}

// besides answers a terminal that opens a dialogue or has kept a medium. An
// opening is answered from memory, before anything that came with it is carried
// out. What needs the registry goes on beside everything else.
func (c *isoConn) besides(b *isoBatch, m isoMessage, x *isoCodec, kind string) {
	s := c.s
	var r authz.Request
	f := s.mapper.beside(&r, &x.in, b.began)
	if f.code == 0 && kind == kindRetained {
		if f = missing(&x.in, 39); f.code == 0 && !isPickUp(x.in.Get(39)) {
			f = badField(39, "is none of the codes that tell to keep a card: 04, 41, 43")
		}
	}
	if f.code == 0 && s.o.Engine == nil {
		f.code = kessai.InvalidTransaction
	}
	if f.code != 0 {
		if f.code == kessai.FormatError {
			c.noteFault(m, x, f)
		}
		c.answerBeside(b, m, x, kind, authz.Opening{Code: f.code})
		return
	}
	if kind == kindDialogue {
		if o, ok := s.o.Engine.Open(&r, c.party); ok {
			c.answerBeside(b, m, x, kind, o)
			return
		}
	}
	if s.inFlight.Add(1) > int64(s.o.MaxInFlight) {
		s.inFlight.Add(-1)
		s.o.Metrics.Refused(ledger.WireISO, RefusedInFlight)
		c.answerBeside(b, m, x, kind, authz.Opening{Code: kessai.SystemMalfunction})
		return
	}
	own := s.pool.Get().(*isoBatch) // b goes its own way
	own.began = b.began
	own.add(iso8583.Frame{Body: b.body(m), TPDU: m.tpdu})
	own.messages[0].number = m.number
	c.serving.Add(1)
	go c.askRegistry(own, &r, kind)
}

func isPickUp(code []byte) bool {
	switch string(code) {
	case "04", "41", "43":
		return true
	}
	return false
}

// askRegistry answers the one message of a batch when the registry has.
func (c *isoConn) askRegistry(b *isoBatch, r *authz.Request, kind string) {
	defer c.serving.Done()
	s := c.s
	var o authz.Opening
	if kind == kindDialogue {
		o = s.o.Engine.OpenAsking(r, c.party)
	} else {
		o.Code = s.o.Engine.Retained(r)
	}
	s.inFlight.Add(-1)
	x := s.codec()
	m := b.messages[0]
	if err := s.o.Dialect.Decode(&x.in, b.body(m)); err != nil { // cannot be: it was decoded before
		c.unanswered(b, "unreadable")
	} else {
		c.answerBeside(b, m, x, kind, o)
	}
	s.done(x)
	c.flush(b)
	s.release(b)
}

// setAside takes the last question out of a batch, because it may have to wait for
// the registry, and what came with it need not wait too. What came of one terminal
// stays together, in its order.
func (c *isoConn) setAside(b *isoBatch, m isoMessage) {
	a := b.asks[len(b.asks)-1]
	b.unask()
	var own *isoBatch
	for _, one := range b.aside {
		if one.terminal == a.Request.Terminal {
			own = one
		}
	}
	if own == nil {
		own = c.s.pool.Get().(*isoBatch)
		own.began, own.terminal = b.began, a.Request.Terminal
		b.aside = append(b.aside, own)
	}
	own.add(iso8583.Frame{Body: b.body(m), TPDU: m.tpdu})
	last := &own.messages[len(own.messages)-1]
	last.number = m.number
	*own.ask(*last) = a
}

// answerBeside puts the answer to those that are ready.
func (c *isoConn) answerBeside(b *isoBatch, m isoMessage, x *isoCodec, kind string, o authz.Opening) {
	var private []byte
	if o.Code == kessai.NoReasonToDecline {
		private = iso8583.AppendPrivate(nil, iso8583.PrivateDialogue, []byte(o.Dialogue.String()))
	}
	metrics := c.s.o.Metrics
	if o.Full {
		metrics.Refused(ledger.WireISO, RefusedDialogues)
	}
	if c.encode(b, m, x, o.Code, nil, private) {
		metrics.answeredBeside(ledger.WireISO, kind, o.Code)
		c.logAnswer(b, m, x, kind, o.Code, nil)
	}
}
