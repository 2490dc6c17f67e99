package merchants

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
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
// Records go to a staging file first, each checked against what is there; then
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
		return Summary{}, errors.Join(err, dropStaged(r.dir))
	}
	if st.Staged.Records == 0 {
		progress(2*im.Len(), 2*im.Len())
		return sum, errors.Join(dropStaged(r.dir), r.Refresh())
	}
	if err := r.carryOut(st, func(done int) { progress(im.Len()+im.Len()*done/st.Staged.Records, 2*im.Len()) }); err != nil {
		return Summary{}, fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	progress(2*im.Len(), 2*im.Len())
	if err := r.Refresh(); err != nil {
		return sum, fmt.Errorf("the import is stored, but what is in memory is still as it was before: %w", err)
	}
	err = dropStaged(r.dir)
	r.step("dropped")
	return sum, err
}

// state is the import that is decided and still to be carried out. The zero
// state means that there is none.
type state struct {
	Committed bool   `json:"committed"`
	Staged    staged `json:"staged"`
	Next      meta   `json:"next"` // what the store says about itself afterwards
}

func getState(txn *badger.Txn) (st state, err error) { return st, getJSON(txn, stateKey, &st) }
