package merchants

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"kessai/authz/ledger"
	"kessai/customers"
)

// recover ends what a crash or an error left of an earlier import: a decided one
// is carried out, any other is dropped, and the changes that came meanwhile are
// put in their places.
func (r *Registry) recover() error {
	m, err := r.sealed()
	if err != nil {
		return err
	}
	st, ok, err := decided(r.dir)
	if err != nil {
		return err
	}
	if ok && st.ID != m.Import {
		if _, err := r.putInPlace(st, newProgress(nil, 0)); err != nil {
			return err
		}
	}
	r.unfinished.Store(false)
	return errors.Join(dropStaged(r.dir), r.fold())
}

// sealed makes sure that the seal is up with the store: what was written last was
// the store.
func (r *Registry) sealed() (m meta, err error) {
	r.writing <- struct{}{}
	defer func() { <-r.writing }()
	err = r.view(func(v reading) error {
		t, err := r.begin(v)
		if err == nil {
			m = t.meta
			t.txn.Discard()
		}
		return err
	})
	return m, err
}

// carryOut decides the import of the staged records, and makes them the
// registry's; whole says that the cache has them, too.
func (r *Registry) carryOut(st state, p *progress) (whole bool, err error) {
	if err := decide(r.dir); err != nil {
		r.unfinished.Store(true)
		return false, fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	r.step("marked")
	return r.putInPlace(st, p)
}

// putInPlace makes the staged records of a decided import the registry's. Each
// part of it can be done again, so it may be cut off anywhere. Until the end,
// everybody sees the records as they were before.
//
// Accounts come first: where there is a record there is then an account, and
// the snapshot never has to do without one.
func (r *Registry) putInPlace(st state, p *progress) (whole bool, err error) {
	m, err := r.sealed()
	if err != nil {
		return false, err
	}
	r.pin()
	if err = r.openAccounts(st); err == nil {
		if m.Version == 0 && st.Records >= bulk {
			err = r.applyBulk(st, p)
		} else {
			err = r.applyStaged(st, p)
		}
	}
	if err == nil {
		r.step("applied")
		whole, err = r.finish(st)
	}
	if err != nil {
		r.unfinished.Store(true)
		return false, fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	return whole, nil
}

// accountsAtOnce is how many accounts the book is asked for at a time.
const accountsAtOnce = 4096

// openAccounts opens the accounts of the staged merchants and customers. It
// reads all that is staged, and so finds out that it is whole before any of it
// is applied.
func (r *Registry) openAccounts(st state) error {
	var specs []ledger.AccountSpec
	flush := func() error {
		if len(specs) == 0 {
			return nil
		}
		ids, err := r.o.OpenAccounts(specs)
		if err == nil && len(ids) != len(specs) {
			err = errors.New("the book did not open every account")
		}
		if err != nil {
			return fmt.Errorf("open accounts: %w", err)
		}
		r.step("accounts")
		specs = specs[:0]
		return nil
	}
	err := st.each(r.staged(), func(key, value []byte) error {
		switch {
		case bytes.HasPrefix(key, []byte(merchantPrefix)):
			m, err := decodeMerchant(key, value)
			if err != nil {
				return err
			}
			specs = append(specs, m.Account())
		case bytes.HasPrefix(key, []byte(customers.KeyPrefix)):
			c, err := customers.Decode(key, value)
			if err != nil {
				return unreadable("customer", err)
			}
			specs = append(specs, c.Account())
		}
		if len(specs) >= min(r.batch, accountsAtOnce) {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

func putOrDelete(wb *badger.WriteBatch, key, value []byte) error {
	if len(value) == 0 {
		return wb.Delete(key)
	}
	return wb.Set(key, value)
}

// applyStaged writes the staged records into the store.
func (r *Registry) applyStaged(st state, p *progress) error {
	wb := r.db.NewWriteBatch()
	defer func() { wb.Cancel() }()
	n := 0
	err := st.sorted(r.staged(), func(key, value []byte) error {
		if err := putOrDelete(wb, key, value); err != nil {
			return err
		}
		if n++; n%r.batch != 0 {
			return nil
		}
		if err := wb.Flush(); err != nil {
			return err
		}
		r.step("apply")
		p.applied(n, st.Records)
		wb = r.db.NewWriteBatch()
		return nil
	})
	if err != nil {
		return err
	}
	return wb.Flush()
}

// smallImport is the number of records up to which an import goes into the cache
// record by record. With more, the cache is built anew.
const smallImport = 100_000

// finish says that the import is carried out: the store first, then the seal, then
// memory.
func (r *Registry) finish(st state) (whole bool, err error) {
	r.writing <- struct{}{}
	defer func() { <-r.writing }()
	now := r.db.NewTransaction(false)
	defer now.Discard()
	n, whole, err := r.imported(st, reading{now, now, true})
	if err != nil {
		return false, err
	}
	t, err := r.begin(reading{now, now, true})
	if err != nil {
		return false, err
	}
	defer t.txn.Discard()
	t.meta.Records.add(st.Change)
	t.meta.Import, t.changed = st.ID, true
	t.meta.Counts.add(st.Counts)
	t.meta.Phones = st.Phones
	t.unpins = true
	return whole, t.commit(n, whole)
}

// imported gives what an import changed, for memory; whole says that it is all
// that a cache needs.
func (r *Registry) imported(st state, v reading) (n *news, whole bool, err error) {
	later, err := v.later()
	if err != nil {
		return nil, false, err
	}
	n, whole = new(news), st.Records <= smallImport && r.follow.follows()
	err = st.each(r.staged(), func(key, value []byte) error {
		if !whole && !bytes.HasPrefix(key, []byte(merchantPrefix)) && !bytes.HasPrefix(key, []byte(apiKeyPrefix)) {
			return nil
		}
		if p, ok := later[string(key)]; ok {
			if value, err = p.apply(key, value); err != nil {
				return err
			}
		}
		return n.add(r, key, value, v.merchant)
	})
	return n, whole, err
}

func (r *Registry) staged() string { return filepath.Join(r.dir, stagedName) }
