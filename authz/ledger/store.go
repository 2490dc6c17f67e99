package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"kessai/store"
)

// The book's own folders and files, below the data folder.
func blocksDir(dir string) string   { return filepath.Join(dir, "book", "blocks") }
func indexDir(dir string) string    { return filepath.Join(dir, "book", "index") }
func pagesDir(dir string) string    { return filepath.Join(dir, "book", "pages") }
func scanDir(dir string) string     { return filepath.Join(dir, "book", "scan") }
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

// minFree is what must be free on the disk, in bytes: far more than is written
// between two looks at it.
const minFree = 256 << 20

// roomOnDisk refuses to go on when the disk is nearly full. Badger, which keeps the
// index, writes into files that it has mapped; when the disk has no room for a page
// of them the kernel kills the process, and nobody would hear why.
func (b *Book) roomOnDisk() error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(b.o.Dir, &st); err != nil {
		return fmt.Errorf("asking for the room on the disk: %w", err)
	}
	if free, need := int64(st.Bavail)*st.Bsize, int64(minFree); free < need {
		return fmt.Errorf("the disk that %s is on has %d MiB left; the book needs %d MiB to go on safely", b.o.Dir, free>>20, need>>20)
	}
	return nil
}
