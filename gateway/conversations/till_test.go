package conversations

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"kessai"
	"kessai/pos/iso8583"
	"kessai/pos/sim"
)

// card is a card as a story names it.
type card struct{ pan, expiry string }

var cards = map[string]card{
	"suzuki":   {"4242424242424242", "2912"},
	"sato":     {"5555555555554444", "2912"},
	"third":    {"4111111111111111", "2912"},
	"stolen":   {"4000000000000002", "2912"},
	"lost":     {"4000000000000044", "2912"},
	"expired":  {"4000000000000069", "2001"},
	"unknown":  {"4000056655665556", "2912"},
	"mistyped": {"4242424242424241", "2912"},
}

// readerCards are cards that only readers are given.
var readerCards = map[string]card{"without-pin": {"4012888888881881", "2912"}}

// till is a terminal that speaks ISO 8583.
type till struct {
	name, terminal string
	stan           kessai.STAN
	client         *sim.Client // nil while there is no connection
}

// isoSaid is a message with what is needed to speak of it.
type isoSaid struct{ message *iso8583.Message }

func newTills() map[string]*till {
	all := make(map[string]*till)
	for name, terminal := range map[string]string{
		"till": "AOI00001", "till2": "AOI00002", "till3": "AOI00003",
		"suspended": "AOI00009", "machine": "VEND0001", "stranger": "NOBODY01",
	} {
		all[name] = &till{name: name, terminal: terminal}
	}
	return all
}

func (t *till) hangUp() {
	if t.client != nil {
		_ = t.client.Close()
		t.client = nil
	}
}

// connect makes a connection where there is none, or none any more.
func (t *till) connect(p *play) (*sim.Client, error) {
	if t.client != nil {
		select {
		case <-t.client.Done():
			t.client = nil
		default:
			return t.client, nil
		}
	}
	conn, err := p.iso.dial()
	if err != nil {
		return nil, err
	}
	t.client = sim.New(conn, sim.Options{Timeout: longPatience})
	return t.client, nil
}

// tillAsks makes ready what a terminal says.
func (p *play) tillAsks(t *till, w words) (ask, error) {
	switch w.verb {
	case "hang-up":
		t.hangUp()
		return func() answer { return answer{who: t.name, text: "hung up"} }, nil
	case "frame":
		body, err := hex.DecodeString(strings.ReplaceAll(w.rest, " ", ""))
		return func() answer { return p.raw(t, body) }, err
	case "message":
		d, _ := iso8583.ByName(iso8583.ASCII)
		body, err := iso8583.EncodeJSON(d, []byte(w.rest))
		return func() answer { return p.raw(t, body) }, err
	}
	m, err := p.message(t, w)
	if err != nil {
		return nil, err
	}
	said := &utterance{who: t.name, iso: &isoSaid{m}}
	p.called(w, said)
	said.amount, err = w.amount()
	again := sim.Repeat(m)
	said.again = func() ask { return p.exchange(t, again, said) }
	return p.exchange(t, m, said), err
}

// message makes the message that a terminal's words stand for.
func (p *play) message(t *till, w words) (*iso8583.Message, error) {
	s, err := p.sale(t, w)
	if err != nil {
		return nil, err
	}
	of, err := p.isoOriginal(w)
	if err != nil {
		return nil, err
	}
	m, err := saleMessage(s, w, of)
	if err != nil {
		return nil, err
	}
	if private := p.confirmWords(w); private != nil {
		m.Set(48, private)
	}
	if mti := w.named["mti"]; mti != "" {
		m.MTI = iso8583.MTI([]byte(mti))
	}
	for _, f := range w.fields {
		n, err := strconv.Atoi(f[0])
		if err != nil {
			return nil, err
		}
		m.Unset(n)
		if f[1] != "" {
			m.SetString(n, f[1])
		}
	}
	return m, nil
}

func saleMessage(s sim.Sale, w words, of sim.Original) (*iso8583.Message, error) {
	cash, _ := strconv.ParseInt(w.or("cash", "0"), 10, 64)
	leaving, _ := strconv.ParseInt(w.or("leaving", "0"), 10, 64)
	if w.verb != "refund" && of == (sim.Original{}) && strings.Contains(" increment complete release reverse ", " "+w.verb+" ") {
		return nil, errors.New("of= is missing")
	}
	switch w.verb {
	case "purchase":
		return s.Purchase(), nil
	case "cash-back":
		return s.CashBack(cash), nil
	case "refund":
		return s.Refund(of), nil
	case "balance":
		return s.Balance(), nil
	case "verify":
		return s.Verify(), nil
	case "open":
		return s.Open(), nil
	case "retained":
		return s.Kept(w.or("code", "43")), nil
	case "pre-auth":
		return s.PreAuth(), nil
	case "increment":
		return s.Increment(of), nil
	case "complete":
		return s.Complete(of), nil
	case "release":
		return s.Release(of), nil
	case "reverse":
		return s.Reverse(of, leaving), nil
	case "sign-on":
		return s.SignOn(), nil
	case "sign-off":
		return s.SignOff(), nil
	case "echo":
		return s.Echo(), nil
	}
	return nil, errors.New("a terminal does not say that")
}

// sale gathers what a terminal knows.
func (p *play) sale(t *till, w words) (s sim.Sale, err error) {
	t.stan++
	s = sim.Sale{Terminal: w.or("terminal", t.terminal), Merchant: w.named["merchant"], STAN: t.stan, Time: time.Now().UTC(), Currency: kessai.JPY}
	if s.Amount, err = w.amount(); err != nil {
		return s, err
	}
	if text, ok := w.named["stan"]; ok {
		if s.STAN, ok = kessai.ParseSTAN(text); !ok {
			return s, errors.New("stan= is no STAN")
		}
	}
	if text, ok := w.named["currency"]; ok {
		if s.Currency, ok = kessai.ParseCurrency(text); !ok {
			return s, errors.New("currency= is no currency")
		}
	}
	if name, ok := w.named["card"]; ok {
		c, ok := cards[name]
		if !ok {
			return s, errors.New("nobody knows that card")
		}
		s.PAN, _ = kessai.ParsePAN(c.pan) // a mistyped one is said as it is
		s.Expiry = w.or("expiry", c.expiry)
	}
	if s.Dialogue, err = p.dialogue(w); err != nil {
		return s, err
	}
	if of, ok := p.said[w.named["of"]]; ok && w.verb == "reverse" && len(w.plain) == 0 {
		s.Amount = of.amount
	}
	return s, nil
}

// isoOriginal finds out how to name the original: as by= says, and without it by
// request where there was one over ISO 8583.
func (p *play) isoOriginal(w words) (sim.Original, error) {
	of, ok := w.named["of"]
	if !ok {
		return sim.Original{}, nil
	}
	if n, err := strconv.ParseUint(of, 10, 64); err == nil {
		return sim.Original{RRN: kessai.TxID(n).RRN(), ApprovalCode: kessai.TxID(n).ApprovalCode()}, nil
	}
	u, ok := p.said[of]
	switch {
	case !ok:
		return sim.Original{}, fmt.Errorf("nothing was called %s", of)
	case u.iso != nil && w.or("by", "request") == "request":
		return sim.ByRequest(u.iso.message), nil
	case u.id == 0:
		return sim.Original{}, fmt.Errorf("no number of %s was heard", of)
	}
	return sim.Original{RRN: u.id.RRN(), ApprovalCode: u.id.ApprovalCode()}, nil
}

// exchange sends a message over the terminal's connection. One that is not to be
// answered yet may be named while it waits.
func (p *play) exchange(t *till, m *iso8583.Message, said *utterance) ask {
	client, err := t.connect(p)
	return func() answer {
		began := time.Now()
		var reply *iso8583.Message
		if err == nil {
			ctx, cancel := context.WithTimeoutCause(context.Background(), patienceFor(m), sim.ErrTimeout)
			reply, err = client.Do(ctx, m)
			cancel()
		}
		a := answer{who: t.name, after: time.Since(began), said: said}
		switch {
		case err == nil:
			p.heardISO(&a, m, reply)
		case errors.Is(err, sim.ErrTimeout):
			a.text = "(silence)"
		case errors.Is(err, sim.ErrClosed):
			a.text = "(connection closed)"
		default:
			a.text = "(" + err.Error() + ")"
		}
		return a
	}
}

// longPatience is how long a terminal waits where a customer is to decide.
const longPatience = 150 * time.Second

func patienceFor(m *iso8583.Message) time.Duration {
	if how, ok, _ := iso8583.Private(m.Get(48), iso8583.PrivateConfirm); ok && (string(how) == "P" || string(how) == "R" || m.MTI[3] == '1') {
		return longPatience
	}
	return patience
}

// raw sends bytes over a connection of their own.
func (p *play) raw(t *till, body []byte) answer {
	began := time.Now()
	reply, err := p.rawExchange(body)
	a := answer{who: t.name, after: time.Since(began)}
	switch {
	case err == nil:
		p.heardISO(&a, nil, reply)
	case errors.Is(err, os.ErrDeadlineExceeded):
		a.text = "(silence)"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		a.text = "(connection closed)"
	default:
		a.text = "(" + err.Error() + ")"
	}
	return a
}

func (p *play) rawExchange(body []byte) (*iso8583.Message, error) {
	conn, err := p.iso.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	frame, err := iso8583.Framing{}.Append(nil, iso8583.TPDU{}, body)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(frame); err != nil {
		return nil, err
	}
	f, err := iso8583.NewFrameReader(conn, iso8583.Framing{}, 4096).Next(nil)
	if err != nil {
		return nil, err
	}
	reply := new(iso8583.Message)
	d, _ := iso8583.ByName(iso8583.ASCII)
	return reply, d.Decode(reply, f.Body)
}

// heardISO puts an answer into words, and notes what it covers.
func (p *play) heardISO(a *answer, request, reply *iso8583.Message) {
	code, err := strconv.Atoi(string(reply.Get(39)))
	if err != nil {
		a.text = reply.MTI.String() + " without a response code"
		return
	}
	c := kessai.ResponseCode(code)
	a.text = fmt.Sprintf("%s %s (%s)", reply.MTI, c, c.Text())
	if id, ok := kessai.ParseTxID(string(reply.Get(37))); ok {
		a.id = id
		a.numbers = "rrn=" + id.RRN()
	}
	if reply.Has(38) {
		a.numbers += " approval=" + string(reply.Get(38))
	}
	if a.dialogue = sim.Dialogue(reply); a.dialogue != "" {
		a.tail = " dialogue"
	}
	for _, e := range [...]struct{ tag, is string }{
		{iso8583.PrivateNumber, "number="}, {iso8583.PrivateQR, "qr="}, {iso8583.PrivateText, "because: "},
	} {
		if v, ok, _ := iso8583.Private(reply.Get(48), e.tag); ok {
			a.tail += " " + e.is + string(v)
		}
	}
	if v := strings.TrimLeft(string(reply.Get(4)), "0"); v != "" {
		a.tail = " amount=" + v + a.tail
	}
	if b := reply.Get(54); len(b) == 20 {
		a.tail += fmt.Sprintf(" available=%s%s", map[byte]string{'D': "-"}[b[7]], strings.TrimLeft(string(b[8:]), "0"))
	}
	amount, _ := strconv.ParseInt(string(reply.Get(4)), 10, 64)
	a.brief = brief(c.String(), reply.MTI[1] == '4', amount)
	p.seen.add("iso8583: %s is heard", c)
	if request == nil || c != kessai.Approved {
		return
	}
	p.seen.add("%s is answered with 00", request.MTI)
	if request.Has(70) {
		p.seen.add("network management %s is answered with 00", request.Get(70))
	}
	if request.MTI[1] == '4' {
		kind := "a"
		if request.Has(95) {
			kind = "a partial"
		}
		by := 90
		if request.Has(37) {
			by = 37
		}
		p.seen.add("%s reversal by DE%d", kind, by)
	}
}
