package merchants

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kessai"
	"kessai/cache"
	"kessai/customers"
)

// filling gives what fills a registry with a shop, and customers with a medium
// each.
func filling(t testing.TB, n int) func(*Filler) error {
	return func(f *Filler) error {
		err := f.Merchant(Merchant{ID: merchant(t, "AOI"), Name: "Aoi", MCC: "5814", Currency: kessai.JPY, Status: Active},
			[]Terminal{{ID: terminal(t, "AOI00001"), Status: Registered, Operation: Attended}}, []kessai.Secret{"sk_test_aoi"})
		for i := range n {
			c := customers.Customer{ID: customers.ID(fmt.Sprintf("c-%d", i)), Name: "Somebody", Currency: kessai.JPY, Opening: 100}
			m := customers.Medium{Expiry: 2912, Status: customers.Active}
			err = errors.Join(err, f.Customer(c, Issued{card(t, pan(i)), m}))
		}
		return err
	}
}

// A registry that was filled is the one that the same records make in a file, in
// whichever way they went into the store.
func TestFillIsAnImport(t *testing.T) {
	const n = 50
	var b strings.Builder
	b.WriteString("merchants: [{id: AOI, name: Aoi, mcc: 5814, currency: JPY}]\nterminals: [{id: AOI00001, merchant: AOI, operation: attended}]\n" +
		"api_keys: [{merchant: AOI, key: sk_test_aoi}]\ncustomers:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {id: c-%d, name: Somebody, currency: JPY, opening_balance: 100}\n", i)
	}
	b.WriteString("media:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {pan: %s, customer: c-%d, expiry: 2912}\n", pan(i), i)
	}
	plain, _ := newRegistry(t)
	want := do(t, plain, "all.yaml", b.String())
	defer func(n int) { bulk = n }(bulk)
	for _, bulk = range []int{1, 1 << 20} {
		o := testOptions(t, t.TempDir(), newAccounts())
		r, err := open(o, 7, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		var c cache.Cache
		if err := r.Follow(t.Context(), &c, FollowOptions{Every: time.Hour}); err != nil {
			t.Fatal(err)
		}
		sum, err := r.Fill(t.Context(), "all", filling(t, n))
		if err != nil || sum != want {
			t.Errorf("%+v, %v; want %+v", sum, err, want)
		}
		if diff := cmp.Diff(dump(t, plain.db), dump(t, r.db)); diff != "" {
			t.Errorf("(-import +fill):\n%s", diff)
		}
		if f := mediumIn(c.Load(), medium(t, pan(3))); f.Status != cache.MediumActive || c.Load().Version() != 1 {
			t.Errorf("the cache says %+v", f)
		}
		apply(t, r, status(t, pan(3), "stolen"))
		do(t, r, "m.csv", "pan,customer,status\n"+pan(4)+",c-4,lost\n")
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err = OpenRegistry(o); err != nil {
			t.Fatal(err)
		}
		a, _, err1 := r.Medium(medium(t, pan(3)))
		d, _, err2 := r.Medium(medium(t, pan(4)))
		if err1 != nil || err2 != nil || a.Status != customers.Stolen || d.Status != customers.Lost {
			t.Errorf("what came afterwards: %v, %v, %v, %v", a.Status, d.Status, err1, err2)
		}
		if _, err := r.Fill(t.Context(), "all", filling(t, 1)); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("filled again: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFillIsRefusedWhole(t *testing.T) {
	r, a := newRegistry(t)
	aoi := Merchant{ID: merchant(t, "AOI"), Name: "Aoi", MCC: "5814", Currency: kessai.JPY, Status: Active}
	c := customers.Customer{ID: "c", Name: "Somebody", Currency: kessai.JPY}
	m := customers.Medium{Status: customers.Active}
	till := Terminal{ID: terminal(t, "AOI00001"), Status: Registered, Operation: Attended}
	for want, give := range map[string]func(*Filler) error{
		"fill: merchants: record 2: merchant category code must be four digits": func(f *Filler) error {
			return errors.Join(f.Merchant(aoi, nil, nil), f.Merchant(Merchant{ID: merchant(t, "B"), Name: "B"}, nil, nil))
		},
		"fill: terminals: record 1: terminal has no ID": func(f *Filler) error { return f.Merchant(aoi, make([]Terminal, 1), nil) },
		"fill: terminals: record 1: user cannot be given when a registry is filled: import the terminal afterwards": func(f *Filler) error {
			tied := till
			tied.User = "c"
			return f.Merchant(aoi, []Terminal{tied}, nil)
		},
		"fill: api_keys: record 1: key " + problemAPIKey: func(f *Filler) error { return f.Merchant(aoi, nil, []kessai.Secret{"short"}) },
		"fill: customers: record 1: currency is not in ISO 4217": func(f *Filler) error {
			return f.Customer(customers.Customer{ID: "c", Name: "Somebody"})
		},
		"fill: media: record 1: pan is missing": func(f *Filler) error { return f.Customer(c, Issued{Medium: m}) },
		"fill: media: record 1: status must be issued, active, lost, stolen, withdrawn or retained": func(f *Filler) error {
			return f.Customer(c, Issued{PAN: card(t, third)})
		},
		"fill: has a medium twice": func(f *Filler) error {
			return f.Customer(c, Issued{card(t, third), m}, Issued{card(t, suzuki), m}, Issued{card(t, third), m})
		},
		"fill: has a customer twice": func(f *Filler) error { return errors.Join(f.Customer(c), f.Customer(c)) },
		"fill: has a terminal twice": func(f *Filler) error { return f.Merchant(aoi, []Terminal{till, till}, nil) },
		"context canceled":           func(*Filler) error { return context.Canceled },
	} {
		if _, err := r.Fill(t.Context(), "fill", give); err == nil || err.Error() != want {
			t.Errorf("got %v; want %s", err, want)
		}
	}
	if len(dump(t, r.db)) != 0 || len(a.all) != 0 || r.Version() != 0 {
		t.Error("a part of it is there")
	}
	if _, err := r.Fill(t.Context(), "fill", func(*Filler) error { return nil }); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

// The kill comes at each step of filling a registry, and at each step of making it
// good: all is there in the end, or nothing.
func TestV1_FillAcrossAKill(t *testing.T) {
	defer func(n int) { bulk = n }(bulk)
	bulk = 1
	seen := map[string]bool{}
	for kill := 1; ; kill++ {
		o := testOptions(t, t.TempDir(), newAccounts())
		var at string
		r, err := open(o, 40, killer(kill, &at))
		if err != nil {
			t.Fatal(err)
		}
		survive(func() {
			if _, err := r.Fill(t.Context(), "all", filling(t, 30)); err != nil {
				t.Error(err)
			}
		})
		if err := r.closeFiles(); err != nil {
			t.Fatal(err)
		}
		for again := 1; killedOpen(t, o, again); again++ {
		}
		if r, err = OpenRegistry(o); err != nil {
			t.Fatalf("after %q: %v", at, err)
		}
		if n := r.Stats().Counts.Media; n != 30 && n != 0 || (n == 0) != (r.Version() == 0) {
			t.Errorf("after %q: %d media, version %d", at, n, r.Version())
		}
		if s, err := r.Snapshot(cache.Both); err != nil || s.Version() != r.Version() {
			t.Errorf("after %q: %v", at, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if at == "" {
			break
		}
		seen[at] = true
	}
	if !seen["bulk"] || !seen["marked"] || !seen["done"] {
		t.Errorf("killed after %v only", seen)
	}
}
