package merchants

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/customers"
)

// The spans hold every record once, and media of the lowest and highest IDs.
func TestSpansHoldEverything(t *testing.T) {
	r, _ := newRegistry(t)
	var b strings.Builder
	b.WriteString("id,name,currency\n")
	for i := range 30_000 { // more than fits into one table
		fmt.Fprintf(&b, "c-%d,Somebody with a rather long name,JPY\n", i)
	}
	do(t, r, "c.csv", b.String())
	wb := r.db.NewWriteBatch()
	media := 0
	for _, id := range []kessai.MediumID{{0, 1}, {0, 0xff}, {1}, {0x7f, 0xff, 0xff}, {0x80}, {0xff}, {0xff, 0xff, 0xff, 0xff}} {
		m := customers.Medium{ID: id, Customer: "c-1", Status: customers.Active}
		if err := wb.Set(customers.MediumKey(id), m.Encode()); err != nil {
			t.Fatal(err)
		}
		media++
	}
	if err := wb.Flush(); err != nil {
		t.Fatal(err)
	}
	want := dump(t, r.db)
	if n := len(allSpans(r.db)); n < 2 {
		t.Errorf("the store is divided into %d spans", n)
	}
	for _, readers := range []int{1, 4} {
		for name, spans := range map[string][]span{"all": allSpans(r.db), "media": mediaSpans()} {
			var mu sync.Mutex
			got := make(map[string]string)
			last := make([]string, len(spans))
			err := r.db.View(func(txn *badger.Txn) error {
				return eachIn(txn, r.db.Opts().Dir, spans, readers, func(n int, key, value []byte) error {
					mu.Lock()
					defer mu.Unlock()
					if _, twice := got[string(key)]; twice || string(key) <= last[n] {
						return fmt.Errorf("key %q comes twice, or out of order", key)
					}
					got[string(key)], last[n] = string(value), string(key)
					return nil
				}, nil)
			})
			if err != nil {
				t.Fatal(err)
			}
			if name == "media" {
				if len(got) != media {
					t.Errorf("%d media; want %d", len(got), media)
				}
				continue
			}
			if !maps.Equal(want, got) {
				t.Errorf("%d records; want %d", len(got), len(want))
			}
		}
	}
	full := errors.New("enough")
	for what, f := range map[string]func(int, []byte, []byte) error{
		"an error": func(int, []byte, []byte) error { return full },
		"a panic":  func(int, []byte, []byte) error { panic("as badger does over damage") },
	} {
		err := r.db.View(func(txn *badger.Txn) error { return eachIn(txn, r.db.Opts().Dir, allSpans(r.db), 3, f, nil) })
		if !errors.Is(err, full) && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s ends with %v", what, err)
		}
	}
}

// numbered stands in for a large book: customer c-N has account N+1.
func numbered(o *Options) {
	o.OpenAccounts = func(s []ledger.AccountSpec) ([]ledger.AccountID, error) { return make([]ledger.AccountID, len(s)), nil }
	o.Account = func(name string) (a ledger.Account, ok bool) {
		n, err := strconv.Atoi(strings.TrimPrefix(name, "customer/c-"))
		a.ID = ledger.AccountID(n + 1)
		return a, err == nil
	}
}

// many gives an import of n customers with a medium each.
func many(t testing.TB, n int) *Import {
	t.Helper()
	im := NewImport("many")
	for i := range n {
		id := customers.ID(fmt.Sprintf("c-%d", i))
		err := errors.Join(
			im.AddCustomer(customers.Customer{ID: id, Name: "Somebody", Currency: kessai.JPY, Opening: 100_000}),
			im.AddMedium(card(t, pan(i)), customers.Medium{Customer: id, Expiry: uint16(2901 + i%12), Status: customers.Active}),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	return im
}

func manySizes() []int {
	if os.Getenv("KESSAI_SOAK") != "" {
		return []int{100_000, 1_000_000}
	}
	return []int{100_000}
}

func openMany(b *testing.B, n int) (*Registry, Options) {
	o := testOptions(b, b.TempDir(), newAccounts())
	known := o
	numbered(&known)
	o.OpenAccounts = known.OpenAccounts
	r, err := OpenRegistry(o)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := r.Import(b.Context(), many(b, n), nil); err != nil {
		b.Fatal(err)
	}
	r.o.Account = known.Account
	return r, known
}

// The benchmarks use the options of a running gateway, and say nothing of the
// book: its accounts cost next to nothing here.

func BenchmarkImport(b *testing.B) {
	memTable = 16 << 20
	defer func() { memTable = 1 << 20 }()
	for _, n := range manySizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			im := many(b, n)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				o := testOptions(b, b.TempDir(), newAccounts())
				var known Options
				numbered(&known)
				o.OpenAccounts = known.OpenAccounts
				r, err := OpenRegistry(o)
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if _, err := r.Import(b.Context(), im, nil); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/medium")
		})
	}
}

func BenchmarkSnapshotLoad(b *testing.B) {
	memTable = 16 << 20
	defer func() { memTable = 1 << 20 }()
	for _, n := range manySizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, _ := openMany(b, n)
			defer r.Close()
			b.ReportAllocs()
			for b.Loop() {
				s, err := r.Snapshot(cache.Both)
				if err != nil {
					b.Fatal(err)
				}
				if got, _ := s.Sizes(); got != n {
					b.Fatalf("%d media", got)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/medium")
		})
	}
}

func BenchmarkOpenRegistry(b *testing.B) {
	memTable = 16 << 20
	defer func() { memTable = 1 << 20 }()
	for _, n := range manySizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, o := openMany(b, n)
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				r, err := OpenRegistry(o)
				if err != nil {
					b.Fatal(err)
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/medium")
		})
	}
}

// A cache that was loaded from a registry of many customers has every account.
func TestV1_EveryMediumHasItsCustomersAccount(t *testing.T) {
	const n = 5000
	o := testOptions(t, t.TempDir(), newAccounts())
	r, err := OpenRegistry(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var known Options
	numbered(&known)
	r.o.OpenAccounts = known.OpenAccounts
	if _, err := r.Import(t.Context(), many(t, n), nil); err != nil {
		t.Fatal(err)
	}
	r.o.Account = known.Account
	var asked atomic.Int64
	atOnce := func(names []string) []ledger.AccountID {
		asked.Add(1)
		ids := make([]ledger.AccountID, len(names))
		for i, name := range names {
			a, _ := known.Account(name)
			ids[i] = a.ID
		}
		return ids
	}
	for readers, together := range map[int]func([]string) []ledger.AccountID{1: nil, 2: atOnce, 5: atOnce} {
		r.o.AccountNumbers = together
		var s *cache.Snapshot
		err := r.view(func(v reading) error { s, err = r.snapshot(v, cache.Both, readers); return err })
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if got := mediumIn(s, medium(t, pan(i))); got.Account != uint32(i+1) || got.Expiry != uint16(2901+i%12) {
				t.Fatalf("medium %d: %+v", i, got)
			}
		}
	}
	if times := asked.Load(); times == 0 || times > 2*(256+2) {
		t.Errorf("the book was asked %d times for the accounts of %d media, twice", times, n)
	}
	r.o.AccountNumbers = func(names []string) []ledger.AccountID { return make([]ledger.AccountID, len(names)) }
	if _, err := r.Snapshot(cache.Both); !errors.Is(err, ErrDamaged) {
		t.Errorf("with a book that has no accounts: %v", err)
	}
}
