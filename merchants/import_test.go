package merchants

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"

	"kessai/cache"
)

func TestRepeatChangesNothing(t *testing.T) {
	r, a := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	before := dump(t, r.db)
	sum := do(t, r, "demo.yaml", demo(t))
	want := Summary{
		Version: 1, Merchants: Count{Unchanged: 2}, Terminals: Count{Unchanged: 5},
		APIKeys: Count{Unchanged: 2}, Customers: Count{Unchanged: 4}, Media: Count{Unchanged: 7}, Items: Count{Unchanged: 20},
	}
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, dump(t, r.db)); diff != "" {
		t.Errorf("store (-before +after):\n%s", diff)
	}
	if len(a.all) != 6 {
		t.Errorf("%d accounts; want 6", len(a.all))
	}
}

func TestOpeningBalanceCountsOnce(t *testing.T) {
	r, a := newRegistry(t)
	const file = "id,name,currency,opening_balance,overdraft\nc-1,Abe,JPY,%d,%d\n"
	do(t, r, "c.csv", fmt.Sprintf(file, 100, 0))
	sum := do(t, r, "c.csv", fmt.Sprintf(file, 999, 50))
	if sum.Customers != (Count{Changed: 1}) {
		t.Errorf("summary: %+v", sum.Customers)
	}
	if acc, _ := a.byName("customer/c-1"); acc.Balance != 100 || acc.Overdraft != 50 {
		t.Errorf("balance %d, overdraft %d; want 100 and 50", acc.Balance, acc.Overdraft)
	}
	if sum := do(t, r, "c.csv", fmt.Sprintf(file, 1, 50)); sum.Customers != (Count{Unchanged: 1}) {
		t.Errorf("another opening balance alone is a change: %+v", sum.Customers)
	}
	delete(a.all, "customer/c-1") // a book begun anew
	do(t, r, "c.csv", fmt.Sprintf(file, 1, 50))
	if acc, ok := a.byName("customer/c-1"); !ok || acc.Balance != 100 {
		t.Errorf("the account is not opened again: %+v", acc)
	}
}

// Each step of an import in turn is the last one before a kill. Afterwards the
// registry has all of the file or nothing, and another try brings all of it.
func TestV1_ImportIsAllOrNothingAcrossAKill(t *testing.T) {
	clean, _ := newRegistry(t)
	do(t, clean, "demo.yaml", demo(t))
	all := dump(t, clean.db)
	seen := map[string]bool{}
	for kill := 1; ; kill++ {
		dir, a := t.TempDir(), newAccounts()
		at := killedImport(t, testOptions(t, dir, a), kill)
		if at == "" {
			break // the import was through before the kill
		}
		seen[at] = true
		t.Run(fmt.Sprintf("%d_%s", kill, at), func(t *testing.T) {
			// Going on after the kill is cut off too, a little later each time.
			for again := 1; killedOpen(t, testOptions(t, dir, a), again); again++ {
			}
			r, err := OpenRegistry(testOptions(t, dir, a))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got := dump(t, r.db)
			marked := !slices.Contains([]string{"begun", "stage", "staged"}, at)
			if marked {
				if diff := cmp.Diff(all, got); diff != "" {
					t.Errorf("killed after the mark, and it is not all there (-want +got):\n%s", diff)
				}
			} else if len(got) != 0 || len(a.all) != 0 {
				t.Errorf("killed before the mark, and %d records and %d accounts are there", len(got), len(a.all))
			}
			do(t, r, "demo.yaml", demo(t))
			if diff := cmp.Diff(all, dump(t, r.db)); diff != "" {
				t.Errorf("after another try (-want +got):\n%s", diff)
			}
			if acc, _ := a.byName("customer/1234567890"); len(a.all) != 6 || acc.Balance != 1235000 {
				t.Errorf("%d accounts, balance %d", len(a.all), acc.Balance)
			}
			if _, err := r.Snapshot(cache.Both); err != nil {
				t.Error(err)
			}
		})
	}
	for _, step := range []string{"begun", "stage", "staged", "marked", "accounts", "apply", "applied", "done", "sealed", "dropped"} {
		if !seen[step] {
			t.Errorf("no kill came after step %q", step)
		}
	}
}

// errKilled stands for the end of the process: nothing that was to come, comes.
var errKilled = errors.New("killed")

// killer gives a step function that ends the process, so to speak, at the n-th call.
func killer(n int, at *string) func(string) {
	return func(step string) {
		if n--; n == 0 {
			*at = step
			panic(errKilled)
		}
	}
}

// survive carries f out and swallows the kill.
func survive(f func()) {
	defer func() {
		if v := recover(); v != nil && v != errKilled {
			panic(v)
		}
	}()
	f()
}

// killBatch is the number of records that an import which is killed writes at a
// time: few, so that there are many steps to be killed at.
const killBatch = 13

// killedImport imports the demo file, a few records at a time, and is killed at
// the n-th step, whose name it gives; empty where there were fewer.
func killedImport(t *testing.T, o Options, n int) (at string) {
	t.Helper()
	r, err := open(o, killBatch, killer(n, &at))
	if err != nil {
		t.Fatal(err)
	}
	survive(func() {
		if _, err := r.Import(t.Context(), parse(t, "demo.yaml", demo(t)), nil); err != nil {
			t.Errorf("import: %v", err)
		}
	})
	if err := r.closeFiles(); err != nil {
		t.Fatal(err)
	}
	return at
}

// killedOpen opens the registry and is killed at the n-th step of making good
// what the last kill left; it reports whether it came to that.
func killedOpen(t *testing.T, o Options, n int) bool {
	t.Helper()
	var at string
	r, err := openFiles(o, killBatch, killer(n, &at))
	if err != nil {
		t.Fatal(err)
	}
	survive(func() {
		if err := r.recover(); err != nil {
			t.Errorf("recover: %v", err)
		}
	})
	if err := r.closeFiles(); err != nil {
		t.Fatal(err)
	}
	return at != ""
}

// dump gives all that is in the store.
func dump(t *testing.T, db *badger.DB) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := db.View(func(txn *badger.Txn) error {
		return each(txn, "", func(key, value []byte) error {
			all[string(key)] = string(value)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestUnfinishedImport(t *testing.T) {
	r, a := newRegistry(t)
	var c cache.Cache
	if err := r.Follow(t.Context(), &c, FollowOptions{Every: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	a.fail = errors.New("the disk is full")
	if _, err := r.Import(t.Context(), parse(t, "demo.yaml", demo(t)), nil); !errors.Is(err, ErrUnfinished) || !errors.Is(err, a.fail) {
		t.Errorf("the book fails: %v; want ErrUnfinished and the reason", err)
	}
	if err := r.Refresh(); !errors.Is(err, ErrUnfinished) {
		t.Errorf("refresh of an unfinished import: %v; want ErrUnfinished", err)
	}
	if _, err := r.Import(t.Context(), parse(t, "demo.yaml", demo(t)), nil); !errors.Is(err, ErrUnfinished) {
		t.Errorf("the book fails again: %v; want ErrUnfinished", err)
	}
	a.fail = nil
	sum := do(t, r, "keys.csv", "merchant,key\nAOI000000000001,sk_test_more\n")
	if sum.Version != 2 || c.Load().Version() != 2 || mediumIn(c.Load(), medium(t, "4242424242424242")).Status != cache.MediumActive {
		t.Errorf("the next import does not carry out the unfinished one: %+v", sum)
	}
}

func TestOneImportAtATime(t *testing.T) {
	var r *Registry
	var second error
	step := func(name string) {
		if name == "begun" {
			_, second = r.Import(t.Context(), parse(t, "demo.yaml", demo(t)), nil)
		}
	}
	r, err := open(testOptions(t, t.TempDir(), newAccounts()), defaultBatch, step)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	do(t, r, "demo.yaml", demo(t))
	if !errors.Is(second, ErrImporting) {
		t.Errorf("an import during another: %v; want ErrImporting", second)
	}
}

func TestCancelledImportDoesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, err := open(testOptions(t, t.TempDir(), newAccounts()), 2, func(step string) {
		if step == "stage" {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Import(ctx, parse(t, "demo.yaml", demo(t)), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want context.Canceled", err)
	}
	if left := dump(t, r.db); len(left) != 0 {
		t.Errorf("%d records are left", len(left))
	}
	if _, err := os.Stat(filepath.Join(r.dir, stagedName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was staged is left: %v", err)
	}
}

func TestProgressGoesUpToTheEnd(t *testing.T) {
	r, err := open(testOptions(t, t.TempDir(), newAccounts()), 2, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		last, calls := 0, 0
		_, err := r.Import(t.Context(), parse(t, "demo.yaml", demo(t)), func(done, total int) {
			if total != 80 || done < last || done > total {
				t.Errorf("%d of %d after %d", done, total, last)
			}
			last, calls = done, calls+1
		})
		if err != nil || last != 80 || calls < 5 {
			t.Errorf("ended at %d after %d calls, %v", last, calls, err)
		}
	}
}

// Faults that only show beside what is in the registry and in the book.
func TestImportRefuses(t *testing.T) {
	const card = "4242424242424242"
	for _, c := range []struct{ name, file, text, want string }{
		{"terminal of nobody", "t.csv", "id,merchant,operation\nA1,NOBODY,attended\n",
			"t.csv:2: terminals: record 1: merchant is neither in this file nor in the registry"},
		{"key of nobody", "k.csv", "merchant,key\nAOI000000000001,sk_another_one\nNOBODY,sk_test_other\n",
			"k.csv:3: api_keys: record 2: merchant is neither in this file nor in the registry"},
		{"medium of nobody", "m.csv", "pan,customer\n4012888888881881,77\n",
			"m.csv:2: media: record 1: customer is neither in this file nor in the registry"},
		{"merchant's currency", "m.csv", "id,name,mcc,currency\nAOI000000000001,Kissaten Aoi,5814,EUR\n",
			"m.csv:2: merchants: record 1: currency cannot change from JPY: the merchant has an account in it"},
		{"customer's currency", "c.yaml", "customers:\n  - id: 1234567890\n    name: Suzuki\n    currency: USD\n",
			"c.yaml:2: customers: record 1: currency cannot change from JPY: the customer has an account in it"},
		{"currency in the book", "c.csv", "id,name,currency\nin-book,Abe,JPY\n",
			"c.csv:2: customers: record 1: currency does not agree with the account in the book, which is in EUR"},
		{"medium of another", "m.csv", "pan,customer\n" + card + ",2345678901\n",
			"m.csv:2: media: record 1: customer cannot change: the medium belongs to another customer"},
		{"key of another", "k.csv", "merchant,key\nVEND00000000001,sk_test_aoi\n",
			"k.csv:2: api_keys: record 1: key belongs to another merchant: give every merchant keys of its own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, a := newRegistry(t)
			do(t, r, "demo.yaml", demo(t))
			foreign := a.all["customer/1234567890"]
			foreign.Name, foreign.Currency = "customer/in-book", 978
			a.all[foreign.Name] = foreign
			before := dump(t, r.db)
			_, err := r.Import(t.Context(), parse(t, c.file, c.text), nil)
			var fault *FileError
			if !errors.As(err, &fault) || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if diff := cmp.Diff(before, dump(t, r.db)); diff != "" {
				t.Errorf("store (-before +after):\n%s", diff)
			}
		})
	}
}

// mediaCSV writes a file of n media as it is read.
func mediaCSV(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.WriteString(w, "pan,customer,expiry,limit_single\n")
		for i := 0; i < n && err == nil; i++ {
			_, err = fmt.Fprintf(w, "%s,1234567890,2912,500000\n", pan(i))
		}
		w.CloseWithError(err)
	}()
	return r
}

func TestV1_ManyMedia(t *testing.T) {
	memTable = 16 << 20
	defer func() { memTable = 1 << 20 }()
	n := 100_000
	if raceEnabled || testing.Short() {
		n = 10_000
	}
	if os.Getenv("KESSAI_SOAK") != "" {
		n = 1_000_000
	}
	r, _ := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	var c cache.Cache
	if err := r.Follow(t.Context(), &c, FollowOptions{Every: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	im, err := ParseImport("media.csv", mediaCSV(n))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := r.Import(t.Context(), im, nil)
	if err != nil || sum.Media != (Count{Added: n}) {
		t.Fatalf("%+v, %v", sum, err)
	}
	if got, _ := c.Load().Sizes(); got != 7+sum.Media.Added {
		t.Errorf("the cache has %d media; want %d", got, 7+sum.Media.Added)
	}
	for _, i := range []int{0, 1, n / 2, n - 1} {
		if got := mediumIn(c.Load(), medium(t, pan(i))); got.Limits.Single != 500000 || got.Account == 0 {
			t.Errorf("medium %d of the file: %+v", i, got)
		}
	}
	if sum, err = r.Import(t.Context(), im, nil); err != nil || sum.Media != (Count{Unchanged: n}) {
		t.Errorf("again: %+v, %v", sum, err)
	}
	if !strings.Contains(fmt.Sprintf("%v %+v", im, im), "media.csv") {
		t.Error("an import prints more than the name of its file")
	}
}
