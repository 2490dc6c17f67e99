package cache

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"kessai"
)

// merchants is the set of those that are registered and not blocked: hash tables
// with open addressing, because every request asks, and a map takes 40 ns longer.
// It is in parts, so that a change copies one of them and not all.
type merchants [1 << merchantBits]merchantPart

const merchantBits = 6

// merchantPart has a power of two of slots, of which half are taken at most; a
// zero ID is free.
type merchantPart struct {
	slots []kessai.MerchantID
	count int
}

// halves are an ID as two numbers, which overlap in one byte.
func halves(id *kessai.MerchantID) (a, b uint64) {
	return binary.LittleEndian.Uint64(id[:]), binary.LittleEndian.Uint64(id[7:])
}

func merchantHash(a, b uint64) uint64 { return (a ^ b*0xbf58476d1ce4e5b9) * 0x9e3779b97f4a7c15 }

// search gives the place of an ID, or else the free one where it would have to go.
func (p *merchantPart) search(a, b, hash uint64) (at int, ok bool) {
	for i := int(hash >> 20); ; i++ {
		i &= len(p.slots) - 1
		c, d := halves(&p.slots[i])
		if a == c && b == d {
			return i, true
		}
		if c|d == 0 {
			return i, false
		}
	}
}

func (m *merchants) has(id kessai.MerchantID) bool {
	a, b := halves(&id)
	hash := merchantHash(a, b)
	if m == nil || a|b == 0 {
		return false
	}
	p := &m[hash>>(64-merchantBits)]
	if len(p.slots) == 0 {
		return false
	}
	_, ok := p.search(a, b, hash)
	return ok
}

func (m *merchants) put(id kessai.MerchantID, active bool) {
	a, b := halves(&id)
	if a|b == 0 {
		return // it names none
	}
	hash := merchantHash(a, b)
	p := &m[hash>>(64-merchantBits)]
	if active {
		p.add(id, a, b, hash)
	} else if m.has(id) {
		p.remove(id)
	}
}

func (p *merchantPart) add(id kessai.MerchantID, a, b, hash uint64) {
	if 2*(p.count+1) > len(p.slots) {
		p.rebuild(max(4, 2*len(p.slots)), kessai.MerchantID{})
	}
	if at, ok := p.search(a, b, hash); !ok {
		p.slots[at] = id
		p.count++
	}
}

// remove makes the part anew: with open addressing, a slot cannot just be freed.
func (p *merchantPart) remove(id kessai.MerchantID) { p.rebuild(len(p.slots), id) }

func (p *merchantPart) rebuild(size int, without kessai.MerchantID) {
	n := merchantPart{slots: make([]kessai.MerchantID, size)}
	for _, id := range p.slots {
		if a, b := halves(&id); a|b != 0 && id != without {
			at, _ := n.search(a, b, merchantHash(a, b))
			n.slots[at] = id
			n.count++
		}
	}
	*p = n
}

// with gives the same merchants with changes; m stays as it is.
func (m *merchants) with(changes []MerchantChange) *merchants {
	if len(changes) == 0 {
		return m
	}
	n := new(merchants)
	if m != nil {
		*n = *m
	}
	var own [len(n)]bool
	for _, c := range changes {
		if i := merchantHash(halves(&c.ID)) >> (64 - merchantBits); !own[i] {
			n[i].slots, own[i] = slices.Clone(n[i].slots), true
		}
		n.put(c.ID, c.Active)
	}
	return n
}

// and gives the same merchants and those that change, whatever becomes of them.
func (m *merchants) and(changes []MerchantChange) *merchants {
	all := slices.Clone(changes)
	for i := range all {
		all[i].Active = true
	}
	return m.with(all)
}

func (m *merchants) bytes() (n int) {
	if m == nil {
		return 0
	}
	n = int(unsafe.Sizeof(*m))
	for i := range m {
		n += cap(m[i].slots) * len(kessai.MerchantID{})
	}
	return n
}
