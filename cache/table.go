package cache

import (
	"encoding/binary"
	"math/bits"
	"sync"

	"kessai"
)

// table holds media in about 27 bytes each and without pointers, so that the
// collector does not walk it: ten million take some 270 MB.
//
// It is a hash table with open addressing. What a look-up costs is the wait for
// memory, so the unit is a line of the processor's cache, with room for three
// media: the line that an ID's hash names holds the medium or, where it is full,
// the next one does. Whole IDs are kept, the first byte being told by the part,
// so no medium is ever taken for another. A tag of 8 bytes in place of the 15
// would save 6 bytes, and need something apart for media with the same tag. A
// sorted array would need no free room, but a look-up waits twice.
type table struct {
	parts    [parts]part
	profiles []Medium // every combination of facts once; the account is zero
}

// part is the media whose IDs begin with the same byte.
type part struct {
	lines []line
	high  []high // the upper halves of the numbers of profiles; nil where all are zero
}

// line is 64 bytes. Media are in the first slots, as many as count says.
type line struct {
	account [slots]uint32
	profile [slots]uint16 // the lower half of the number of the profile
	rest    [slots]rest
	count   uint8
}

type (
	rest [15]byte // of an ID, after the first byte
	high [slots]uint16
)

const (
	parts = 256
	slots = 3

	// In ten slots there are eight media. With fewer free ones, look-ups have to
	// go on to the next line more often.
	mediaPer, slotsPer = 8, 10
)

// place gives the line where the search for an ID begins.
func (p *part) place(id *kessai.MediumID) int {
	high, low := bits.Mul64(binary.LittleEndian.Uint64(id[:])^0x9e3779b97f4a7c15, binary.LittleEndian.Uint64(id[8:])^0xbf58476d1ce4e5b9)
	return int(uint64(uint32(high^low)) * uint64(len(p.lines)) >> 32)
}

// search gives line and slot of an ID, or else where it would have to go. There
// is always a slot that is free. The slots of a line are compared without a
// branch on each: which of them it is, the processor cannot foretell, and a wrong
// guess costs it what it has begun meanwhile.
func (p *part) search(id *kessai.MediumID) (l, slot int, ok bool) {
	first, second := binary.LittleEndian.Uint64(id[1:]), binary.LittleEndian.Uint64(id[8:])
	for l = p.place(id); ; l++ {
		if l >= len(p.lines) {
			l = 0
		}
		at := &p.lines[l]
		d0 := (binary.LittleEndian.Uint64(at.rest[0][:]) ^ first) | (binary.LittleEndian.Uint64(at.rest[0][7:]) ^ second)
		d1 := (binary.LittleEndian.Uint64(at.rest[1][:]) ^ first) | (binary.LittleEndian.Uint64(at.rest[1][7:]) ^ second)
		d2 := (binary.LittleEndian.Uint64(at.rest[2][:]) ^ first) | (binary.LittleEndian.Uint64(at.rest[2][7:]) ^ second)
		slot = slots
		if d2 == 0 {
			slot = 2
		}
		if d1 == 0 {
			slot = 1
		}
		if d0 == 0 {
			slot = 0
		}
		if slot < int(at.count) {
			return l, slot, true
		}
		if at.count < slots {
			return l, int(at.count), false
		}
	}
}

func (t *table) find(id kessai.MediumID) Medium {
	if t == nil {
		return Medium{}
	}
	p := &t.parts[id[0]]
	l, slot, ok := p.search(&id)
	if !ok {
		return Medium{}
	}
	m := t.profiles[p.profile(l, slot)]
	m.Account = p.lines[l].account[slot]
	return m
}

func (p *part) profile(l, slot int) uint32 {
	n := uint32(p.lines[l].profile[slot])
	if p.high != nil {
		n |= uint32(p.high[l][slot]) << 16
	}
	return n
}

// tableBuilder makes a table in its place: building takes no memory beside it.
type tableBuilder struct {
	t     *table
	parts [parts]partBuilder

	mu       sync.RWMutex // guards profiles, here and in t
	profiles map[Medium]uint32
}

type partBuilder struct {
	mu    sync.Mutex
	count int

	facts  Medium // of the medium added last, and their number: the next often has the same
	number uint32
}

// maxShared is the number of profiles that are looked for again. Registries have
// hundreds; where almost every medium has its own, looking is in vain, and what
// remembers them would take more memory than they do.
const maxShared = 1 << 16

func newTableBuilder(media int) *tableBuilder {
	b := &tableBuilder{t: &table{profiles: make([]Medium, 1)}, profiles: make(map[Medium]uint32)}
	b.profiles[Medium{}] = 0
	n := linesFor(max(media, 0)/parts + 1)
	lines := make([]line, n*parts)
	for i := range b.t.parts {
		b.t.parts[i].lines, lines = lines[:n:n], lines[n:]
	}
	return b
}

// linesFor gives the number of lines for a number of media.
func linesFor(media int) int { return media*slotsPer/(mediaPer*slots) + 1 }

// add may be called from many goroutines at once. Of two media with one ID, the
// later counts.
func (b *tableBuilder) add(id kessai.MediumID, m Medium) {
	p, out := &b.parts[id[0]], &b.t.parts[id[0]]
	facts := m
	facts.Account = 0
	p.mu.Lock()
	defer p.mu.Unlock()
	if facts != p.facts {
		p.facts, p.number = facts, b.profile(facts)
	}
	if out.put(&id, m.Account, p.number) {
		p.count++
	}
	// Parts differ in size as chance has it, so some are fuller than planned; one
	// that is nearly full was not told its size.
	if 20*p.count >= 19*slots*len(out.lines) {
		out.grow(id[0], 2*p.count)
	}
}

// put reports whether the medium is new.
func (p *part) put(id *kessai.MediumID, account, profile uint32) bool {
	l, slot, ok := p.search(id)
	at := &p.lines[l]
	at.account[slot], at.profile[slot], at.rest[slot] = account, uint16(profile), rest(id[1:])
	if !ok {
		at.count++
	}
	if profile>>16 != 0 && p.high == nil {
		p.high = make([]high, len(p.lines))
	}
	if p.high != nil {
		p.high[l][slot] = uint16(profile >> 16)
	}
	return !ok
}

// grow makes room for a number of media.
func (p *part) grow(first byte, media int) {
	old := *p
	*p = part{lines: make([]line, linesFor(media))}
	id := kessai.MediumID{first}
	for l := range old.lines {
		for slot := range old.lines[l].count {
			copy(id[1:], old.lines[l].rest[slot][:])
			p.put(&id, old.lines[l].account[slot], old.profile(l, int(slot)))
		}
	}
}

// profile gives the number of a combination of facts.
func (b *tableBuilder) profile(facts Medium) uint32 {
	b.mu.RLock()
	n, ok := b.profiles[facts]
	b.mu.RUnlock()
	if ok {
		return n
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n, ok = b.profiles[facts]; ok {
		return n
	}
	n = uint32(len(b.t.profiles))
	b.t.profiles = append(b.t.profiles, facts)
	if n < maxShared {
		b.profiles[facts] = n
	}
	return n
}

// size gives the number of media added.
func (b *tableBuilder) size() (n int) {
	for i := range b.parts {
		n += b.parts[i].count
	}
	return n
}
