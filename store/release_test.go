package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// residentKB gives how much of a folder's tables is in this process's memory.
func residentKB(t *testing.T, dir string) (kb int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	in := false
	for line := range bytes.Lines(smaps) {
		text := string(line)
		if strings.Contains(text, "-") && !strings.Contains(strings.Fields(text)[0], ":") {
			in = strings.Contains(text, dir) && strings.Contains(text, ".sst")
		}
		var n int
		if _, err := fmt.Sscanf(text, "Rss: %d kB", &n); in && err == nil {
			kb += n
		}
	}
	return kb
}

func TestReleaseGivesMemoryBackAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	o := badger.DefaultOptions(dir).WithLogger(nil).WithMemTableSize(1 << 20).WithValueThreshold(1 << 10).WithCompression(options.None)
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	wb := db.NewWriteBatch()
	for i := range n {
		if err := wb.Set(fmt.Appendf(nil, "key-%d", i), bytes.Repeat([]byte{byte(i)}, 200)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(wb.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if db, err = OpenCopy(o); err != nil { // nothing writes tables beside
		t.Fatal(err)
	}
	defer db.Close()
	read := func() {
		t.Helper()
		found := 0
		err := db.View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.IteratorOptions{})
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				var i int
				if _, err := fmt.Sscanf(string(it.Item().Key()), "key-%d", &i); err != nil {
					return err
				}
				if err := it.Item().Value(func(v []byte) error {
					if !bytes.Equal(v, bytes.Repeat([]byte{byte(i)}, 200)) {
						return fmt.Errorf("key %d has another value", i)
					}
					return nil
				}); err != nil {
					return err
				}
				found++
			}
			return nil
		})
		if err != nil || found != n {
			t.Fatalf("%d keys, %v", found, err)
		}
	}
	read()
	before := residentKB(t, dir)
	Release(dir)
	after := residentKB(t, dir)
	if before < 500 || after > before/2 {
		t.Errorf("%d kB of tables were in memory, and %d are", before, after)
	}
	read()
	Release(dir + "/nowhere")
}
