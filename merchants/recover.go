package merchants

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"kessai/authz/ledger"
	"kessai/customers"
)

// recover ends what a crash or an error left of an earlier import: a decided
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
	if err != nil {
		return err
	}
	if st.Committed {
		if err := r.carryOut(st, func(int) {}); err != nil {
			return fmt.Errorf("%w: %w", ErrUnfinished, err)
		}
	}
	return dropStaged(r.dir)
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
	if err := r.db.Update(func(txn *badger.Txn) error { return txn.Set(stateKey, mustJSON(st)) }); err != nil {
		return err
	}
	r.step("marked")
	if err := r.openAccounts(st); err != nil {
		return err
	}
	if err := r.apply(st, done); err != nil {
		return err
	}
	r.step("applied")
	err := r.db.Update(func(txn *badger.Txn) error {
		return errors.Join(txn.Set(metaKey, mustJSON(st.Next)), txn.Delete(stateKey))
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
	err := st.Staged.each(r.dir, func(key, value []byte) error {
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

// apply puts the staged records in their places.
func (r *Registry) apply(st state, done func(int)) error {
	wb := r.db.NewWriteBatch()
	defer func() { wb.Cancel() }()
	n := 0
	err := st.Staged.sorted(r.dir, func(key, value []byte) error {
		if err := wb.Set(key, value); err != nil {
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
	return wb.Flush()
}
