package ledger

import "time"

// snapshotIfDue writes a snapshot beside the work when enough has come since the
// last one.
func (b *Book) snapshotIfDue() {
	if b.state.txs.n-b.snapTxs.Load() < uint64(b.o.SnapshotEvery) || !b.snapping.CompareAndSwap(false, true) {
		return
	}
	b.done.Add(1)
	go func() {
		defer b.done.Done()
		defer b.snapping.Store(false)
		if err := b.snapshot(); err != nil {
			b.o.Logf("no snapshot was written: %v", err)
		}
		b.forget(time.Now().Add(-b.o.Retention))
	}()
}

// snapshot freezes the state and writes it.
func (b *Book) snapshot() error {
	b.mu.Lock()
	if err := b.Err(); err != nil { // the state may be ahead of the disk
		b.mu.Unlock()
		return err
	}
	sn := b.state.freeze()
	b.snapTxs.Store(b.state.txs.n)
	b.mu.Unlock()
	if err := sn.write(b.index); err != nil {
		b.mu.Lock()
		b.state.thaw()
		b.mu.Unlock()
		return err
	}
	b.snapBlock.Store(sn.block)
	return nil
}

// forget drops transactions from memory that ended before a moment, with the
// names of their attempts. They stay in the blocks and in the snapshot's pages.
func (b *Book) forget(before time.Time) {
	indexed := b.follow.cursor.Load()
	for no := 0; ; no++ {
		b.mu.Lock()
		s := b.state
		if no >= len(s.txs.pages) || b.Err() != nil {
			b.mu.Unlock()
			return
		}
		p := s.txs.pages[no]
		if p != nil && (p.dirty || !droppable(p, before.UnixNano()) || uint64(p.rows[pageSize-1].ID) > indexed) {
			young := len(p.rows) < pageSize || p.rows[pageSize-1].Time >= before.UnixNano()
			p = nil
			if young {
				b.mu.Unlock()
				return
			}
		}
		if p != nil {
			s.forget(p)
			s.txs.pages[no] = nil
		}
		b.mu.Unlock()
	}
}

func (s *state) forget(p *page[Tx]) {
	for i := range p.rows {
		t := &p.rows[i]
		for _, n := range t.Names {
			if s.keys[n.Key].id == t.ID {
				delete(s.keys, n.Key)
			}
		}
		if t.OriginalKey != (Key{}) && s.tombs[t.OriginalKey] == t.ID {
			delete(s.tombs, t.OriginalKey)
		}
	}
}
