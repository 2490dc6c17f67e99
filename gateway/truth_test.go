package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/bench/load"
	"kessai/cache"
	"kessai/merchants"
)

// The people of the truth test.
const (
	truthMedia     = 3000 // the first of them change
	truthChanging  = 90   // a third by each of the ways
	truthTills     = 4    // terminals that change
	truthWorkers   = 4    // goroutines that ask
	truthBatch     = 24
	truthTerminals = truthWorkers * truthBatch // of two merchants in turn; the first of them change
)

// truthWorld is a registry, a book and an engine, with everybody whom the oracle
// watches.
type truthWorld struct {
	t        testing.TB
	who      load.Population
	hasher   *kessai.MediumHasher
	registry *merchants.Registry
	book     *ledger.Book
	engine   *authz.Engine
	truth

	media, terminals, shops []*subject
	ids                     []kessai.MediumID
	stan                    atomic.Uint32
	changed, refreshes      atomic.Int64
}

// newTruthWorld fills a registry. Its media are of every status in turn, and all
// who do not change stay what they are.
func newTruthWorld(t testing.TB) *truthWorld {
	t.Helper()
	w := &truthWorld{t: t, who: load.Population{Media: truthMedia, Terminals: truthTerminals}}
	var err error
	dir := t.TempDir()
	if w.hasher, err = kessai.NewMediumHasher(bytes.Repeat([]byte{7}, kessai.MinKeyBytes)); err != nil {
		t.Fatal(err)
	}
	if w.book, err = ledger.Open(ledger.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	w.registry, err = merchants.OpenRegistry(merchants.Options{
		Dir: dir, OpenAccounts: w.book.OpenAccounts, Account: w.book.AccountByName,
		Hasher: w.hasher, APIKeySecret: bytes.Repeat([]byte{9}, kessai.MinKeyBytes),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.registry.Close(), w.book.Close()); err != nil {
			t.Error(err)
		}
	})
	var shops, tills, owners, cards strings.Builder
	shops.WriteString("id,name,mcc,currency\n")
	for m := range 2 {
		fmt.Fprintf(&shops, "SHOP%d,Shop,5411,JPY\n", m)
		w.shops = append(w.shops, &subject{name: fmt.Sprintf("shop %d", m), first: "active"})
	}
	tills.WriteString("id,merchant,operation,status\n")
	for n := range truthTerminals {
		s := &subject{name: fmt.Sprintf("terminal %d", n), first: []string{"registered", "registered", "registered", "suspended", "registered", "withdrawn"}[n%6]}
		if n < truthTills {
			s.first = "registered"
		}
		w.terminals = append(w.terminals, s)
		fmt.Fprintf(&tills, "%s,SHOP%d,attended,%s\n", w.who.TerminalID(n), n%2, s.first)
	}
	owners.WriteString("id,name,currency,opening_balance\n")
	cards.WriteString("pan,customer,expiry,status\n")
	for n := range truthMedia {
		s := &subject{name: fmt.Sprintf("card %d", n), first: []string{"active", "active", "lost", "active", "stolen", "active", "withdrawn", "issued", "expired"}[n%9]}
		w.media = append(w.media, s)
		fmt.Fprintf(&owners, "%s,Owner,JPY,1000000000\n", w.who.CustomerID(n))
		cards.WriteString(w.row(n, s.first))
	}
	for range truthMedia / 50 { // cards that nobody knows
		w.media = append(w.media, &subject{name: fmt.Sprintf("card %d", len(w.media)), first: "unknown"})
	}
	for n := range w.media {
		pan, err := kessai.ParsePAN(w.who.PAN(n))
		if err != nil {
			t.Fatal(err)
		}
		w.ids = append(w.ids, w.hasher.Medium(pan))
	}
	for _, f := range []struct{ name, text string }{{"merchants.csv", shops.String()}, {"terminals.csv", tills.String()}, {"customers.csv", owners.String()}, {"media.csv", cards.String()}} {
		w.bring(f.name, f.text)
	}
	return w
}

// row is one line of a file of media.
func (w *truthWorld) row(n int, status string) string {
	expiry := "9912"
	if status == "expired" {
		status, expiry = "active", "2001"
	}
	return fmt.Sprintf("%s,%s,%s,%s\n", w.who.PAN(n), w.who.CustomerID(n), expiry, status)
}

func (w *truthWorld) bring(name, text string) {
	im, err := merchants.ParseImport(name, strings.NewReader(text))
	if err != nil {
		w.t.Error(err)
		return
	}
	for {
		switch _, err := w.registry.Import(w.t.Context(), im, nil); {
		case errors.Is(err, merchants.ErrImporting):
			time.Sleep(time.Millisecond) // nothing was done, and it says to try again
		case err != nil:
			w.t.Error(err)
			return
		default:
			return
		}
	}
}

// newEngine makes the engine on a cache.
func (w *truthWorld) newEngine(valid *cache.Cache) {
	w.engine = authz.New(w.book, valid, authz.Options{
		HoldFor:  time.Hour,
		Registry: authz.Registry{Medium: w.registry.MediumFacts, Terminal: w.registry.TerminalFacts, Version: w.registry.Version},
	})
}

// ask makes payments and holds each answer against the truth, until ctx ends.
// Every other batch are transactions of dialogues.
func (w *truthWorld) ask(ctx context.Context, worker int) {
	rng := rand.New(rand.NewPCG(uint64(worker), 1))
	me := authz.NewConnection()
	asks := make([]authz.Ask, truthBatch)
	var chosen [truthBatch][2]int
	for batch := 0; ctx.Err() == nil; batch++ {
		asks = asks[:truthBatch]
		for i := range asks {
			card, till := w.choose(rng, worker, batch%2 == 1, i)
			chosen[i] = [2]int{card, till}
			asks[i] = authz.Ask{Request: w.request(card, till)}
			if batch%2 == 1 {
				w.dialogue(&asks[i].Request, card, till, me)
			}
		}
		from := w.clock.tick()
		w.engine.Authorize(w.t.Context(), asks)
		to := w.clock.tick()
		for i := range asks {
			card, till := chosen[i][0], chosen[i][1]
			if asks[i].Err != nil {
				w.t.Errorf("a payment got no answer: %v", asks[i].Err)
				return
			}
			w.check(w.shops[till%2], w.terminals[till], w.media[card], asks[i].Reply.Code, from, to)
		}
	}
}

// choose draws whom a request is about: often those who change. Terminals of
// dialogues are the worker's own, because opening another one ends a dialogue.
func (w *truthWorld) choose(rng *rand.Rand, worker int, own bool, i int) (card, till int) {
	card, till = rng.IntN(len(w.media)), rng.IntN(truthTerminals)
	if rng.IntN(2) == 0 {
		card = rng.IntN(truthChanging)
	}
	if own {
		till = worker + i*truthWorkers
	}
	return card, till
}

func (w *truthWorld) request(card, till int) authz.Request {
	n := w.stan.Add(1)
	terminal, err := kessai.ParseTerminalID(w.who.TerminalID(till))
	if err != nil {
		w.t.Error(err)
	}
	return authz.Request{
		Wire: ledger.WireISO, Kind: kessai.Purchase, Terminal: terminal, Medium: w.ids[card], Amount: kessai.Amount{Value: 1, Currency: kessai.JPY},
		Attempt:  authz.Attempt{MTI: [4]byte([]byte("0200")), STAN: kessai.STAN(n%900_000 + 1), Transmitted: time.Unix(int64(n/900_000), 0)},
		Received: time.Now(),
	}
}

// dialogue opens one for a request. A negative answer must be true; then the
// request is made without a dialogue. A positive one may be early.
func (w *truthWorld) dialogue(r *authz.Request, card, till int, me authz.Party) {
	opening := authz.Request{Kind: kessai.Verification, Terminal: r.Terminal, Medium: r.Medium, Received: r.Received}
	from := w.clock.tick()
	o, ok := w.engine.Open(&opening, me)
	if !ok {
		o = w.engine.OpenAsking(&opening, me)
	}
	to := w.clock.tick()
	if o.Code == kessai.NoReasonToDecline {
		r.Dialogue = &authz.InDialogue{ID: o.Dialogue, By: me}
		return
	}
	w.check(w.shops[till%2], w.terminals[till], w.media[card], o.Code, from, to)
}

// change gives one of those who change another status after the other, until ctx
// ends. How it does so is up to apply.
func (w *truthWorld) change(ctx context.Context, rng *rand.Rand, of []*subject, to []string, apply func(n int, status string)) {
	for ctx.Err() == nil {
		n := rng.IntN(len(of))
		status := to[rng.IntN(len(to))]
		of[n].begin(&w.clock, status)
		apply(n, status)
		of[n].end(&w.clock)
		w.changed.Add(1)
	}
}

// tell applies one line of a feed of changes.
func (w *truthWorld) tell(format string, args ...any) {
	c, err := merchants.ReadChange(fmt.Appendf(nil, format, args...))
	if err == nil {
		_, err = w.registry.Apply(w.t.Context(), []merchants.Change{c})
	}
	if err != nil {
		w.t.Error(err)
	}
}

// everything changes in every way at once.
func (w *truthWorld) everything(ctx context.Context, wg *sync.WaitGroup) {
	const third = truthChanging / 3
	statuses := []string{"active", "active", "lost", "stolen", "withdrawn"}
	for i, of := range [][]*subject{w.media[:third], w.media[third : 2*third]} {
		wg.Go(func() {
			w.change(ctx, rand.New(rand.NewPCG(2, uint64(i))), of, statuses, func(n int, status string) {
				w.tell(`{"medium":{"pan":%q,"status":%q,"expiry":"9912"}}`, w.who.PAN(n+i*third), status)
			})
		})
	}
	wg.Go(func() {
		w.change(ctx, rand.New(rand.NewPCG(3, 1)), w.media[2*third:truthChanging], append(statuses, "expired"), func(n int, status string) {
			w.bring("media.csv", "pan,customer,expiry,status\n"+w.row(n+2*third, status))
		})
	})
	wg.Go(func() {
		w.change(ctx, rand.New(rand.NewPCG(4, 1)), w.terminals[:truthTills], []string{"registered", "suspended", "withdrawn"}, func(n int, status string) {
			w.tell(`{"terminal":{"id":%q,"status":%q}}`, w.who.TerminalID(n), status)
		})
	})
	wg.Go(func() {
		w.change(ctx, rand.New(rand.NewPCG(5, 1)), w.shops[:1], []string{"active", "blocked"}, func(n int, status string) {
			w.tell(`{"merchant":{"id":"SHOP%d","status":%q}}`, n, status)
		})
	})
}

// every calls f at an interval until ctx ends, and counts.
func (w *truthWorld) every(ctx context.Context, d time.Duration, f func()) {
	for t := time.NewTicker(d); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
			f()
			w.refreshes.Add(1)
		}
	}
}

// run has everything happen at once until there was enough of it, and then has
// everybody come to an end.
func (w *truthWorld) run(changing bool, refresh func(), enough func() bool) {
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	var wg sync.WaitGroup
	for worker := range truthWorkers {
		wg.Go(func() { w.ask(ctx, worker) })
	}
	if changing {
		w.everything(ctx, &wg)
	}
	wg.Go(func() { w.every(ctx, 100*time.Millisecond, refresh) })
	for !enough() && !w.t.Failed() {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	wg.Wait()
}

// plenty is when a run that is to find nothing may end.
func (w *truthWorld) plenty() bool {
	refreshes, changes, answers := int64(8), int64(100), int64(5000)
	if os.Getenv("KESSAI_SOAK") != "" {
		refreshes, changes, answers = 200, 5000, 1_000_000
	}
	return w.refreshes.Load() >= refreshes && w.changed.Load() >= changes && w.checked.Load() >= answers
}

// TestV_RefreshNeverShowsHalfATable: while the registry is read anew every 100 ms,
// while media, terminals and merchants change in every way that there is, and
// under as many payments as the machine can make, nobody valid is refused and
// nobody invalid accepted, in any mode, nor while the mode changes.
func TestV_RefreshNeverShowsHalfATable(t *testing.T) {
	all := []cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter}
	for _, mode := range all {
		t.Run(mode.String(), func(t *testing.T) { runTruth(t, mode, func(int) cache.Mode { return mode }) })
	}
	t.Run("from mode to mode", func(t *testing.T) { runTruth(t, cache.Both, func(n int) cache.Mode { return all[n%len(all)] }) })
}

func runTruth(t *testing.T, first cache.Mode, next func(n int) cache.Mode) {
	w := newTruthWorld(t)
	valid := new(cache.Cache)
	if err := w.registry.Follow(t.Context(), valid, merchants.FollowOptions{Mode: first, Every: time.Hour}); err != nil {
		t.Fatal(err)
	}
	w.newEngine(valid)
	n := 0
	w.run(true, func() {
		var err error
		if mode := next(n); mode != valid.Load().Mode() {
			err = w.registry.SetMode(mode)
		} else {
			err = w.registry.Reload()
		}
		if err != nil {
			t.Error(err)
		}
		n++
	}, w.plenty)
	t.Logf("%d refreshes, %d changes; %s", w.refreshes.Load(), w.changed.Load(), &w.truth)
	if w.wrong() > 0 {
		t.Errorf("%s:\n%s", &w.truth, strings.Join(w.faults, "\n"))
	}
}

// TestV_TruthFindsHalfATable is the control: a table that is filled in its place
// refuses valid media, and a refresh that puts what it read before a change over
// that change accepts invalid ones. The truth is told of both.
func TestV_TruthFindsHalfATable(t *testing.T) {
	const most = 100 // refreshes until it must have been seen
	snapshot := func(w *truthWorld) *cache.Snapshot {
		s, err := w.registry.Snapshot(cache.Both)
		if err != nil {
			t.Error(err)
		}
		return s
	}
	t.Run("filled in its place", func(t *testing.T) {
		w, valid := newTruthWorld(t), new(cache.Cache)
		valid.Swap(snapshot(w))
		w.newEngine(valid)
		w.run(false, func() {
			valid.Swap(w.half())
			time.Sleep(time.Millisecond)
			valid.Swap(snapshot(w))
		}, func() bool { return w.refused.Load() > 0 || w.refreshes.Load() > most })
		if w.refused.Load() == 0 {
			t.Errorf("nobody was refused by half a table: %s", &w.truth)
		}
	})
	t.Run("later than the changes", func(t *testing.T) {
		w, valid := newTruthWorld(t), new(cache.Cache)
		valid.Swap(snapshot(w))
		w.newEngine(valid)
		w.run(true, func() { valid.Swap(snapshot(w)) }, func() bool { return w.accepted.Load() > 0 || w.refreshes.Load() > most })
		if w.accepted.Load() == 0 {
			t.Errorf("nobody was accepted after a change: %s", &w.truth)
		}
	})
}

// half is a snapshot in which every other medium is still to come.
func (w *truthWorld) half() *cache.Snapshot {
	b := cache.NewBuilder(cache.Both, truthMedia, truthTerminals)
	whole, err := w.registry.Snapshot(cache.Both)
	if err != nil {
		w.t.Error(err)
		return new(cache.Snapshot)
	}
	for n := 0; n < truthMedia; n += 2 {
		m, _ := whole.Medium(w.ids[n])
		b.AddMedium(w.ids[n], m)
	}
	for n := range truthTerminals {
		id, _ := kessai.ParseTerminalID(w.who.TerminalID(n))
		t, _ := whole.Terminal(id)
		b.AddTerminal(id, t)
		b.AddMerchant(t.Merchant)
	}
	return b.Snapshot(time.Now(), whole.Version())
}
