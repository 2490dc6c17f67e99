package conversations

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/merchants"
	"kessai/pos/purse"
	"kessai/pos/sim"
)

const (
	tornCards   = 500
	tornOpening = 100_000 // JPY of each customer
)

// TestV7_TornWritesLeaveMoneyConserved tears writes at every step, over both
// wires, and counts the money on all media and in all accounts: in between, when
// they differ by exactly what is pending, and at the end, after one more contact
// of each medium, when they do not differ at all.
func TestV7_TornWritesLeaveMoneyConserved(t *testing.T) {
	r := newTornRun(t, nil)
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	for _, tear := range sim.Tears() {
		if r.torn[tear].Load() < int64(r.each) {
			t.Errorf("%d writes were torn at the moment %q, want %d", r.torn[tear].Load(), tear, r.each)
		}
	}
	s := r.house.book.Stats()
	t.Logf("%d torn writes of %d, %d settled as written, %d as unwritten, %d JPY on media at the end",
		r.tears.Load(), r.contacts.Load(), s.Purses.Written, s.Purses.Unwritten, s.Float[kessai.JPY])
	if s.Purses.Written == 0 || s.Purses.Unwritten == 0 {
		t.Error("one of the two ways in which a torn write ends was never gone")
	}
}

// TestV7_ControlWithoutAntiTearingMustFail does the same with media that take
// half a record for a whole one. The count must find out.
func TestV7_ControlWithoutAntiTearingMustFail(t *testing.T) {
	r := newTornRun(t, (*sim.Medium).WithoutAntiTearing)
	r.each = tornCards
	if err := r.run(); !errors.Is(err, errNotConserved) {
		t.Fatalf("media that half a record stays on were torn, and the count says: %v", err)
	}
}

var errNotConserved = errors.New("money was made, or lost")

// tornRun is a gateway with many media, and rounds in which each of them is used
// once.
type tornRun struct {
	t      *testing.T
	house  *house
	http   string
	iso    []*sim.Client
	media  []*sim.Medium
	ids    []kessai.MediumID
	stan   atomic.Uint32
	each   int // torn writes at each moment
	random *rand.Rand

	torn            [16]atomic.Int64
	tears, contacts atomic.Int64
}

func newTornRun(t *testing.T, change func(*sim.Medium) *sim.Medium) *tornRun {
	h, err := openHouse(dataFolder(t), settings{hold: time.Minute}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	r := &tornRun{t: t, house: h, each: 10_000, random: rand.New(rand.NewPCG(20261122, 7))}
	if raceEnabled {
		r.each = 1_000
	}
	t.Cleanup(r.end)
	r.people(change)
	isoAt, httpAt := r.listener(), r.listener()
	h.serve(isoAt, httpAt)
	r.http = httpAt.Addr().String()
	for range 4 {
		conn, err := net.Dial("tcp", isoAt.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r.iso = append(r.iso, sim.New(conn, sim.Options{MaxInFlight: 256, Timeout: time.Minute}))
	}
	return r
}

func (r *tornRun) listener() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// people brings a shop without limits, customers and their media.
func (r *tornRun) people(change func(*sim.Medium) *sim.Medium) {
	hasher, _ := kessai.NewMediumHasher(bytes.Repeat([]byte{7}, kessai.MinKeyBytes))
	var b strings.Builder
	b.WriteString("merchants: [{id: TORN00000000001, name: Shop, mcc: \"5814\", currency: JPY}]\n")
	b.WriteString("api_keys: [{merchant: TORN00000000001, key: sk_test_torn}]\n")
	b.WriteString("terminals: [{id: TORN0001, merchant: TORN00000000001, operation: attended}]\ncustomers:\n")
	var cards strings.Builder
	for i := range tornCards {
		number := luhn(fmt.Sprintf("49927398%07d", i))
		pan, err := kessai.ParsePAN(number)
		if err != nil {
			r.t.Fatal(err)
		}
		fmt.Fprintf(&b, "  - {id: torn%d, name: Customer, currency: JPY, opening_balance: %d}\n", i, tornOpening)
		fmt.Fprintf(&cards, "  - {pan: \"%s\", customer: torn%d, expiry: \"9912\"}\n", number, i)
		id := hasher.Medium(pan)
		m := sim.NewMedium(purses.Key(id), purse.State{Medium: id, Currency: kessai.JPY})
		if change != nil {
			m = change(m)
		}
		r.media, r.ids = append(r.media, m), append(r.ids, id)
	}
	im, err := merchants.ParseImport("torn.yaml", strings.NewReader(b.String()+"media:\n"+cards.String()))
	if err == nil {
		_, err = r.house.registry.Import(context.Background(), im, nil)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// luhn puts the check digit behind digits.
func luhn(digits string) string {
	for c := '0'; c <= '9'; c++ {
		if _, err := kessai.ParsePAN(digits + string(c)); err == nil {
			return digits + string(c)
		}
	}
	return digits
}

func (r *tornRun) end() {
	for _, c := range r.iso {
		_ = c.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(r.house.shutdown(ctx), r.house.close()); err != nil {
		r.t.Error(err)
	}
}

// wire gives the way over which a medium is used: every sixteenth over JSON.
func (r *tornRun) wire(i int) sim.PurseWire {
	if i%16 == 0 {
		return purseOverJSON{address: r.http, key: "sk_test_torn", terminal: "TORN0001", next: r.next}.wire()
	}
	s := sim.Sale{Terminal: "TORN0001", Merchant: "TORN00000000001", Currency: kessai.JPY, Time: time.Now()}
	return sim.PurseOverISO(r.iso[i%len(r.iso)], s, func() kessai.STAN { return kessai.STAN(r.next() % 1_000_000) })
}

func (r *tornRun) next() uint32 { return r.stan.Add(1) }

// run uses all media in rounds, at one moment after another, and counts.
func (r *tornRun) run() error {
	tears := sim.Tears()
	rounds := (r.each*len(tears) + tornCards - 1) / tornCards
	rounds += len(tears)
	for round := range rounds {
		err := r.all(func(i int, rnd *rand.Rand) error {
			tear := tears[(round+i)%len(tears)]
			if round == 0 {
				tear = sim.TearNone
			}
			kind := []kessai.Kind{kessai.Load, kessai.Unload, kessai.PursePurchase}[rnd.IntN(3)]
			amount := 1 + rnd.Int64N(300)
			if balance, _ := r.media[i].Peek(); balance < 1_000 {
				kind, amount = kessai.Load, 1_000+rnd.Int64N(1_000)
			}
			return r.contact(i, kind, amount, tear)
		})
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round%7 == 0 || round == rounds-1 {
			if err := r.count(false); err != nil {
				return fmt.Errorf("after round %d: %w", round, err)
			}
		}
	}
	// Whatever is pending is settled by one more contact, which only asks.
	if err := r.all(func(i int, _ *rand.Rand) error { return r.contact(i, kessai.PurseInquiry, 0, sim.TearNone) }); err != nil {
		return err
	}
	return r.count(true)
}

// all does something with every medium, many at a time.
func (r *tornRun) all(do func(i int, rnd *rand.Rand) error) error {
	const atOnce = 250
	var running sync.WaitGroup
	errs := make([]error, atOnce)
	for w := range atOnce {
		rnd := rand.New(rand.NewPCG(r.random.Uint64(), uint64(w)))
		running.Go(func() {
			for i := w; i < len(r.media) && errs[w] == nil; i += atOnce {
				errs[w] = do(i, rnd)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// contact uses one medium. Too little money, or too much, is no reason to stop.
func (r *tornRun) contact(i int, kind kessai.Kind, amount int64, tear sim.Tear) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.contacts.Add(1)
	answer, err := r.wire(i).Contact(ctx, r.media[i], kind, amount, tear)
	switch {
	case errors.Is(err, sim.ErrTorn):
		r.torn[tear].Add(1)
		r.tears.Add(1)
		return nil
	case err != nil:
		return fmt.Errorf("medium %d, %s, torn at %q: %w", i, kind, tear, err)
	}
	switch answer.Code {
	case "00", "51", "61":
		return nil
	}
	return fmt.Errorf("%w: medium %d, %s: answered with %s", errNotConserved, i, kind, answer.Code)
}

// count compares every medium with its account, and all accounts with what was put
// in. Where nothing is settled yet, a medium may differ by what is pending on it,
// and by nothing else.
func (r *tornRun) count(settled bool) error {
	var onMedia, float, pending, rest int64
	book := r.house.book
	for i, m := range r.media {
		balance, last := m.Peek()
		a, _ := book.AccountByName(ledger.PurseName(r.ids[i]))
		onMedia, float = onMedia+balance, float+a.Balance
		if balance == a.Balance && (settled || a.Held == 0) {
			continue
		}
		t, ok := book.Find(ledger.Ref{ID: last})
		if open := ok && t.Status == ledger.Pending && t.Purse == a.ID; settled || open && balance != t.Available || !open && balance != a.Balance {
			return fmt.Errorf("%w: medium %d carries %d, its account has %d", errNotConserved, i, balance, a.Balance)
		}
		pending += balance - a.Balance
	}
	stats := book.Stats()
	if onMedia != float+pending || float != stats.Float[kessai.JPY] {
		return fmt.Errorf("%w: %d on media, %d in their accounts, %d written and pending, %d in the float",
			errNotConserved, onMedia, float, pending, stats.Float[kessai.JPY])
	}
	for i := range r.media {
		c, _ := book.AccountByName(fmt.Sprintf("customer/torn%d", i))
		rest += c.Balance
		if settled && c.Held != 0 {
			return fmt.Errorf("%w: %d of customer %d are still held", errNotConserved, c.Held, i)
		}
	}
	shop, _ := book.AccountByName("merchant/TORN00000000001")
	if rest += shop.Balance; rest+float != tornCards*tornOpening {
		return fmt.Errorf("%w: %d with customers and the shop and %d on media, %d were put in", errNotConserved, rest, float, tornCards*tornOpening)
	}
	if settled && stats.HoldsOpen != 0 {
		return fmt.Errorf("%w: %d are still pending", errNotConserved, stats.HoldsOpen)
	}
	return nil
}

// purseClient is shared by all that ask over JSON.
var purseClient = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
