package ledger

import "time"

// What is saved, and when. A snapshot of everything is taken when enough has come
// since the last one, but not more often than SnapshotPause allows: most accounts
// may have changed meanwhile, and all that a snapshot spares is reading blocks
// again after a crash. Between two snapshots pages are saved as memory needs it.

// saveAtLeast is how long a snapshot is put off where little happens. Forgetting
// comes with it, and a name must be forgotten before its date comes round again.
const saveAtLeast = 24 * time.Hour

// saveAgain is how long a save that failed is not tried again.
const saveAgain = 5 * time.Second

// snapshotIfDue begins to save what changed, beside the work, when it is time.
func (b *Book) snapshotIfDue() {
	b.mu.RLock()
	txs, crowded := b.state.txs.n, b.state.crowded()
	b.mu.RUnlock()
	fresh, since := txs-b.snapTxs.Load(), time.Since(b.lastSave)
	whole := fresh >= uint64(b.o.SnapshotEvery) && since >= b.o.SnapshotPause || fresh > 0 && since >= saveAtLeast
	if !whole && !crowded || time.Now().UnixNano() < b.notBefore.Load() || !b.snapping.CompareAndSwap(false, true) {
		return
	}
	if whole {
		b.lastSave = time.Now()
	}
	b.done.Add(1)
	go func() {
		defer b.done.Done()
		defer b.snapping.Store(false)
		err := b.save(whole)
		if err == nil && whole {
			err = b.forget(time.Now().Add(-b.o.Retention))
		}
		if err != nil {
			b.o.Logf("no snapshot was written: %v", err)
			b.notBefore.Store(time.Now().Add(saveAgain).UnixNano())
		}
	}()
}

// crowded reports whether pages have to be saved so that they can leave memory.
func (s *state) crowded() bool {
	return s.txs.most > 0 && len(s.txs.changed) > s.txs.most/2 || s.labels.most > 0 && len(s.labels.changed) > s.labels.most/2
}

// flooded reports whether far more pages wait to be saved than may stay in memory.
func (s *state) flooded() bool { return s.txs.most > 0 && len(s.txs.changed) > 2*s.txs.most }

// snapshot saves everything.
func (b *Book) snapshot() error { return b.save(true) }

func (b *Book) save(whole bool) error {
	b.saving.Lock()
	defer b.saving.Unlock()
	sn, err := b.state.save(whole, func() error {
		b.mu.Lock()
		if err := b.Err(); err != nil { // the state may be ahead of the disk
			b.mu.Unlock()
			return err
		}
		if whole {
			b.snapTxs.Store(b.state.txs.n)
		}
		return nil
	}, b.mu.Unlock)
	if err == nil && whole {
		b.snapBlock.Store(sn.block)
	}
	return err
}

// save saves what changed in a state, and lets pages leave memory. It takes the
// lock, which guards the state, for moments only; lock may refuse. One save at a
// time may be running.
func (s *state) save(whole bool, lock func() error, unlock func()) (*snapshot, error) {
	if err := lock(); err != nil {
		return nil, err
	}
	sn := s.freeze(whole)
	unlock()
	err := s.files.write(sn)
	for more := true; more; {
		if err := lock(); err != nil {
			return nil, err
		}
		more = s.settle(sn, err == nil)
		unlock()
	}
	if err != nil {
		return nil, err
	}
	for more := true; more; {
		if err := lock(); err != nil {
			return nil, err
		}
		before := len(s.txs.loaded) + len(s.labels.loaded)
		s.txs.trim(256)
		s.labels.trim(256)
		more = len(s.txs.loaded)+len(s.labels.loaded) < before
		unlock()
	}
	if !whole {
		return sn, nil
	}
	if err := s.tidy(lock, unlock); err != nil {
		return nil, err
	}
	if err := lock(); err != nil {
		return nil, err
	}
	// What is in these, up to the snapshot's last rows, only who saves changes.
	sn.saved = [3][]places{s.accounts.saved, s.labels.saved, s.txs.saved}
	unlock()
	return sn, s.files.finish(sn)
}

// tidy writes the pages of files again of which little counts, so that the files
// can go.
func (s *state) tidy(lock func() error, unlock func()) error {
	page := func(p *places) *place { return &p.page }
	both := func(p *places, to place) { // what has no brief of its own
		if p.brief != 0 {
			p.brief = to
		}
		p.page = to
	}
	for _, t := range [...]struct {
		files *pageFiles
		saved *[]places
		get   func(*places) *place
		set   func(*places, place)
	}{
		{s.files.accounts, &s.accounts.saved, page, both},
		{s.files.labels, &s.labels.saved, page, both},
		{s.files.txs, &s.txs.saved, page, func(p *places, to place) { p.page = to }},
		{s.files.briefs, &s.txs.saved, func(p *places) *place { return &p.brief }, func(p *places, to place) { p.brief = to }},
	} {
		file := t.files.poor()
		if file == 0 {
			continue
		}
		if err := lock(); err != nil {
			return err
		}
		saved := *t.saved // it grows meanwhile, and may be another then; what is in it only who saves changes
		unlock()
		moved := make(map[uint64]place)
		for no := range saved {
			from := *t.get(&saved[no])
			if from.file() != file {
				continue
			}
			body, err := t.files.read(uint64(no), from, nil)
			if err != nil {
				s.files.doubt(err)
				return err
			}
			if moved[uint64(no)], err = t.files.write(uint64(no), func(dst []byte) []byte { return append(dst, body...) }); err != nil {
				return err
			}
		}
		if err := t.files.flush(); err != nil {
			return err
		}
		if err := lock(); err != nil {
			return err
		}
		for no, to := range moved {
			at := &(*t.saved)[no]
			t.files.count(*t.get(at), -1)
			t.files.count(to, 1)
			t.set(at, to)
		}
		unlock()
	}
	return nil
}

// forget drops the attempts from memory that were made before a moment and can
// change no more. They stay in the blocks and in the pages.
func (b *Book) forget(before time.Time) error {
	b.saving.Lock()
	defer b.saving.Unlock()
	s := b.state
	for no := uint64(0); ; no++ {
		b.mu.RLock()
		for no < pagesOf(s.txs.n) && s.txs.saved[no].brief == 0 && s.txs.saved[no].page != 0 {
			no++
		}
		if no >= s.txs.n/pageSize || b.Err() != nil {
			b.mu.RUnlock()
			return nil
		}
		at := s.txs.saved[no]
		b.mu.RUnlock()
		if at.brief == 0 {
			return nil // it is not saved yet, nor is any after it
		}
		raw, err := s.files.briefs.read(no, at.brief, nil)
		if err != nil {
			return err
		}
		d := decoder{b: raw}
		var old brief
		d.brief(&old, firstOf(no))
		if d.bad {
			return errSeal
		}
		if old.newest >= before.UnixNano() {
			return nil
		}
		b.mu.Lock()
		if p := s.txs.pages[no]; len(old.pending) == 0 && (p == nil || p.state == clean) && b.Err() == nil {
			s.forget(no, &old)
		}
		b.mu.Unlock()
	}
}

func (s *state) forget(no uint64, old *brief) {
	for _, n := range old.names {
		s.names.remove(n.hash, uint64(n.id))
	}
	for _, n := range old.tombs {
		s.tombs.remove(n.hash, uint64(n.id))
	}
	s.files.briefs.count(s.txs.saved[no].brief, -1)
	s.txs.saved[no].brief = 0
	s.txs.pages[no] = nil
}
