package merchants

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/customers"
)

func TestMain(m *testing.M) {
	memTable = 1 << 20 // hundreds of stores are opened here
	os.Exit(m.Run())
}

// accounts stands in for the book: the two functions of it that the registry
// uses, on a plain map. What is opened stays, as if it were on disk.
type accounts struct {
	mu   sync.Mutex
	all  map[string]ledger.Account
	fail error // what the next openings end with
}

func newAccounts() *accounts { return &accounts{all: make(map[string]ledger.Account)} }

func (a *accounts) open(specs []ledger.AccountSpec) ([]ledger.AccountID, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return nil, a.fail
	}
	next := maps.Clone(a.all)
	var ids []ledger.AccountID
	for _, s := range specs {
		acc, ok := next[s.Name]
		switch {
		case !ok:
			acc = ledger.Account{ID: ledger.AccountID(len(next) + 1), AccountSpec: s, Balance: s.Opening}
		case acc.Kind != s.Kind || acc.Currency != s.Currency:
			return nil, errors.New("account is of another kind or currency")
		}
		acc.Overdraft = s.Overdraft
		next[s.Name] = acc
		ids = append(ids, acc.ID)
	}
	a.all = next
	return ids, nil
}

func (a *accounts) byName(name string) (ledger.Account, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc, ok := a.all[name]
	return acc, ok
}

func testHasher(t testing.TB) *kessai.MediumHasher {
	t.Helper()
	h, err := kessai.NewMediumHasher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func testOptions(t testing.TB, dir string, a *accounts) Options {
	t.Helper()
	return Options{
		Dir: dir, OpenAccounts: a.open, Account: a.byName,
		Hasher: testHasher(t), APIKeySecret: bytes.Repeat([]byte{9}, 32), PINKey: testPINs(t),
	}
}

func testPINs(t testing.TB) *customers.PINKey {
	t.Helper()
	k, err := customers.NewPINKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newRegistry opens a registry in a folder of its own, closed when the test ends.
func newRegistry(t testing.TB) (*Registry, *accounts) {
	t.Helper()
	a := newAccounts()
	r, err := OpenRegistry(testOptions(t, t.TempDir(), a))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return r, a
}

func parse(t testing.TB, name, text string) *Import {
	t.Helper()
	im, err := ParseImport(name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// do imports a text and expects no error.
func do(t testing.TB, r *Registry, name, text string) Summary {
	t.Helper()
	sum, err := r.Import(t.Context(), parse(t, name, text), nil)
	if err != nil {
		t.Fatalf("import of %s: %v", name, err)
	}
	return sum
}

func demo(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("../configs/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func medium(t testing.TB, pan string) kessai.MediumID {
	t.Helper()
	p, err := kessai.ParsePAN(pan)
	if err != nil {
		t.Fatal(err)
	}
	return testHasher(t).Medium(p)
}

func merchant(t testing.TB, id string) kessai.MerchantID {
	t.Helper()
	m, err := kessai.ParseMerchantID(id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func terminal(t testing.TB, id string) kessai.TerminalID {
	t.Helper()
	m, err := kessai.ParseTerminalID(id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pan gives the n-th of many card numbers, with its check digit.
func pan(n int) string {
	for check := range 10 {
		s := fmt.Sprintf("400001%09d%d", n, check)
		if _, err := kessai.ParsePAN(s); err == nil {
			return s
		}
	}
	panic("no check digit fits")
}

// mediumIn and terminalIn give what a snapshot in mode both says.
func mediumIn(s *cache.Snapshot, id kessai.MediumID) cache.Medium {
	m, _ := s.Medium(id)
	return m
}

func terminalIn(s *cache.Snapshot, id kessai.TerminalID) cache.Terminal {
	t, _ := s.Terminal(id)
	return t
}
