package merchants

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kessai"
	"kessai/cache"
	"kessai/customers"
)

// A card is reported stolen while an import runs that has it as active: at
// whichever step, the report counts at once, and stays on top of what the import
// brings.
func TestV12_ReportedWhileAnImportRuns(t *testing.T) {
	for _, step := range []string{"begun", "stage", "staged", "marked", "accounts", "apply", "applied", "bulk"} {
		t.Run(step, func(t *testing.T) {
			var c cache.Cache
			r, err := open(testOptions(t, t.TempDir(), newAccounts()), 2, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			do(t, r, "demo.yaml", demo(t))
			if err := r.Follow(t.Context(), &c, FollowOptions{Every: time.Hour}); err != nil {
				t.Fatal(err)
			}
			card, shop := medium(t, third), merchant(t, "AOI000000000001")
			reported := false
			r.step = func(now string) {
				if now != step || reported {
					return
				}
				reported = true
				before := r.Version()
				if v := apply(t, r, status(t, third, "stolen"), change(t, `{"merchant":{"id":"AOI000000000001","status":"blocked"}}`)); v != before+1 || r.Version() != v {
					t.Errorf("version %d after %d", v, before)
				}
				apply(t, r, change(t, `{"medium":{"pan":"4111111111111111","expiry":"2801"}}`))
				if f, err := r.MediumFacts(card); err != nil || f.Status != cache.MediumStolen || f.Expiry != 2801 {
					t.Errorf("the look-up says %+v, %v", f, err)
				}
				if f := mediumIn(c.Load(), card); f.Status != cache.MediumStolen || c.Load().HasMerchant(shop) {
					t.Errorf("the cache says %+v", f)
				}
				if s, err := r.Snapshot(cache.Both); err != nil || mediumIn(s, card).Status != cache.MediumStolen || s.HasMerchant(shop) {
					t.Errorf("another snapshot does not have it, %v", err)
				}
				if err := r.Reload(); err != nil || mediumIn(c.Load(), card).Status != cache.MediumStolen {
					t.Errorf("the cache loaded anew does not have it, %v", err)
				}
			}
			do(t, r, "m.yaml", `
customers: [{id: new, name: New, currency: JPY}]
media:
  - {pan: 4111111111111111, customer: "3456789012", expiry: 2912, limit_single: 77}
  - {pan: 4242424242424242, customer: "1234567890", expiry: 2912, limit_single: 77}
`)
			if step == "bulk" {
				if reported {
					t.Error("a store that is not empty takes the way of an empty one")
				}
				return
			}
			if !reported {
				t.Fatal("the import has no such step")
			}
			f, err := r.MediumFacts(card)
			if err != nil || f.Status != cache.MediumStolen || f.Limits.Single != 77 || f.Expiry != 2801 {
				t.Errorf("afterwards the store says %+v, %v", f, err)
			}
			if got := mediumIn(c.Load(), card); got != f {
				t.Errorf("afterwards the cache says %+v", got)
			}
			if other := mediumIn(c.Load(), medium(t, suzuki)); other.Status != cache.MediumActive || other.Limits.Single != 77 {
				t.Errorf("the rest of the import: %+v", other)
			}
			for key := range dump(t, r.db) {
				if isLater([]byte(key)) {
					t.Error("a change is left beside its record")
				}
			}
			if c.Load().Version() != r.Version() {
				t.Errorf("the cache is at version %d of %d", c.Load().Version(), r.Version())
			}
		})
	}
}

// Until an import is done, everybody sees the registry as it was before it, and
// nobody waits for it.
func TestV1_LookUpsDuringAnImport(t *testing.T) {
	r, _ := followed(t, cache.Both)
	card := medium(t, third)
	steps, limit := 0, int64(0)
	r.step = func(step string) {
		switch step {
		case "marked", "accounts", "apply", "applied":
			steps++
			if f, err := r.MediumFacts(card); err != nil || f.Limits.Single != limit {
				t.Errorf("at %q: %+v, %v", step, f, err)
			}
			if f, err := r.TerminalFacts(terminal(t, "NEW00001")); err != nil || f.Status != cache.TerminalUnknown {
				t.Errorf("at %q: %+v, %v", step, f, err)
			}
		}
	}
	do(t, r, "m.csv", "pan,customer,limit_single\n"+third+",3456789012,77\n")
	limit = 77
	do(t, r, "t.csv", "id,merchant,operation\nNEW00001,AOI000000000001,attended\n")
	if steps < 4 {
		t.Errorf("%d steps", steps)
	}
	if f, err := r.TerminalFacts(terminal(t, "NEW00001")); err != nil || f.Status != cache.TerminalRegistered {
		t.Errorf("%+v, %v", f, err)
	}
}

// The kill comes at any step of an import with changes in between. Whatever was
// acknowledged is there afterwards, the import whole or not at all.
func TestV12_ChangesDuringAnImportAcrossAKill(t *testing.T) {
	file := "pan,customer,limit_single\n" + third + ",3456789012,77\n" + suzuki + ",1234567890,77\n"
	for kill := 1; ; kill++ {
		o := testOptions(t, t.TempDir(), newAccounts())
		r, err := open(o, defaultBatch, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		do(t, r, "demo.yaml", demo(t))
		r.batch = 1 // many steps to be killed at
		var at string
		var acknowledged customers.Status
		changing, rest := false, kill
		r.step = func(step string) {
			if rest--; rest == 0 {
				at = step
				panic(errKilled)
			}
			// Where nobody holds what a change needs, one is made.
			if !changing && slices.Contains([]string{"begun", "stage", "staged", "marked", "apply", "applied"}, step) {
				changing = true
				next := customers.Lost + customers.Stolen - max(acknowledged, customers.Lost)
				apply(t, r, status(t, third, next.String()))
				acknowledged, changing = next, false
			}
		}
		survive(func() { do(t, r, "m.csv", file) })
		if err := r.closeFiles(); err != nil {
			t.Fatal(err)
		}
		for again := 1; killedOpen(t, o, again); again++ {
		}
		if r, err = OpenRegistry(o); err != nil {
			t.Fatalf("after %q: %v", at, err)
		}
		a, _, err1 := r.Medium(medium(t, third))
		b, _, err2 := r.Medium(medium(t, suzuki))
		if err1 != nil || err2 != nil || a.Limits.Single != 77 && a.Limits.Single != 0 || (a.Limits.Single == 77) != (b.Limits.Single == 77) {
			t.Errorf("after %q: limits %d and %d, %v, %v", at, a.Limits.Single, b.Limits.Single, err1, err2)
		}
		// One that was under way may be there, or not.
		if acknowledged != 0 && a.Status != acknowledged && !changing {
			t.Errorf("after %q the card is %v, and %v was acknowledged", at, a.Status, acknowledged)
		}
		do(t, r, "m.csv", file)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if at == "" {
			if kill < 15 {
				t.Errorf("only %d steps", kill)
			}
			return
		}
	}
}

// Random imports and changes, some while an import or another load runs, in each
// mode: what is in memory is at any time what loading anew gives, and what the
// store says of each.
func TestV1_MemoryIsWhatTheStoreHas(t *testing.T) {
	for _, mode := range []cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter} {
		t.Run(mode.String(), func(t *testing.T) {
			m := newMirror(t, mode)
			for range 60 {
				m.step(t)
				m.compare(t)
			}
			want := dump(t, m.r.db)
			if err := m.r.Close(); err != nil {
				t.Fatal(err)
			}
			r, err := OpenRegistry(m.o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if diff := cmp.Diff(want, dump(t, r.db)); diff != "" {
				t.Errorf("after opening again (-want +got):\n%s", diff)
			}
		})
	}
}

type mirror struct {
	o    Options
	r    *Registry
	c    cache.Cache
	rnd  *rand.Rand
	busy bool // in a step of an import or load
}

const mirrored = 20 // media, and a quarter as many terminals

func newMirror(t *testing.T, mode cache.Mode) *mirror {
	t.Helper()
	m := &mirror{o: testOptions(t, t.TempDir(), newAccounts()), rnd: rand.New(rand.NewPCG(5, uint64(mode)))}
	var err error
	if m.r, err = open(m.o, 3, func(string) {}); err != nil {
		t.Fatal(err)
	}
	do(t, m.r, "demo.yaml", demo(t))
	if err := m.r.Follow(t.Context(), &m.c, FollowOptions{Mode: mode, Every: time.Hour}); err != nil {
		t.Fatal(err)
	}
	m.r.step = func(step string) {
		if !m.busy && m.rnd.IntN(3) == 0 && slices.Contains([]string{"begun", "staged", "marked", "apply", "applied", "built"}, step) {
			m.busy = true
			m.change(t)
			m.busy = false
		}
	}
	return m
}

func (m *mirror) pan() string      { return pan(m.rnd.IntN(mirrored)) }
func (m *mirror) terminal() string { return fmt.Sprintf("T%07d", m.rnd.IntN(mirrored/4)) }
func (m *mirror) of(all ...string) string {
	return all[m.rnd.IntN(len(all))]
}

func (m *mirror) step(t *testing.T) {
	switch m.rnd.IntN(6) {
	case 0:
		if err := m.r.Reload(); err != nil {
			t.Fatal(err)
		}
	case 1, 2:
		var b strings.Builder
		b.WriteString("pan,customer,expiry,status\n")
		for i := range mirrored {
			if m.rnd.IntN(3) == 0 {
				fmt.Fprintf(&b, "%s,%s,%s,%s\n", pan(i), "3456789012", m.of("2912", "2001", ""), m.of("active", "issued", "lost", "withdrawn"))
			}
		}
		do(t, m.r, "m.csv", b.String()+pan(mirrored)+",3456789012,,\n")
	case 3:
		do(t, m.r, "t.yaml", fmt.Sprintf(`
merchants: [{id: NEW, name: New, mcc: 5814, currency: JPY, status: %s}]
terminals: [{id: %s, merchant: %s, operation: vending, status: %s, user: "1234567890"}]
`, m.of("active", "blocked"), m.terminal(), m.of("NEW", "AOI000000000001"), m.of("registered", "suspended", "withdrawn")))
	default:
		m.change(t)
	}
}

// change makes a few changes; they may be of what is not there.
func (m *mirror) change(t *testing.T) {
	var all []Change
	for range 1 + m.rnd.IntN(3) {
		all = append(all, change(t, m.of(
			fmt.Sprintf(`{"medium":{"pan":%q,"status":%q}}`, m.pan(), m.of("active", "issued", "lost", "stolen", "withdrawn")),
			fmt.Sprintf(`{"medium":{"pan":%q,"expiry":%q,"limit_single":%d}}`, m.pan(), m.of("", "2001", "2912"), m.rnd.IntN(3)),
			fmt.Sprintf(`{"terminal":{"id":%q,"status":%q}}`, m.terminal(), m.of("registered", "suspended", "withdrawn")),
			fmt.Sprintf(`{"merchant":{"id":"AOI000000000001","status":%q}}`, m.of("active", "blocked")),
		)))
	}
	version, err := m.r.Apply(t.Context(), all)
	if fault := (*ChangeError)(nil); err != nil && !errors.As(err, &fault) || err == nil && version != m.r.Version() {
		t.Fatalf("version %d, %v", version, err)
	}
	_ = m.r.Retain(medium(t, m.pan()), terminal(t, "AOI00001"), time.Unix(1_800_000_000, 0))
}

func (m *mirror) compare(t *testing.T) {
	t.Helper()
	got, mode := m.c.Load(), m.c.Load().Mode()
	whole, err := m.r.Snapshot(cache.Both)
	if err != nil {
		t.Fatal(err)
	}
	if got.Version() != whole.Version() || got.Version() != m.r.Version() {
		t.Fatalf("version %d in memory, %d in the store, %d told", got.Version(), whole.Version(), m.r.Version())
	}
	for i := range mirrored + 2 {
		id := medium(t, pan(i))
		want := mediumIn(whole, id)
		if f, err := m.r.MediumFacts(id); err != nil || f != want {
			t.Fatalf("medium %d: looked up %+v, %v; want %+v", i, f, err, want)
		}
		if f, known := got.Medium(id); known && f != want || known != (mode == cache.Both || mode == cache.MediaOnly) {
			t.Fatalf("medium %d: in memory %+v, %v; want %+v", i, f, known, want)
		}
		valid := want.Status == cache.MediumActive && (want.Expiry == 0 || want.Expiry == 2912)
		if mode == cache.Filter && want.Status != cache.MediumUnknown && !valid && !got.Suspect(id) {
			t.Fatalf("medium %d is %+v, and not suspect", i, want)
		}
	}
	for i := range mirrored / 4 {
		id := terminal(t, fmt.Sprintf("T%07d", i))
		want := terminalIn(whole, id)
		if f, err := m.r.TerminalFacts(id); err != nil || f != want {
			t.Fatalf("terminal %d: looked up %+v, %v; want %+v", i, f, err, want)
		}
		if f, known := got.Terminal(id); known && f != want || known == (mode == cache.MediaOnly) {
			t.Fatalf("terminal %d: in memory %+v, %v; want %+v", i, f, known, want)
		}
	}
	for _, id := range []kessai.MerchantID{merchant(t, "AOI000000000001"), merchant(t, "NEW")} {
		shop, _ := m.r.Merchant(id)
		if want := shop.Status == Active; got.HasMerchant(id) != want || whole.HasMerchant(id) != want {
			t.Fatalf("merchant %v: %v in memory, %v in the store", id, got.HasMerchant(id), whole.HasMerchant(id))
		}
	}
}

// Loads, other modes and imports go on all the time, and many change cards at
// once: whoever has heard that a card is stolen finds it so, and active when he has
// heard that.
func TestV12_NoLoadForgetsAChange(t *testing.T) {
	r, c := followed(t, cache.Both)
	const cards = 8
	var b strings.Builder
	b.WriteString("pan,customer\n")
	for i := range 3 * cards {
		b.WriteString(pan(i) + ",3456789012\n")
	}
	do(t, r, "m.csv", b.String())
	var others, changers sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	others.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			modes := []cache.Mode{cache.Both, cache.Both, cache.MediaOnly}
			if err := errors.Join(r.Reload(), r.Refresh(), r.SetMode(modes[i%3])); err != nil {
				t.Error(err)
			}
		}
	})
	others.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			s := []string{"active", "lost"}[i%2]
			_, err := r.Import(ctx, parse(t, "m.csv", "pan,customer,status\n"+pan(cards+i%cards)+",3456789012,"+s+"\n"), nil)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for i := range cards {
		changers.Go(func() {
			id := medium(t, pan(i))
			for n := range 100 {
				word := []string{"stolen", "active"}[n%2]
				want := []cache.MediumStatus{cache.MediumStolen, cache.MediumActive}[n%2]
				if _, err := r.Apply(ctx, []Change{status(t, pan(i), word)}); err != nil {
					t.Error(err)
					return
				}
				f, err := r.MediumFacts(id)
				if got := mediumIn(c.Load(), id); err != nil || f.Status != want || got.Status != want {
					t.Errorf("card %d is %s: the store says %v, %v, the cache %v", i, word, f.Status, err, got.Status)
					return
				}
			}
		})
	}
	changers.Wait()
	cancel()
	others.Wait()
}
