package cache

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"kessai"
)

// table holds media in about 24 bytes each and without pointers, so that the
// collector does not walk it: ten million take some 240 MB.
//
// It is a hash table in which each medium has two lines where it may be (cuckoo
// hashing). What a look-up costs is the wait for memory, so a line is a line of
// the processor's cache, with room for three media, and both are asked for at
// once. That way nine slots in ten can be taken, where going on to the next line
// takes two more lines for each look-up, or an eighth more memory. Whole IDs are
// kept, the first byte being told by the part, so no medium is ever taken for
// another. A tag of 8 bytes in place of the 15 would save 6 bytes, and need
// something apart for media with the same tag. A sorted array would need no free
// room, but a look-up waits twice.
//
// IDs are hashed with a key that nobody outside knows, so nobody can make many
// that have the same two lines.
type table struct {
	parts    [parts]part
	profiles []Medium  // every combination of facts once; the account is zero
	all      *profiles // of which they are the ones known to this table
	size     int       // number of media with facts
}

// part is the media whose IDs begin with the same byte.
type part struct {
	base  hashed
	fresh *hashed // what changed since base was made, and counts; nil where nothing did
}

// hashed is the hash table itself.
type hashed struct {
	lines []line
	high  []high // the upper halves of the numbers of profiles; nil where all are zero
	count int
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

	// In ten slots there are nine media. With more, placing one takes long, and
	// from 95 in 100 on it fails.
	mediaPer, slotsPer = 9, 10
)

// places gives the lines where a medium may be.
func (p *hashed) places(id *kessai.MediumID) (a, b int) {
	high, low := bits.Mul64(binary.LittleEndian.Uint64(id[:])^0x9e3779b97f4a7c15, binary.LittleEndian.Uint64(id[8:])^0xbf58476d1ce4e5b9)
	h, n := high^low, uint64(len(p.lines))
	return int(uint64(uint32(h)) * n >> 32), int(h >> 32 * n >> 32)
}

// search gives line and slot of an ID, if it is there. The slots of a line are
// compared without a branch on each: which of them it is, the processor cannot
// foretell, and a wrong guess costs it what it has begun meanwhile.
func (p *hashed) search(id *kessai.MediumID) (l, slot int, ok bool) {
	first, second := binary.LittleEndian.Uint64(id[1:]), binary.LittleEndian.Uint64(id[8:])
	l, other := p.places(id)
	for range 2 {
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
		l = other
	}
	return 0, 0, false
}

func (t *table) find(id *kessai.MediumID) Medium {
	if t == nil {
		return Medium{}
	}
	p := &t.parts[id[0]]
	if p.fresh != nil {
		if l, slot, ok := p.fresh.search(id); ok {
			return t.facts(p.fresh, l, slot)
		}
	}
	if l, slot, ok := p.base.search(id); ok {
		return t.facts(&p.base, l, slot)
	}
	return Medium{}
}

// facts are copied field by field, because that leaves them in registers.
func (t *table) facts(p *hashed, l, slot int) Medium {
	f := &t.profiles[p.profile(l, slot)]
	return Medium{Status: f.Status, Expiry: f.Expiry, Allowed: f.Allowed, Account: p.lines[l].account[slot], Limits: f.Limits}
}

// expect fetches the lines where a medium may be.
func (t *table) expect(id *kessai.MediumID) {
	if t == nil {
		return
	}
	p := &t.parts[id[0]]
	if p.fresh != nil {
		p.fresh.expect(id)
	}
	p.base.expect(id)
}

func (p *hashed) expect(id *kessai.MediumID) {
	a, b := p.places(id)
	prefetch(unsafe.Pointer(&p.lines[a]))
	prefetch(unsafe.Pointer(&p.lines[b]))
}

func (p *hashed) profile(l, slot int) uint32 {
	n := uint32(p.lines[l].profile[slot])
	if p.high != nil {
		n |= uint32(p.high[l][slot]) << 16
	}
	return n
}

func (t *table) len() int {
	if t == nil {
		return 0
	}
	return t.size
}

func (t *table) bytes() int {
	if t == nil {
		return 0
	}
	n := int(unsafe.Sizeof(*t)) + t.all.bytes()
	for i := range t.parts {
		n += t.parts[i].base.bytes()
		if f := t.parts[i].fresh; f != nil {
			n += int(unsafe.Sizeof(*f)) + f.bytes()
		}
	}
	return n
}

func (p *hashed) bytes() int { return len(p.lines)*lineBytes + cap(p.high)*int(unsafe.Sizeof(high{})) }

const lineBytes = int(unsafe.Sizeof(line{}))

// newHashed makes room for a number of media.
func newHashed(media int) hashed { return hashed{lines: newLines(linesFor(media))} }

func linesFor(media int) int { return media*slotsPer/(mediaPer*slots) + 1 }

func newLines(n int) []line {
	lines := make([]line, n)
	largePages(unsafe.Pointer(unsafe.SliceData(lines)), n*lineBytes)
	return lines
}

// entry is what a slot holds.
type entry struct {
	id      kessai.MediumID
	account uint32
	profile uint32
}

// put makes a medium known, or changes its facts.
func (p *hashed) put(e entry) {
	if l, slot, ok := p.search(&e.id); ok {
		p.set(l, slot, &e)
		return
	}
	p.count++
	full := -1 // the line that the entry has just been taken out of
	for move := range maxMoves {
		a, b := p.places(&e.id)
		for _, l := range [2]int{a, b} {
			if at := &p.lines[l]; at.count < slots {
				at.count++
				p.set(l, int(at.count)-1, &e)
				return
			}
		}
		// Both are full, so another medium has to go to its other line.
		if a == full {
			a = b
		}
		full = a
		slot := (move + int(e.id[15])) % slots
		out := p.get(a, slot, e.id[0])
		p.set(a, slot, &e)
		e = out
	}
	// Parts differ in size as chance has it, so some are fuller than planned; one
	// that is too full to go on was not told its size.
	larger := newHashed(p.count + p.count/8 + slots)
	larger.putAll(e.id[0], p)
	larger.put(e)
	*p = larger
}

// maxMoves bounds how many others are moved to place one. With nine slots in ten
// taken, it takes a few.
const maxMoves = 300

func (p *hashed) get(l, slot int, first byte) (e entry) {
	at := &p.lines[l]
	e.id[0], e.account, e.profile = first, at.account[slot], p.profile(l, slot)
	copy(e.id[1:], at.rest[slot][:])
	return e
}

func (p *hashed) set(l, slot int, e *entry) {
	at := &p.lines[l]
	at.account[slot], at.profile[slot], at.rest[slot] = e.account, uint16(e.profile), rest(e.id[1:])
	if e.profile>>16 != 0 && p.high == nil {
		p.high = make([]high, len(p.lines))
	}
	if p.high != nil {
		p.high[l][slot] = uint16(e.profile >> 16)
	}
}

// putAll puts all that another one has.
func (p *hashed) putAll(first byte, from *hashed) {
	for l := range from.lines {
		for slot := range from.lines[l].count {
			p.put(from.get(l, int(slot), first))
		}
	}
}

func (t *table) worn() bool { return t != nil && t.all.worn() }
