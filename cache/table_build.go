package cache

import (
	"slices"
	"sync"
	"unsafe"

	"kessai"
)

// tableBuilder makes a table in its place: building takes no memory beside it.
type tableBuilder struct {
	t     *table
	parts [parts]partBuilder
}

type partBuilder struct {
	mu sync.Mutex

	facts  Medium // of the medium added last, and their number: the next often has the same
	number uint32
}

func newTableBuilder(media int) *tableBuilder {
	b := &tableBuilder{t: &table{all: newProfiles()}}
	for i := range b.t.parts {
		b.t.parts[i].base = newHashed(max(media, 0)/parts + 1)
	}
	return b
}

// add may be called from many goroutines at once. Of two media with one ID, the
// later counts.
func (b *tableBuilder) add(id *kessai.MediumID, m *Medium) {
	p := &b.parts[id[0]]
	facts := *m
	facts.Account = 0
	p.mu.Lock()
	defer p.mu.Unlock()
	if facts != p.facts {
		p.facts = facts
		p.number, _ = b.t.all.of(facts)
	}
	b.t.parts[id[0]].base.put(id, m.Account, p.number)
}

// table ends the building.
func (b *tableBuilder) table() *table {
	t := b.t
	memory := make([]piece, parts)
	for i := range t.parts {
		memory[i] = pieceOf(t.parts[i].base.lines)
		t.size += t.parts[i].base.count
	}
	largePagesNow(memory)
	t.profiles = t.all.end()
	return t
}

// piece is a piece of memory.
type piece struct{ from, bytes uintptr }

func pieceOf[T any](s []T) piece {
	return piece{uintptr(unsafe.Pointer(unsafe.SliceData(s))), uintptr(cap(s)) * unsafe.Sizeof(s[0])}
}

// profiles numbers combinations of facts. Tables that were made of one another
// share it: each reads only as many as there were when it was made, and those
// never change.
type profiles struct {
	mu     sync.RWMutex
	list   []Medium
	number map[Medium]uint32
	built  int // how many there were when the building ended
}

// maxShared is the number of profiles that are looked for again. Registries have
// hundreds; where almost every medium has its own, looking is in vain, and what
// remembers them would take more memory than they do. Changes have as many for
// themselves.
const maxShared = 1 << 16

func newProfiles() *profiles {
	return &profiles{list: make([]Medium, 1), number: map[Medium]uint32{{}: 0}}
}

// of gives the number of a combination of facts, and all that there are.
func (p *profiles) of(facts Medium) (uint32, []Medium) {
	p.mu.RLock()
	n, ok := p.number[facts]
	list := p.list
	p.mu.RUnlock()
	if ok {
		return n, list
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n, ok = p.number[facts]; ok {
		return n, p.list
	}
	n = uint32(len(p.list))
	p.list = append(p.list, facts)
	if limit := maxShared; len(p.number) < limit || p.built > 0 && len(p.number) < 2*limit {
		p.number[facts] = n
	}
	return n, p.list
}

// end ends the building.
func (p *profiles) end() []Medium {
	p.list = slices.Clone(p.list) // without what was left to grow
	p.built = len(p.list)
	return p.list
}

func (p *profiles) bytes() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	one := int(unsafe.Sizeof(Medium{}))
	return cap(p.list)*one + mapBytes(len(p.number), one+int(unsafe.Sizeof(uint64(0)))) // the number takes a word
}

// mapBytes is what Go's maps take: places whose number is a power of two, of which
// at most seven eighths are taken, each with a byte beside it.
func mapBytes(entries, entryBytes int) int {
	places := 8
	for places*7/8 < entries {
		places *= 2
	}
	return places * (entryBytes + 1)
}

// worn reports whether there are many profiles that perhaps no medium has any
// more.
func (p *profiles) worn() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.list)-p.built > maxSpare
}

// maxSpare bounds the profiles that changes add before the snapshot is worth
// building anew: 40 bytes each.
const maxSpare = 1 << 18
