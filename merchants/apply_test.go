package merchants

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kessai"
	"kessai/cache"
	"kessai/customers"
)

const (
	suzuki = "4242424242424242"
	third  = "4111111111111111"
)

func change(t testing.TB, line string) Change {
	t.Helper()
	c, err := ReadChange([]byte(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return c
}

func status(t testing.TB, pan, status string) Change {
	t.Helper()
	return change(t, fmt.Sprintf(`{"medium":{"pan":%q,"status":%q}}`, pan, status))
}

// apply makes changes and expects no error.
func apply(t testing.TB, r *Registry, changes ...Change) uint64 {
	t.Helper()
	version, err := r.Apply(t.Context(), changes)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// followed gives a registry with the demo data and a cache that follows it.
func followed(t testing.TB, mode cache.Mode) (*Registry, *cache.Cache) {
	t.Helper()
	r, _ := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	c := new(cache.Cache)
	if err := r.Follow(t.Context(), c, FollowOptions{Mode: mode, Every: time.Hour}); err != nil {
		t.Fatal(err)
	}
	return r, c
}

// A change counts from the moment that it returns: in the cache, in the store, and
// after the registry was closed and opened again.
func TestV12_ChangesReachEveryDecision(t *testing.T) {
	dir, a := t.TempDir(), newAccounts()
	r, err := OpenRegistry(testOptions(t, dir, a))
	if err != nil {
		t.Fatal(err)
	}
	do(t, r, "demo.yaml", demo(t))
	var c cache.Cache
	if err := r.Follow(t.Context(), &c, FollowOptions{Every: time.Hour}); err != nil {
		t.Fatal(err)
	}
	loaded := c.Load().Loaded()
	shop, till := merchant(t, "AOI000000000001"), terminal(t, "AOI00001")
	for i, x := range []struct {
		line string
		told func(cache.Medium, cache.Terminal) bool // of the third customer's card, and the till
	}{
		{`{"medium":{"pan":"4111111111111111","status":"issued"}}`, func(m cache.Medium, _ cache.Terminal) bool { return m.Status == cache.MediumIssued }},
		{`{"medium":{"pan":"4111111111111111","status":"active"}}`, func(m cache.Medium, _ cache.Terminal) bool { return m.Status == cache.MediumActive }},
		{`{"medium":{"pan":"4111111111111111","status":"lost"}}`, func(m cache.Medium, _ cache.Terminal) bool { return m.Status == cache.MediumLost }},
		{`{"medium":{"pan":"4111111111111111","status":"stolen"}}`, func(m cache.Medium, _ cache.Terminal) bool { return m.Status == cache.MediumStolen }},
		{`{"medium":{"pan":"4111111111111111","status":"withdrawn"}}`, func(m cache.Medium, _ cache.Terminal) bool { return m.Status == cache.MediumWithdrawn }},
		{`{"medium":{"pan":"4111111111111111","expiry":"2801"}}`, func(m cache.Medium, _ cache.Terminal) bool {
			return m.Expiry == 2801 && m.Status == cache.MediumWithdrawn
		}},
		{`{"medium":{"pan":"4111111111111111","expiry":"","allow":["purchase","refund"]}}`, func(m cache.Medium, _ cache.Terminal) bool {
			return m.Expiry == 0 && m.Allowed == kessai.KindSetOf(kessai.Purchase, kessai.Refund)
		}},
		{`{"medium":{"pan":"4111111111111111","allow":[],"limit_single":100,"limit_day_total":"200","limit_day_count":3}}`, func(m cache.Medium, _ cache.Terminal) bool {
			return m.Allowed == kessai.AllKinds && m.Limits == cache.Limits{Single: 100, DayTotal: 200, DayCount: 3}
		}},
		{`{"terminal":{"id":"AOI00001","status":"suspended"}}`, func(_ cache.Medium, t cache.Terminal) bool { return t.Status == cache.TerminalSuspended }},
		{`{"terminal":{"id":"AOI00001","status":"registered"}}`, func(_ cache.Medium, t cache.Terminal) bool { return t.Status == cache.TerminalRegistered }},
		{`{"terminal":{"id":"AOI00001","status":"withdrawn"}}`, func(_ cache.Medium, t cache.Terminal) bool { return t.Status == cache.TerminalWithdrawn }},
		{`{"merchant":{"id":"AOI000000000001","status":"blocked"}}`, func(cache.Medium, cache.Terminal) bool { return !c.Load().HasMerchant(shop) }},
		{`{"api_key":{"key":"sk_test_aoi","status":"blocked"}}`, func(cache.Medium, cache.Terminal) bool { _, ok := r.MerchantByAPIKey("sk_test_aoi"); return !ok }},
	} {
		if v := apply(t, r, change(t, x.line)); v != uint64(i+2) || r.Version() != v || c.Load().Version() != v {
			t.Errorf("%s: version %d, then %d, in the cache %d; want %d", x.line, v, r.Version(), c.Load().Version(), i+2)
		}
		if !x.told(mediumIn(c.Load(), medium(t, third)), terminalIn(c.Load(), till)) {
			t.Errorf("%s: the cache does not have it", x.line)
		}
		m, err1 := r.MediumFacts(medium(t, third))
		f, err2 := r.TerminalFacts(till)
		if err := errors.Join(err1, err2); err != nil || !x.told(m, f) {
			t.Errorf("%s: the store does not have it: %v", x.line, err)
		}
		if v := apply(t, r, change(t, x.line)); v != uint64(i+2) {
			t.Errorf("%s: once more, and the version is %d", x.line, v)
		}
	}
	if !c.Load().Loaded().Equal(loaded) {
		t.Error("a change makes the facts look newer than the last look at the registry")
	}
	want := dump(t, r.db)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenRegistry(testOptions(t, dir, a)); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := dump(t, r.db); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error("what was changed is not what is there after opening again")
	}
}

// A medium and a terminal that are not registered have no facts.
func TestV9_FactsOfStrangers(t *testing.T) {
	r, _ := followed(t, cache.Both)
	m, err := r.MediumFacts(kessai.MediumID{9})
	if err != nil || m != (cache.Medium{}) {
		t.Errorf("an unknown medium: %+v, %v", m, err)
	}
	f, err := r.TerminalFacts(kessai.TerminalID{'X'})
	if err != nil || f != (cache.Terminal{}) {
		t.Errorf("an unknown terminal: %+v, %v", f, err)
	}
	if f, err = r.TerminalFacts(kessai.TerminalID{}); err != nil || f != (cache.Terminal{}) {
		t.Errorf("no terminal: %+v, %v", f, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.MediumFacts(kessai.MediumID{9}); !errors.Is(err, ErrClosed) {
		t.Errorf("look-up in a closed registry: %v", err)
	}
	if _, err := r.Apply(t.Context(), []Change{status(t, third, "lost")}); !errors.Is(err, ErrClosed) {
		t.Errorf("change of a closed registry: %v", err)
	}
}

// One change of several that cannot be made, and none is.
func TestChangesAreAllOrNone(t *testing.T) {
	r, c := followed(t, cache.Both)
	unknown := pan(999)
	one, none := uint16(2912), uint16(1300)
	negative := int64(-1)
	for want, bad := range map[string]Change{
		"has no such medium":                  status(t, unknown, "lost"),
		"has no such terminal":                change(t, `{"terminal":{"id":"NOBODY01","status":"suspended"}}`),
		"has no such merchant":                change(t, `{"merchant":{"id":"NOBODY","status":"blocked"}}`),
		"has no such API key":                 change(t, `{"api_key":{"key":"sk_test_nobody","status":"blocked"}}`),
		"one only":                            {},
		"and one only":                        {Medium: &MediumChange{ID: kessai.MediumID{1}, Expiry: &one}, Terminal: &TerminalChange{}},
		"changes nothing":                     {Medium: &MediumChange{ID: kessai.MediumID{1}}},
		"medium has no ID":                    {Medium: &MediumChange{Expiry: &one}},
		"expiry must be YYMM":                 {Medium: &MediumChange{ID: kessai.MediumID{1}, Expiry: &none}},
		"limit on one":                        {Medium: &MediumChange{ID: kessai.MediumID{1}, Single: &negative}},
		"its terminal reports":                {Medium: &MediumChange{ID: kessai.MediumID{1}, Status: customers.Retained}},
		"status must be issued":               {Medium: &MediumChange{ID: kessai.MediumID{1}, Status: 77}},
		"registered, suspended or withdrawn":  {Terminal: &TerminalChange{ID: terminal(t, "AOI00001"), Status: "active"}},
		"status must be active or blocked":    {Merchant: &MerchantChange{ID: merchant(t, "AOI000000000001")}},
		"key: status must be active or block": {APIKey: &APIKeyChange{Key: "sk_test_aoi", Status: "on"}},
	} {
		_, err := r.Apply(t.Context(), []Change{status(t, third, "stolen"), bad, status(t, suzuki, "lost")})
		fault := (*ChangeError)(nil)
		if want = strings.TrimPrefix(want, "key: "); !errors.As(err, &fault) || fault.Change != 1 || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), unknown) {
			t.Errorf("got %v; want change 2 and %q", err, want)
		}
	}
	if r.Version() != 1 || mediumIn(c.Load(), medium(t, third)).Status != cache.MediumActive {
		t.Error("a part was changed all the same")
	}
	if v := apply(t, r); v != 1 {
		t.Errorf("no change at all makes version %d", v)
	}
}

// Whoever comes while one write is under way shares the next, and one of them
// whose change cannot be made does not spoil it for the others.
func TestChangesShareWrites(t *testing.T) {
	var writes atomic.Int64
	first, goOn := make(chan struct{}), make(chan struct{})
	r, err := open(testOptions(t, t.TempDir(), newAccounts()), defaultBatch, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	do(t, r, "demo.yaml", demo(t))
	r.step = func(step string) {
		if step == "done" && writes.Add(1) == 1 {
			close(first)
			<-goOn
		}
	}
	var all sync.WaitGroup
	all.Go(func() { apply(t, r, status(t, third, "lost")) })
	<-first
	const n = 20
	for i := range n {
		all.Go(func() {
			c := status(t, suzuki, []string{"lost", "stolen"}[i%2])
			if i == 7 {
				c = status(t, pan(1), "lost")
			}
			_, err := r.Apply(context.Background(), []Change{c})
			if fault := (*ChangeError)(nil); errors.As(err, &fault) != (i == 7) || err != nil && i != 7 {
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Apply(gone, []Change{status(t, third, "active")}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that went away: %v", err)
	}
	for { // until all wait
		r.queue.mu.Lock()
		waiting := r.queue.changes
		r.queue.mu.Unlock()
		if waiting == n {
			break
		}
		time.Sleep(time.Millisecond)
	}
	r.queue.mu.Lock()
	r.queue.changes += maxWaiting
	r.queue.mu.Unlock()
	if _, err := r.Apply(t.Context(), []Change{status(t, third, "active")}); !errors.Is(err, ErrTooMany) {
		t.Errorf("more than may wait: %v", err)
	}
	r.queue.mu.Lock()
	r.queue.changes -= maxWaiting
	r.queue.mu.Unlock()
	close(goOn)
	all.Wait()
	if n := writes.Load(); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
	if m, _ := r.MediumFacts(medium(t, third)); m.Status != cache.MediumLost {
		t.Error("the change of a caller that went away was made")
	}
}

// More changes than fit into one transaction go like an import.
func TestManyChanges(t *testing.T) {
	r, c := followed(t, cache.Both)
	n := 3 * r.together()
	var b strings.Builder
	b.WriteString("pan,customer\n")
	changes := make([]Change, n)
	for i := range n {
		b.WriteString(pan(i) + ",3456789012\n")
		changes[i] = status(t, pan(i), "stolen")
	}
	do(t, r, "m.csv", b.String())
	if _, err := r.Apply(t.Context(), append(changes, status(t, pan(n), "lost"))); err == nil || err.Error() != fmt.Sprintf("change %d: the registry has no such medium: import it first", n+1) {
		t.Errorf("one that is not there: %v", err)
	}
	if v := apply(t, r, changes...); v != 3 || c.Load().Version() != 3 {
		t.Errorf("version %d, in the cache %d", v, c.Load().Version())
	}
	for i := range n {
		if mediumIn(c.Load(), medium(t, pan(i))).Status != cache.MediumStolen {
			t.Fatalf("medium %d is not stolen", i)
		}
	}
	if v := apply(t, r, changes...); v != 3 {
		t.Errorf("the same again makes version %d", v)
	}
	if _, err := r.Apply(t.Context(), make([]Change, MaxChanges+1)); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("too many changes: %v", err)
	}
}

// A terminal keeps a card that was reported, and the record says which, and when.
func TestV12_Retain(t *testing.T) {
	r, c := followed(t, cache.Both)
	card, till, other := medium(t, third), terminal(t, "AOI00001"), terminal(t, "AOI00002")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, id := range []kessai.MediumID{card, {9}} {
		if err := r.Retain(id, till, at); !errors.Is(err, ErrNotToRetain) {
			t.Errorf("a medium that is active, or unknown: %v", err)
		}
	}
	if err := r.Retain(card, kessai.TerminalID{}, at); err == nil || errors.Is(err, ErrNotToRetain) {
		t.Errorf("retained by nobody: %v", err)
	}
	kept := customers.Kept{By: till, At: at.UnixMilli()}
	for _, reported := range []string{"lost", "stolen", "withdrawn"} {
		apply(t, r, status(t, third, reported))
		if err := r.Retain(card, till, at); err != nil {
			t.Fatal(err)
		}
		version := r.Version()
		if err := r.Retain(card, other, at.Add(time.Hour)); err != nil || r.Version() != version {
			t.Errorf("retained again: %v, version %d", err, r.Version())
		}
		// That it is reported once more, by whichever way, does not let it be forgotten.
		apply(t, r, status(t, third, "stolen"), change(t, `{"medium":{"pan":"4111111111111111","expiry":"2806"}}`))
		do(t, r, "m.csv", "pan,customer,status\n"+third+",3456789012,lost\n")
		m, _, err := r.Medium(card)
		if err != nil || m.Status != customers.Retained || m.Kept != kept {
			t.Errorf("the record says %v by %v, %v", m.Status, m.Kept, err)
		}
		if mediumIn(c.Load(), card).Status != cache.MediumRetained {
			t.Error("the cache does not know")
		}
		apply(t, r, status(t, third, "active"))
		if m, _, _ = r.Medium(card); m.Status != customers.Active || m.Kept != (customers.Kept{}) {
			t.Errorf("given out again: %+v", m)
		}
	}
}

// A change whose seal cannot be written is in force, and not acknowledged; the next
// one brings the seal up first.
func TestChangeThatCannotBeSealed(t *testing.T) {
	dir, a := t.TempDir(), newAccounts()
	r, err := OpenRegistry(testOptions(t, dir, a))
	if err != nil {
		t.Fatal(err)
	}
	do(t, r, "demo.yaml", demo(t))
	path := r.seal.path
	r.seal.path = path + "/nowhere"
	for _, to := range []string{"stolen", "lost"} {
		if _, err := r.Apply(t.Context(), []Change{status(t, third, to)}); err == nil {
			t.Errorf("%s is acknowledged", to)
		}
	}
	if m, err := r.MediumFacts(medium(t, third)); err != nil || m.Status != cache.MediumStolen {
		t.Errorf("%v, %v; want stolen, and not a second change ahead of the seal", m.Status, err)
	}
	r.seal.path = path
	if v := apply(t, r, status(t, third, "lost")); v != 3 {
		t.Errorf("version %d", v)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenRegistry(testOptions(t, dir, a)); err != nil {
		t.Fatal(err)
	}
	r.Close()
}

// The kill comes at each step of a change. What was acknowledged is there; what was
// not is there whole, or not at all, and the registry opens.
func TestV12_ChangeAcrossAKill(t *testing.T) {
	seen := map[string]bool{}
	for kill := 1; ; kill++ {
		o := testOptions(t, t.TempDir(), newAccounts())
		r, err := open(o, defaultBatch, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		do(t, r, "demo.yaml", demo(t))
		apply(t, r, status(t, third, "lost"))
		var at string
		r.step = killer(kill, &at)
		survive(func() { apply(t, r, status(t, third, "stolen"), status(t, suzuki, "stolen")) })
		if err := r.closeFiles(); err != nil {
			t.Fatal(err)
		}
		if r, err = OpenRegistry(o); err != nil {
			t.Fatalf("after %q: %v", at, err)
		}
		a, _, _ := r.Medium(medium(t, third))
		b, _, _ := r.Medium(medium(t, suzuki))
		if a.Status != customers.Stolen || b.Status != customers.Stolen {
			t.Errorf("after %q: %v and %v", at, a.Status, b.Status)
		}
		apply(t, r, status(t, suzuki, "active"))
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if at == "" {
			break
		}
		seen[at] = true
	}
	if !seen["done"] || !seen["sealed"] {
		t.Errorf("killed after %v only", seen)
	}
}
