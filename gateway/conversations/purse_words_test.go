package conversations

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/iso8583"
	"kessai/pos/purse"
	"kessai/pos/sim"
)

// carrier is a medium that carries e-money, and what it said last.
type carrier struct {
	*sim.Medium
	said purse.State
}

// purseKinds are the words about the value on a medium.
var purseKinds = map[string]kessai.Kind{
	"load": kessai.Load, "unload": kessai.Unload, "purse-pay": kessai.PursePurchase,
	"purse-balance": kessai.PurseInquiry, "confirm": kessai.PurseSettlement,
}

var purseTears = map[string]sim.Tear{
	"": sim.TearNone, "order": sim.TearOrder, "received": sim.TearReceived, "half": sim.TearHalf,
	"written": sim.TearWritten, "answered": sim.TearAnswered, "confirmed": sim.TearConfirmed,
}

// carrier gives the medium with a card's number, new where there was none.
func (p *play) carrier(name string) (*carrier, error) {
	if c, ok := p.media[name]; ok {
		return c, nil
	}
	k, ok := cards[name]
	if !ok {
		return nil, errors.New("nobody knows that card")
	}
	hasher, err := kessai.NewMediumHasher(bytes.Repeat([]byte{7}, kessai.MinKeyBytes))
	if err != nil {
		return nil, err
	}
	pan, _ := kessai.ParsePAN(k.pan)
	id := hasher.Medium(pan)
	c := &carrier{Medium: sim.NewMedium(purses.Key(id), purse.State{Medium: id, Currency: kessai.JPY})}
	p.media[name] = c
	return c, nil
}

func (p *play) carries(name string) string {
	c, err := p.carrier(name)
	if err != nil {
		p.t.Fatal(err)
	}
	balance, last := c.Peek()
	text := fmt.Sprintf("medium %s carries %d", name, balance)
	if last != 0 {
		text += fmt.Sprintf(", written by %d", last)
	}
	a, ok := p.house.book.AccountByName(ledger.PurseName(c.ID()))
	if !ok {
		return text + "; it has no account\n"
	}
	return fmt.Sprintf("%s; the book has %d, %d held\n", text, a.Balance, a.Held)
}

// states gives what the terminal sends as the medium's state.
func (p *play) states(c *carrier, say string) (purse.State, error) {
	if say == "again" {
		return c.said, nil
	}
	var err error
	if other := cards[say]; other != (card{}) {
		if c, err = p.carrier(say); err != nil {
			return purse.State{}, err
		}
	}
	c.said, err = c.Read()
	s := c.said
	if say == "altered" {
		s.Balance += 1_000
	}
	return s, err
}

// purseAsks makes ready a contact, or a confirmation that was left out.
func (p *play) purseAsks(w words) (ask, error) {
	c, err := p.carrier(w.named["purse"])
	if err != nil {
		return nil, err
	}
	kind, ok := purseKinds[w.verb]
	tear, fine := purseTears[w.named["tear"]]
	if !ok || !fine {
		return nil, errors.New("nobody says that about a medium")
	}
	s, err := p.states(c, w.named["say"])
	if err != nil {
		return nil, err
	}
	said := &utterance{who: w.who}
	p.called(w, said)
	say, again, err := p.purseSays(w, kind, &s, said)
	if err != nil {
		return nil, err
	}
	said.again = func() ask { return func() answer { a, _ := again(); return a } }
	return func() answer {
		began := time.Now()
		a, order := say()
		a.after = time.Since(began)
		if tear == sim.TearOrder {
			return torn(a, "nothing is heard")
		}
		if order == nil {
			return a
		}
		return p.written(w, c, kind, order, tear, a)
	}, nil
}

// torn says how far a contact came.
func torn(a answer, how string) answer {
	if how != "nothing is heard" {
		how = strings.Join(strings.Fields(a.text+" "+a.numbers+" "+a.tail+", "+how), " ")
	}
	a.text, a.numbers, a.tail = how, "", ""
	return a
}

// written has the medium write an order, and confirms it.
func (p *play) written(w words, c *carrier, kind kessai.Kind, order *purse.Order, tear sim.Tear, a answer) answer {
	state, err := c.Write(order, tear)
	if err != nil || tear == sim.TearAnswered {
		if err == nil {
			err = sim.ErrTorn
		}
		return torn(a, err.Error())
	}
	c.said = state
	named := map[string]string{"terminal": w.or("terminal", "")}
	if named["terminal"] == "" {
		delete(named, "terminal")
	}
	confirm, _, err := p.purseSays(words{who: w.who, verb: "confirm", named: named}, kind, &state, &utterance{id: order.Transaction})
	if err != nil {
		return torn(a, err.Error())
	}
	b, _ := confirm()
	if tear == sim.TearConfirmed {
		return torn(a, "written, confirmed, and nothing is heard")
	}
	return torn(a, "written; "+strings.Join(strings.Fields(b.text+" "+b.numbers+" "+b.tail), " "))
}

// purseSays gives what says one thing about a medium over the party's wire, and
// what says it again.
func (p *play) purseSays(w words, kind kessai.Kind, s *purse.State, said *utterance) (say, again func() (answer, *purse.Order), err error) {
	if of, ok := p.said[w.named["of"]]; ok && w.verb == "confirm" {
		said.id = of.id
	}
	if t, ok := p.tills[w.who]; ok {
		m, err := p.purseMessage(t, w, kind, s, said.id)
		if err != nil {
			return nil, nil, err
		}
		over := func(m *iso8583.Message) func() (answer, *purse.Order) {
			return func() (answer, *purse.Order) { return p.purseOverISO(t, m, said) }
		}
		return over(m), over(sim.Repeat(m)), nil
	}
	shop, ok := p.shops[w.who]
	if !ok {
		return nil, nil, errors.New("nobody of that name is here")
	}
	r, err := p.purseCall(shop, w, kind, s, said.id)
	say = func() (answer, *purse.Order) { return p.purseOverJSON(shop, r, said) }
	return say, say, err
}

func (p *play) purseMessage(t *till, w words, kind kessai.Kind, state *purse.State, of kessai.TxID) (*iso8583.Message, error) {
	sale, err := p.sale(t, w)
	if err != nil {
		return nil, err
	}
	var o sim.Original
	if of != 0 {
		o = sim.Original{RRN: of.RRN(), ApprovalCode: of.ApprovalCode()}
	}
	var m *iso8583.Message
	switch {
	case w.verb == "confirm":
		sale.Amount, sale.Dialogue = 0, ""
		m = sale.ConfirmPurse(kind, state, o)
	case kind == kessai.Load:
		m = sale.Load(state)
	case kind == kessai.Unload:
		m = sale.Unload(state)
	case kind == kessai.PursePurchase:
		m = sale.PursePurchase(state)
	default:
		m = sale.PurseBalance(state)
	}
	if mti := w.named["mti"]; mti != "" {
		m.MTI = iso8583.MTI([]byte(mti))
	}
	return m, nil
}

func (p *play) purseOverISO(t *till, m *iso8583.Message, said *utterance) (a answer, order *purse.Order) {
	a = answer{who: t.name, said: said}
	client, err := t.connect(p)
	if err == nil {
		var reply *iso8583.Message
		if reply, err = client.Do(context.Background(), m); err == nil {
			p.heardISO(&a, m, reply)
			if order, err = sim.PurseOrder(reply); order != nil {
				a.tail += " order"
			}
		}
	}
	if err != nil {
		a.text = "(" + err.Error() + ")"
	}
	return a, order
}

func (p *play) purseCall(s *shop, w words, kind kessai.Kind, state *purse.State, of kessai.TxID) (call, error) {
	s.posts++
	c := call{method: "POST", path: "/v1/payments", key: w.or("key", fmt.Sprintf("%s-%d", s.name, s.posts))}
	body := map[string]any{"terminal": w.or("terminal", s.terminal), "purse": state.Hex()}
	amount, err := w.amount()
	if err != nil {
		return c, err
	}
	talk, err := p.dialogue(w)
	if err != nil {
		return c, err
	}
	if w.verb == "confirm" {
		c.path += "/" + of.String() + "/confirm"
	} else {
		body["kind"] = kind.String()
		if amount != 0 {
			body["amount"] = map[string]any{"value": amount, "currency": w.or("currency", "JPY")}
		}
		if k, ok := cards[w.named["card"]]; ok {
			body["medium"] = map[string]any{"pan": k.pan, "expiry": k.expiry}
		}
		if talk != "" {
			c.path = "/v1/dialogues/" + talk + "/transaction"
		}
	}
	text, err := json.Marshal(body)
	c.body = string(text)
	return c, err
}

func (p *play) purseOverJSON(s *shop, c call, said *utterance) (a answer, order *purse.Order) {
	a = answer{who: s.name, said: said}
	resp, body, err := p.roundTrip(s, c)
	if err != nil {
		a.text = "(" + err.Error() + ")"
		return a, nil
	}
	p.heardJSON(&a, resp, body)
	var got struct {
		PurseOrder string `json:"purse_order"`
	}
	if json.Unmarshal(body, &got) == nil && got.PurseOrder != "" {
		if o, err := purse.ParseOrderHex(got.PurseOrder); err == nil {
			order = &o
			a.tail += " order"
		}
	}
	return a, order
}
