package merchants

import (
	"bytes"
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/authz/ledger"
	"kessai/customers"
)

// stager checks records against the registry and puts those that differ into
// the staging area.
type stager struct {
	r      *Registry
	ctx    context.Context
	file   *stagedWriter
	before Counts
	added  Counts
	txn    *badger.Txn // the registry as it was before
	im     *Import     // what is imported; nil for changes

	// The phone numbers that changes give, and to whom; of an import, its file has them.
	moves   map[customers.ID]string
	numbers map[string]customers.ID

	items  map[kessai.MerchantID]int // how many each has, where that was looked at
	change digest                    // what the digest of all records is to be combined with
	p      *progress
}

// stage fills the staging area. While it does, nobody else changes records.
func (r *Registry) stage(ctx context.Context, p *progress, fill func(*stager) error) (st state, err error) {
	file, err := createStaged(r.dir, stagedRun)
	if err != nil {
		return st, err
	}
	r.step("begun")
	txn := r.db.NewTransaction(false)
	defer txn.Discard()
	s := &stager{
		r: r, ctx: ctx, txn: txn, file: file, p: p, items: make(map[kessai.MerchantID]int),
		moves: make(map[customers.ID]string), numbers: make(map[string]customers.ID),
	}
	var m meta
	if m, err = getMeta(txn); err == nil {
		s.before = m.Counts
		err = fill(s)
	}
	st.Change, st.Counts, st.Phones = s.change, s.added, true
	if err != nil {
		return st, errors.Join(err, file.drop())
	}
	st.ID = chain(m.Digest, m.Version, s.change) // no other import has it
	if err = file.end(&st); err != nil {
		return st, err
	}
	r.step("staged")
	return st, nil
}

// all goes through the file, what is referred to before what refers to it.
func (s *stager) all(im *Import, sum *Summary) error {
	s.im = im
	for _, e := range im.merchants {
		if err := s.merchant(e.v, e.at, &sum.Merchants); err != nil {
			return err
		}
	}
	for _, e := range im.customers {
		if err := s.customer(e.v, e.at, &sum.Customers); err != nil {
			return err
		}
	}
	for _, e := range im.terminals {
		if err := s.terminal(e.v, e.at, &sum.Terminals); err != nil {
			return err
		}
	}
	for _, e := range im.apiKeys {
		if err := s.apiKey(e.v, e.at, &sum.APIKeys); err != nil {
			return err
		}
	}
	for i := range im.media {
		if err := s.medium(&im.media[i].v, im.media[i].at, &sum.Media); err != nil {
			return err
		}
	}
	for _, e := range im.items {
		if err := s.item(e.v, e.at, &sum.Items); err != nil {
			return err
		}
	}
	s.count(sum)
	return nil
}

func (s *stager) count(sum *Summary) {
	s.added = Counts{sum.Merchants.Added, sum.Terminals.Added, sum.APIKeys.Added, sum.Customers.Added, sum.Media.Added, sum.Items.Added}
}

// changes stages what becomes of the records that are to be changed.
func (s *stager) changes(targets []target) error {
	all := make(map[string]patch, len(targets))
	for i, t := range targets {
		p, ok := all[string(t.key)]
		if !ok {
			if err := s.exists(false, t.key, &ChangeError{i, "the registry has no such " + t.what + ": import it first"}); err != nil {
				return err
			}
		}
		all[string(t.key)] = p.then(t.patch)
	}
	var unused Count
	was := make(map[customers.ID]string)
	for key, p := range all {
		old, err := s.get([]byte(key), 1)
		if err != nil {
			return err
		}
		value, err := p.apply([]byte(key), old)
		if err == nil && p.Phone != nil {
			err = s.move(key, old, value, was)
		}
		if err != nil {
			return err
		}
		if err := s.put([]byte(key), old, value, true, &unused); err != nil {
			return err
		}
	}
	return s.renumberAll(targets, was)
}

func (s *stager) merchant(m Merchant, at place, c *Count) error {
	key := m.key()
	old, err := s.get(key, s.before.Merchants)
	if err != nil {
		return err
	}
	if old != nil {
		was, err := decodeMerchant(key, old)
		if err != nil {
			return err
		}
		if was.Currency != m.Currency {
			return s.fault("merchants", at, "currency", "cannot change from "+was.Currency.String()+": the merchant has an account in it")
		}
	}
	open, err := s.account(m.Account(), "merchants", at)
	if err != nil {
		return err
	}
	return s.put(key, old, m.encode(), open, c)
}

func (s *stager) customer(v customers.Customer, at place, c *Count) error {
	key := customers.Key(v.ID)
	old, err := s.get(key, s.before.Customers)
	if err != nil {
		return err
	}
	number := "" // until now
	if old != nil {
		was, err := customers.Decode(key, old)
		if err != nil {
			return err
		}
		number = was.Phone
		if was.Currency != v.Currency {
			return s.fault("customers", at, "currency", "cannot change from "+was.Currency.String()+": the customer has an account in it")
		}
		v.Opening = was.Opening // it was used when the account was opened, and is of no use again
		if v.Verifier.IsZero() {
			v.Verifier = was.Verifier // a file of names and addresses must not take passwords away
		}
	}
	if err := s.renumber(v.ID, number, v.Phone, s.fault("customers", at, "phone", errNumber.Error())); err != nil {
		return err
	}
	open, err := s.account(v.Account(), "customers", at)
	if err != nil {
		return err
	}
	return s.put(key, old, v.Encode(), open, c)
}

// account reports whether the book has the account just as it is asked for.
func (s *stager) account(want ledger.AccountSpec, section string, at place) (open bool, err error) {
	have, ok := s.r.o.Account(want.Name)
	if !ok {
		return false, nil
	}
	if have.Kind != want.Kind || have.Currency != want.Currency {
		return false, s.fault(section, at, "currency", "does not agree with the account in the book, which is in "+have.Currency.String())
	}
	return have.Overdraft == want.Overdraft, nil
}

func (s *stager) terminal(t Terminal, at place, c *Count) error {
	_, inFile := s.im.seen.merchants[t.Merchant]
	if err := s.exists(inFile, Merchant{ID: t.Merchant}.key(), s.fault("terminals", at, "merchant", "is neither in this file nor in the registry")); err != nil {
		return err
	}
	if t.User != "" {
		_, inFile = s.im.seen.customers[t.User]
		if err := s.exists(inFile, customers.Key(t.User), s.fault("terminals", at, "user", "is a customer neither in this file nor in the registry")); err != nil {
			return err
		}
	}
	key := t.key()
	old, err := s.get(key, s.before.Terminals)
	if err != nil {
		return err
	}
	return s.put(key, old, t.encode(), true, c)
}

func (s *stager) apiKey(e keyEntry, at place, c *Count) error {
	_, inFile := s.im.seen.merchants[e.merchant]
	if err := s.exists(inFile, Merchant{ID: e.merchant}.key(), s.fault("api_keys", at, "merchant", "is neither in this file nor in the registry")); err != nil {
		return err
	}
	k := APIKey{Hash: s.r.hashAPIKey(e.key), Merchant: e.merchant, Status: e.status}
	key := k.key()
	old, err := s.get(key, s.before.APIKeys)
	if err != nil {
		return err
	}
	if old != nil {
		was, err := decodeAPIKey(key, old)
		if err != nil {
			return err
		}
		if was.Merchant != k.Merchant {
			return s.fault("api_keys", at, "key", "belongs to another merchant: give every merchant keys of its own")
		}
	}
	return s.put(key, old, k.encode(), true, c)
}

func (s *stager) medium(e *mediumEntry, at place, c *Count) error {
	_, inFile := s.im.seen.customers[e.Customer]
	if err := s.exists(inFile, customers.Key(e.Customer), s.fault("media", at, "customer", "is neither in this file nor in the registry")); err != nil {
		return err
	}
	m := e.Medium
	m.ID, m.Last4 = s.r.o.Hasher.Medium(e.pan), e.pan.Last4()
	if e.pin != (givenPIN{}) && s.r.o.PINKey == nil {
		return s.fault("media", at, "pin", "cannot be kept: the registry was opened without a key for PINs")
	}
	key := customers.MediumKey(m.ID)
	old, err := s.get(key, s.before.Media)
	if err != nil {
		return err
	}
	if old != nil {
		was, err := customers.DecodeMedium(key, old)
		if err != nil {
			return unreadable("medium", err)
		}
		if was.Customer != m.Customer {
			return s.fault("media", at, "customer", "cannot change: the medium belongs to another customer")
		}
		if was.Status == customers.Retained && staysRetained(m.Status.String()) {
			m.Status, m.Kept = was.Status, was.Kept
		}
		if m.PIN.IsZero() {
			m.PIN = was.PIN
		}
	}
	m.PIN = e.pin.verifier(s.r.o.PINKey, m.ID, m.PIN)
	return s.put(key, old, m.Encode(), true, c)
}

// item checks an item, and that its merchant has not too many then.
func (s *stager) item(i Item, at place, c *Count) error {
	_, inFile := s.im.seen.merchants[i.Merchant]
	if err := s.exists(inFile, Merchant{ID: i.Merchant}.key(), s.fault("items", at, "merchant", "is neither in this file nor in the registry")); err != nil {
		return err
	}
	key, _ := itemKey(i.Merchant, i.Code)
	old, err := s.get(key, s.before.Items)
	if err != nil {
		return err
	}
	if old == nil {
		n, err := s.countItems(i.Merchant)
		if err != nil {
			return err
		}
		if n >= MaxItems {
			return s.fault("items", at, "merchant", tooManyItems+", with those in the registry")
		}
		s.items[i.Merchant] = n + 1
	}
	return s.put(key, old, i.encode(), true, c)
}

// countItems gives how many items a merchant has, with those of the file so far.
func (s *stager) countItems(m kessai.MerchantID) (int, error) {
	if n, ok := s.items[m]; ok || s.before.Items == 0 {
		return n, nil
	}
	n := 0
	err := each(s.txn, string(itemsOf(m)), func(_, _ []byte) error { n++; return nil })
	return n, err
}

func (s *stager) fault(section string, at place, field, problem string) error {
	return &FileError{File: s.im.file, Line: int(at.line), Section: section, Record: int(at.record), Field: field, Problem: problem}
}

// exists checks that what a record refers to is in the file or in the registry,
// and gives the fault where it is in neither.
func (s *stager) exists(inFile bool, key []byte, fault error) error {
	if inFile {
		return nil
	}
	_, err := s.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return fault
	}
	return err
}

// get gives the record that the registry has; nil where it has none, as is known
// without a look where there were no records of the kind before.
func (s *stager) get(key []byte, before int) ([]byte, error) {
	if before == 0 {
		return nil, nil
	}
	return getValue(s.txn, key)
}

// put counts a record, and stages it unless it is in place just like that.
func (s *stager) put(key, old, value []byte, inPlace bool, c *Count) error {
	defer s.p.staged(s.r.batch)
	switch {
	case old == nil:
		c.Added++
	case inPlace && bytes.Equal(old, value):
		c.Unchanged++
		return nil
	default:
		c.Changed++
		s.change.mix(key, old) // out, for its successor
	}
	return s.write(key, value)
}

// write puts one record into the staging area; without a value, that it is to go.
func (s *stager) write(key, value []byte) error {
	if err := s.file.add(key, value); err != nil {
		return err
	}
	if len(value) > 0 {
		s.change.mix(key, value)
	}
	if s.file.Records%s.r.batch != 0 {
		return nil
	}
	s.r.step("stage")
	return s.ctx.Err()
}
