package ledger

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"kessai"
)

// follower keeps the index by merchant and day. It goes after the book: it may
// lag, it has a cursor of its own in its store, and it can be made anew.
//
// An index key is m, merchant (15), day (4), transaction (8). Days and numbers
// only grow, so the keys of a merchant are in the order of its transactions.
type follower struct {
	b      *Book
	news   chan struct{} // holds one token when there may be something new
	cursor atomic.Uint64 // the last transaction that is indexed

	mu    sync.Mutex
	moved *sync.Cond // told when cursor or err changes
	err   error
}

var cursorKey = []byte{'c'}

const followChunk = 1_000

func indexKey(m kessai.MerchantID, day int32, id kessai.TxID) []byte {
	k := append(make([]byte, 0, 28), 'm')
	k = append(k, m[:]...)
	k = binary.BigEndian.AppendUint32(k, uint32(day))
	return binary.BigEndian.AppendUint64(k, uint64(id))
}

func (f *follower) init(b *Book) {
	f.b, f.news, f.moved = b, make(chan struct{}, 1), sync.NewCond(&f.mu)
	_ = b.index.View(func(txn *badger.Txn) error {
		raw, err := value(txn, cursorKey)
		if err == nil && len(raw) == 8 {
			f.cursor.Store(min(binary.BigEndian.Uint64(raw), b.state.txs.n))
		}
		return err
	})
	f.wake()
}

// wake tells the follower that there may be something new.
func (f *follower) wake() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

func (f *follower) run() {
	defer f.b.done.Done()
	for {
		select {
		case <-f.b.stop:
			f.finish(ErrClosed)
			return
		case <-f.news:
		}
		for more := true; more; {
			var err error
			if more, err = f.step(); err != nil {
				f.b.o.Logf("the index by merchant and day stands still: %v", err)
				f.finish(err)
				return
			}
		}
	}
}

func (f *follower) finish(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	f.moved.Broadcast()
}

// step indexes the next transactions. It reads the state, which shows only what
// is on disk.
func (f *follower) step() (more bool, err error) {
	from := f.cursor.Load()
	var keys [][]byte
	f.b.mu.RLock()
	if f.b.Err() != nil { // the state may be ahead of the disk
		f.b.mu.RUnlock()
		return false, ErrClosed
	}
	s := f.b.state
	to := min(from+followChunk, s.txs.n)
	for id := from + 1; id <= to; id++ {
		if t := s.txs.get(id); t != nil {
			keys = append(keys, indexKey(t.Merchant, t.Day, t.ID))
		}
	}
	more = to < s.txs.n
	f.b.mu.RUnlock()
	if to == from {
		return false, nil
	}
	err = f.b.index.Update(func(txn *badger.Txn) error {
		for _, k := range keys {
			if err := txn.Set(k, nil); err != nil {
				return err
			}
		}
		return txn.Set(cursorKey, sealed(binary.BigEndian.AppendUint64(nil, to)))
	})
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	f.cursor.Store(to)
	f.mu.Unlock()
	f.moved.Broadcast()
	return more, nil
}

// await returns when everything up to a transaction is indexed.
func (f *follower) await(id uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.cursor.Load() < id && f.err == nil {
		f.moved.Wait()
	}
	if f.cursor.Load() >= id {
		return nil
	}
	return f.err
}

// Query selects transactions of one merchant, newest first.
type Query struct {
	Merchant kessai.MerchantID
	From, To time.Time      // made in [From, To); zero: no bound
	Before   kessai.TxID    // only older ones than this; zero: from the newest
	Limit    int            // at most so many
	Match    func(*Tx) bool // only those; nil: all
}

// List gives the transactions that match, newest first. It has seen every
// transaction that was answered before the call.
func (b *Book) List(q Query) ([]Tx, error) {
	b.mu.RLock()
	newest, failed := b.state.txs.n, b.Err() != nil
	b.mu.RUnlock()
	if failed {
		return nil, ErrClosed
	}
	if err := b.follow.await(newest); err != nil {
		return nil, err
	}
	last := indexKey(q.Merchant, -1, kessai.TxID(^uint64(0))) // -1 is the greatest when unsigned
	if t, ok := b.Find(Ref{ID: q.Before}); ok {
		last = indexKey(q.Merchant, t.Day, q.Before-1)
	} else if q.Before != 0 {
		return nil, nil
	}
	var found []Tx
	err := b.index.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues, o.Reverse = false, true
		o.Prefix = last[:16]
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(last); it.Valid() && len(found) < q.Limit; it.Next() {
			k := it.Item().Key()
			t, ok := b.Find(Ref{ID: kessai.TxID(binary.BigEndian.Uint64(k[20:]))})
			made := time.Unix(0, t.Time)
			if ok && made.Before(q.From) {
				break
			}
			if ok && t.Merchant == q.Merchant && (q.To.IsZero() || made.Before(q.To)) && (q.Match == nil || q.Match(&t)) {
				found = append(found, t)
			}
		}
		return nil
	})
	return found, err
}

// Find gives the transaction that ref points to, as it stands now. One that was
// dropped from memory is read from its page on disk; it is found by number only.
// After a failure nothing is found: see Err.
func (b *Book) Find(ref Ref) (Tx, bool) {
	b.mu.RLock()
	if b.Err() != nil {
		b.mu.RUnlock()
		return Tx{}, false
	}
	t, ok := b.state.find(ref)
	var at uint64
	if !ok && ref.ID > 0 && uint64(ref.ID) <= b.state.txs.n {
		at = b.state.txs.saved[(ref.ID-1)/pageSize]
	}
	b.mu.RUnlock()
	if ok || at == 0 {
		return t, ok
	}
	err := b.index.View(func(txn *badger.Txn) error {
		p, err := loadPage(txn, txTable, uint64(ref.ID-1)/pageSize, at, (*decoder).row)
		if err == nil {
			t = p.rows[(ref.ID-1)%pageSize]
		}
		return err
	})
	return t, err == nil
}

// Note gives what was kept with a transaction; nil for nothing.
func (b *Book) Note(id kessai.TxID) ([]byte, error) {
	t, ok := b.Find(Ref{ID: id})
	if !ok || !t.HasNote {
		return nil, nil
	}
	blk, _, _, err := getBlock(b.blocks, t.Block)
	if err != nil {
		return nil, err
	}
	var note []byte
	found := errors.New("found")
	err = blk.entries(func(e *entry) error {
		if e.kind == entryTx && e.tx.ID == id {
			note = e.note
			return found
		}
		return nil
	})
	if errors.Is(err, found) {
		return note, nil
	}
	return nil, errors.Join(err, &Damage{Block: t.Block, What: "it lacks a transaction that it should have"})
}
