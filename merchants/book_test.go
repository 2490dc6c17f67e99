package merchants

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai/authz/ledger"
	"kessai/cache"
)

// The tests here use the book itself, on disk, in place of the map of accounts.

// openBoth opens book and registry in a folder.
func openBoth(t *testing.T, dir string, batch int, step func(string)) (*ledger.Book, *Registry) {
	t.Helper()
	book, err := ledger.Open(ledger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions(t, dir, newAccounts())
	o.OpenAccounts, o.Account, o.AccountNumbers = book.OpenAccounts, book.AccountByName, book.AccountNumbers
	r, err := open(o, batch, step)
	if err != nil {
		t.Fatal(errors.Join(err, book.Close()))
	}
	return book, r
}

func closeBoth(t *testing.T, book *ledger.Book, r *Registry) {
	t.Helper()
	if err := errors.Join(r.Close(), book.Close()); err != nil {
		t.Fatal(err)
	}
}

func checkAccounts(t *testing.T, book *ledger.Book) {
	t.Helper()
	if n := book.Stats().Accounts; n < 6 {
		t.Errorf("the book has %d accounts; want six and clearing", n)
	}
	for name, balance := range map[string]int64{
		"customer/1234567890": 1235000, "customer/2345678901": 500, "customer/3456789012": 100000,
		"merchant/AOI000000000001": 0, "merchant/VEND00000000001": 0,
	} {
		if acc, ok := book.AccountByName(name); !ok || acc.Balance != balance {
			t.Errorf("account %s: balance %d, %v; want %d", name, acc.Balance, ok, balance)
		}
	}
}

const killVariable, folderVariable = "KESSAI_TEST_KILL_AT", "KESSAI_TEST_FOLDER"

// TestKilledChild is the process that the next test kills; alone it does nothing.
func TestKilledChild(t *testing.T) {
	at, err := strconv.Atoi(os.Getenv(killVariable))
	if err != nil {
		t.Skip("it is run by TestV1_ImportSurvivesSIGKILL")
	}
	book, r := openBoth(t, os.Getenv(folderVariable), killBatch, func(step string) {
		if at--; at == 0 {
			fmt.Println("killed after", step)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	})
	do(t, r, "demo.yaml", demo(t))
	closeBoth(t, book, r)
}

// A process that imports is killed for good after each step in turn. The import
// is then there as a whole or not at all, in registry and book.
func TestV1_ImportSurvivesSIGKILL(t *testing.T) {
	const most = 100
	seen := map[string]bool{}
	for at := 1; ; at++ {
		if at == most {
			t.Fatalf("the import has not ended after %d steps", most)
		}
		dir := t.TempDir()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledChild$")
		child.Env = append(os.Environ(), killVariable+"="+strconv.Itoa(at), folderVariable+"="+dir)
		out, err := child.CombinedOutput()
		var exit *exec.ExitError
		if err == nil {
			break // it was through before the kill
		}
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("child: %v\n%s", err, bytes.TrimSpace(out))
		}
		_, step, _ := strings.Cut(string(out), "killed after ")
		step = strings.TrimSpace(step)
		seen[step] = true
		book, r := openBoth(t, dir, killBatch, func(string) {})
		switch n := r.Stats().Counts.total(); {
		case n == 40:
			checkAccounts(t, book)
		case n != 0:
			t.Errorf("killed after %s: %d records of 40 are there", step, n)
		case step != "begun" && step != "stage" && step != "staged":
			t.Errorf("killed after %s: a decided import is gone", step)
		}
		if _, err := r.Snapshot(cache.Both); err != nil {
			t.Errorf("killed after %s: %v", step, err)
		}
		do(t, r, "demo.yaml", demo(t))
		checkAccounts(t, book)
		closeBoth(t, book, r)
	}
	if len(seen) < 9 {
		t.Errorf("kills came after %v only", seen)
	}
}

// The book gives an account the same number for ever, so a snapshot after a
// restart says what the one before said.
func TestV1_SnapshotIsTheSameAfterARestart(t *testing.T) {
	dir := t.TempDir()
	type facts struct{ Medium, Terminal any }
	read := func(r *Registry) (all []facts) {
		s, err := r.Snapshot(cache.Both)
		if err != nil {
			t.Fatal(err)
		}
		for _, pan := range []string{"4242424242424242", "4000000000000044", "4111111111111111"} {
			for _, id := range []string{"AOI00001", "AOI00002", "AOI00009", "VEND0001"} {
				all = append(all, facts{mediumIn(s, medium(t, pan)), terminalIn(s, terminal(t, id))})
			}
		}
		return all
	}
	book, r := openBoth(t, dir, defaultBatch, func(string) {})
	do(t, r, "demo.yaml", demo(t))
	before := read(r)
	closeBoth(t, book, r)
	book, r = openBoth(t, dir, defaultBatch, func(string) {})
	defer closeBoth(t, book, r)
	if diff := cmp.Diff(before, read(r)); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	checkAccounts(t, book)
	if sum := do(t, r, "demo.yaml", demo(t)); sum.Version != 1 || sum.Media.Unchanged != 7 {
		t.Errorf("again: %+v", sum)
	}
}
