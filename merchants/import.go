package merchants

import (
	"context"
	"errors"
	"fmt"
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
	Items     Count  `json:"items"`
}

// Import adds or changes the records of a file: all of them, or none.
//
// Records go to a staging file first, each checked against what is there; then
// the file gets its name, which decides the import; then accounts are opened in
// the book and the records are put in their places. A crash before the name leaves
// the registry as it was, a crash after it is made good when the registry is
// opened again. One transaction for all would be simpler, but badger bounds its
// size. Whoever looks meanwhile sees the registry as it was before. Changes
// ([Registry.Apply]) go on, and on top of what is imported.
//
// Until it is decided, cancelling ctx ends the import with nothing done. When
// Import returns without an error, the cache that follows the registry has the
// change. Errors: [*FileError] for a record that does not fit what is there,
// [ErrImporting], [ErrClosed], and [ErrUnfinished] where the import is decided
// but could not be carried out; the next import, or the next start, does that.
//
// progress, which may be nil, is told now and then how far the work is.
func (r *Registry) Import(ctx context.Context, im *Import, progress func(done, total int)) (sum Summary, err error) {
	p := newProgress(progress, im.Len())
	err = r.change(p, func() (state, error) {
		return r.stage(ctx, p, func(s *stager) error { return s.all(im, &sum) })
	})
	sum.Version = r.Version()
	if err != nil && !errors.Is(err, errNotLoaded) {
		sum = Summary{}
	}
	return sum, err
}

// applyMany makes more changes than fit into one transaction, as an import.
func (r *Registry) applyMany(ctx context.Context, targets []target) (uint64, error) {
	p := newProgress(nil, len(targets))
	err := r.change(p, func() (state, error) {
		return r.stage(ctx, p, func(s *stager) error { return s.changes(targets) })
	})
	if err != nil && !errors.Is(err, errNotLoaded) {
		return 0, err
	}
	return r.Version(), err
}

var errNotLoaded = errors.New("it is stored, but what is in memory is still as it was before")

// change stages records and puts them in their places. One such change runs at a
// time.
func (r *Registry) change(p *progress, stage func() (state, error)) error {
	if !r.importing.TryLock() {
		return ErrImporting
	}
	defer r.importing.Unlock()
	if r.closed.Load() {
		return ErrClosed
	}
	if err := r.recover(); err != nil {
		return err
	}
	r.hold()
	st, err := stage()
	if err != nil || st.Records == 0 {
		err = errors.Join(err, dropStaged(r.dir), r.fold())
		if err == nil {
			p.end()
			err = r.Refresh()
		}
		return err
	}
	whole, err := r.carryOut(st, p)
	if err != nil {
		return err
	}
	p.end()
	err = errors.Join(dropStaged(r.dir), r.fold())
	r.step("dropped")
	if !whole {
		if err := r.Refresh(); err != nil {
			return fmt.Errorf("%w: %w", errNotLoaded, err)
		}
	}
	return err
}

// progress tells how far an import is. Staging is the first half of the way.
type progress struct {
	tell        func(done, total int)
	done, total int
}

func newProgress(tell func(done, total int), records int) *progress {
	if tell == nil {
		tell = func(int, int) {}
	}
	return &progress{tell: tell, total: 2 * records}
}

func (p *progress) staged(batch int) {
	if p.done++; p.done%batch == 0 {
		p.tell(p.done, p.total)
	}
}

func (p *progress) applied(n, of int) { p.tell(p.total/2+p.total/2*n/of, p.total) }

func (p *progress) end() { p.tell(p.total, p.total) }
