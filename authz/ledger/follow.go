package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"kessai"
)

// follower keeps the index by merchant and day. It goes after the book: it may
// lag, it has a cursor of its own in its store, and it can be made anew.
//
// A key of the index is m, merchant (15), day (4), number of a transaction (8),
// and its value has the numbers of those that come after it in the same step, as
// differences. Days and numbers only grow, so what a merchant has is in order.
//
// A payment that asks its customer has a key of its own besides: u, account (4),
// its number (8). Its value is empty. A claim writes it for the payment that it is
// about, which may be of an earlier step.
//
// A key for each transaction took 2.5 µs of processor time each, a quarter of a
// processor at 100,000 a second; lists take 0.3 µs, with 10,000 merchants. So the
// follower works in large steps, and in between it rests, unless someone waits.
type follower struct {
	b      *Book
	news   chan struct{} // holds one token when there may be something new
	hurry  chan struct{} // holds one token when someone waits
	cursor atomic.Uint64 // the last transaction that is indexed

	mu    sync.Mutex
	moved *sync.Cond // told when cursor or err changes
	err   error

	// What one step has found.
	lists map[posting]*list
	keys  []keyed // lists that are full
	bytes int
	// The last page that had to be read from disk.
	cold   []Tx
	coldNo uint64
}

// posting is what one step found of one merchant on one day.
type posting struct {
	merchant kessai.MerchantID
	day      int32
}

type list struct {
	first, last kessai.TxID
	rest        []byte // the numbers after the first, as differences
}

type keyed struct{ key, list []byte }

const (
	followStep  = 1 << 17                // transactions in one step, at the most
	followLists = 15_000                 // keys in one step, and
	followBytes = 1_000_000              // bytes in it, so that they fit into one transaction of badger's
	followLook  = 16 * pageSize          // transactions that are looked at under one lock
	followRest  = 250 * time.Millisecond // between two steps, unless someone waits
	longestList = 4 << 10                // bytes in a value; a list goes on under another key
)

var cursorKey = []byte{'c'}

func indexKey(m kessai.MerchantID, day int32, id kessai.TxID) []byte {
	k := append(make([]byte, 0, 28), 'm')
	k = append(k, m[:]...)
	k = binary.BigEndian.AppendUint32(k, uint32(day))
	return binary.BigEndian.AppendUint64(k, uint64(id))
}

func customerKey(id AccountID, tx kessai.TxID) []byte {
	k := binary.BigEndian.AppendUint32(append(make([]byte, 0, 13), 'u'), uint32(id))
	return binary.BigEndian.AppendUint64(k, uint64(tx))
}

// indexOptions are badger's for the index, which is small and written rarely. It
// is never synced: it can be made anew.
func indexOptions(dir string, logf func(string, ...any)) badger.Options {
	return badger.DefaultOptions(dir).
		WithDetectConflicts(false). // one writer
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMemTableSize(16 << 20).
		WithNumMemtables(2).
		WithValueThreshold(256 << 10).
		WithNumCompactors(2).
		WithValueLogFileSize(1 << 20). // nothing is ever big enough for the value log
		WithMetricsEnabled(false).
		WithLogger(badgerLog{logf})
}

// checkIndex refuses an index of an older form, which kept the snapshots too.
func checkIndex(db *badger.DB) error {
	return db.View(func(txn *badger.Txn) error {
		if _, err := txn.Get([]byte{'s'}); err == nil {
			return errors.New("it is of an older form")
		}
		return nil
	})
}

func (f *follower) init(b *Book) error {
	f.b, f.news, f.hurry, f.moved = b, make(chan struct{}, 1), make(chan struct{}, 1), sync.NewCond(&f.mu)
	f.lists = make(map[posting]*list)
	_ = b.index.View(func(txn *badger.Txn) error {
		raw, err := value(txn, cursorKey)
		if err == nil && len(raw) == 8 {
			f.cursor.Store(binary.BigEndian.Uint64(raw))
		}
		return err
	})
	f.wake()
	if f.cursor.Load() <= b.state.txs.n {
		return nil
	}
	// It is of another book, or of a later time than the blocks that were put here.
	f.cursor.Store(0)
	return b.index.DropAll()
}

// value reads a sealed value.
func value(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if err != nil {
		return nil, err
	}
	raw, err := item.ValueCopy(nil)
	if err != nil {
		return nil, err
	}
	return unseal(raw)
}

// wake tells the follower that there may be something new.
func (f *follower) wake() { token(f.news) }

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *follower) run() {
	defer f.b.done.Done()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-f.b.stop:
			f.finish(ErrClosed)
			return
		case <-f.hurry:
		case <-f.news:
			rest.Reset(followRest)
			select {
			case <-f.b.stop:
				f.finish(ErrClosed)
				return
			case <-f.hurry:
			case <-rest.C:
			}
		}
		for more := true; more && !f.b.stopping(); {
			var err error
			if more, err = f.step(); err != nil {
				f.b.o.Logf("the index by merchant and day stands still: %v", err)
				f.finish(err)
				return
			}
		}
	}
}

// stopping reports whether the book is being closed: nobody waits for the index then.
func (b *Book) stopping() bool {
	select {
	case <-b.stop:
		return true
	default:
		return false
	}
}

func (f *follower) finish(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	f.moved.Broadcast()
}

// step indexes the next transactions. It reads the state, which shows only what
// is on disk. Lists and cursor are written as one, so that no list is there twice.
func (f *follower) step() (more bool, err error) {
	from := f.cursor.Load()
	clear(f.lists)
	f.keys, f.bytes = nil, 0
	to := from
	for more = true; more && to < from+followStep && len(f.lists)+len(f.keys) < followLists && f.bytes < followBytes; {
		if to, more, err = f.look(to); err != nil {
			return false, err
		}
	}
	if to == from {
		return false, nil
	}
	err = f.b.index.Update(func(txn *badger.Txn) error {
		for p, l := range f.lists {
			f.keys = append(f.keys, keyed{indexKey(p.merchant, p.day, l.first), l.rest})
		}
		for _, k := range f.keys {
			if err := txn.Set(k.key, k.list); err != nil {
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

// look takes the transactions after a number into the lists: those of some pages
// in memory, or of one page on disk.
func (f *follower) look(after uint64) (to uint64, more bool, err error) {
	f.b.mu.RLock()
	if f.b.Err() != nil { // the state may be ahead of the disk
		f.b.mu.RUnlock()
		return after, false, ErrClosed
	}
	t := &f.b.state.txs
	to = after
	for to < t.n && to < after+followLook {
		p := t.pages[to/pageSize]
		if p == nil {
			break
		}
		rows := p.rows[to%pageSize:]
		for i := range rows {
			f.take(&rows[i])
		}
		to += uint64(len(rows))
	}
	n := t.n
	f.b.mu.RUnlock()
	if to > after || to == n {
		return to, to < n, nil
	}
	for to < n && (to == after || to%pageSize != 0) {
		tx, ok, err := f.row(to + 1)
		if err != nil || !ok {
			return to, false, errors.Join(err, f.b.Err(), fmt.Errorf("transaction %d cannot be read", to+1))
		}
		f.take(tx)
		to++
	}
	return to, to < n, nil
}

// row gives a transaction of a page that is not in memory.
func (f *follower) row(id uint64) (*Tx, bool, error) {
	if no := (id - 1) / pageSize; f.cold == nil || f.coldNo != no {
		rows, ok, err := readPageOf(f.b, &f.b.state.txs, f.b.state.files.txs, id, (*decoder).row)
		if err != nil || !ok {
			return nil, false, err
		}
		f.cold, f.coldNo = rows, no
	}
	return &f.cold[(id-1)%pageSize], true, nil
}

// take puts one transaction into its list.
func (f *follower) take(t *Tx) {
	if t.Asks != kessai.AsksNobody && t.Customer != 0 {
		f.takeOfCustomer(t.Customer, t.ID)
	} else if t.Kind == kessai.Claim && t.Original != 0 {
		f.takeOfCustomer(t.Customer, t.Original)
	}
	p := posting{t.Merchant, t.Day}
	l := f.lists[p]
	if l == nil {
		f.lists[p] = &list{first: t.ID, last: t.ID}
		f.bytes += 28
		return
	}
	before := len(l.rest)
	l.rest = binary.AppendUvarint(l.rest, uint64(t.ID-l.last))
	l.last = t.ID
	if f.bytes += len(l.rest) - before; len(l.rest) >= longestList {
		f.keys = append(f.keys, keyed{indexKey(p.merchant, p.day, l.first), l.rest})
		delete(f.lists, p)
	}
}

func (f *follower) takeOfCustomer(id AccountID, tx kessai.TxID) {
	f.keys = append(f.keys, keyed{customerKey(id, tx), nil})
	f.bytes += 28
}

// await returns when everything up to a transaction is indexed.
func (f *follower) await(id uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.cursor.Load() < id && f.err == nil {
		token(f.hurry)
		f.moved.Wait()
	}
	if f.cursor.Load() >= id {
		return nil
	}
	return f.err
}
