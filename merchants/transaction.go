package merchants

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// transaction changes records, and with them what the store says of itself.
type transaction struct {
	r       *Registry
	txn     *badger.Txn
	meta    meta
	changed bool
	unpins  bool  // the end of an import, which everybody sees from then on
	err     error // the first of any step
}

// begin begins a transaction; the caller holds writing, and discards it. A seal
// that could not be written before is written first: a store must not be ahead of
// it by more than one.
func (r *Registry) begin(v reading) (*transaction, error) {
	if r.broken != nil {
		return nil, r.broken
	}
	m, err := getMeta(v.top)
	if err == nil && r.seal.version != m.Version {
		err = r.seal.put(m)
	}
	if err != nil {
		return nil, err
	}
	return &transaction{r: r, txn: r.db.NewTransaction(true), meta: m}, nil
}

// replace puts a record in another's place; either may be nil, for none.
func (t *transaction) replace(key, old, value []byte) {
	if t.err != nil {
		return
	}
	t.changed = true
	if old != nil {
		t.meta.Records.mix(key, old)
	}
	if value == nil {
		t.err = t.txn.Delete(key)
		return
	}
	t.meta.Records.mix(key, value)
	t.err = t.txn.Set(key, value)
}

// commit puts the transaction on disk, with the seal, and then into memory. An
// error of the store leaves it unknown what it has, so nothing is written any
// more until the registry is opened again and looks.
//
// whole says that the news are all that changed.
func (t *transaction) commit(n *news, whole bool) error {
	if t.err != nil || !t.changed {
		return t.err
	}
	m := &t.meta
	m.Version++
	m.Digest = chain(m.Digest, m.Version, m.Records)
	if err := t.txn.Set(metaKey, mustJSON(m)); err != nil {
		return err
	}
	r := t.r
	if err := t.store(); err != nil {
		r.broken = fmt.Errorf("a change may be stored or not: start the gateway again: %w", err)
		return r.broken
	}
	r.step("done")
	err := r.seal.put(*m)
	r.publish(n, *m, whole)
	if err != nil {
		return fmt.Errorf("the change is in force, but a crash may undo it: repeat it: %w", err)
	}
	r.step("sealed")
	return nil
}

func (t *transaction) store() error {
	if !t.unpins {
		return t.txn.Commit()
	}
	// Nobody may see the new version with the old records, or the other way round.
	t.r.viewing.Lock()
	defer t.r.viewing.Unlock()
	err := t.txn.Commit()
	if err == nil {
		t.r.unpin()
	}
	return err
}
