package merchants

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kessai"
	"kessai/customers"
)

// The errors of changes, besides [*ChangeError].
var (
	ErrNotToRetain = errors.New("the medium is not one to be retained: it is not lost, stolen or withdrawn, or not known")
	ErrTooMany     = errors.New("too many changes are waiting to be written: nothing was changed, try again")
)

// The limits of changes.
const (
	maxTogether = 4096      // changes that are written together, where the store takes so many
	maxWaiting  = 65_536    // changes that wait to be written
	MaxChanges  = 1_000_000 // in one call of Apply
)

// Apply makes changes to records that the registry has: all of them, or none.
// When it returns without an error, they are on disk, and every later decision is
// made by them; it gives the registry's version then. Callers at the same time
// share one write. Where all is as wanted already, nothing is written.
//
// An import that is running does not hold changes up: they go on top of it.
// Cancelling ctx ends the waiting; what is being written is written. Errors:
// [*ChangeError] for a change that cannot be made, [ErrTooMany], [ErrClosed],
// and for more than a few thousand changes, which take the way of an import,
// [ErrImporting] and [ErrUnfinished].
func (r *Registry) Apply(ctx context.Context, changes []Change) (version uint64, err error) {
	if len(changes) > MaxChanges {
		return 0, fmt.Errorf("%d changes at once are too many: nothing was changed, give at most %d", len(changes), MaxChanges)
	}
	targets := make([]target, len(changes))
	for i, c := range changes {
		if targets[i], err = r.target(c); err != nil {
			return 0, &ChangeError{i, err.Error()}
		}
	}
	if len(targets) > r.together() {
		return r.applyMany(ctx, targets)
	}
	return r.apply(ctx, targets)
}

// Retain marks a lost, stolen or withdrawn medium as retained by a terminal at a
// time. Where it is retained already nothing changes; of any other medium it is
// [ErrNotToRetain].
func (r *Registry) Retain(id kessai.MediumID, by kessai.TerminalID, at time.Time) error {
	if by.IsZero() || at.UnixMilli() <= 0 {
		return errors.New("who retains a medium must be known, and when")
	}
	t := target{customers.MediumKey(id), patch{Kept: &customers.Kept{By: by, At: at.UnixMilli()}}, "medium"}
	_, err := r.apply(context.Background(), []target{t})
	return err
}

// together is how many changes fit into one transaction of the store.
func (r *Registry) together() int {
	const most = 896 // bytes of a changed record with its key, or of a change that waits, and of two phone numbers
	return min(maxTogether, int(r.db.MaxBatchSize())/most)
}

// waiting is changes that wait to be written, and what became of them.
type waiting struct {
	targets []target
	done    chan struct{}
	version uint64
	err     error
}

// queue is the changes that wait to be written.
type queue struct {
	mu      sync.Mutex
	all     []*waiting
	changes int
}

func (q *queue) add(w *waiting) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.changes+len(w.targets) > maxWaiting {
		return ErrTooMany
	}
	q.all, q.changes = append(q.all, w), q.changes+len(w.targets)
	return nil
}

// take gives the first of those that wait, as many as are written together.
func (q *queue) take(together int) (batch []*waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, changes := 0, 0
	for n < len(q.all) && (n == 0 || changes+len(q.all[n].targets) <= together) {
		changes += len(q.all[n].targets)
		n++
	}
	batch, q.all = slices.Clone(q.all[:n]), slices.Delete(q.all, 0, n)
	q.changes -= changes
	return batch
}

// drop reports whether the changes were still waiting.
func (q *queue) drop(w *waiting) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.all, w)
	if i >= 0 {
		q.all, q.changes = slices.Delete(q.all, i, i+1), q.changes-len(w.targets)
	}
	return i >= 0
}

// apply waits its turn to write, and writes for all who wait: whoever comes while
// one write is under way shares the next.
func (r *Registry) apply(ctx context.Context, targets []target) (uint64, error) {
	w := &waiting{targets: targets, done: make(chan struct{})}
	if err := r.queue.add(w); err != nil {
		return 0, err
	}
	for {
		select {
		case <-w.done:
			return w.version, w.err
		case r.writing <- struct{}{}:
			r.applyWaiting()
		case <-ctx.Done():
			if r.queue.drop(w) {
				return 0, ctx.Err()
			}
			<-w.done
		}
	}
}

// applyWaiting writes for some who wait. The caller holds writing, which it gives
// back.
func (r *Registry) applyWaiting() {
	defer func() { <-r.writing }()
	batch := r.queue.take(r.together())
	err := r.view(func(v reading) error {
		s := changeSet{r: r, v: v, records: make(map[string]changed), numbers: make(map[string]holders)}
		for _, w := range batch {
			w.err = s.add(w.targets)
		}
		return s.write()
	})
	version := r.known.Load().meta.Version
	for _, w := range batch {
		if w.err == nil {
			w.version, w.err = version, err
		}
		close(w.done)
	}
}

// changeSet is changes that are to be written together.
type changeSet struct {
	r       *Registry
	v       reading
	records map[string]changed
	numbers map[string]holders // whom they give which
}

// changed is a record that changes.
type changed struct {
	base  []byte // as the store has it
	later []byte // the patch that waits for an import to end, as the store has it
	patch patch  // that one, and what comes to it now
	now   []byte // the record with the patch
}

// add takes in changes: all of them, or none.
func (s *changeSet) add(targets []target) error {
	mine := make(map[string]changed, len(targets))
	for i, t := range targets {
		c, ok := mine[string(t.key)]
		if !ok {
			c, ok = s.records[string(t.key)]
		}
		if !ok {
			var err error
			if c, err = s.load(t.key); err != nil {
				return err
			}
		}
		if t.patch.Kept != nil && !toRetain(t.key, c.now) {
			return ErrNotToRetain
		}
		if c.base == nil {
			return &ChangeError{i, "the registry has no such " + t.what + ": import it first"}
		}
		c.patch = c.patch.then(t.patch)
		var err error
		if c.now, err = c.patch.apply(t.key, c.base); err != nil {
			return err
		}
		mine[string(t.key)] = c
	}
	given, err := s.give(targets, mine)
	if err != nil {
		return err
	}
	for number, h := range given {
		s.numbers[number] = append(s.numbers[number], h...)
	}
	for key, c := range mine {
		s.records[key] = c
	}
	return nil
}

func toRetain(key, value []byte) bool {
	if value == nil {
		return false
	}
	m, err := customers.DecodeMedium(key, value)
	return err == nil && staysRetained(m.Status.String())
}

func (s *changeSet) load(key []byte) (c changed, err error) {
	if c.base, err = getValue(s.v.base, key); err != nil || c.base == nil {
		return c, err
	}
	c.now = c.base
	if !s.v.changes {
		return c, nil
	}
	if c.later, err = getValue(s.v.top, laterKey(key)); err != nil || c.later == nil {
		return c, err
	}
	if c.patch, err = decodePatch(c.later); err == nil {
		c.now, err = c.patch.apply(key, c.base)
	}
	return c, err
}

// write puts the changes on disk, and then into memory. While an import is under
// way they go beside the records, which it may be about to replace.
func (s *changeSet) write() error {
	var n news
	t, err := s.r.begin(s.v)
	if err != nil {
		return err
	}
	defer t.txn.Discard()
	numbers := newRenumbering(s.v)
	for name, c := range s.records {
		key := []byte(name)
		switch {
		case s.r.underWay:
			later := mustJSON(c.patch)
			if bytes.Equal(later, c.later) {
				continue
			}
			t.replace(laterKey(key), c.later, later)
		case bytes.Equal(c.now, c.base):
			continue
		default:
			t.replace(key, c.base, c.now)
			t.err = errors.Join(t.err, numbers.record(name, c.base, c.now))
		}
		t.err = errors.Join(t.err, n.add(s.r, key, c.now, s.v.merchant))
	}
	if s.r.underWay {
		t.err = errors.Join(t.err, s.later(t))
	}
	numbers.write(t)
	return t.commit(&n, true)
}
