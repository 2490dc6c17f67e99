package merchants

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/cache"
	"kessai/customers"
)

// Snapshot reads the whole registry and gives what the cache needs of it: the
// facts that requests are judged by.
func (r *Registry) Snapshot() (s *cache.Snapshot, err error) {
	err = r.view(func(txn *badger.Txn) error {
		k, err := loadKnown(txn)
		if err != nil {
			return err
		}
		s, err = r.snapshot(txn, k, allReaders())
		return err
	})
	return s, err
}

// snapshot builds the cache's facts: the merchant's status is folded into its
// terminals', and a medium carries the number of its customer's account. That
// number is asked of the book and not kept in the registry: with another book it
// would be another customer's.
func (r *Registry) snapshot(txn *badger.Txn, k *known, readers int) (*cache.Snapshot, error) {
	b := cache.NewBuilder(k.meta.Counts.Media, len(k.terminals))
	for id, m := range k.merchants {
		if m.Status == Active {
			b.AddMerchant(id)
		}
	}
	for id, t := range k.terminals {
		f, err := r.terminalFacts(t, k)
		if err != nil {
			return nil, err
		}
		b.AddTerminal(id, f)
	}
	var count [256]int // of each span, which one goroutine reads
	err := eachIn(txn, r.db.Opts().Dir, mediaSpans(), readers, func(span int, key, value []byte) error {
		m, err := customers.DecodeMedium(key, value)
		if err != nil {
			return unreadable("medium", err)
		}
		account, err := r.accountNumber(customers.AccountName(m.Customer))
		if err != nil {
			return err
		}
		b.AddMedium(m.ID, cache.Medium{
			Status: mediumStatus[m.Status], Expiry: m.Expiry, Allowed: orAll(m.Allowed),
			Account: account, Limits: cache.Limits(m.Limits),
		})
		count[span]++
		return nil
	})
	if err != nil {
		return nil, err
	}
	n := 0
	for _, c := range count {
		n += c
	}
	if n != k.meta.Counts.Media {
		return nil, fmt.Errorf("%w: it has %d media where it should have %d: import the files again into a new registry", ErrDamaged, n, k.meta.Counts.Media)
	}
	return b.Snapshot(time.Now(), k.meta.Version), nil
}

var mediumStatus = [...]cache.MediumStatus{
	customers.Active:  cache.MediumActive,
	customers.Lost:    cache.MediumLost,
	customers.Stolen:  cache.MediumStolen,
	customers.Blocked: cache.MediumBlocked,
}

func (r *Registry) terminalFacts(t Terminal, k *known) (f cache.Terminal, err error) {
	m, ok := k.merchants[t.Merchant]
	if !ok {
		return f, fmt.Errorf("%w: terminal %s belongs to a merchant that is missing", ErrDamaged, t.ID)
	}
	f = cache.Terminal{
		Status: cache.TerminalActive, Partial: t.Partial, Merchant: t.Merchant,
		Currency: m.Currency, Allowed: orAll(t.Allowed), Limits: cache.Limits(t.Limits),
	}
	switch {
	case m.Status != Active:
		f.Status = cache.MerchantBlocked
	case t.Status != Active:
		f.Status = cache.TerminalBlocked
	}
	f.Account, err = r.accountNumber(AccountName(t.Merchant))
	return f, err
}

func (r *Registry) accountNumber(name string) (uint32, error) {
	a, ok := r.o.Account(name)
	if !ok {
		return 0, fmt.Errorf("%w: account %s is not in the book: this registry and this book do not belong together, or the book was begun anew; import the files again", ErrDamaged, name)
	}
	return uint32(a.ID), nil
}

func orAll(s kessai.KindSet) kessai.KindSet {
	if s == 0 {
		return kessai.AllKinds
	}
	return s
}

// Follow loads the registry into a cache and keeps it up to date: at once when
// an import changes the registry, and every so often besides, until ctx ends or
// the registry closes. It returns when the first load is done, or with the error
// of it; the rest goes on behind. A later load that fails leaves the cache as it
// is. A registry is followed by one cache.
//
// observe, which may be nil, is told of each load: how long it took and how it
// ended.
func (r *Registry) Follow(ctx context.Context, c *cache.Cache, every time.Duration, observe func(took time.Duration, err error)) error {
	if every <= 0 {
		return errors.New("the interval at which the cache is refreshed must be above zero")
	}
	if observe == nil {
		observe = func(time.Duration, error) {}
	}
	r.loading.Lock()
	defer r.loading.Unlock()
	if r.follows != nil {
		return errors.New("the registry is followed by a cache already")
	}
	r.follows, r.observe = c, observe
	if err := r.load(); err != nil {
		r.follows, r.observe = nil, nil
		return err
	}
	ctx, r.stop = context.WithCancel(ctx)
	r.stopped.Add(1)
	go func() {
		defer r.stopped.Done()
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				_ = r.Refresh() // observe was told
			}
		}
	}()
	return nil
}

// Refresh brings what is in memory, and the cache that follows, up to date. On
// an error both stay as they are.
func (r *Registry) Refresh() error {
	r.loading.Lock()
	defer r.loading.Unlock()
	return r.load()
}

// manyMedia is the number from which on what a load leaves behind is worth
// giving back to the system at once.
const manyMedia = 500_000

// load does the work of Refresh; the caller holds loading. Where the store's
// version is the one in force, the facts are kept, and only their age is made
// anew: reading a million media every minute for nothing would cost seconds.
func (r *Registry) load() error {
	begun, anew := time.Now(), false
	err := r.view(func(txn *badger.Txn) error {
		now, err := getMeta(txn)
		if err != nil {
			return err
		}
		k := r.known.Load()
		if now.Version != k.meta.Version {
			if k, err = loadKnown(txn); err != nil {
				return err
			}
		}
		if r.follows != nil {
			s := r.follows.Load()
			readers := 1 // requests are being judged meanwhile
			if s.Loaded().IsZero() {
				readers = allReaders()
			}
			if s.Loaded().IsZero() || s.Version() != now.Version {
				if s, err = r.snapshot(txn, k, readers); err != nil {
					return err
				}
				anew = true
			}
			r.follows.Swap(s.Confirmed(time.Now()))
		}
		r.known.Store(k)
		return nil
	})
	if r.observe != nil {
		r.observe(time.Since(begun), err)
	}
	if anew && r.known.Load().meta.Counts.Media >= manyMedia {
		debug.FreeOSMemory() // the snapshot before is as large as the one in force
	}
	return err
}
