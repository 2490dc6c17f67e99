package merchants

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/cache"
)

// Snapshot reads the registry and gives what a cache in the mode keeps of it: the
// facts that requests are judged by.
func (r *Registry) Snapshot(mode cache.Mode) (s *cache.Snapshot, err error) {
	err = r.view(func(v reading) error { s, err = r.snapshot(v, mode, allReaders()); return err })
	return s, err
}

// snapshot builds what the mode keeps in memory.
func (r *Registry) snapshot(v reading, mode cache.Mode, readers int) (*cache.Snapshot, error) {
	begun := time.Now() // what is older than this is in it
	m, err := getMeta(v.base)
	if err != nil {
		return nil, err
	}
	top, err := getMeta(v.top)
	if err != nil {
		return nil, err
	}
	later, err := v.later()
	if err != nil {
		return nil, err
	}
	l := &loader{r: r, v: v, later: later, b: cache.NewBuilder(mode, m.Counts.Media, m.Counts.Terminals)}
	if err := l.merchants(); err != nil {
		return nil, err
	}
	if mode != cache.MediaOnly {
		if err := l.terminals(m.Counts.Terminals); err != nil {
			return nil, err
		}
	}
	if mode != cache.TerminalsOnly {
		if err := l.media(m.Counts.Media, readers); err != nil {
			return nil, err
		}
	}
	return l.b.Snapshot(begun, top.Version), nil
}

// loader fills a snapshot.
type loader struct {
	r     *Registry
	v     reading
	later map[string]patch
	b     *cache.Builder
	shops map[kessai.MerchantID]Merchant
}

// batch is of terminals or media that wait for the numbers of accounts.
type batch[T any] struct {
	all   []T
	names []string // of the account of each
}

// batchSize is the number of accounts that the book is asked for at once: see
// [ledger.Book.AccountNumbers].
const batchSize = 512

// add adds one, and reports whether the batch is full.
func (b *batch[T]) add(one T, name string) (full bool) {
	b.all, b.names = append(b.all, one), append(b.names, name)
	return len(b.all) == batchSize
}

// take gives f each with its number, and empties the batch.
func (b *batch[T]) take(r *Registry, f func(one *T, number uint32)) error {
	numbers, err := r.accountNumbers(b.names)
	if err != nil {
		return err
	}
	for i := range b.all {
		f(&b.all[i], numbers[i])
	}
	b.all, b.names = b.all[:0], b.names[:0]
	return nil
}

// now gives a record with the change that waits for it.
func (l *loader) now(key, value []byte) ([]byte, error) {
	if len(l.later) == 0 {
		return value, nil
	}
	p, ok := l.later[string(key)]
	if !ok {
		return value, nil
	}
	return p.apply(key, value)
}

func (l *loader) merchants() error {
	l.shops = make(map[kessai.MerchantID]Merchant)
	return each(l.v.base, merchantPrefix, func(key, value []byte) error {
		value, err := l.now(key, value)
		if err != nil {
			return err
		}
		m, err := decodeMerchant(key, value)
		if m.Status == Active {
			l.b.AddMerchant(m.ID)
		}
		l.shops[m.ID] = m
		return err
	})
}

func (l *loader) terminals(want int) error {
	n := 0
	var users, owners batch[cache.TerminalChange]
	owned := func(t *cache.TerminalChange, account uint32) {
		t.Facts.Account = account
		l.b.AddTerminal(t.ID, t.Facts)
		n++
	}
	used := func(t *cache.TerminalChange, user uint32) {
		t.Facts.User = user
		owners.add(*t, AccountName(t.Facts.Merchant))
	}
	put := func() error { return cmp.Or(users.take(l.r, used), owners.take(l.r, owned)) }
	err := each(l.v.base, terminalPrefix, func(key, value []byte) error {
		value, err := l.now(key, value)
		if err != nil {
			return err
		}
		f, user, err := readTerminal(key, value, func(id kessai.MerchantID) (Merchant, bool, error) {
			m, ok := l.shops[id]
			return m, ok, nil
		})
		if err != nil {
			return err
		}
		id, err := kessai.ParseTerminalID(key[len(terminalPrefix):])
		if err == nil && users.add(cache.TerminalChange{ID: id, Facts: f}, user) {
			err = put()
		}
		return err
	})
	err = cmp.Or(err, put()) // before n is looked at
	return complete(err, n, want, "terminals")
}

func (l *loader) media(want, readers int) error {
	spans := mediaSpans()
	batches := make([]batch[cache.MediumChange], len(spans))
	var count atomic.Int64
	put := func(n int) error {
		if l.r.closing.Load() {
			return ErrClosed
		}
		count.Add(int64(len(batches[n].all)))
		return batches[n].take(l.r, func(m *cache.MediumChange, account uint32) {
			m.Facts.Account = account
			l.b.AddMedium(m.ID, m.Facts)
		})
	}
	err := eachIn(l.v.base, l.r.db.Opts().Dir, spans, readers, func(n int, key, value []byte) error {
		value, err := l.now(key, value)
		if err != nil {
			return err
		}
		f, account, err := readMedium(key, value)
		if err == nil && batches[n].add(cache.MediumChange{ID: mediumID(key), Facts: f}, account) {
			err = put(n)
		}
		return err
	}, func(n int) error {
		err := put(n)
		batches[n] = batch[cache.MediumChange]{}
		l.b.Done(byte(n))
		return err
	})
	return complete(err, int(count.Load()), want, "media")
}

func complete(err error, n, want int, what string) error {
	if err == nil && n != want {
		err = fmt.Errorf("%w: it has %d %s where it should have %d: import the files again into a new registry", ErrDamaged, n, what, want)
	}
	return err
}

// later gives the changes that wait for an import to end, by the keys of their
// records.
func (v reading) later() (map[string]patch, error) {
	all := make(map[string]patch)
	err := each(v.top, laterPrefix, func(key, value []byte) error {
		p, err := decodePatch(value)
		all[string(key[len(laterPrefix):])] = p
		return err
	})
	return all, err
}

// each calls f with every record whose key begins with the prefix.
func each(txn *badger.Txn, prefix string, f func(key, value []byte) error) error {
	// Values are not fetched ahead: they lie beside their keys, and a panic over
	// damaged data can only be caught in this goroutine.
	o := badger.IteratorOptions{Prefix: []byte(prefix)}
	it := txn.NewIterator(o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if err := item.Value(func(v []byte) error { return f(item.Key(), v) }); err != nil {
			return err
		}
	}
	return nil
}
