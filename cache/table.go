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
// It is a hash table with open addressing. What a look-up costs is the wait for
// memory, so the unit is a line of the processor's cache, with room for three
// media: the line that an ID's hash names holds the medium or, where it is full,
// the next one does. Whole IDs are kept, the first byte being told by the part,
// so no medium is ever taken for another. A tag of 8 bytes in place of the 15
// would save 6 bytes, and need something apart for media with the same tag. A
// sorted array would need no free room, but a look-up waits twice.
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

	// In ten slots there are nine media. With fewer free ones, look-ups have to
	// go on to the next line more often; with eight in ten, they are 20 ns faster
	// and a medium takes 27 bytes.
	mediaPer, slotsPer = 9, 10
)

// place gives the line where the search for an ID begins.
func (p *hashed) place(id *kessai.MediumID) int {
	high, low := bits.Mul64(binary.LittleEndian.Uint64(id[:])^0x9e3779b97f4a7c15, binary.LittleEndian.Uint64(id[8:])^0xbf58476d1ce4e5b9)
	return int(uint64(uint32(high^low)) * uint64(len(p.lines)) >> 32)
}

// search gives line and slot of an ID, or else where it would have to go. There
// is always a slot that is free. The slots of a line are compared without a
// branch on each: which of them it is, the processor cannot foretell, and a wrong
// guess costs it what it has begun meanwhile.
func (p *hashed) search(id *kessai.MediumID) (l, slot int, ok bool) {
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

// read puts the facts about a medium into m.
func (t *table) read(m *Medium, id *kessai.MediumID) {
	if t == nil {
		*m = Medium{}
		return
	}
	p := &t.parts[id[0]]
	if p.fresh != nil {
		if l, slot, ok := p.fresh.search(id); ok {
			t.facts(m, p.fresh, l, slot)
			return
		}
	}
	if l, slot, ok := p.base.search(id); ok {
		t.facts(m, &p.base, l, slot)
		return
	}
	*m = Medium{}
}

func (t *table) status(id *kessai.MediumID) MediumStatus {
	var m Medium
	t.read(&m, id)
	return m.Status
}

func (t *table) facts(m *Medium, p *hashed, l, slot int) {
	*m = t.profiles[p.profile(l, slot)]
	m.Account = p.lines[l].account[slot]
}

// expect fetches the line of a medium, and the one where it is if that is full.
func (t *table) expect(id *kessai.MediumID) {
	if t == nil {
		return
	}
	p := &t.parts[id[0]]
	if p.fresh != nil {
		prefetch(unsafe.Pointer(&p.fresh.lines[p.fresh.place(id)]))
	}
	l := p.base.place(id)
	prefetch(unsafe.Pointer(&p.base.lines[l]))
	prefetch(unsafe.Pointer(&p.base.lines[min(l+1, len(p.base.lines)-1)]))
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

// newLines makes at least as many lines.
func newLines(n int) []line {
	if n*lineBytes >= minLarge {
		n = (n + linesPerPage - 1) / linesPerPage * linesPerPage
	}
	lines := make([]line, n)
	largePages(unsafe.Pointer(unsafe.SliceData(lines)), n*lineBytes)
	return lines
}

// Memory from minLarge bytes on comes in pages of the allocator. Lines fill them,
// so that there is no gap between parts that lie side by side, and one large page
// of the system may span them.
const (
	minLarge     = 64 << 10
	linesPerPage = 8 << 10 / lineBytes
)

// put makes a medium known, or changes its facts.
func (p *hashed) put(id *kessai.MediumID, account, profile uint32) {
	l, slot, ok := p.search(id)
	at := &p.lines[l]
	at.account[slot], at.profile[slot], at.rest[slot] = account, uint16(profile), rest(id[1:])
	if profile>>16 != 0 && p.high == nil {
		p.high = make([]high, len(p.lines))
	}
	if p.high != nil {
		p.high[l][slot] = uint16(profile >> 16)
	}
	if ok {
		return
	}
	at.count++
	// Parts differ in size as chance has it, so some are fuller than planned; one
	// that is nearly full was not told its size.
	if p.count++; 40*p.count >= 39*slots*len(p.lines) {
		larger := newHashed(p.count + p.count/4)
		larger.putAll(id[0], p)
		*p = larger
	}
}

// putAll puts all that another one has.
func (p *hashed) putAll(first byte, from *hashed) {
	id := kessai.MediumID{first}
	for l := range from.lines {
		for slot := range from.lines[l].count {
			copy(id[1:], from.lines[l].rest[slot][:])
			p.put(&id, from.lines[l].account[slot], from.profile(l, int(slot)))
		}
	}
}

func (t *table) worn() bool { return t != nil && t.all.worn() }
