package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

func testOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).WithLogger(nil).WithCompression(options.None).WithBlockCacheSize(0).
		WithMemTableSize(1 << 20).WithValueThreshold(64 << 10).WithValueLogFileSize(1 << 20)
}

// fill makes a store with several tables at level 0, which badger wants to
// compact as soon as it can.
func fill(t *testing.T, dir string) {
	t.Helper()
	for i := range 7 {
		db, err := Open(testOptions(dir).WithNumCompactors(0).WithNumLevelZeroTablesStall(100))
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(txn *badger.Txn) error { return txn.Set(fmt.Appendf(nil, "key%d", i), make([]byte, 1_000)) })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	for _, f := range tables {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[f] = string(b)
	}
	return all
}

// TestCopyLeavesTheOriginalAlone holds a copy open for as long as badger needs to
// begin compacting, which would empty the tables that original and copy share.
// With compactors running the original is emptied within that time.
func TestCopyLeavesTheOriginalAlone(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	fill(t, from)
	before := contents(t, from)
	if len(before) < 7 {
		t.Fatalf("only %d tables to share", len(before))
	}
	if err := Copy(from, to); err != nil {
		t.Fatal(err)
	}
	db, err := OpenCopy(testOptions(to))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	if err := errors.Join(db.Close(), os.RemoveAll(to)); err != nil {
		t.Fatal(err)
	}
	for f, was := range contents(t, from) {
		if before[f] != was {
			t.Errorf("%s was changed", filepath.Base(f))
		}
		delete(before, f)
	}
	if len(before) > 0 {
		t.Errorf("%d tables are gone", len(before))
	}
}

// TestDamagedTableIsFound flips each byte of a table, one at a time.
func TestDamagedTableIsFound(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	good, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(dir); err != nil {
		t.Fatal(err)
	}
	missed := 0
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x10
		if err := os.WriteFile(tables[0], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if Check(dir) == nil {
			missed++ // a few bytes of the footer are padding that nothing depends on
		}
	}
	if missed > 16 {
		t.Errorf("%d of %d flipped bytes were not found", missed, len(good))
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	f, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second lock: %v", err)
	}
	f.Close()
	if f, err = Lock(dir); err != nil {
		t.Fatalf("after the first was let go: %v", err)
	}
	f.Close()
}

// TestHalfWrittenTableIsPassedOver leaves what a crash leaves that came while
// badger was writing a table: a file that no manifest names.
func TestHalfWrittenTableIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	fill(t, from)
	if err := os.WriteFile(filepath.Join(from, "000999.sst"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Check(from), Copy(from, to)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(to, "000999.sst")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the half-written table was copied: %v", err)
	}
	named, _ := tables(from)
	for gone := range named {
		if err := os.Remove(filepath.Join(from, gone)); err != nil {
			t.Fatal(err)
		}
		break
	}
	if Check(from) == nil || Copy(from, to) == nil {
		t.Fatal("a table that the manifest names is gone, and nobody noticed")
	}
}

// TestOpenAfterAKillBetweenTwoSteps opens a store beside whose logs a process has
// left ones that it had not begun to write when it was killed.
func TestOpenAfterAKillBetweenTwoSteps(t *testing.T) {
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		killed := func() string {
			dir := t.TempDir()
			fill(t, dir)
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return dir
		}
		if db, err := badger.Open(testOptions(killed())); err == nil {
			_ = db.Close()
			t.Fatalf("%s: badger opens it by itself: Open need not help any more", name)
		}
		db, err := Open(testOptions(killed()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range 7 {
			err := db.View(func(txn *badger.Txn) error { _, err := txn.Get(fmt.Appendf(nil, "key%d", i)); return err })
			if err != nil {
				t.Errorf("%s: key%d: %v", name, i, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
