package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"kessai/store"
)

// Options configures a book. The zero value of each setting means its default.
type Options struct {
	Dir           string                                // the data folder; the book keeps its own folder in it
	MaxQueue      int                                   // operations that may wait for a block; more get ErrBusy. Default 65,536
	MaxBlock      int                                   // operations in one block. Default 4,096
	Retention     time.Duration                         // how long attempts are remembered. Default 120 days, 30 to 360
	Resident      int                                   // transactions in memory; others are read back when they are needed. Default 500,000
	SnapshotEvery int                                   // at least so many transactions between two snapshots. Default 200,000
	SnapshotPause time.Duration                         // at least so long between two snapshots. Default 30 s
	BusinessDay   func(time.Time) int32                 // the business day of a moment, in days since 1970-01-01. Default: UTC
	Progress      func(what string, done, total uint64) // told of long work while opening; may be nil
	Logf          func(format string, args ...any)      // told of what was found and put right; may be nil

	unsynced bool // see Generate
}

// The errors of the book.
var (
	ErrBusy    = errors.New("the book's queue is full: nothing was done, try again")
	ErrClosed  = errors.New("the book is closed: nothing was done")
	ErrUnknown = errors.New("the outcome is unknown: the book could not make sure that the transaction is on disk")
	ErrLocked  = errors.New("the book is in use by another process")
	ErrDamaged = errors.New("the book is damaged")
)

const (
	minRetention = 30 * 24 * time.Hour
	maxRetention = 360 * 24 * time.Hour // an attempt's name has no year
)

func (o *Options) fill() error {
	for _, d := range [...]struct {
		n   *int
		def int
	}{{&o.MaxQueue, 65_536}, {&o.MaxBlock, 4_096}, {&o.SnapshotEvery, 200_000}, {&o.Resident, 500_000}} {
		if *d.n <= 0 {
			*d.n = d.def
		}
	}
	if o.Retention == 0 {
		o.Retention = 120 * 24 * time.Hour
	}
	if o.Retention < minRetention || o.Retention > maxRetention {
		return fmt.Errorf("the book's retention is %v; it must be 30 to 360 days", o.Retention)
	}
	if o.SnapshotPause <= 0 {
		o.SnapshotPause = 30 * time.Second
	}
	if o.BusinessDay == nil {
		o.BusinessDay = func(t time.Time) int32 { return int32(t.Unix() / 86_400) }
	}
	if o.Progress == nil {
		o.Progress = func(string, uint64, uint64) {}
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	return nil
}

// Book is the durable record of accounts and transactions. It may be used from
// many goroutines at once.
type Book struct {
	o       Options
	lock    *os.File
	index   *badger.DB
	readers readers // of the stores
	log     *blockLog
	witness *witness

	gate   sync.RWMutex // held to read while sending into queue, to write while closing it
	closed bool
	queue  chan *pending
	asked  sync.Pool     // of *pending
	queued atomic.Int64  // operations in the queue
	early  chan struct{} // holds a token when a hold ends earlier than the committer thinks
	unseen chan struct{} // holds a token when the witness lacks the last block

	maker  sync.Mutex // held by whoever makes a block
	making batch

	// mu guards the state. The committer holds it from the first change of a
	// block until the block is on disk, so a reader never sees what is not.
	mu    sync.RWMutex
	state *state

	failure atomic.Pointer[error]
	failed  chan struct{}
	stop    chan struct{} // closed when the followers are to end
	done    sync.WaitGroup

	onEnded atomic.Pointer[func([]Tx)] // told of waiting payments that ended

	follow    follower
	snapBlock atomic.Uint64 // the block of the newest snapshot
	snapTxs   atomic.Uint64 // the transactions in it
	snapping  atomic.Bool
	saving    sync.Mutex   // held by who writes to the pages; taken before mu
	lastSave  time.Time    // when the last snapshot was begun; the committer's
	notBefore atomic.Int64 // Unix nanoseconds: when a save may be tried again after one that failed
	lastOps   atomic.Int64
	syncNanos atomic.Int64
}

// Open opens the book in a folder, or begins a new one. errors.Is tells with
// ErrLocked and ErrDamaged why it would not; errors.As gives a *Damage.
func Open(o Options) (*Book, error) {
	b, err := open(o)
	if err != nil {
		return nil, err
	}
	b.done.Add(3)
	b.state.files.gentle = !o.unsynced
	b.lastSave = time.Now()
	go b.commitLoop()
	go b.witnessLoop()
	go b.follow.run()
	return b, nil
}

// open opens a book in which nobody works yet.
func open(o Options) (b *Book, err error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "book"), 0o700); err != nil {
		return nil, err
	}
	b = &Book{o: o, queue: make(chan *pending, o.MaxQueue), early: make(chan struct{}, 1), unseen: make(chan struct{}, 1), failed: make(chan struct{}), stop: make(chan struct{})}
	if b.lock, err = lockBook(o.Dir); err != nil {
		return nil, err
	}
	if err := b.roomOnDisk(); err != nil {
		return nil, errors.Join(err, b.lock.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.release())
			b = nil
		}
	}()
	if err := b.openBlocks(); err != nil {
		return b, err
	}
	if err := b.openIndex(); err != nil {
		return b, err
	}
	return b, b.follow.init(b)
}

// openIndex opens the store of the index by merchant and day. One that cannot be
// used is made anew, because everything in it follows from the blocks.
func (b *Book) openIndex() (err error) {
	dir := indexDir(b.o.Dir)
	if err = store.Check(dir); err == nil {
		b.index, err = store.Open(indexOptions(dir, b.o.Logf))
	}
	if err == nil {
		err = checkIndex(b.index)
	}
	if err == nil {
		return nil
	}
	b.o.Logf("the book's index cannot be used and is made anew: %v", err)
	if b.index != nil {
		b.index.Close()
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	b.index, err = store.Open(indexOptions(dir, b.o.Logf))
	return err
}

// openState begins the state from the newest snapshot. Without one that can be
// used the state is made from the blocks.
func (b *Book) openState() (hadSnapshot bool, err error) {
	files, err := openPages(pagesDir(b.o.Dir))
	if err != nil {
		return false, err
	}
	if b.state, err = readHead(files, b.o.Resident); err == nil && b.state != nil {
		return true, nil
	}
	if err != nil {
		b.o.Logf("the book's snapshot cannot be used, and the blocks are read instead: %v", err)
	}
	if err := files.close(); err != nil {
		return false, err
	}
	b.state, err = emptyState(pagesDir(b.o.Dir), b.o.Resident)
	return false, err
}

// emptyState gives the state of a book before its first block, which saves its
// pages in a folder that is begun anew.
func emptyState(dir string, resident int) (*state, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	files, err := openPages(dir)
	if err != nil {
		return nil, err
	}
	s := newState()
	s.keepIn(files, resident)
	return s, nil
}

// openBlocks checks the blocks and the witness, puts right what a crash may have
// left, and opens them for writing.
func (b *Book) openBlocks() error {
	if err := os.MkdirAll(blocksDir(b.o.Dir), 0o700); err != nil {
		return err
	}
	hadSnapshot, err := b.openState()
	if err != nil {
		return err
	}
	l, err := load(b.o.Dir, b.state, b.o.Progress)
	if d := (*Damage)(nil); hadSnapshot && (errors.Is(err, errSnapshot) || errors.As(err, &d) && !d.final) {
		// The blocks are the truth. If it is the snapshot that is damaged or does
		// not fit, they are whole without it.
		reason := err
		if err := b.state.close(); err != nil {
			return err
		}
		if b.state, err = emptyState(pagesDir(b.o.Dir), b.o.Resident); err != nil {
			return err
		}
		if l, err = load(b.o.Dir, b.state, b.o.Progress); err == nil {
			b.o.Logf("the snapshot cannot be used (%v); the book was read from its beginning", reason)
		}
	}
	if err != nil {
		return err
	}
	if b.state.txs.n > 1<<20 {
		debug.FreeOSMemory() // reading a big book leaves hundreds of megabytes behind
	}
	b.snapBlock.Store(l.start)
	b.snapTxs.Store(l.startTxs)
	if b.witness, err = openWitness(witnessPath(b.o.Dir), l.slots); err != nil {
		return err
	}
	if err := b.begin(l); err != nil {
		return err
	}
	if b.log, err = openLog(blocksDir(b.o.Dir), l, !b.o.unsynced); err != nil {
		return err
	}
	return b.putRight(l)
}

// putRight makes the book end at a whole block, and the witness with it, after a
// crash or where the end of the blocks was damaged.
func (b *Book) putRight(l *loaded) error {
	if l.tail.dirty {
		if l.putBack == nil {
			b.o.Logf("block %d was being written when the gateway stopped, and nobody was told of it; what there is of it, at %v, is removed", l.last+1, l.tail.first)
		}
		if err := b.log.zero(&l.tail); err != nil {
			return err
		}
	}
	if l.putBack != nil {
		b.o.Logf("block %d, the last one, was lost or damaged; the witness had it whole, and it was put back", l.putBack.number)
		if err := b.log.write(l.putBack.number, l.putBack.raw); err != nil {
			return err
		}
	}
	if err := b.witnessEnd(); err != nil {
		return err
	}
	return b.log.settle()
}

// begin makes the witness of a new book, and makes sure that the witness and the
// names of the book's folders and files are on disk before anything is told. An
// older book may have been put in place a moment ago, or may have been killed when
// a segment had just got its name.
func (b *Book) begin(l *loaded) error {
	if len(l.slots) == 0 {
		if err := b.witness.begin(); err != nil {
			return err
		}
	} else if err := b.witness.f.Sync(); err != nil {
		return err
	}
	for _, dir := range []string{blocksDir(b.o.Dir), filepath.Join(b.o.Dir, "book"), b.o.Dir} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// release closes whatever is open. After a failure badger and the lock stay as
// they are until the process ends: badger would try to write what it has, and not
// come back.
func (b *Book) release() error {
	var errs []error
	if b.log != nil {
		b.log.halt()
	}
	if b.Err() != nil {
		return nil
	}
	if b.log != nil {
		if b.witness != nil {
			errs = append(errs, b.log.flush(), b.witnessEnd())
		}
		errs = append(errs, b.log.close())
	}
	if b.witness != nil {
		errs = append(errs, b.witness.close())
	}
	if b.index != nil {
		errs = append(errs, b.index.Close())
	}
	if b.state != nil {
		b.mu.Lock() // readers find nothing from here on
		errs = append(errs, b.state.close())
		b.mu.Unlock()
	}
	if b.lock != nil {
		errs = append(errs, b.lock.Close())
	}
	return errors.Join(errs...)
}

// Close waits for what is queued, writes a snapshot and the witness, and closes
// the files. After a failure it writes nothing.
func (b *Book) Close() error {
	b.gate.Lock()
	if b.closed {
		b.gate.Unlock()
		return nil
	}
	b.closed = true
	close(b.queue)
	close(b.stop)
	b.gate.Unlock()
	b.done.Wait()
	b.readers.close()
	if b.Err() == nil && b.snapBlock.Load() != b.state.block {
		if err := b.snapshot(); err != nil {
			b.o.Logf("no snapshot was written: %v; the next start reads the blocks instead", err)
		}
	}
	return b.release()
}

// Failed is closed when the book can no longer write; Err then says why.
func (b *Book) Failed() <-chan struct{} { return b.failed }

// Err says why the book failed; nil while it has not.
func (b *Book) Err() error {
	if p := b.failure.Load(); p != nil {
		return *p
	}
	return nil
}
