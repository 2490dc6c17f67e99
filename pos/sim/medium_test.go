package sim_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"kessai"
	"kessai/pos/iso8583"
	"kessai/pos/purse"
	"kessai/pos/sim"
)

var chipID = kessai.MediumID{0xc1}

func chipKey(t *testing.T) purse.Key {
	t.Helper()
	m, err := purse.NewMaster([]byte("a master key that is for tests only"))
	if err != nil {
		t.Fatal(err)
	}
	return m.Key(chipID)
}

func newChip(t *testing.T) *sim.Medium {
	return sim.NewMedium(chipKey(t), purse.State{Medium: chipID, Currency: kessai.JPY})
}

func loadOf(t *testing.T, s purse.State, tx kessai.TxID, amount int64) *purse.Order {
	o := &purse.Order{
		Medium: s.Medium, Counter: s.Counter, Balance: s.Balance + amount, Currency: s.Currency,
		Transaction: tx, Operation: purse.Load, Amount: amount,
	}
	chipKey(t).SignOrder(o)
	return o
}

// TestV7_MediumIsOneOrTheOther: whenever it is torn, a medium is what it was or
// what it is to be, and its counter only ever goes up.
func TestV7_MediumIsOneOrTheOther(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	m := newChip(t)
	last, balance := uint32(0), int64(0)
	for tx := kessai.TxID(1); tx < 3_000; tx++ {
		s, err := m.Read()
		key := chipKey(t)
		if err != nil || s.Counter <= last || s.Balance != balance || !key.VerifyState(&s) {
			t.Fatalf("after %d: %+v, %v; had %d", tx, s, err, balance)
		}
		last = s.Counter
		tear := []sim.Tear{sim.TearNone, sim.TearReceived, sim.TearHalf, sim.TearWritten}[rnd.IntN(4)]
		told, err := m.Write(loadOf(t, s, tx, 7), tear)
		if (err == nil) != (tear == sim.TearNone) || err != nil && !errors.Is(err, sim.ErrTorn) {
			t.Fatalf("torn at %q: %+v, %v", tear, told, err)
		}
		if tear == sim.TearNone || tear == sim.TearWritten {
			balance += 7
		}
		if got, _ := m.Peek(); got != balance {
			t.Fatalf("torn at %q: it carries %d, want %d", tear, got, balance)
		}
		if err == nil {
			last = told.Counter
		}
	}
}

// TestV7_OldOrderIsDead: an order for a state that is not the newest is not
// written, nor is one twice.
func TestV7_OldOrderIsDead(t *testing.T) {
	m := newChip(t)
	s, _ := m.Read()
	o := loadOf(t, s, 1, 500)
	if _, err := m.Read(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Write(o, sim.TearNone); !errors.Is(err, purse.ErrDead) {
		t.Errorf("an order for a state before: %v", err)
	}
	s, _ = m.Read()
	o = loadOf(t, s, 2, 500)
	if _, err := m.Write(o, sim.TearNone); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Write(o, sim.TearNone); !errors.Is(err, purse.ErrDead) {
		t.Errorf("an order twice: %v", err)
	}
}

func TestV7_ControlMediumWithOneSlotIsTorn(t *testing.T) {
	m := newChip(t).WithoutAntiTearing()
	s, _ := m.Read()
	_, _ = m.Write(loadOf(t, s, 5, 500), sim.TearHalf)
	if balance, last := m.Peek(); balance == 0 || last == 5 {
		t.Errorf("it carries %d, written by %d: half a record made no difference", balance, last)
	}
}

func TestIssuedMedium(t *testing.T) {
	key := chipKey(t)
	s := purse.State{Medium: chipID, Currency: kessai.JPY}
	key.SignState(&s)
	line := func(key, state string) []byte { return fmt.Appendf(nil, `{"key":"%s","state":"%s"}`, key, state) }
	good := hex.EncodeToString(key.Reveal())
	m, err := sim.IssuedMedium(line(good, s.Hex()))
	if err != nil || m.ID() != chipID {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", m, m, m, m); strings.Contains(text, good[:8]) || strings.Contains(text, fmt.Sprint(key.Reveal()[:3])) {
		t.Errorf("a medium prints as %s", text)
	}
	s.Balance = 5
	for name, bad := range map[string][]byte{
		"nothing":   nil,
		"no key":    line("", s.Hex()),
		"short key": line(good[2:], s.Hex()),
		"altered":   line(good, s.Hex()),
		"no state":  line(good, "00"),
	} {
		if _, err := sim.IssuedMedium(bad); err == nil || strings.Contains(err.Error(), good[:8]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPurseMessages: every dialect can carry what is said about e-money.
func TestPurseMessages(t *testing.T) {
	s, _ := newChip(t).Read()
	q := sale(7)
	q.Dialogue = strings.Repeat("a", 32)
	for processing, m := range map[string]*iso8583.Message{
		"400060": q.Load(&s), "406000": q.Unload(&s), "006000": q.PursePurchase(&s), "316000": q.PurseBalance(&s),
	} {
		for _, d := range iso8583.BuiltIn() {
			b, err := d.Append(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			var back iso8583.Message
			if err := d.Decode(&back, b); err != nil {
				t.Fatal(err)
			}
			text, ok, err := iso8583.Private(back.Get(48), iso8583.PrivateState)
			if string(back.Get(3)) != processing || !ok || err != nil || string(text) != s.Hex() {
				t.Errorf("%s %s: %s, %v", d.Name(), processing, text, err)
			}
			if _, ok, _ := iso8583.Private(back.Get(48), iso8583.PrivateDialogue); !ok {
				t.Errorf("%s %s: the dialogue is gone", d.Name(), processing)
			}
		}
	}
	confirm := q.ConfirmPurse(kessai.Unload, &s, sim.Original{RRN: "000000000042", ApprovalCode: "123456"})
	if confirm.MTI.String() != "0220" || string(confirm.Get(3)) != "406000" || string(confirm.Get(37)) != "000000000042" {
		t.Errorf("%s", confirm.MTI)
	}
}

// TestContactEndsWhereItIsTorn drives a contact against a wire that keeps count.
func TestContactEndsWhereItIsTorn(t *testing.T) {
	for tear, want := range map[sim.Tear]string{
		sim.TearNone: "ask confirm", sim.TearOrder: "ask", sim.TearReceived: "ask", sim.TearHalf: "ask",
		sim.TearWritten: "ask", sim.TearAnswered: "ask", sim.TearConfirmed: "ask confirm",
	} {
		m, said := newChip(t), []string{}
		w := sim.PurseWire{
			Ask: func(_ context.Context, _ kessai.Kind, amount int64, s *purse.State) (sim.PurseAnswer, error) {
				said = append(said, "ask")
				return sim.PurseAnswer{Code: "00", ID: 1, Order: loadOf(t, *s, 1, amount)}, nil
			},
			Confirm: func(_ context.Context, _ kessai.Kind, of kessai.TxID, s *purse.State) (sim.PurseAnswer, error) {
				if said = append(said, "confirm"); of != 1 || s.Last != 1 {
					t.Errorf("confirms %d with %+v", of, s)
				}
				return sim.PurseAnswer{Code: "00", Amount: s.Balance}, nil
			},
		}
		_, err := w.Contact(t.Context(), m, kessai.Load, 500, tear)
		if strings.Join(said, " ") != want || errors.Is(err, sim.ErrTorn) != (tear != sim.TearNone) {
			t.Errorf("torn at %q: %v, %v", tear, said, err)
		}
	}
}
