package sim

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"kessai"
	"kessai/pos/iso8583"
	"kessai/pos/purse"
)

// Load puts Amount on a medium: 0200, processing code 40 from account 00 to 60.
func (s Sale) Load(state *purse.State) *iso8583.Message {
	return withState(s.financial("0200", "400060", true), state)
}

// Unload takes Amount off a medium: 0200, processing code 40 from account 60 to 00.
func (s Sale) Unload(state *purse.State) *iso8583.Message {
	return withState(s.financial("0200", "406000", true), state)
}

// PursePurchase asks for a sale that is paid with what is on a medium: 0200,
// processing code 00 from account 60.
func (s Sale) PursePurchase(state *purse.State) *iso8583.Message {
	return withState(s.financial("0200", "006000", true), state)
}

// PurseBalance asks what is on a medium: 0100, processing code 31 of account 60.
func (s Sale) PurseBalance(state *purse.State) *iso8583.Message {
	return withState(s.financial("0100", "316000", false), state)
}

// ConfirmPurse tells what a medium says after it was to be written: 0220 with the
// processing code of the request. The original may be zero.
func (s Sale) ConfirmPurse(kind kessai.Kind, state *purse.State, o Original) *iso8583.Message {
	processing := map[kessai.Kind]string{kessai.Load: "400060", kessai.Unload: "406000"}[kind]
	if processing == "" {
		processing = "006000"
	}
	m := withState(s.financial("0220", processing, s.Amount != 0), state)
	if o != (Original{}) {
		o.set(m)
	}
	return m
}

func withState(m *iso8583.Message, state *purse.State) *iso8583.Message {
	if state != nil {
		m.Set(48, iso8583.AppendPrivate(m.Get(48), iso8583.PrivateState, []byte(state.Hex())))
	}
	return m
}

// PurseOrder gives the order that an answer carries; nil where it carries none.
func PurseOrder(reply *iso8583.Message) (*purse.Order, error) {
	text, given, err := iso8583.Private(reply.Get(48), iso8583.PrivateOrder)
	if err != nil || !given {
		return nil, err
	}
	o, err := purse.ParseOrderHex(text)
	return &o, err
}

// PurseAnswer is what a terminal is told about e-money, over either wire.
type PurseAnswer struct {
	Code   string       // DE39
	ID     kessai.TxID  // DE37; zero: nothing was recorded
	Amount int64        // of a confirmation: what stands
	Order  *purse.Order // what the medium is to write; nil: nothing
}

// PurseWire is how a terminal asks about e-money. An error means that no answer
// came.
type PurseWire struct {
	Ask     func(ctx context.Context, kind kessai.Kind, amount int64, state *purse.State) (PurseAnswer, error)
	Confirm func(ctx context.Context, kind kessai.Kind, of kessai.TxID, state *purse.State) (PurseAnswer, error)
}

// Contact carries out one load, unload or purchase with a medium as a terminal
// does: it reads it, asks, has it write, and confirms; all up to the moment at
// which it is torn. It gives the last answer that the terminal heard. ErrTorn
// says that the end is not known to the terminal, whatever it is.
func (w PurseWire) Contact(ctx context.Context, m *Medium, kind kessai.Kind, amount int64, tear Tear) (PurseAnswer, error) {
	state, err := m.Read()
	if err != nil {
		return PurseAnswer{}, err
	}
	answer, err := w.Ask(ctx, kind, amount, &state)
	switch {
	case err != nil:
		return answer, err
	case tear == TearOrder:
		return PurseAnswer{}, ErrTorn
	case answer.Order == nil:
		return answer, nil
	}
	state, err = m.Write(answer.Order, tear)
	switch {
	case err != nil:
		return answer, err
	case tear == TearAnswered:
		return answer, ErrTorn
	}
	done, err := w.Confirm(ctx, kind, answer.ID, &state)
	if err == nil && tear == TearConfirmed {
		return answer, ErrTorn
	}
	return done, err
}

// PurseOverISO asks over ISO 8583. Sale is what all messages have in common; next
// gives the STAN of each.
func PurseOverISO(c *Client, s Sale, next func() kessai.STAN) PurseWire {
	ask := func(ctx context.Context, m *iso8583.Message) (PurseAnswer, error) {
		reply, err := c.Do(ctx, m)
		if err != nil {
			return PurseAnswer{}, err
		}
		return purseAnswer(reply)
	}
	return PurseWire{
		Ask: func(ctx context.Context, kind kessai.Kind, amount int64, state *purse.State) (PurseAnswer, error) {
			s := s
			s.STAN, s.Amount = next(), amount
			switch kind {
			case kessai.Load:
				return ask(ctx, s.Load(state))
			case kessai.Unload:
				return ask(ctx, s.Unload(state))
			case kessai.PursePurchase:
				return ask(ctx, s.PursePurchase(state))
			case kessai.PurseInquiry:
				return ask(ctx, s.PurseBalance(state))
			}
			return PurseAnswer{}, fmt.Errorf("a %s is not about a medium", kind)
		},
		Confirm: func(ctx context.Context, kind kessai.Kind, of kessai.TxID, state *purse.State) (PurseAnswer, error) {
			s := s
			s.STAN, s.Amount = next(), 0
			var o Original
			if of != 0 {
				o = Original{RRN: of.RRN(), ApprovalCode: of.ApprovalCode()}
			}
			return ask(ctx, s.ConfirmPurse(kind, state, o))
		},
	}
}

func purseAnswer(reply *iso8583.Message) (a PurseAnswer, err error) {
	a.Code = string(reply.Get(39))
	a.ID, _ = kessai.ParseTxID(string(reply.Get(37)))
	if a.Order, err = PurseOrder(reply); err != nil {
		return a, errors.New("the order cannot be read")
	}
	amount := reply.Get(4)
	if b := reply.Get(54); len(b) == 20 {
		amount = b[8:]
	}
	a.Amount, _ = strconv.ParseInt(string(amount), 10, 64)
	return a, nil
}
