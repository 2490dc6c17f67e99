package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"kessai"
)

// Query selects transactions of one merchant, newest first, or the payments that
// asked one customer.
type Query struct {
	Merchant kessai.MerchantID
	Customer AccountID      // not zero: the payments that asked them, those that they claimed too; of any merchant if none is named
	From, To time.Time      // made in [From, To); zero: no bound
	Before   kessai.TxID    // only older ones than this; zero: from the newest
	Limit    int            // at most so many
	Match    func(*Tx) bool // only those; nil: all
}

// List gives the transactions that match, newest first. It has seen every
// transaction that was answered before the call.
func (b *Book) List(q Query) ([]Tx, error) {
	if !b.readers.enter() {
		return nil, ErrClosed
	}
	defer b.readers.leave()
	b.mu.RLock()
	newest, failed := b.state.txs.n, b.Err() != nil
	b.mu.RUnlock()
	if failed {
		return nil, ErrClosed
	}
	if err := b.follow.await(newest); err != nil {
		return nil, err
	}
	day, before := int32(-1), q.Before-1 // of both, unsigned, there is none greater
	if t, ok := b.Find(Ref{ID: q.Before}); ok {
		day = t.Day
	} else if q.Before != 0 {
		return nil, nil
	}
	last := indexKey(q.Merchant, day, before)
	prefix := last[:16]
	if q.Customer != 0 {
		last = customerKey(q.Customer, before)
		prefix = last[:5]
	}
	var found []Tx
	err := b.index.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues, o.Reverse = false, true
		o.Prefix = prefix
		it := txn.NewIterator(o)
		defer it.Close()
		var ids []kessai.TxID
		for it.Seek(last); it.Valid() && len(found) < q.Limit; it.Next() {
			var err error
			if ids, err = listed(it.Item(), ids[:0]); err != nil {
				return err
			}
			for _, id := range slices.Backward(ids) {
				if q.Before != 0 && id >= q.Before || len(found) >= q.Limit {
					continue
				}
				t, ok, err := b.read(id)
				if err != nil || !ok {
					return errors.Join(err, b.Err(), fmt.Errorf("transaction %d cannot be read", id))
				}
				made := time.Unix(0, t.Time)
				if made.Before(q.From) {
					return nil
				}
				if q.of(&t) && (q.To.IsZero() || made.Before(q.To)) && (q.Match == nil || q.Match(&t)) {
					found = append(found, t)
				}
			}
		}
		return nil
	})
	return found, err
}

// of reports whether a transaction is of the merchant or customer that is asked for.
func (q *Query) of(t *Tx) bool {
	if q.Customer == 0 {
		return t.Merchant == q.Merchant
	}
	return t.Customer == q.Customer && t.Asks != kessai.AsksNobody && (q.Merchant.IsZero() || t.Merchant == q.Merchant)
}

// listed gives the transactions of one entry of the index.
func listed(item *badger.Item, ids []kessai.TxID) ([]kessai.TxID, error) {
	id := kessai.TxID(binary.BigEndian.Uint64(item.Key()[len(item.Key())-8:]))
	ids = append(ids, id)
	err := item.Value(func(rest []byte) error {
		for d := (decoder{b: rest}); len(d.b) > 0; {
			if id += kessai.TxID(d.uvarint()); d.bad {
				return errors.New("an entry of the index cannot be read; remove book/index to have it made anew")
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

// Note gives what was kept with a transaction; nil for nothing.
func (b *Book) Note(id kessai.TxID) ([]byte, error) {
	if !b.readers.enter() {
		return nil, ErrClosed
	}
	defer b.readers.leave()
	t, ok := b.Find(Ref{ID: id})
	if !ok || !t.HasNote {
		return nil, nil
	}
	blk, _, _, err := b.log.block(t.Block)
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
