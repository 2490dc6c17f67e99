package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	"kessai"
)

// loaded is what was found in a book's folder.
type loaded struct {
	state    *state
	start    uint64 // the block of the snapshot that the reading started from
	startTxs uint64 // the transactions in that snapshot
	chain           // of the blocks in the segments
	marks    marks  // where they are
	tail     tail   // what is behind them
	slots    []witnessed
	putBack  *witnessed // the block that only the witness holds

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
	l = &loaded{state: from, slots: slots, start: from.block, startTxs: from.txs.n, filled: make(chan struct{})}
	go func() { // beside the checking of the blocks
		defer close(l.filled)
		l.unfilled = unusable(from.fill())
	}()
	defer l.ready()
	last := uint64(0)
	if len(slots) > 0 {
		last = slots[len(slots)-1].number
	}
	if err = l.readBlocks(blocksDir(dir), last, progress); err == nil {
		err = l.ready()
	}
	if err == nil {
		err = l.judge(blocksDir(dir))
	}
	return l, err
}

// readBlocks reads the blocks into the state, and holds them against the witness.
func (l *loaded) readBlocks(dir string, total uint64, progress func(string, uint64, uint64)) error {
	r := replayer{s: l.state}
	defer r.end()
	start, startHash := l.state.block, l.state.hash // of the snapshot
	var err error
	l.chain, err = readBlocks(dir, func(b *block, hash [32]byte, at position) error {
		if b.number%256 == 0 {
			progress("checking the book", b.number, max(total, b.number))
		}
		l.marks.add(b.number, at)
		for i := range l.slots {
			if l.slots[i].number == b.number && l.slots[i].hash != hash {
				return errors.New("the witness holds another block of this number")
			}
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
