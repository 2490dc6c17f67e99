package merchants

import (
	"bytes"
	"errors"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/cache"
	"kessai/customers"
)

// reading is the registry at one moment: the records, and on top of them the
// changes that wait for an import to end. While an import puts its records in
// their places, base is of the time before it.
type reading struct {
	base, top *badger.Txn
	changes   bool // there may be some that wait
}

// pinned is a transaction that several readings share.
type pinned struct {
	txn  *badger.Txn
	refs atomic.Int64
}

func (p *pinned) release() {
	if p.refs.Add(-1) == 0 {
		p.txn.Discard()
	}
}

// view gives f the registry as it stands between two changes. It waits for
// nobody, however long an import takes.
func (r *Registry) view(f func(reading) error) error {
	r.viewing.RLock()
	if r.closed.Load() {
		r.viewing.RUnlock()
		return ErrClosed
	}
	r.readers.Add(1)
	defer r.readers.Done()
	top := r.db.NewTransaction(false)
	v, pin := reading{top, top, r.underWay}, r.pinned
	if pin != nil {
		pin.refs.Add(1)
		v.base = pin.txn
	}
	r.viewing.RUnlock()
	defer top.Discard()
	if pin != nil {
		defer pin.release()
	}
	return f(v)
}

// pin has every view from now on see the records as they are now, until unpin.
func (r *Registry) pin() {
	r.viewing.Lock()
	defer r.viewing.Unlock()
	if r.pinned == nil {
		r.pinned = &pinned{txn: r.db.NewTransaction(false)}
		r.pinned.refs.Store(1)
	}
}

// unpin ends that; the caller holds viewing.
func (r *Registry) unpin() {
	if r.pinned != nil {
		r.pinned.release()
		r.pinned = nil
	}
}

// get gives a record with the change that waits for it; nil where there is none.
func (v reading) get(key []byte) ([]byte, error) {
	value, err := getValue(v.base, key)
	if err != nil || value == nil || !v.changes {
		return value, err
	}
	later, err := getValue(v.top, laterKey(key))
	if err != nil || later == nil {
		return value, err
	}
	p, err := decodePatch(later)
	if err != nil {
		return nil, err
	}
	return p.apply(key, value)
}

func getValue(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// MediumFacts gives what a decision needs to know about a medium, from the store;
// the zero facts where there is none.
func (r *Registry) MediumFacts(id kessai.MediumID) (f cache.Medium, err error) {
	key := customers.MediumKey(id)
	err = r.view(func(v reading) error {
		value, err := v.get(key)
		if err == nil && value != nil {
			f, err = r.mediumFacts(key, value)
		}
		return err
	})
	return f, err
}

// TerminalFacts gives what a decision needs to know about a terminal, from the
// store; the zero facts where there is none.
func (r *Registry) TerminalFacts(id kessai.TerminalID) (f cache.Terminal, err error) {
	key := Terminal{ID: id}.key()
	err = r.view(func(v reading) error {
		value, err := v.get(key)
		if err != nil || value == nil {
			return err
		}
		f, err = r.terminalFacts(key, value, func(id kessai.MerchantID) (Merchant, bool, error) { return v.merchant(id) })
		return err
	})
	return f, err
}

func (v reading) merchant(id kessai.MerchantID) (m Merchant, ok bool, err error) {
	key := Merchant{ID: id}.key()
	value, err := v.get(key)
	if err != nil || value == nil {
		return m, false, err
	}
	m, err = decodeMerchant(key, value)
	return m, err == nil, err
}

// Terminal finds a terminal in the store. Its own status is given; that its
// merchant is blocked is the merchant's.
func (r *Registry) Terminal(id kessai.TerminalID) (t Terminal, ok bool, err error) {
	key := Terminal{ID: id}.key()
	err = r.view(func(v reading) error {
		value, err := v.get(key)
		if ok = err == nil && value != nil; ok {
			t, err = decodeTerminal(key, value)
		}
		return err
	})
	return t, ok && err == nil, err
}

// Customer finds a customer in the store.
func (r *Registry) Customer(id customers.ID) (c customers.Customer, ok bool, err error) {
	key := customers.Key(id)
	err = r.view(func(v reading) error {
		value, err := v.get(key)
		if ok = err == nil && value != nil; ok {
			c, err = customers.Decode(key, value)
		}
		return err
	})
	return c, ok && err == nil, err
}

// Medium finds a medium in the store.
func (r *Registry) Medium(id kessai.MediumID) (m customers.Medium, ok bool, err error) {
	key := customers.MediumKey(id)
	err = r.view(func(v reading) error {
		value, err := v.get(key)
		if ok = err == nil && value != nil; ok {
			m, err = customers.DecodeMedium(key, value)
		}
		return err
	})
	return m, ok && err == nil, err
}

// MediumByPAN is [Registry.Medium] by the card number.
func (r *Registry) MediumByPAN(pan kessai.PAN) (customers.Medium, bool, error) {
	return r.Medium(r.o.Hasher.Medium(pan))
}

// Changes that come while an import runs wait, durable and in force, beside the
// record that the import may be about to replace.
const laterPrefix = "later/"

func laterKey(key []byte) []byte { return append([]byte(laterPrefix), key...) }

func isLater(key []byte) bool { return bytes.HasPrefix(key, []byte(laterPrefix)) }
