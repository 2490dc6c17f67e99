package ledger

import "sync/atomic"

// pageSize is the number of rows in a page. Pages are small, because reading one
// row back from disk reads its page, and because a change to a page that is being
// saved copies it.
const pageSize = 128

// table is an array of rows numbered from 1 that grows at its end. Its pages are
// saved in files (see pageFiles), and a page that is full and saved may leave
// memory; get and edit bring it back.
//
// It can be frozen: freeze gives the pages that changed since they were saved,
// and later changes copy such a page, as long as it is being written, instead of
// changing it. That is how a snapshot is written while the book goes on.
type table[T any] struct {
	n       uint64
	pages   []*page[T] // nil where a page is not in memory
	saved   []places   // where each page is on disk
	changed []uint64   // the pages that differ from what is saved
	loaded  []uint64   // the pages in memory, in the order in which they came there
	fetch   func(no uint64, at place) ([]T, error)
	faults  uint64 // pages that were read back
	most    int    // full pages that may stay in memory; zero: all
	err     error  // why a page could not be read back: nothing that follows counts
}

// places says where a page and its brief are. A page that has no brief any more
// is forgotten: get passes over it.
type places struct{ page, brief place }

type page[T any] struct {
	rows    []T
	state   pageState
	written atomic.Bool // frozen, and read for the last time by who saves it
}

type pageState uint8

const (
	clean  pageState = iota // as it is on disk
	dirty                   // in table.changed
	frozen                  // being saved
)

// get gives a row to read; nil where there is none, where it is forgotten, and
// where it cannot be read (see err). Only who may change the table may call it.
func (t *table[T]) get(id uint64) *T {
	if id == 0 || id > t.n {
		return nil
	}
	p := t.pages[(id-1)/pageSize]
	if p == nil {
		if p = t.fault((id - 1) / pageSize); p == nil {
			return nil
		}
	}
	return &p.rows[(id-1)%pageSize]
}

// peek is get for readers: a row that is not in memory is not brought there; at
// says where its page is on disk.
func (t *table[T]) peek(id uint64) (row *T, at place) {
	if id == 0 || id > t.n {
		return nil, 0
	}
	no := (id - 1) / pageSize
	if p := t.pages[no]; p != nil {
		return &p.rows[(id-1)%pageSize], 0
	}
	return nil, t.saved[no].page
}

// fault reads a page back.
func (t *table[T]) fault(no uint64) *page[T] {
	at := t.saved[no]
	if at.page == 0 || at.brief == 0 || t.err != nil {
		return nil
	}
	rows, err := t.fetch(no, at.page)
	if err != nil {
		t.err = err
		return nil
	}
	t.faults++
	t.trim(2)
	p := &page[T]{rows: rows}
	t.pages[no] = p
	t.loaded = append(t.loaded, no)
	return p
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
		t.pages = append(t.pages, &page[T]{rows: make([]T, 0, pageSize)})
		t.saved = append(t.saved, places{})
		t.loaded = append(t.loaded, no)
	}
	p := t.own(no)
	p.rows = append(p.rows, row)
	t.n++
	return t.n
}

// own gives a page to change, which nobody is writing to disk.
func (t *table[T]) own(no uint64) *page[T] {
	p := t.pages[no]
	if p.state == dirty {
		return p
	}
	if p.state == frozen && !p.written.Load() {
		p = &page[T]{rows: append(make([]T, 0, pageSize), p.rows...)}
		t.pages[no] = p
	}
	p.state = dirty
	t.changed = append(t.changed, no)
	return p
}

// trim lets pages leave memory, oldest first, until no more than most are there.
// It looks at so many pages at the most.
func (t *table[T]) trim(look int) {
	for ; t.most > 0 && len(t.loaded) > t.most && look > 0; look-- {
		no := t.loaded[0]
		t.loaded = t.loaded[1:]
		if p := t.pages[no]; p != nil && (p.state != clean || len(p.rows) < pageSize) {
			t.loaded = append(t.loaded, no)
			continue
		}
		t.pages[no] = nil
	}
}

// frozenPage is a page as it was at one moment, and where it was saved.
type frozenPage[T any] struct {
	no uint64
	p  *page[T]
	at places
}

// freeze gives the pages that changed, as they are now. Pages that still fill up
// are left out if only whole ones are asked for.
func (t *table[T]) freeze(whole bool) []frozenPage[T] {
	f := make([]frozenPage[T], 0, len(t.changed))
	rest := 0
	for _, no := range t.changed {
		p := t.pages[no]
		if whole && len(p.rows) < pageSize {
			t.changed[rest] = no
			rest++
			continue
		}
		p.state = frozen
		p.written.Store(false)
		f = append(f, frozenPage[T]{no: no, p: p})
	}
	t.changed = t.changed[:rest]
	return f
}

// settle ends a freeze. The pages are saved, or they were not and still differ
// from what is.
func (t *table[T]) settle(f []frozenPage[T], saved bool) {
	for i := range f {
		no, p := f[i].no, f[i].p
		if saved {
			t.saved[no] = f[i].at
		}
		if t.pages[no] != p || p.state != frozen {
			continue // it has changed since
		}
		if p.state = clean; !saved {
			p.state = dirty
			t.changed = append(t.changed, no)
		}
	}
}

// each calls f for every row that is in memory, in order.
func (t *table[T]) each(f func(*T)) {
	for _, p := range t.pages {
		for i := range p.rows {
			f(&p.rows[i])
		}
	}
}
