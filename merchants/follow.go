package merchants

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"kessai/cache"
	"kessai/store"
)

// FollowOptions say how a cache follows the registry.
type FollowOptions struct {
	Mode  cache.Mode    // what is kept in memory
	Every time.Duration // the interval of refreshes

	// Observe, which may be nil, is told of each refresh: how long it took and how
	// it ended.
	Observe func(took time.Duration, err error)
}

// follow is the cache that follows the registry.
type follow struct {
	o       FollowOptions      // guarded by the registry's loading
	stop    context.CancelFunc // likewise; ends the follower
	stopped sync.WaitGroup     // the follower

	mu    sync.Mutex   // held for moments: guards the following, and swaps
	cache *cache.Cache // nil until Follow
	since *since       // nil while no snapshot is being built
}

// since is what changed since the building of a snapshot began. The snapshot gets
// it before it comes in force: a reading of ten million media takes seconds, and
// knows nothing of what came meanwhile.
type since struct {
	changes cache.Changes
	missed  bool // an import is not in changes: the cache will be built once more
	tooMuch bool // more than is kept
}

// maxSince bounds the changes that are kept for a snapshot that is being built.
// With more, the one in force stays, which has them all, until the next refresh.
const maxSince = 500_000

func (s *since) add(c cache.Changes, whole bool) {
	s.changes.Media = append(s.changes.Media, c.Media...)
	s.changes.Terminals = append(s.changes.Terminals, c.Terminals...)
	s.changes.Merchants = append(s.changes.Merchants, c.Merchants...)
	s.missed = s.missed || !whole
	if size(&s.changes) > maxSince {
		s.changes, s.tooMuch = cache.Changes{}, true
	}
}

func size(c *cache.Changes) int { return len(c.Media) + len(c.Terminals) + len(c.Merchants) }

// Follow loads the registry into a cache and keeps it up to date, until ctx ends
// or the registry closes. It returns when the first load is done, or with the
// error of it; the rest goes on behind. A registry is followed by one cache.
//
// What changes is in the cache when Import, Apply or Retain return. At each
// interval the registry is looked at besides: where nothing is amiss, the facts
// are only confirmed, so that their age tells whether the registry can be read. A
// refresh that fails leaves the cache as it is.
func (r *Registry) Follow(ctx context.Context, c *cache.Cache, o FollowOptions) error {
	if o.Every <= 0 {
		return errors.New("the interval at which the cache is refreshed must be above zero")
	}
	if o.Observe == nil {
		o.Observe = func(time.Duration, error) {}
	}
	r.loading.Lock()
	defer r.loading.Unlock()
	f := &r.follow
	if f.stop != nil {
		return errors.New("the registry is followed by a cache already")
	}
	f.o = o
	f.setCache(c)
	if err := r.load(true); err != nil {
		f.setCache(nil)
		return err
	}
	ctx, f.stop = context.WithCancel(ctx)
	f.stopped.Go(func() {
		t := time.NewTicker(o.Every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				_ = r.Refresh() // Observe was told
			}
		}
	})
	return nil
}

func (f *follow) setCache(c *cache.Cache) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cache = c
}

func (f *follow) follows() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cache != nil
}

// unfollow ends the follower.
func (r *Registry) unfollow() {
	r.closing.Store(true)
	r.loading.Lock()
	if r.follow.stop != nil {
		r.follow.stop()
	}
	r.loading.Unlock()
	r.follow.stopped.Wait()
}

// Refresh looks at the registry and brings the cache that follows up to date. On
// an error it stays as it is.
func (r *Registry) Refresh() error { return r.refresh(false) }

// Reload is [Registry.Refresh], and reads everything anew even where the cache is
// up to date. The snapshot in force serves meanwhile, so both are in memory.
func (r *Registry) Reload() error { return r.refresh(true) }

func (r *Registry) refresh(anew bool) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	return r.load(anew)
}

// SetMode changes what is kept in memory. The snapshot in force serves until the
// new one is built, so both are in memory then. On an error nothing changes.
func (r *Registry) SetMode(mode cache.Mode) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	before := r.follow.o.Mode
	r.follow.o.Mode = mode
	err := r.load(false)
	if err != nil {
		r.follow.o.Mode = before
	}
	return err
}

// manyMedia is the number from which on what a load leaves behind is worth
// giving back to the system at once.
const manyMedia = 500_000

// load does the work of refresh; the caller holds loading.
func (r *Registry) load(anew bool) error {
	begun := time.Now()
	built, err := r.confirm(begun, anew)
	if r.follow.o.Observe != nil {
		r.follow.o.Observe(time.Since(begun), err)
	}
	if built && r.known.Load().meta.Counts.Media >= manyMedia {
		debug.FreeOSMemory() // the snapshot before is as large as the one in force
	}
	return err
}

// confirm makes sure that the registry can be read, and that the cache has what is
// there; built says that it took another snapshot. Where nothing is amiss, only
// the age of the facts is made anew: reading ten million media every minute for
// nothing would cost seconds.
func (r *Registry) confirm(now time.Time, anew bool) (built bool, err error) {
	if r.unfinished.Load() {
		return false, ErrUnfinished
	}
	if err := r.view(func(v reading) error { _, err := getMeta(v.top); return err }); err != nil {
		return false, err
	}
	store.Release(r.db.Opts().Dir) // what look-ups left in memory, which in the smaller modes may be all of the store
	f := &r.follow
	if f.cache == nil {
		return false, nil
	}
	if !anew && f.confirm(now, r.known.Load().meta.Version) {
		return false, nil
	}
	for missed := true; missed; {
		if missed, err = r.build(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// confirm makes the age of the snapshot in force anew; false where another one is
// wanted.
func (f *follow) confirm(now time.Time, version uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.cache.Load()
	if s.Loaded().IsZero() || s.Mode() != f.o.Mode || s.Worn(now) || s.Version() < version {
		return false
	}
	f.cache.Swap(s.Confirmed(now))
	return true
}

// build reads the registry into another snapshot and puts it in force, with what
// changed meanwhile, but for an import that it missed. The caller holds loading.
func (r *Registry) build() (missed bool, err error) {
	f := &r.follow
	readers := 1 // requests are being judged meanwhile
	f.mu.Lock()
	f.since = new(since) // before the view: what is not in the one is in the other
	if f.cache.Load().Loaded().IsZero() {
		readers = allReaders()
	}
	f.mu.Unlock()
	var s *cache.Snapshot
	err = r.view(func(v reading) error { s, err = r.snapshot(v, f.o.Mode, readers); return err })
	r.step("built")
	f.mu.Lock()
	defer f.mu.Unlock()
	came := f.since
	f.since = nil
	switch {
	case err != nil:
		return false, err
	case came.tooMuch:
		return false, errors.New("too much changed while the registry was read: the facts in force stay")
	}
	version := s.Version()
	if !came.missed {
		version = max(version, r.known.Load().meta.Version)
	}
	f.cache.Swap(s.With(came.changes, version, s.Loaded()))
	return came.missed, nil
}

// publish has memory know what changed; whole says that the news are all of it,
// and otherwise the cache has to be built anew. The caller holds writing.
func (r *Registry) publish(n *news, m meta, whole bool) {
	f := &r.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	before := r.known.Load()
	r.known.Store(before.with(n, m))
	if f.since != nil {
		f.since.add(n.Changes, whole)
	}
	if f.cache == nil || f.cache.Load().Loaded().IsZero() {
		return
	}
	s := f.cache.Load()
	version := s.Version()
	if whole && version == before.meta.Version {
		version = m.Version
	}
	// The age stays: that a change reached the disk says nothing of the rest.
	f.cache.Swap(s.With(n.Changes, version, s.Loaded()))
}
