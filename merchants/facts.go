package merchants

import (
	"bytes"
	"fmt"

	"kessai"
	"kessai/cache"
	"kessai/customers"
)

var mediumStatus = [...]cache.MediumStatus{
	customers.Issued:    cache.MediumIssued,
	customers.Active:    cache.MediumActive,
	customers.Lost:      cache.MediumLost,
	customers.Stolen:    cache.MediumStolen,
	customers.Withdrawn: cache.MediumWithdrawn,
	customers.Retained:  cache.MediumRetained,
}

var terminalStatus = map[TerminalStatus]cache.TerminalStatus{
	Registered: cache.TerminalRegistered,
	Suspended:  cache.TerminalSuspended,
	Withdrawn:  cache.TerminalWithdrawn,
}

// mediumFacts gives what a decision needs to know of a medium, with the number of
// its customer's account. That number is asked of the book and not kept in the
// registry: with another book it would be another customer's.
func (r *Registry) mediumFacts(key, value []byte) (f cache.Medium, err error) {
	f, account, err := readMedium(key, value)
	if err == nil {
		f.Account, err = r.accountNumber(account)
	}
	return f, err
}

// readMedium is mediumFacts but for the number of the account, whose name it gives.
func readMedium(key, value []byte) (f cache.Medium, account string, err error) {
	m, err := customers.DecodeMedium(key, value)
	if err != nil {
		return f, "", unreadable("medium", err)
	}
	return cache.Medium{
		Status: mediumStatus[m.Status], Expiry: m.Expiry, Allowed: orAll(m.Allowed), Limits: cache.Limits(m.Limits),
	}, customers.AccountName(m.Customer), nil
}

// terminalFacts gives what a decision needs to know of a terminal. That its
// merchant is blocked is no part of it: it would be a change of each terminal.
func (r *Registry) terminalFacts(key, value []byte, merchant func(kessai.MerchantID) (Merchant, bool, error)) (f cache.Terminal, err error) {
	f, user, err := readTerminal(key, value, merchant)
	if err == nil {
		f.Account, err = r.accountNumber(AccountName(f.Merchant))
	}
	if err == nil && user != "" {
		f.User, err = r.accountNumber(user)
	}
	return f, err
}

// readTerminal is terminalFacts but for the numbers of the accounts. It gives the
// name of the one customer's whom the terminal serves; none where it serves all.
func readTerminal(key, value []byte, merchant func(kessai.MerchantID) (Merchant, bool, error)) (f cache.Terminal, user string, err error) {
	t, err := decodeTerminal(key, value)
	if err != nil {
		return f, "", err
	}
	m, ok, err := merchant(t.Merchant)
	switch {
	case err != nil:
		return f, "", err
	case !ok:
		return f, "", fmt.Errorf("%w: terminal %s belongs to a merchant that is missing", ErrDamaged, t.ID)
	}
	if t.User != "" {
		user = customers.AccountName(t.User)
	}
	return cache.Terminal{
		Status: terminalStatus[t.Status], Partial: t.Partial, Merchant: t.Merchant,
		Currency: m.Currency, Allowed: orAll(t.Allowed), Limits: cache.Limits(t.Limits),
	}, user, nil
}

func (r *Registry) accountNumber(name string) (uint32, error) {
	a, ok := r.o.Account(name)
	if !ok {
		return 0, noAccount(name)
	}
	return uint32(a.ID), nil
}

func noAccount(name string) error {
	return fmt.Errorf("%w: account %s is not in the book: this registry and this book do not belong together, or the book was begun anew; import the files again", ErrDamaged, name)
}

// accountNumbers is the same for many; an empty name has the number zero.
func (r *Registry) accountNumbers(names []string) (numbers []uint32, err error) {
	numbers = make([]uint32, len(names))
	if r.o.AccountNumbers == nil {
		for i, name := range names {
			if name != "" && err == nil {
				numbers[i], err = r.accountNumber(name)
			}
		}
		return numbers, err
	}
	for i, id := range r.o.AccountNumbers(names) {
		if numbers[i] = uint32(id); id == 0 && names[i] != "" {
			return nil, noAccount(names[i])
		}
	}
	return numbers, nil
}

func orAll(s kessai.KindSet) kessai.KindSet {
	if s == 0 {
		return kessai.AllKinds
	}
	return s
}

// mediumID gives the ID in the key of a medium that can be read.
func mediumID(key []byte) kessai.MediumID {
	return kessai.MediumID(key[len(customers.MediumKeyPrefix):])
}

// news is what changed, for what is kept in memory.
type news struct {
	cache.Changes
	merchants map[kessai.MerchantID]Merchant
	apiKeys   map[[32]byte]APIKey
}

// add takes in a record as it is now.
func (n *news) add(r *Registry, key, value []byte, merchant func(kessai.MerchantID) (Merchant, bool, error)) error {
	switch {
	case bytes.HasPrefix(key, []byte(customers.MediumKeyPrefix)):
		f, err := r.mediumFacts(key, value)
		if err == nil {
			n.Media = append(n.Media, cache.MediumChange{ID: mediumID(key), Facts: f})
		}
		return err
	case bytes.HasPrefix(key, []byte(terminalPrefix)):
		f, err := r.terminalFacts(key, value, merchant)
		if err != nil {
			return err
		}
		id, err := kessai.ParseTerminalID(key[len(terminalPrefix):])
		n.Terminals = append(n.Terminals, cache.TerminalChange{ID: id, Facts: f})
		return err
	case bytes.HasPrefix(key, []byte(merchantPrefix)):
		m, err := decodeMerchant(key, value)
		n.Merchants = append(n.Merchants, cache.MerchantChange{ID: m.ID, Active: m.Status == Active})
		put(&n.merchants, m.ID, m)
		return err
	case bytes.HasPrefix(key, []byte(apiKeyPrefix)):
		k, err := decodeAPIKey(key, value)
		put(&n.apiKeys, k.Hash, k)
		return err
	}
	return nil // a customer or an item
}

func put[K comparable, V any](m *map[K]V, key K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[key] = v
}

// with gives what is known, with the news.
func (k *known) with(n *news, m meta) *known {
	return &known{meta: m, merchants: merged(k.merchants, n.merchants), apiKeys: merged(k.apiKeys, n.apiKeys)}
}

// merged gives the map itself where there is nothing new.
func merged[K comparable, V any](old, changed map[K]V) map[K]V {
	if len(changed) == 0 {
		return old
	}
	all := make(map[K]V, len(old)+len(changed))
	for key, v := range old {
		all[key] = v
	}
	for key, v := range changed {
		all[key] = v
	}
	return all
}
