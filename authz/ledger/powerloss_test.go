package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"kessai/store"
)

// unsyncedPages counts the pages of a book's log and witness that the kernel has
// and the disk may not: what a power cut would take. It skips the test where the
// kernel (Linux before 6.5) or the file system cannot tell.
func unsyncedPages(t *testing.T, files ...string) (pages uint64) {
	t.Helper()
	for _, name := range files {
		f := must(os.Open(name))
		defer f.Close()
		var fs unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
			t.Skip("the file system keeps files in memory only")
		}
		var c unix.Cachestat_t
		if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &c, 0); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
			t.Skip("the kernel does not tell which pages are on disk")
		} else if err != nil {
			t.Fatal(err)
		}
		pages += c.Dirty + c.Writeback
	}
	return pages
}

func logs(t *testing.T, dir string) []string {
	t.Helper()
	files := must(filepath.Glob(filepath.Join(dir, "*.mem")))
	if len(files) == 0 {
		t.Fatal("the store has no log")
	}
	return files
}

// TestPowerLoss_NothingToldIsUnsynced asks the kernel after each answer whether
// anything of log or witness would be lost if the power went out now.
func TestPowerLoss_NothingToldIsUnsynced(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000_000)
	for n := range uint64(50) {
		commit(t, b, *purchaseOp(n+1, c[0], shop, 1))
		if pages := unsyncedPages(t, append(logs(t, blocksDir(b.o.Dir)), witnessPath(b.o.Dir))...); pages != 0 {
			t.Fatalf("after answer %d, %d pages are not on disk", n+1, pages)
		}
	}
}

// TestPowerLoss_Control shows that the question above can be answered with no: a
// store that does not sync, and a file that is written without.
func TestPowerLoss_Control(t *testing.T) {
	dir := t.TempDir()
	db := must(store.Open(storeOptions(dir, false, t.Logf)))
	defer db.Close()
	if err := db.Update(func(txn *badger.Txn) error { return txn.Set([]byte("b1"), make([]byte, 1_000)) }); err != nil {
		t.Fatal(err)
	}
	if unsyncedPages(t, logs(t, dir)...) == 0 {
		t.Error("a commit without a sync left nothing to lose")
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, make([]byte, 1_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if unsyncedPages(t, plain) == 0 {
		t.Error("a write without a sync left nothing to lose")
	}
}
