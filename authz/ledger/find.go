package ledger

import (
	"slices"
	"sync"

	"kessai"
)

// readers keeps the stores open while somebody reads them.
type readers struct {
	mu     sync.RWMutex // held to read by each reader, to write by close
	closed bool
}

func (r *readers) enter() bool {
	r.mu.RLock()
	if r.closed {
		r.mu.RUnlock()
		return false
	}
	return true
}

func (r *readers) leave() { r.mu.RUnlock() }

// close waits for those that read; nobody does from then on.
func (r *readers) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
}

// Readers never change the tables. A row that is not in memory they read from
// its page on disk, without the lock, and the page is not kept: what is asked for
// once by a reader is rarely asked for again.

// readRow gives a copy of a row; ok is false where there is none, and after a
// failure.
func readRow[T any](b *Book, t *table[T], files *pageFiles, id uint64, decode func(*decoder) T) (row T, ok bool, err error) {
	b.mu.RLock()
	in, at := t.peek(id)
	if ok = in != nil && b.Err() == nil; ok {
		row = *in
	}
	b.mu.RUnlock()
	if ok || at == 0 {
		return row, ok, nil
	}
	rows, ok, err := readPageOf(b, t, files, id, decode)
	if ok && err == nil {
		row = rows[(id-1)%pageSize]
	}
	return row, ok, err
}

// readPageOf gives the page of a row as it is on disk.
func readPageOf[T any](b *Book, t *table[T], files *pageFiles, id uint64, decode func(*decoder) T) (rows []T, ok bool, err error) {
	for tried := place(0); ; {
		b.mu.RLock()
		at := t.saved[(id-1)/pageSize].page
		failed := b.Err() != nil
		b.mu.RUnlock()
		if failed || at == 0 || at == tried {
			return nil, false, err
		}
		// If the page is saved elsewhere meanwhile, its file may be gone: once more.
		tried = at
		if rows, _, err = readPage(files, (id-1)/pageSize, at, nil, decode); err == nil && len(rows) == pageSize {
			return rows, true, nil
		}
	}
}

func (b *Book) labelFiles() *pageFiles { return b.state.files.labels }

// read gives a transaction by its number, as it stands now.
func (b *Book) read(id kessai.TxID) (Tx, bool, error) {
	return readRow(b, &b.state.txs, b.state.files.txs, uint64(id), (*decoder).row)
}

// Find gives the transaction that ref points to, as it stands now. One that is
// not in memory is read from disk; one that is older than the retention is found
// by its number only. After a failure nothing is found: see Err.
func (b *Book) Find(ref Ref) (Tx, bool) {
	ids := []kessai.TxID{ref.ID}
	if ref.ID == 0 {
		ids = b.candidates(ref.Key, ids[:0])
	}
	for _, id := range ids {
		t, ok, err := b.read(id)
		if err != nil {
			b.o.Logf("transaction %d cannot be read: %v", id, err)
		}
		if ok && (ref.ID != 0 || t.named(ref.Key)) {
			return t, true
		}
	}
	return Tx{}, false
}

// candidates gives the transactions that may have a name, newest first: nearly
// always the one that has it, or none.
func (b *Book) candidates(k Key, ids []kessai.TxID) []kessai.TxID {
	if k == (Key{}) {
		return ids
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	p := b.state.names.probe(k.hash())
	for id := p.next(); id != 0; id = p.next() {
		ids = append(ids, kessai.TxID(id))
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids
}
