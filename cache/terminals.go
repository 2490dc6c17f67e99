package cache

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"kessai"
)

// terminals is a hash table with open addressing. A slot is 64 bytes, a line of
// the processor's cache, so that a look-up waits for memory about once; Go's own
// map would make it wait twice. The slots lie in chunks, so that a change copies
// one of them and not all.
type terminals struct {
	chunks []*chunk // the number is a power of two; at most half of the slots are taken
	shift  uint8    // of a hash, what gives the slot
	taken  int      // slots
	count  int      // of them, those with facts
}

type chunk [chunkSlots]terminalSlot

type terminalSlot struct {
	id kessai.TerminalID // zero: free
	t  Terminal          // zero: not known any more
}

const chunkSlots = 256 // 16 KiB

// merchantActive is set in the status of a terminal in a slot where its merchant was
// registered, and not blocked, when the slot was written. It spares the look-up of
// the merchant, which could not begin before the slot has come from memory.
const merchantActive TerminalStatus = 1 << 7

// mark sets merchantActive, or not.
func (t *Terminal) mark(m *merchants) {
	t.Status &^= merchantActive
	if t.Status != TerminalUnknown && m.has(t.Merchant) {
		t.Status |= merchantActive
	}
}

func newTerminals(n int) *terminals {
	t := &terminals{shift: 64 - 8}
	size := 1
	for size*chunkSlots < 2*n {
		size *= 2
		t.shift--
	}
	t.chunks = make([]*chunk, size)
	all := make([]chunk, size)
	largePages(unsafe.Pointer(unsafe.SliceData(all)), size*int(unsafe.Sizeof(chunk{})))
	for i := range t.chunks {
		t.chunks[i] = &all[i]
	}
	return t
}

// place gives the number of the slot where the search for an ID begins.
func (t *terminals) place(id kessai.TerminalID) int {
	return int(binary.BigEndian.Uint64(id[:]) * 0x9e3779b97f4a7c15 >> (t.shift & 63))
}

// search gives the number of the slot of an ID, or else of the one where it would
// have to go.
func (t *terminals) search(id kessai.TerminalID) (int, *terminalSlot) {
	last := len(t.chunks)*chunkSlots - 1
	for i := t.place(id); ; i++ {
		i &= last
		if s := &t.chunks[i/chunkSlots][i%chunkSlots]; s.id == id || s.id.IsZero() {
			return i, s
		}
	}
}

// expect fetches the slot of a terminal.
func (t *terminals) expect(id kessai.TerminalID) {
	if t != nil {
		i := t.place(id)
		prefetch(unsafe.Pointer(&t.chunks[i/chunkSlots][i%chunkSlots]))
	}
}

var noTerminal Terminal

func (t *terminals) find(id kessai.TerminalID) *Terminal {
	if t == nil || id.IsZero() {
		return &noTerminal
	}
	_, s := t.search(id)
	return &s.t
}

// end ends the building.
func (t *terminals) end(m *merchants) {
	if t == nil {
		return
	}
	memory := make([]piece, len(t.chunks))
	for i, c := range t.chunks {
		memory[i] = pieceOf(c[:])
		for at := range c {
			c[at].t.mark(m)
		}
	}
	largePagesNow(memory)
}

func (t *terminals) len() int {
	if t == nil {
		return 0
	}
	return t.count
}

func (t *terminals) bytes() int {
	if t == nil {
		return 0
	}
	return len(t.chunks) * int(unsafe.Sizeof(chunk{})+unsafe.Sizeof(&chunk{}))
}

// add adds a terminal; of two with one ID, the later counts.
func (t *terminals) add(id kessai.TerminalID, facts Terminal) {
	if id.IsZero() {
		return // it names none
	}
	t.room()
	_, s := t.search(id)
	t.put(s, id, facts)
}

// put writes a slot. Facts without a status are none.
func (t *terminals) put(s *terminalSlot, id kessai.TerminalID, facts Terminal) {
	if s.id.IsZero() {
		t.taken++
	}
	if facts.Status == TerminalUnknown {
		facts = Terminal{}
	}
	if s.t.Status != TerminalUnknown {
		t.count--
	}
	if facts.Status != TerminalUnknown {
		t.count++
	}
	*s = terminalSlot{id, facts}
}

// room makes room for one more.
func (t *terminals) room() {
	if 2*t.taken < len(t.chunks)*chunkSlots {
		return
	}
	larger := newTerminals(t.count + t.count/2 + 1)
	for _, c := range t.chunks {
		for i := range c {
			if s := &c[i]; s.t.Status != TerminalUnknown {
				_, to := larger.search(s.id)
				larger.put(to, s.id, s.t)
			}
		}
	}
	*t = *larger
}

// with gives the same terminals with changes; t stays as it is. The merchants are
// those after the changes.
func (t *terminals) with(changes []TerminalChange, m *merchants) *terminals {
	if len(changes) == 0 {
		return t
	}
	if t == nil {
		t = newTerminals(len(changes))
	}
	n := *t
	n.chunks = slices.Clone(t.chunks)
	for _, c := range changes {
		if c.ID.IsZero() {
			continue
		}
		n.room()
		i, s := n.search(c.ID)
		if at := i / chunkSlots; at < len(t.chunks) && n.chunks[at] == t.chunks[at] {
			own := *n.chunks[at]
			n.chunks[at], s = &own, &own[i%chunkSlots]
		}
		c.Facts.mark(m)
		n.put(s, c.ID, c.Facts)
	}
	return &n
}
