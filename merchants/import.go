package merchants

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/customers"
)

// Count says what an import did with the records of one kind.
type Count struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
}

// Summary says what an import did.
type Summary struct {
	Version   uint64 `json:"version"` // of the registry, afterwards
	Merchants Count  `json:"merchants"`
	Terminals Count  `json:"terminals"`
	APIKeys   Count  `json:"api_keys"`
	Customers Count  `json:"customers"`
	Media     Count  `json:"media"`
}

// Import adds or changes the records of a file: all of them, or none.
//
// Records go to a staging area first, each checked against what is there; then
// one commit marks the whole as decided; then accounts are opened in the book
// and the records are put in their places. A crash before the mark leaves the
// registry as it was, a crash after it is made good when the registry is opened
// again. One transaction for all would be simpler, but badger bounds its size.
//
// Until the mark, cancelling ctx ends the import with nothing done. When Import
// returns without an error, the cache that follows the registry has the change.
// Errors: [*FileError] for a record that does not fit what is there,
// [ErrImporting], [ErrClosed], and [ErrUnfinished] where the import is decided
// but could not be carried out; the next import, or the next start, does that.
//
// progress, which may be nil, is told now and then how far the work is.
func (r *Registry) Import(ctx context.Context, im *Import, progress func(done, total int)) (Summary, error) {
	if !r.importing.TryLock() {
		return Summary{}, ErrImporting
	}
	defer r.importing.Unlock()
	if r.closed.Load() {
		return Summary{}, ErrClosed
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	if err := r.recover(); err != nil {
		return Summary{}, err
	}
	st, sum, err := r.stage(ctx, im, progress)
	if err != nil {
		return Summary{}, errors.Join(err, r.dropStaged())
	}
	if st.Staged == 0 {
		progress(2*im.Len(), 2*im.Len())
		return sum, errors.Join(r.dropStaged(), r.Refresh())
	}
	if err := r.carryOut(st, func(done int) { progress(im.Len()+im.Len()*done/st.Staged, 2*im.Len()) }); err != nil {
		return Summary{}, fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	progress(2*im.Len(), 2*im.Len())
	if err := r.Refresh(); err != nil {
		return sum, fmt.Errorf("the import is stored, but what is in memory is still as it was before: %w", err)
	}
	return sum, r.dropStaged()
}

// state says how far an import is. The zero state means that none is under way.
type state struct {
	Begun     bool `json:"begun"`     // there may be staged records
	Committed bool `json:"committed"` // they are to be carried out, not dropped
	Staged    int  `json:"staged"`    // how many there are, once committed
	Next      meta `json:"next"`      // what the store says about itself afterwards
}

func getState(txn *badger.Txn) (st state, err error) { return st, getJSON(txn, stateKey, &st) }

func (r *Registry) setState(st state) error {
	return r.db.Update(func(txn *badger.Txn) error { return txn.Set(stateKey, mustJSON(st)) })
}

// An Import is a file of records that has been read and found to be in order,
// but not yet looked at against what the registry has. It holds card numbers and
// API keys in clear, so it is not to be kept longer than needed.
type Import struct {
	file      string
	merchants []entry[Merchant]
	terminals []entry[Terminal]
	apiKeys   []entry[keyEntry]
	customers []entry[customers.Customer]
	media     []entry[mediumEntry]
}

// Len gives the number of records.
func (im *Import) Len() int {
	return len(im.merchants) + len(im.terminals) + len(im.apiKeys) + len(im.customers) + len(im.media)
}

// Format makes every verb of fmt print no more than the name of the file.
func (im *Import) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "import of %s", im.file) }

type entry[T any] struct {
	v  T
	at place
}

// place says where in the file a record stands: line, and number in its section.
type place struct{ line, record int32 }

type keyEntry struct {
	merchant kessai.MerchantID
	key      kessai.Secret
	status   Status
}

// mediumEntry is a medium whose ID is not known yet: it takes the registry's key
// to make it from the card number.
type mediumEntry struct {
	pan kessai.PAN
	customers.Medium
}
