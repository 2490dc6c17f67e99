package cache

import (
	"encoding/binary"

	"kessai"
)

// terminals is a hash table with open addressing. A slot is 64 bytes, a line of
// the processor's cache, so that a look-up waits for memory about once; Go's own
// map would make it wait twice.
type terminals struct {
	slots []terminalSlot // the number is a power of two; at most half are taken
	count int
}

type terminalSlot struct {
	id kessai.TerminalID // zero: free
	t  Terminal
}

const minTerminalSlots = 16

func newTerminals(n int) (t terminals) {
	size := minTerminalSlots
	for size < 2*n {
		size *= 2
	}
	t.slots = make([]terminalSlot, size)
	return t
}

// search gives the slot of an ID, or else the one where it would have to go.
func (t *terminals) search(id kessai.TerminalID) *terminalSlot {
	last := uint64(len(t.slots) - 1)
	h := binary.BigEndian.Uint64(id[:]) * 0x9e3779b97f4a7c15
	for i := h >> 32; ; i++ {
		if s := &t.slots[i&last]; s.id == id || s.id.IsZero() {
			return s
		}
	}
}

func (t *terminals) find(id kessai.TerminalID) Terminal {
	if len(t.slots) == 0 || id.IsZero() {
		return Terminal{}
	}
	return t.search(id).t
}

// add adds a terminal; of two with one ID, the later counts.
func (t *terminals) add(id kessai.TerminalID, facts Terminal) {
	if id.IsZero() {
		return // it names none
	}
	if 2*t.count >= len(t.slots) {
		larger := newTerminals(len(t.slots))
		for _, s := range t.slots {
			if !s.id.IsZero() {
				*larger.search(s.id) = s
			}
		}
		larger.count = t.count
		*t = larger
	}
	s := t.search(id)
	if s.id.IsZero() {
		t.count++
	}
	*s = terminalSlot{id, facts}
}
