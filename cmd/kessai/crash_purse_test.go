package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/sim"
)

// TestCrash_V7_MoneyOnMediaIsConserved kills the real binary with SIGKILL, again
// and again, while media are loaded, unloaded and paid from, and torn at every
// moment. The media outlive the gateway, as they do. After each kill every medium
// carries what the book has for it, or what is pending on it, and at the end,
// after one more contact of each, nothing is pending and all agree.
func TestCrash_V7_MoneyOnMediaIsConserved(t *testing.T) {
	r := newPurseCrash(t, buildKessai(t, ""))
	r.gateway, r.kills = r.tools, 10
	if os.Getenv("KESSAI_SOAK") != "" {
		r.kills = 300
	}
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills: %d contacts to the end, %d torn, %d cut by a kill; %d found pending", r.kills, r.whole.Load(), r.torn.Load(), r.cut.Load(), r.pending)
	if r.whole.Load() == 0 || r.torn.Load() == 0 || r.cut.Load() == 0 || r.pending == 0 {
		t.Error("some of what this is about never happened")
	}
}

// TestCrash_V7_ControlMustFail runs the same against a gateway that answers before
// a block is on disk and loses what is not: media then carry what no book knows.
func TestCrash_V7_ControlMustFail(t *testing.T) {
	r := newPurseCrash(t, buildKessai(t, ""))
	r.gateway, r.kills = buildKessai(t, "crashcontrol"), 20
	if err := r.run(); !errors.Is(err, errNotConserved) {
		t.Fatalf("a gateway that loses what it acknowledged was killed %d times, and the count says: %v", r.kills, err)
	} else {
		t.Logf("as it has to be: %v", err)
	}
}

var errNotConserved = errors.New("money was made, or lost")

const (
	pursePeople  = 60
	purseOpening = 1_000_000
)

type purseCrash struct {
	gateway, tools, dir string
	kills               int
	random              *rand.Rand
	cards               []string
	media               []*sim.Medium
	stan                atomic.Uint32

	whole, torn, cut atomic.Int64
	pending          int
}

func newPurseCrash(t *testing.T, tools string) *purseCrash {
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-crashseed %d", seed)
	return &purseCrash{tools: tools, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 1))}
}

func (r *purseCrash) data() string { return filepath.Join(r.dir, "data") }

// run gives the first thing that is wrong.
func (r *purseCrash) run() error {
	if err := r.people(); err != nil {
		return err
	}
	for range r.kills {
		g, err := r.start()
		if err != nil {
			return err
		}
		if err := r.load(g); err != nil {
			_ = g.kill()
			return err
		}
		if err := r.count(false); err != nil {
			return err
		}
	}
	g, err := r.start()
	if err != nil {
		return err
	}
	if err := errors.Join(r.settle(g), g.stop()); err != nil {
		return err
	}
	return r.count(true)
}

// people makes customers with their media, all by the command line.
func (r *purseCrash) people() error {
	var shop, numbers strings.Builder
	fmt.Fprintf(&shop, "merchants:\n  - {id: %s, name: Shop, mcc: \"5814\", currency: JPY}\n", crashMerchant)
	fmt.Fprintf(&shop, "terminals:\n  - {id: CRASH001, merchant: %s, operation: attended}\ncustomers:\n", crashMerchant)
	for i := range pursePeople {
		r.cards = append(r.cards, randomCard(r.random, 16))
		fmt.Fprintf(&shop, "  - {id: c%d, name: Customer, currency: JPY, opening_balance: %d}\n", i, purseOpening)
	}
	shop.WriteString("media:\n")
	for i, number := range r.cards {
		fmt.Fprintf(&shop, "  - {pan: \"%s\", customer: c%d, expiry: \"9912\"}\n", number, i)
		fmt.Fprintln(&numbers, number)
	}
	file := filepath.Join(r.dir, "shop.yaml")
	if err := os.WriteFile(file, []byte(shop.String()), 0o600); err != nil {
		return err
	}
	if out, err := exec.Command(r.tools, "import", "--data", r.data(), file).CombinedOutput(); err != nil {
		return fmt.Errorf("kessai import: %w\n%s", err, out)
	}
	records := filepath.Join(r.dir, "media.jsonl")
	issue := exec.Command(r.tools, "purse", "issue", "--data", r.data(), "--out", records, "-")
	issue.Stdin = strings.NewReader(numbers.String())
	if out, err := issue.CombinedOutput(); err != nil {
		return fmt.Errorf("kessai purse issue: %w\n%s", err, out)
	}
	f, err := os.Open(records)
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m, err := sim.IssuedMedium(lines.Bytes())
		if err != nil {
			return err
		}
		r.media = append(r.media, m)
	}
	if len(r.media) != pursePeople {
		return fmt.Errorf("%d media were issued, not %d", len(r.media), pursePeople)
	}
	return nil
}

func (r *purseCrash) start() (*crashGateway, error) {
	g, err := launch(r.gateway, r.dir, "--data", r.data(), "--set", `iso.listeners=[{address: "127.0.0.1:0"}]`)
	if err != nil {
		return nil, err
	}
	if err := g.ready(); err != nil {
		_ = g.kill()
		return nil, err
	}
	return g, nil
}

func (r *purseCrash) client(g *crashGateway) (*sim.Client, error) {
	conn, err := net.Dial("tcp", g.ISO[0])
	if err != nil {
		return nil, err
	}
	return sim.New(conn, sim.Options{Timeout: patience}), nil
}

func (r *purseCrash) wire(c *sim.Client) sim.PurseWire {
	s := sim.Sale{Terminal: "CRASH001", Merchant: crashMerchant, Currency: kessai.JPY, Time: time.Now()}
	return sim.PurseOverISO(c, s, func() kessai.STAN { return kessai.STAN(r.stan.Add(1) % 1_000_000) })
}

// load uses the media without pause and kills the gateway at some moment.
func (r *purseCrash) load(g *crashGateway) error {
	const lanes = 20
	var running sync.WaitGroup
	errs := make([]error, lanes)
	for lane := range lanes {
		c, err := r.client(g)
		if err != nil {
			return err
		}
		defer c.Close()
		rnd := rand.New(rand.NewPCG(r.random.Uint64(), 0))
		running.Go(func() {
			for errs[lane] == nil {
				i := lane + lanes*rnd.IntN(pursePeople/lanes)
				if more, err := r.contact(c, r.media[i], rnd); err != nil {
					errs[lane] = fmt.Errorf("medium %d: %w", i, err)
				} else if !more {
					return
				}
			}
		})
	}
	time.Sleep(time.Duration(20+r.random.IntN(200)) * time.Millisecond) // the moment of the kill
	err := g.kill()
	running.Wait()
	return errors.Join(append(errs, err)...)
}

// contact uses a medium once. It is false when the gateway is gone.
func (r *purseCrash) contact(c *sim.Client, m *sim.Medium, rnd *rand.Rand) (more bool, err error) {
	kind := []kessai.Kind{kessai.Load, kessai.Load, kessai.Unload, kessai.PursePurchase, kessai.PurseInquiry}[rnd.IntN(5)]
	amount := 1 + rnd.Int64N(500)
	if kind == kessai.PurseInquiry {
		amount = 0
	}
	tear := sim.TearNone
	if tears := sim.Tears(); rnd.IntN(2) == 0 {
		tear = tears[rnd.IntN(len(tears))]
	}
	answer, err := r.wire(c).Contact(context.Background(), m, kind, amount, tear)
	switch {
	case errors.Is(err, sim.ErrTorn):
		r.torn.Add(1)
		return true, nil
	case errors.Is(err, sim.ErrClosed):
		r.cut.Add(1)
		return false, nil
	case err != nil:
		return false, err
	case answer.Code != "00" && answer.Code != "51":
		return false, fmt.Errorf("%w: a %s is answered with %s", errNotConserved, kind, answer.Code)
	}
	r.whole.Add(1)
	return true, nil
}

// settle asks once more what is on each medium, which ends what is pending there.
func (r *purseCrash) settle(g *crashGateway) error {
	c, err := r.client(g)
	if err != nil {
		return err
	}
	defer c.Close()
	for i, m := range r.media {
		answer, err := r.wire(c).Contact(context.Background(), m, kessai.PurseInquiry, 0, sim.TearNone)
		if balance, _ := m.Peek(); err != nil || answer.Code != "00" || answer.Amount != balance {
			return fmt.Errorf("%w: medium %d carries %d, and is said to carry %d (%s, %w)", errNotConserved, i, balance, answer.Amount, answer.Code, err)
		}
	}
	return nil
}

// count reads the whole book and compares it with the media.
func (r *purseCrash) count(settled bool) error {
	posted, pending := make(map[kessai.MediumID]int64), make(map[kessai.MediumID]ledger.Tx)
	report, err := ledger.Scan(r.data(), nil, func(t *ledger.Tx) error {
		sign := map[kessai.Kind]int64{kessai.Load: 1, kessai.Unload: -1, kessai.PursePurchase: -1}[t.Kind]
		switch {
		case sign == 0:
		case t.Status == ledger.Posted:
			posted[t.Medium] += sign * t.Amount
		case t.Status == ledger.Pending:
			if _, two := pending[t.Medium]; two {
				return fmt.Errorf("%w: two are pending on a medium", errNotConserved)
			}
			pending[t.Medium] = *t
		}
		return nil
	})
	if err != nil {
		return err
	}
	var onMedia, written, float int64
	for i, m := range r.media {
		balance, last := m.Peek()
		id := m.ID()
		open, has := pending[id]
		onMedia, float = onMedia+balance, float+posted[id]
		switch {
		case has && last == open.ID && balance == open.Available:
			written += balance - posted[id]
		case balance != posted[id]:
			return fmt.Errorf("%w: medium %d carries %d (last written by %d), the book has %d for it, pending: %t", errNotConserved, i, balance, last, posted[id], has)
		}
	}
	r.pending += len(pending)
	if settled && len(pending) > 0 || onMedia != float+written || report.Float[kessai.JPY] != float || report.Sums[kessai.JPY] != 0 {
		return fmt.Errorf("%w: %d on media, %d in the float, %d written and pending, %d pending", errNotConserved, onMedia, report.Float[kessai.JPY], written, len(pending))
	}
	return nil
}
