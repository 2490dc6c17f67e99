package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"kessai/store"
)

// The book's own folders and files, below the data folder.
func blocksDir(dir string) string   { return filepath.Join(dir, "book", "blocks") }
func indexDir(dir string) string    { return filepath.Join(dir, "book", "index") }
func pagesDir(dir string) string    { return filepath.Join(dir, "book", "pages") }
func scanDir(dir string) string     { return filepath.Join(dir, "book", "scan") }
func checkDir(dir string) string    { return filepath.Join(dir, "book", "check") }
func witnessPath(dir string) string { return filepath.Join(dir, "book", "witness") }

// Damage says what is wrong with a book, and from which block on.
type Damage struct {
	Block uint64 // the first block that is not as it was written; zero: not known
	What  string
	final bool // it is not the snapshot that is wrong
}

func (d *Damage) Error() string {
	if d.Block == 0 {
		return ErrDamaged.Error() + ": " + d.What
	}
	return fmt.Sprintf("%v: block %d: %s", ErrDamaged, d.Block, d.What)
}

// Unwrap makes errors.Is(err, ErrDamaged) true.
func (*Damage) Unwrap() error { return ErrDamaged }

func blockKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'b'}, number)
}

// memTable is the size at which badger begins a new log and writes the old one to
// a table. While it does, syncs take longer: with 2 MiB for a moment that shows
// only at the 99th percentile, with 32 MiB for a tenth of a second. The price is
// one file, mapped into memory, for every 20,000 transactions or so: with the
// 65,530 mappings that Linux allows a process by default (vm.max_map_count), a
// book ends at about a billion.
const memTable = 2 << 20

// storeOptions are badger's. It never syncs by itself: blocks are synced by
// [blockLog], and the index can be rebuilt.
func storeOptions(dir string, blocks bool, logf func(string, ...any)) badger.Options {
	o := badger.DefaultOptions(dir).
		WithDetectConflicts(false). // one writer
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMemTableSize(memTable).
		WithValueThreshold(memTable * 14 / 100). // of the 15 that a transaction may have
		WithNumMemtables(16).
		WithNumCompactors(2).
		WithValueLogFileSize(1 << 20). // nothing is ever big enough for the value log
		WithMetricsEnabled(false).
		WithLogger(badgerLog{logf})
	if blocks {
		// Blocks come in the order of their numbers and never change: tables do not
		// overlap, and there is nothing that compacting them would save.
		o = o.WithNumCompactors(0).WithNumLevelZeroTablesStall(1 << 20)
	}
	return o
}

// badgerLog passes on what badger warns of.
type badgerLog struct{ logf func(string, ...any) }

func (l badgerLog) Errorf(f string, a ...any)   { l.print("badger error: "+f, a) }
func (l badgerLog) Warningf(f string, a ...any) { l.print("badger warning: "+f, a) }
func (badgerLog) Infof(string, ...any)          {}
func (badgerLog) Debugf(string, ...any)         {}

func (l badgerLog) print(f string, a []any) {
	if l.logf != nil {
		l.logf(strings.TrimSuffix(f, "\n"), a...)
	}
}

// lockBook makes sure that one process at a time has the book open.
func lockBook(dir string) (*os.File, error) {
	f, err := store.Lock(filepath.Join(dir, "book"))
	if errors.Is(err, store.ErrLocked) {
		err = ErrLocked
	}
	return f, err
}
