package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// A snapshot lives in the index store: the pages of both tables, each under its
// number and the block at which it was saved, and one manifest that says which
// pages make up the whole. Only pages that changed are written again. The
// manifest is written last, in one transaction, so a snapshot is there whole or
// not at all; if anything in it is not as it was written, the blocks are read
// from the beginning instead.

var manifestKey = []byte{'s'}

// The tables, in the keys of their pages.
const (
	accountTable byte = 'a'
	txTable      byte = 't'
)

func pageKey(tab byte, no, block uint64) []byte {
	k := binary.BigEndian.AppendUint64([]byte{'p', tab}, no)
	return binary.BigEndian.AppendUint64(k, block)
}

// sealed appends the hash of what it is given.
func sealed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

var errSeal = errors.New("it does not match its hash")

func unseal(b []byte) ([]byte, error) {
	n := len(b) - hashSize
	if n < 0 || sha256.Sum256(b[:n]) != [hashSize]byte(b[n:]) {
		return nil, errSeal
	}
	return b[:n], nil
}

// snapshot is a state at one block, ready to be written.
type snapshot struct {
	block    uint64
	time     int64
	day      int32
	hash     [32]byte
	accounts frozen[Account]
	txs      frozen[Tx]
}

// freeze takes a snapshot of the state. It is quick; writing it is not.
func (s *state) freeze() *snapshot {
	return &snapshot{s.block, s.time, s.day, s.hash, s.accounts.freeze(s.block), s.txs.freeze(s.block)}
}

func (s *state) thaw() {
	s.accounts.thaw()
	s.txs.thaw()
}

// write writes the snapshot and removes what it replaces.
func (sn *snapshot) write(db *badger.DB) error {
	wb := db.NewWriteBatch()
	defer wb.Cancel()
	for no, p := range sn.accounts.changed {
		if err := wb.Set(pageKey(accountTable, no, sn.block), encodePage(p, appendAccountRow)); err != nil {
			return err
		}
	}
	for no, p := range sn.txs.changed {
		if err := wb.Set(pageKey(txTable, no, sn.block), encodePage(p, appendRow)); err != nil {
			return err
		}
	}
	if err := wb.Flush(); err != nil {
		return err
	}
	if err := db.Update(func(txn *badger.Txn) error { return txn.Set(manifestKey, sn.manifest()) }); err != nil {
		return err
	}
	old := db.NewWriteBatch()
	defer old.Cancel()
	for no, block := range sn.accounts.old {
		if err := old.Delete(pageKey(accountTable, no, block)); err != nil {
			return err
		}
	}
	for no, block := range sn.txs.old {
		if err := old.Delete(pageKey(txTable, no, block)); err != nil {
			return err
		}
	}
	return old.Flush()
}

func (sn *snapshot) manifest() []byte {
	b := binary.BigEndian.AppendUint64(nil, sn.block)
	b = binary.BigEndian.AppendUint64(b, uint64(sn.time))
	b = binary.BigEndian.AppendUint32(b, uint32(sn.day))
	b = append(b, sn.hash[:]...)
	for _, t := range [...]struct {
		n     uint64
		saved []uint64
	}{{sn.accounts.n, sn.accounts.saved}, {sn.txs.n, sn.txs.saved}} {
		b = binary.AppendUvarint(b, t.n)
		for _, block := range t.saved {
			b = binary.AppendUvarint(b, block)
		}
	}
	return sealed(b)
}

func encodePage[T any](p *page[T], row func([]byte, *T) []byte) []byte {
	b := make([]byte, 0, len(p.rows)*160)
	for i := range p.rows {
		b = row(b, &p.rows[i])
	}
	return sealed(b)
}

// loadSnapshot reads the newest snapshot; nil where there is none. Transactions
// older than keep are left on disk unless a hold among them is open.
func loadSnapshot(db *badger.DB, keep time.Duration) (*state, error) {
	s := newState()
	err := db.View(func(txn *badger.Txn) error {
		raw, err := value(txn, manifestKey)
		if err != nil {
			return err
		}
		if len(raw) < 52 {
			return errSeal
		}
		s.block = binary.BigEndian.Uint64(raw)
		s.time = int64(binary.BigEndian.Uint64(raw[8:]))
		s.day = int32(binary.BigEndian.Uint32(raw[16:]))
		copy(s.hash[:], raw[20:])
		d := decoder{b: raw[52:]}
		if err := loadTable(txn, &d, &s.accounts, accountTable, (*decoder).accountRow, nil); err != nil {
			return err
		}
		// By the snapshot's own time: what came after it in the blocks may refer to
		// anything that was in memory then.
		old := s.time - int64(keep)
		return loadTable(txn, &d, &s.txs, txTable, (*decoder).row, func(p *page[Tx]) bool { return droppable(p, old) })
	})
	if errors.Is(err, badger.ErrKeyNotFound) && s.block == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.derive()
	return s, nil
}

// droppable reports whether a page is full, final and older than a moment.
func droppable(p *page[Tx], old int64) bool {
	if len(p.rows) < pageSize || p.rows[pageSize-1].Time >= old {
		return false
	}
	for i := range p.rows {
		if p.rows[i].Status == Pending {
			return false
		}
	}
	return true
}

func loadTable[T any](txn *badger.Txn, d *decoder, t *table[T], tab byte, row func(*decoder) T, drop func(*page[T]) bool) error {
	n := d.uvarint()
	if n > uint64(len(d.b))*pageSize {
		return errSeal
	}
	for no := range (n + pageSize - 1) / pageSize {
		block := d.uvarint()
		p, err := loadPage(txn, tab, no, block, row)
		if err != nil {
			return err
		}
		t.saved = append(t.saved, block)
		if t.n += uint64(len(p.rows)); drop != nil && drop(p) {
			p = nil
		}
		t.pages = append(t.pages, p)
	}
	if d.bad || t.n != n {
		return errSeal
	}
	return nil
}

func loadPage[T any](txn *badger.Txn, tab byte, no, block uint64, row func(*decoder) T) (*page[T], error) {
	raw, err := value(txn, pageKey(tab, no, block))
	if err != nil {
		return nil, fmt.Errorf("page %c%d of the snapshot: %w", tab, no, err)
	}
	p := &page[T]{rows: make([]T, 0, pageSize)}
	for d := (decoder{b: raw}); len(d.b) > 0; {
		p.rows = append(p.rows, row(&d))
		if d.bad || len(p.rows) > pageSize {
			return nil, fmt.Errorf("page %c%d of the snapshot: %w", tab, no, errSeal)
		}
	}
	return p, nil
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
