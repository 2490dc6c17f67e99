package ledger

// pageSize is the number of rows in a page. A snapshot makes the first change
// to each page copy it, so pages are kept small enough to copy in microseconds.
const pageSize = 512

// table is an array of rows numbered from 1 that grows at its end. It can be
// frozen: freeze gives the rows as they are at that moment, and later changes
// copy the pages that they touch instead of changing them. That is how a
// snapshot is written while the book goes on.
type table[T any] struct {
	pages []*page[T] // nil where a page was dropped from memory
	saved []uint64   // the block of the snapshot that has the page on disk; zero: none
	n     uint64
	epoch uint32
}

type page[T any] struct {
	epoch uint32 // the table's when the page was made or copied
	dirty bool   // changed since the last freeze
	rows  []T
}

// get gives a row to read; nil where there is none or it was dropped.
func (t *table[T]) get(id uint64) *T {
	if id == 0 || id > t.n {
		return nil
	}
	p := t.pages[(id-1)/pageSize]
	if p == nil {
		return nil
	}
	return &p.rows[(id-1)%pageSize]
}

// edit gives a row to change; nil where there is none. The pointer is good until
// the next freeze.
func (t *table[T]) edit(id uint64) *T {
	if t.get(id) == nil {
		return nil
	}
	return &t.own((id - 1) / pageSize).rows[(id-1)%pageSize]
}

// add appends a row and gives its number.
func (t *table[T]) add(row T) uint64 {
	no := t.n / pageSize
	if no == uint64(len(t.pages)) {
		t.pages = append(t.pages, &page[T]{epoch: t.epoch, rows: make([]T, 0, pageSize)})
		t.saved = append(t.saved, 0)
	}
	p := t.own(no)
	p.rows = append(p.rows, row)
	t.n++
	return t.n
}

// own gives a page to change, which no frozen table shares.
func (t *table[T]) own(no uint64) *page[T] {
	p := t.pages[no]
	if p.epoch != t.epoch {
		p = &page[T]{epoch: t.epoch, rows: append(make([]T, 0, pageSize), p.rows...)}
		t.pages[no] = p
	}
	p.dirty = true
	return p
}

// frozen is a table as it was at one moment: the pages that changed since the
// last freeze, and where the others are on disk.
type frozen[T any] struct {
	changed map[uint64]*page[T]
	saved   []uint64
	old     map[uint64]uint64 // the snapshots that changed pages were in before
	n       uint64
}

// freeze gives the table as it is now, to be saved in the snapshot of a block.
func (t *table[T]) freeze(block uint64) frozen[T] {
	f := frozen[T]{changed: make(map[uint64]*page[T]), old: make(map[uint64]uint64), n: t.n}
	for no, p := range t.pages {
		if p != nil && p.dirty {
			p.dirty = false
			f.changed[uint64(no)] = p
			if t.saved[no] != 0 {
				f.old[uint64(no)] = t.saved[no]
			}
			t.saved[no] = block
		}
	}
	f.saved = append([]uint64(nil), t.saved...)
	t.epoch++
	return f
}

// thaw takes a freeze back whose snapshot could not be written: everything in
// memory has to be written again.
func (t *table[T]) thaw() {
	for no, p := range t.pages {
		if p != nil {
			p.dirty, t.saved[no] = true, 0
		}
	}
}

// each calls f for every row that is in memory, in order.
func (t *table[T]) each(f func(*T)) {
	for _, p := range t.pages {
		if p == nil {
			continue
		}
		for i := range p.rows {
			f(&p.rows[i])
		}
	}
}
