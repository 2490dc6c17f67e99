package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"kessai"
	"kessai/authz/ledger"
	"kessai/customers"
	"kessai/merchants"
	"kessai/pos/purse"
)

// stores is what lies in the data folder: the book, the registry, and the keys:
// the one that both know card numbers by, and the one that the media's own are
// derived from.
type stores struct {
	book     *ledger.Book
	registry *merchants.Registry
	hasher   *kessai.MediumHasher
	pins     *customers.PINKey
	purses   *purse.Master
	phones   *phoneParts // nil: nothing is asked of phones
}

// openStores opens all of the data folder. Its errors are of type *exitError.
func openStores(c *Config, log *slog.Logger, progress func(what string, done, total uint64)) (*stores, error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, storeError(c.Data, err)
	}
	day, err := c.businessDay()
	if err != nil {
		return nil, configError("business_day.zone", err)
	}
	// The book comes before the keys: its lock keeps a second process out.
	book, err := ledger.Open(ledger.Options{
		Dir: c.Data, MaxQueue: c.Book.MaxQueue, Retention: c.Book.Retention, BusinessDay: day,
		Progress: progress, Logf: func(format string, args ...any) { log.Warn(fmt.Sprintf(format, args...), "from", "book") },
	})
	if err != nil {
		return nil, storeError(c.Data, err)
	}
	s := &stores{book: book}
	if err := s.openRegistry(c); err != nil {
		return nil, errors.Join(err, book.Close())
	}
	return s, nil
}

func (s *stores) openRegistry(c *Config) error {
	pan, api, master, err := c.keys()
	if err != nil {
		return err
	}
	if s.hasher, err = kessai.NewMediumHasher(pan); err != nil {
		return configError("keys.pan", err)
	}
	if s.pins, err = customers.NewPINKey(pan); err != nil {
		return configError("keys.pan", err)
	}
	if s.purses, err = purse.NewMaster(master); err != nil {
		return configError("keys.purse", err)
	}
	s.registry, err = merchants.OpenRegistry(merchants.Options{
		Dir: c.Data, OpenAccounts: s.book.OpenAccounts, Account: s.book.AccountByName, AccountNumbers: s.book.AccountNumbers,
		Hasher: s.hasher, APIKeySecret: api, PINKey: s.pins,
	})
	if err != nil {
		return storeError(c.Data, err)
	}
	return nil
}

// close closes what openStores opened, in the opposite order.
func (s *stores) close() (err error) {
	if s.phones != nil {
		err = s.phones.close()
	}
	return errors.Join(err, s.registry.Close(), s.book.Close())
}

// authenticate says whose API key it is.
func (s *stores) authenticate(key kessai.Secret) (kessai.MerchantID, bool) {
	m, ok := s.registry.MerchantByAPIKey(key)
	return m.ID, ok
}
