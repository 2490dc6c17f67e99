package merchants

import (
	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
)

// bulk is the number of staged records from which on an empty store takes them in
// its own way for many: straight into tables, without log and compaction. It is
// for many a third of the time. Below, the other way is as fast. Tests change it.
var bulk = 100_000

const bulkBuffer = 1 << 20 // bytes of records that are handed over at a time

// applyBulk writes the staged records into the store, which is empty or has only
// what an earlier try left. Nobody may look meanwhile: the store begins its count
// of versions anew.
func (r *Registry) applyBulk(st state, p *progress) error {
	r.viewing.Lock()
	defer r.viewing.Unlock()
	r.unpin()
	r.readers.Wait()
	w := r.db.NewStreamWriter()
	defer w.Cancel()
	if err := w.Prepare(); err != nil {
		return err
	}
	b := z.NewBuffer(2*bulkBuffer, "merchants")
	defer func() { _ = b.Release() }()
	n := 0
	err := st.sorted(r.staged(), func(key, value []byte) error {
		if len(value) == 0 {
			return nil // of what there is not, nothing goes
		}
		badger.KVToBuffer(&pb.KV{Key: key, Value: value, Version: 1}, b)
		if n++; b.LenNoPadding() < bulkBuffer {
			return nil
		}
		err := w.Write(b)
		b.Reset()
		p.applied(n, st.Records)
		return err
	})
	if err == nil {
		err = w.Write(b)
	}
	r.step("bulk")
	if err != nil {
		return err
	}
	return w.Flush()
}
