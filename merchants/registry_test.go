package merchants

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kessai"
	"kessai/cache"
	"kessai/customers"
)

func TestDemoFile(t *testing.T) {
	r, a := newRegistry(t)
	sum := do(t, r, "demo.yaml", demo(t))
	want := Summary{
		Version: 1, Merchants: Count{Added: 2}, Terminals: Count{Added: 5},
		APIKeys: Count{Added: 2}, Customers: Count{Added: 4}, Media: Count{Added: 7}, Items: Count{Added: 20},
	}
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	for name, balance := range map[string]int64{
		"customer/1234567890": 1235000, "customer/2345678901": 500, "customer/3456789012": 100000,
		"merchant/AOI000000000001": 0, "merchant/VEND00000000001": 0,
	} {
		if acc, ok := a.byName(name); !ok || acc.Balance != balance || acc.Currency != kessai.JPY {
			t.Errorf("account %s: %+v, %v; want balance %d", name, acc, ok, balance)
		}
	}
	for key, want := range map[kessai.Secret]string{"sk_test_aoi": "Kissaten Aoi", "sk_test_vend": "Vending"} {
		if m, ok := r.MerchantByAPIKey(key); !ok || m.Name != want {
			t.Errorf("a sample key finds %q, %v; want %q", m.Name, ok, want)
		}
	}
	if _, ok := r.MerchantByAPIKey("sk_test_nobody"); ok {
		t.Error("an unknown key finds a merchant")
	}
	if m, _ := r.Merchant(merchant(t, "AOI000000000001")); m.MCC != "5814" || m.Currency != kessai.JPY {
		t.Errorf("merchant: %+v", m)
	}
	if term, _, _ := r.Terminal(terminal(t, "VEND0001")); term.Operation != Vending || term.Merchant != merchant(t, "VEND00000000001") {
		t.Errorf("terminal: %+v", term)
	}
	c, ok, err := r.Customer("1234567890")
	if err != nil || !ok || c.Name != "Suzuki" {
		t.Errorf("customer: %+v, %v, %v", c, ok, err)
	}
	m, ok, err := r.Medium(medium(t, "4000000000000002"))
	if err != nil || !ok || m.Customer != "1234567890" || m.Status != customers.Stolen || m.Last4.String() != "****0002" {
		t.Errorf("medium: %+v, %v, %v", m, ok, err)
	}
	if _, ok, err := r.Medium(medium(t, "378282246310005")); ok || err != nil {
		t.Errorf("a medium that is not there: %v, %v", ok, err)
	}
	if got := r.Stats().Counts; got != (Counts{2, 5, 2, 4, 7, 20}) {
		t.Errorf("counts: %+v", got)
	}
}

func TestV1_SnapshotSaysWhatTheRegistrySays(t *testing.T) {
	r, a := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	s, err := r.Snapshot(cache.Both)
	if err != nil {
		t.Fatal(err)
	}
	number := func(name string) uint32 {
		acc, ok := a.byName(name)
		if !ok {
			t.Fatalf("no account %s", name)
		}
		return uint32(acc.ID)
	}
	suzuki, aoi := number("customer/1234567890"), number("merchant/AOI000000000001")
	limits := cache.Limits{Single: 500000, DayTotal: 1000000}
	media := map[string]cache.Medium{
		"4242424242424242": {Status: cache.MediumActive, Expiry: 2912, Allowed: kessai.AllKinds, Account: suzuki, Limits: limits},
		"4000000000000002": {Status: cache.MediumStolen, Expiry: 2912, Allowed: kessai.AllKinds, Account: suzuki},
		"4000000000000044": {Status: cache.MediumLost, Expiry: 2912, Allowed: kessai.AllKinds, Account: suzuki},
		"4000000000000069": {Status: cache.MediumActive, Expiry: 2001, Allowed: kessai.AllKinds, Account: suzuki},
		"4111111111111111": {Status: cache.MediumActive, Expiry: 2912, Allowed: kessai.AllKinds, Account: number("customer/3456789012")},
		"378282246310005":  {}, // not registered
	}
	for pan, want := range media {
		if diff := cmp.Diff(want, mediumIn(s, medium(t, pan))); diff != "" {
			t.Errorf("medium that ends in %s (-want +got):\n%s", pan[len(pan)-4:], diff)
		}
	}
	low := cache.Terminal{
		Status: cache.TerminalRegistered, Merchant: merchant(t, "AOI000000000001"), Account: aoi, Currency: kessai.JPY,
		Allowed: kessai.AllKinds, Limits: cache.Limits{Single: 5000, DayTotal: 8000, DayCount: 3},
	}
	if diff := cmp.Diff(low, terminalIn(s, terminal(t, "AOI00002"))); diff != "" {
		t.Errorf("terminal AOI00002 (-want +got):\n%s", diff)
	}
	for id, partial := range map[string]bool{"AOI00001": true, "AOI00003": false, "VEND0001": false} {
		if got := terminalIn(s, terminal(t, id)); got.Status != cache.TerminalRegistered || got.Partial != partial {
			t.Errorf("terminal %s: %+v", id, got)
		}
	}
	if terminalIn(s, terminal(t, "AOI00009")).Status != cache.TerminalSuspended || terminalIn(s, terminal(t, "AOI00008")).Status != cache.TerminalUnknown {
		t.Error("blocked and unknown terminals are not told apart")
	}
	if vend := terminalIn(s, terminal(t, "VEND0001")); vend.Allowed.Has(kessai.Refund) || !vend.Allowed.Has(kessai.Purchase) {
		t.Error("the vending machine's kinds are wrong")
	}
	if !s.HasMerchant(merchant(t, "VEND00000000001")) || s.HasMerchant(merchant(t, "NOBODY")) {
		t.Error("merchants are wrong")
	}
	if n, m := s.Sizes(); n != 7 || m != 5 || s.Version() != 1 {
		t.Errorf("%d media, %d terminals, version %d", n, m, s.Version())
	}
}

func TestV1_ImportReachesTheCacheBeforeItReturns(t *testing.T) {
	r, _ := newRegistry(t)
	var c cache.Cache
	if err := r.Follow(t.Context(), &c, FollowOptions{Every: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if n, _ := c.Load().Sizes(); n != 0 {
		t.Fatalf("%d media before any import", n)
	}
	do(t, r, "demo.yaml", demo(t))
	card := medium(t, "4242424242424242")
	if mediumIn(c.Load(), card).Status != cache.MediumActive {
		t.Error("the cache does not have the card after the import")
	}
	do(t, r, "media.csv", "pan,customer,expiry,status\n4242424242424242,1234567890,2912,stolen\n")
	if mediumIn(c.Load(), card).Status != cache.MediumStolen {
		t.Error("the cache does not know that the card is stolen after the import")
	}
	do(t, r, "merchants.csv", "id,name,mcc,currency,status\nAOI000000000001,Kissaten Aoi,5814,JPY,blocked\n")
	if c.Load().HasMerchant(merchant(t, "AOI000000000001")) {
		t.Error("the cache does not know that the merchant is blocked")
	}
	if m, ok := r.MerchantByAPIKey("sk_test_aoi"); !ok || m.Status != Blocked {
		t.Errorf("a blocked merchant's key finds %+v, %v", m, ok)
	}
	do(t, r, "keys.csv", "merchant,key,status\nAOI000000000001,sk_test_aoi,blocked\n")
	if _, ok := r.MerchantByAPIKey("sk_test_aoi"); ok {
		t.Error("a blocked key still finds its merchant")
	}
}

func TestV1_RefreshAtAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts()
		r, err := OpenRegistry(testOptions(t, t.TempDir(), a))
		if err != nil {
			t.Fatal(err)
		}
		do(t, r, "demo.yaml", demo(t))
		var c cache.Cache
		var errs []error
		observe := func(_ time.Duration, err error) { errs = append(errs, err) }
		if err := r.Follow(t.Context(), &c, FollowOptions{Every: time.Minute, Observe: observe}); err != nil {
			t.Fatal(err)
		}
		first := c.Load().Loaded()
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if len(errs) != 11 || errors.Join(errs...) != nil {
			t.Errorf("%d loads, errors %v; want 11 and none", len(errs), errors.Join(errs...))
		}
		if got := c.Load().Loaded().Sub(first); got < 10*time.Minute {
			t.Errorf("after ten minutes the cache was refreshed %v after the start", got)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(errs) != 11 {
			t.Error("it goes on loading after Close")
		}
	})
}

func TestV1_FailedRefreshKeepsTheOldSnapshot(t *testing.T) {
	r, a := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	var c cache.Cache
	var last error
	if err := r.Follow(t.Context(), &c, FollowOptions{Every: time.Hour, Observe: func(_ time.Duration, err error) { last = err }}); err != nil {
		t.Fatal(err)
	}
	before := c.Load()
	a.mu.Lock()
	lost := a.all["customer/2345678901"]
	delete(a.all, lost.Name)
	a.mu.Unlock()
	err := r.Reload()
	if !errors.Is(err, ErrDamaged) || !errors.Is(last, ErrDamaged) || !strings.Contains(err.Error(), "customer/2345678901") {
		t.Errorf("reload ends with %v, Observe heard %v; want the missing account named", err, last)
	}
	if err := r.SetMode(cache.MediaOnly); !errors.Is(err, ErrDamaged) {
		t.Errorf("another mode: %v; want ErrDamaged", err)
	}
	if c.Load() != before {
		t.Error("a load that failed changed the cache")
	}
	do(t, r, "t.csv", "id,merchant,operation\nAOI00004,AOI000000000001,attended\n") // it needs no load
	a.mu.Lock()
	a.all[lost.Name] = lost
	a.mu.Unlock()
	if err := r.Refresh(); err != nil {
		t.Fatal(err)
	}
	if terminalIn(c.Load(), terminal(t, "AOI00004")).Status != cache.TerminalRegistered {
		t.Error("the next load does not have what came after the one that failed")
	}
	if c.Load().Mode() != cache.Both {
		t.Error("a mode that could not be taken is taken at the next load")
	}
}

func TestOneFollower(t *testing.T) {
	r, _ := newRegistry(t)
	if err := r.Follow(t.Context(), new(cache.Cache), FollowOptions{Every: 0}); err == nil {
		t.Error("an interval of zero is taken")
	}
	if err := r.Follow(t.Context(), new(cache.Cache), FollowOptions{Every: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := r.Follow(t.Context(), new(cache.Cache), FollowOptions{Every: time.Hour}); err == nil {
		t.Error("a second cache follows")
	}
}

func TestLockedByAnother(t *testing.T) {
	dir, a := t.TempDir(), newAccounts()
	r, err := OpenRegistry(testOptions(t, dir, a))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRegistry(testOptions(t, dir, a)); !errors.Is(err, ErrLocked) || errors.Is(err, ErrDamaged) {
		t.Errorf("opened twice: %v; want ErrLocked", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v; want ErrClosed", err)
	}
	if _, err := r.Import(t.Context(), parse(t, "demo.yaml", demo(t)), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("import after Close: %v; want ErrClosed", err)
	}
	if _, err := r.Snapshot(cache.Both); !errors.Is(err, ErrClosed) {
		t.Errorf("snapshot after Close: %v; want ErrClosed", err)
	}
	if _, _, err := r.Customer("1234567890"); !errors.Is(err, ErrClosed) {
		t.Errorf("look-up after Close: %v; want ErrClosed", err)
	}
	r.Stats()
}

func TestOptionsAreNeeded(t *testing.T) {
	whole := testOptions(t, t.TempDir(), newAccounts())
	for name, cut := range map[string]func(*Options){
		"folder": func(o *Options) { o.Dir = "" }, "accounts": func(o *Options) { o.OpenAccounts = nil },
		"look-up": func(o *Options) { o.Account = nil }, "hasher": func(o *Options) { o.Hasher = nil },
		"secret": func(o *Options) { o.APIKeySecret = make([]byte, 31) },
	} {
		o := whole
		cut(&o)
		if r, err := OpenRegistry(o); err == nil {
			t.Errorf("opened without %s", name)
			_ = r.Close()
		}
	}
}

// Nothing of a card number or API key may lie in the store, in the clear or not.
func TestNoSecretOnDisk(t *testing.T) {
	dir, a := t.TempDir(), newAccounts()
	r, err := OpenRegistry(testOptions(t, dir, a))
	if err != nil {
		t.Fatal(err)
	}
	do(t, r, "demo.yaml", demo(t))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	found := 0
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), "Kissaten Aoi") {
			found++
		}
		for _, secret := range []string{"4242424242424242", "5555555555554444", "sk_test_aoi", "sk_test_vend"} {
			if strings.Contains(string(b), secret) {
				t.Errorf("%s holds a secret in clear", path)
			}
		}
		return err
	})
	if err != nil || found == 0 {
		t.Fatalf("the search saw nothing: %v", err)
	}
}

// Readers of cache and registry while imports go on see each import whole: all
// media of a customer have the same status.
func TestV1_ReadersNeverSeeAPart(t *testing.T) {
	r, _ := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	var c cache.Cache
	if err := r.Follow(t.Context(), &c, FollowOptions{Every: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	const n = 50
	file := func(status string) *Import {
		var b strings.Builder
		b.WriteString("pan,customer,status\n")
		for i := range n {
			b.WriteString(pan(i) + ",3456789012," + status + "\n")
		}
		return parse(t, "m.csv", b.String())
	}
	files := []*Import{file("active"), file("withdrawn")}
	var ids []kessai.MediumID
	for i := range n {
		ids = append(ids, medium(t, pan(i)))
	}
	if _, err := r.Import(t.Context(), files[0], nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	readers.Go(func() {
		for ctx.Err() == nil {
			s := c.Load()
			for _, id := range ids {
				if mediumIn(s, id).Status != mediumIn(s, ids[0]).Status {
					t.Error("the cache has a part of an import")
					return
				}
			}
		}
	})
	readers.Go(func() {
		for ctx.Err() == nil {
			with := map[customers.Status]int{}
			err := r.view(func(v reading) error {
				for _, id := range ids {
					value, err := v.get(customers.MediumKey(id))
					if err != nil {
						return err
					}
					m, err := customers.DecodeMedium(customers.MediumKey(id), value)
					if err != nil {
						return err
					}
					with[m.Status]++
				}
				return nil
			})
			if err != nil || len(with) != 1 {
				t.Errorf("the registry shows a part of an import: %v, %v", with, err)
				return
			}
		}
	})
	for i := range 20 {
		if _, err := r.Import(t.Context(), files[(i+1)%2], nil); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	readers.Wait()
}
