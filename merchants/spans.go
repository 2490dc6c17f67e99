package merchants

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"kessai/customers"
	"kessai/store"
)

// span is a range of keys: from the first on, up to but without the second; an
// empty second has no end.
type span struct{ from, to []byte }

// eachIn calls f with every record in the spans, which must not overlap, and
// with the number of its span, and done, where it is given, with the number of
// each span that was read to its end. Spans are read by as many goroutines as told; the
// records of one come in the order of their keys, from one goroutine. Key and
// value are f's until it returns. Damage that badger panics over is an error. The
// memory that the store, in the folder named, takes for this is given back.
func eachIn(txn *badger.Txn, dir string, spans []span, readers int, f func(n int, key, value []byte) error, done func(n int) error) error {
	var next atomic.Int64
	errs := make([]error, max(1, min(readers, len(spans))))
	var all sync.WaitGroup
	for r := range errs {
		all.Go(func() {
			for errs[r] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(spans) {
					return
				}
				errs[r] = eachOf(txn, spans[n], func(key, value []byte) error { return f(n, key, value) })
				if done != nil && errs[r] == nil {
					errs[r] = done(n)
				}
				store.Release(dir)
			}
			next.Store(int64(len(spans))) // the others need not go on
		})
	}
	all.Wait()
	i := max(0, slices.IndexFunc(errs, func(err error) bool { return err != nil }))
	return errs[i]
}

// recordsAtOnce is the number of records that are read before everybody else who
// has something to do has a turn: some 50 µs. The runtime itself would let them wait
// for 10 ms, which payments would feel.
const recordsAtOnce = 32

func eachOf(txn *badger.Txn, s span, f func(key, value []byte) error) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w: a record cannot be read", ErrDamaged)
		}
	}()
	it := txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	var value func([]byte) error
	var item *badger.Item
	value = func(v []byte) error { return f(item.Key(), v) }
	n := 0
	for it.Seek(s.from); it.Valid(); it.Next() {
		if n++; n%recordsAtOnce == 0 {
			runtime.Gosched()
		}
		item = it.Item()
		if len(s.to) > 0 && bytes.Compare(item.Key(), s.to) >= 0 {
			break
		}
		if err := item.Value(value); err != nil {
			return err
		}
	}
	return nil
}

// mediaSpans are the media, by the first byte of their IDs: of each group that
// the cache's builder keeps by itself.
func mediaSpans() []span {
	spans := make([]span, 256)
	for i := range spans {
		spans[i].from = append([]byte(customers.MediumKeyPrefix), byte(i))
		if i > 0 {
			spans[i-1].to = spans[i].from
		}
	}
	last := []byte(customers.MediumKeyPrefix)
	last[len(last)-1]++
	spans[len(spans)-1].to = last
	return spans
}

// allSpans divides the whole store into parts of about the same size, at the
// first keys of its tables.
func allSpans(db *badger.DB) []span {
	const most = 64
	var firsts [][]byte
	for _, t := range db.Tables() {
		if len(t.Left) > 8 {
			firsts = append(firsts, t.Left[:len(t.Left)-8]) // without the version
		}
	}
	slices.SortFunc(firsts, bytes.Compare)
	firsts = slices.CompactFunc(firsts, bytes.Equal)
	spans := make([]span, 1, most)
	step := len(firsts)/most + 1
	for i := step; i < len(firsts); i += step {
		spans[len(spans)-1].to = firsts[i]
		spans = append(spans, span{from: firsts[i]})
	}
	return spans
}

// maxReaders is the most goroutines that one reading of the store takes.
const maxReaders = 8

// allReaders is for what everybody waits for.
func allReaders() int { return min(maxReaders, runtime.GOMAXPROCS(0)) }
