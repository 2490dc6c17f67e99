package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/store"
)

// loaded is what was found in a book's folder.
type loaded struct {
	state    *state
	start    uint64     // the block of the snapshot that the reading started from
	startTxs uint64     // the transactions in that snapshot
	last     uint64     // the last block in the store
	putBack  *witnessed // the block that only the witness holds
	behind   bool       // the witness lacks the last block: nobody was told of it

	filled   chan struct{} // closed when the state is what the snapshot says
	unfilled error         // why it is not
}

var errSnapshot = errors.New("the book's pages cannot be used")

func unusable(err error) error {
	if err != nil {
		err = fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return err
}

// ready returns when blocks may be applied to the state.
func (l *loaded) ready() error {
	<-l.filled
	return l.unfilled
}

// load reads a whole book without changing it: it checks every block, the chain
// and the witness, and makes the state go on from where it stands: at a snapshot,
// or before the first block.
func load(dir string, from *state, progress func(string, uint64, uint64)) (l *loaded, err error) {
	if progress == nil {
		progress = func(string, uint64, uint64) {}
	}
	slots, err := readWitness(witnessPath(dir))
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(checkDir(dir))
	l = &loaded{state: from, start: from.block, startTxs: from.txs.n, filled: make(chan struct{})}
	go func() { // beside the checking of the blocks
		defer close(l.filled)
		l.unfilled = unusable(from.fill())
	}()
	defer l.ready()
	last := uint64(0)
	if len(slots) > 0 {
		last = slots[len(slots)-1].number
	}
	if err = l.readStore(dir, last, progress); err == nil {
		err = l.ready()
	}
	if err == nil {
		err = l.compare(slots)
	}
	var d *Damage
	if errors.As(err, &d) {
		if n := locate(blocksDir(dir), last); n != 0 && n != d.Block {
			err = &Damage{Block: n, What: fmt.Sprintf("its content is not as it was written (the store says: %v)", err)}
		}
	}
	return l, err
}

// notWhole says that a store cannot be read, unless it is the machine that lacks
// something.
func notWhole(err error) error {
	for _, lack := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EACCES} {
		if errors.Is(err, lack) {
			return fmt.Errorf("checking the book: %w", err)
		}
	}
	return &Damage{Block: 0, What: fmt.Sprintf("the block store cannot be read: %v", err)}
}

// readStore reads the blocks of a copy of the store into the state.
func (l *loaded) readStore(dir string, total uint64, progress func(string, uint64, uint64)) (err error) {
	defer func() {
		// Badger panics over some damage; that is damage too.
		if p := recover(); p != nil {
			err = &Damage{Block: l.last + 1, What: fmt.Sprintf("the store cannot be read: %v", p)}
		}
	}()
	if err := store.Copy(blocksDir(dir), checkDir(dir)); err != nil {
		return notWhole(err)
	}
	db, err := store.OpenCopy(storeOptions(checkDir(dir), false, nil))
	if err != nil {
		return notWhole(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r := replayer{s: l.state}
	defer r.end()
	start, startHash := l.state.block, l.state.hash // of the snapshot
	_, _, err = readBlocks(db, func(b *block, hash [32]byte, size int) error {
		if l.last = b.number; b.number%256 == 0 {
			progress("checking the book", b.number, total)
		}
		if b.number == start && hash != startHash {
			return &Damage{Block: b.number, What: "it is not the block that the snapshot was taken at"}
		}
		if b.number <= start {
			return nil
		}
		if err := l.ready(); err != nil {
			return err
		}
		return r.replay(b, hash)
	})
	return cmp.Or(err, r.end())
}

// compare holds the end of the store against the witness.
func (l *loaded) compare(slots []witnessed) error {
	n := len(slots)
	switch {
	case l.last < l.start:
		if n > 0 && l.last+1 == l.start && slots[n-1].hash == l.state.hash {
			l.putBack = &slots[n-1] // the snapshot was taken at the very block that the store lacks
			return nil
		}
		what := fmt.Sprintf("it is missing; a snapshot was taken at block %d (if an older book was put in place on purpose, remove book/pages)", l.start)
		return &Damage{Block: l.last + 1, What: what, final: true}
	case n == 0 && l.last == 0:
		return nil
	case n == 0:
		return &Damage{Block: l.last, What: "the witness file is missing, or neither of its slots is whole"}
	}
	w := slots[n-1]
	switch {
	case w.number == l.last:
		if w.hash != l.state.hash {
			return &Damage{Block: l.last, What: "the witness holds another block of this number"}
		}
	case w.number == l.last+1:
		if w.prev != l.state.hash {
			return &Damage{Block: w.number, What: "the witness holds it, but it does not follow from the last block in the store"}
		}
		if err := l.state.replay(&w.block, w.hash); err != nil {
			return &Damage{Block: w.number, What: err.Error()}
		}
		l.putBack = &w
	case w.number == l.last-1:
		// The store has one block more. Answers wait for both, so nobody was
		// told of it; it is whole and chained, so it stands.
		l.behind = true
	case w.number > l.last:
		return &Damage{Block: l.last + 1, What: fmt.Sprintf("it is missing; the witness says that the book ends at block %d", w.number)}
	default:
		return &Damage{Block: w.number + 1, What: fmt.Sprintf("the store goes on to block %d, but the witness ends before it: it is from another time", l.last)}
	}
	return nil
}

// replayer applies many blocks to a state. Pages leave memory beside it.
type replayer struct {
	s      *state
	mu     sync.Mutex // guards s
	saving chan error // holds the outcome of a save that has ended; nil: none is running
	err    error
}

func (r *replayer) replay(b *block, hash [32]byte) error {
	r.mu.Lock()
	if r.s.bulk == nil {
		r.s.beginBulk()
	}
	err := r.s.replay(b, hash)
	crowded, flooded, lost := r.s.crowded(), r.s.flooded(), r.s.lost()
	r.mu.Unlock()
	if lost != nil {
		return unusable(lost)
	}
	if flooded {
		r.wait()
	}
	if crowded && r.saving == nil {
		r.saving = make(chan error, 1)
		go func(ended chan error) {
			_, err := r.s.save(false, func() error { r.mu.Lock(); return nil }, r.mu.Unlock)
			ended <- err
		}(r.saving)
	} else if len(r.saving) > 0 {
		r.wait()
	}
	return cmp.Or(err, r.err)
}

// wait returns when no save is running.
func (r *replayer) wait() {
	if r.saving != nil {
		r.err = cmp.Or(r.err, unusable(<-r.saving))
		r.saving = nil
	}
}

// end finishes the state.
func (r *replayer) end() error {
	r.wait()
	if r.s.bulk != nil {
		r.s.endBulk()
	}
	return r.err
}

// replay applies a block's entries to the state.
func (s *state) replay(b *block, hash [32]byte) error {
	s.begin(b.time, b.day)
	err := b.entries(func(e *entry) error {
		switch e.kind {
		case entryAccount:
			return s.openAccount(e.account)
		case entryOverdraft:
			return s.setOverdraft(AccountID(e.id), e.overdraft)
		case entryTx:
			return s.apply(&e.tx)
		case entryAlias:
			return s.alias(kessai.TxID(e.id), e.name)
		}
		return s.expire(kessai.TxID(e.id))
	})
	s.block, s.hash = b.number, hash
	return err
}

// getBlock reads one block from the store; raw is its own copy.
func getBlock(db *badger.DB, number uint64) (b block, hash [32]byte, raw []byte, err error) {
	err = db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(blockKey(number))
		if err != nil {
			return err
		}
		if raw, err = item.ValueCopy(nil); err != nil {
			return err
		}
		b, hash, err = parseBlock(raw)
		return err
	})
	if err != nil {
		err = &Damage{Block: number, What: err.Error()}
	}
	return b, hash, raw, err
}
