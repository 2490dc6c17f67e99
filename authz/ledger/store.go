package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// The book's own folders and files, below the data folder.
func blocksDir(dir string) string   { return filepath.Join(dir, "book", "blocks") }
func indexDir(dir string) string    { return filepath.Join(dir, "book", "index") }
func checkDir(dir string) string    { return filepath.Join(dir, "book", "check") }
func witnessPath(dir string) string { return filepath.Join(dir, "book", "witness") }
func lockPath(dir string) string    { return filepath.Join(dir, "book", "lock") }

// Damage says what is wrong with a book, and from which block on.
type Damage struct {
	Block uint64 // the first block that is not as it was written; zero: not known
	What  string
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

// memTable is badger's share of memory and the size of its log files. Tests, which
// open hundreds of stores, make it smaller.
var memTable int64 = 32 << 20

// openBadger opens a store. Blocks are synced on every commit; the index can be
// rebuilt, so it is not.
func openBadger(dir string, sync bool, logf func(string, ...any)) (*badger.DB, error) {
	o := badger.DefaultOptions(dir).
		WithSyncWrites(sync).
		WithDetectConflicts(false). // one writer
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMemTableSize(memTable).
		WithNumMemtables(3).
		WithNumCompactors(2).
		WithValueLogFileSize(1 << 20). // nothing is ever big enough for the value log
		WithMetricsEnabled(false).
		WithLogger(badgerLog{logf})
	db, err := badger.Open(o)
	if err != nil {
		return nil, err // what badger gives beside an error cannot be closed
	}
	return db, nil
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
	f, err := os.OpenFile(lockPath(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, err
	}
	return f, nil
}

// copyStore makes a copy of the block store that may be opened without harm to
// the original: opening a damaged store makes badger cut it off at the damage,
// and that would destroy the evidence. Tables never change once they are
// written, so they are linked; the rest is small and is copied.
func copyStore(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		src, dst := filepath.Join(from, f.Name()), filepath.Join(to, f.Name())
		switch {
		case f.IsDir() || f.Name() == "LOCK":
			continue
		case strings.HasSuffix(f.Name(), ".sst"):
			if os.Link(src, dst) == nil {
				continue
			}
		}
		if err := copyFile(src, dst); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// readBlocks reads all blocks of a store in order, checks their hashes and their
// chain, and calls f for each. It ends at the first thing that is wrong.
func readBlocks(db *badger.DB, f func(b *block, hash [32]byte, size int) error) (last uint64, hash [32]byte, err error) {
	err = db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false // reads in this goroutine, where a panic over damaged data can be caught
		o.Prefix = []byte{'b'}
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			want := last + 1
			if key := it.Item().Key(); len(key) != 9 || binary.BigEndian.Uint64(key[1:]) != want {
				return &Damage{want, "it is missing, though later blocks are there"}
			}
			err := it.Item().Value(func(raw []byte) error {
				b, h, err := parseBlock(raw)
				switch {
				case err != nil:
					return &Damage{want, err.Error()}
				case b.number != want:
					return &Damage{want, fmt.Sprintf("another block (%d) is in its place", b.number)}
				case b.prev != hash:
					return &Damage{want, "it does not follow from the block before it"}
				}
				hash = h
				return f(&b, h, len(raw))
			})
			if err != nil {
				var d *Damage
				if !errors.As(err, &d) {
					err = &Damage{want, err.Error()}
				}
				return err
			}
			last = want
		}
		return nil
	})
	return last, hash, err
}
