package merchants

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"kessai/authz/ledger"
	"kessai/customers"
)

// recover ends what a crash or an error left of an earlier import: a committed
// one is carried out, any other is dropped.
func (r *Registry) recover() error {
	var m meta
	var st state
	err := r.db.View(func(txn *badger.Txn) (err error) {
		if m, err = getMeta(txn); err == nil {
			st, err = getState(txn)
		}
		return err
	})
	if err == nil && r.seal.version != m.Version { // what was written last was the store
		err = r.seal.put(m)
	}
	switch {
	case err != nil:
		return err
	case st.Committed:
		if err := r.carryOut(st, func(int) {}); err != nil {
			return fmt.Errorf("%w: %w", ErrUnfinished, err)
		}
		return r.dropStaged()
	case st.Begun:
		return r.dropStaged()
	}
	return nil
}

// carryOut marks the staged records as a decided import, and makes them the
// registry's. Each part of it can be done again, so it may be cut off anywhere;
// an error in setting the mark, too, leaves it to the next look at the disk
// whether the mark is there.
//
// Accounts come first: where there is a record there is then an account, and
// the snapshot never has to do without one.
func (r *Registry) carryOut(st state, done func(int)) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	if err := r.setState(st); err != nil {
		return err
	}
	r.step("marked")
	txn := r.db.NewTransaction(false)
	defer txn.Discard()
	if err := r.openAccounts(txn); err != nil {
		return err
	}
	if err := r.apply(txn, st.Staged, done); err != nil {
		return err
	}
	r.step("applied")
	err := r.db.Update(func(txn *badger.Txn) error {
		return errors.Join(txn.Set(metaKey, mustJSON(st.Next)), txn.Set(stateKey, mustJSON(state{Begun: true})))
	})
	if err != nil {
		return err
	}
	r.step("done")
	if err := r.seal.put(st.Next); err != nil {
		return err
	}
	r.step("sealed")
	return nil
}

// openAccounts opens the accounts of the staged merchants and customers.
func (r *Registry) openAccounts(txn *badger.Txn) error {
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
	err := each(txn, stagedPrefix, func(_, staged []byte) error {
		key, value, err := splitStaged(staged)
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(string(key), merchantPrefix):
			m, err := decodeMerchant(key, value)
			if err != nil {
				return err
			}
			specs = append(specs, m.Account())
		case strings.HasPrefix(string(key), customers.KeyPrefix):
			c, err := customers.Decode(value)
			if err != nil {
				return unreadable("customer", err)
			}
			specs = append(specs, c.Account())
		}
		if len(specs) == r.batch {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// apply puts the staged records in their places.
func (r *Registry) apply(txn *badger.Txn, staged int, done func(int)) error {
	wb := r.db.NewWriteBatch()
	defer func() { wb.Cancel() }()
	n := 0
	err := each(txn, stagedPrefix, func(_, staged []byte) error {
		key, value, err := splitStaged(staged)
		if err != nil {
			return err
		}
		if err := wb.Set(append([]byte(nil), key...), append([]byte(nil), value...)); err != nil {
			return err
		}
		if n++; n%r.batch != 0 {
			return nil
		}
		if err := wb.Flush(); err != nil {
			return err
		}
		r.step("apply")
		done(n)
		wb = r.db.NewWriteBatch()
		return nil
	})
	if err != nil {
		return err
	}
	if n != staged {
		return fmt.Errorf("%w: of an import with %d staged records, %d are left", ErrDamaged, staged, n)
	}
	return wb.Flush()
}

// dropStaged empties the staging area. Deleting key by key and not with
// badger's DropPrefix, which stops all writing and rewrites tables.
func (r *Registry) dropStaged() error {
	txn := r.db.NewTransaction(false)
	defer txn.Discard()
	wb := r.db.NewWriteBatch()
	defer func() { wb.Cancel() }()
	o := badger.IteratorOptions{Prefix: []byte(stagedPrefix)}
	it := txn.NewIterator(o)
	defer it.Close()
	n := 0
	for it.Rewind(); it.Valid(); it.Next() {
		if err := wb.Delete(it.Item().KeyCopy(nil)); err != nil {
			return err
		}
		if n++; n%r.batch != 0 {
			continue
		}
		if err := wb.Flush(); err != nil {
			return err
		}
		r.step("drop")
		wb = r.db.NewWriteBatch()
	}
	if err := wb.Flush(); err != nil {
		return err
	}
	r.step("dropped")
	return r.db.Update(func(txn *badger.Txn) error { return txn.Delete(stateKey) })
}
