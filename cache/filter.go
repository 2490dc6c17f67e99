package cache

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/FastFilter/xorfilter"

	"kessai"
)

// filter tells which media may be invalid, in some 9 bits for each that is: a
// hundred million take 112 MB. It is never wrong about one that is; it takes one
// in 256 of the others for one.
//
// It is made of many filters, each of the media whose IDs begin with certain
// bytes, so that building one at a time takes little memory beside the result.
type filter struct {
	of      [parts]uint8 // which of the filters has the media that begin with a byte
	filters []xorfilter.BinaryFuse[uint8]
	all     [parts]bool // of these, every medium is suspect
	late    []uint64    // keys, in order, that came after their byte was said to be done
	count   int
	month   uint16 // YYMM in which it was built
}

// filterKey is what the filter knows of an ID. Two IDs may have the same.
func filterKey(id *kessai.MediumID) uint64 {
	high, low := bits.Mul64(binary.LittleEndian.Uint64(id[:])^0x9e3779b97f4a7c15, binary.LittleEndian.Uint64(id[8:])^0xbf58476d1ce4e5b9)
	return high ^ low
}

func (f *filter) has(id *kessai.MediumID) bool {
	if f == nil {
		return false
	}
	if f.all[id[0]] {
		return true
	}
	key, n := filterKey(id), int(f.of[id[0]])
	if n < len(f.filters) && f.filters[n].Contains(key) {
		return true
	}
	if len(f.late) == 0 {
		return false
	}
	_, found := slices.BinarySearch(f.late, key)
	return found
}

func (f *filter) len() int {
	if f == nil {
		return 0
	}
	return f.count
}

func (f *filter) bytes() (n int) {
	if f == nil {
		return 0
	}
	for i := range f.filters {
		n += cap(f.filters[i].Fingerprints)
	}
	return n + int(unsafe.Sizeof(*f)) + cap(f.filters)*int(unsafe.Sizeof(xorfilter.BinaryFuse[uint8]{})) + 8*cap(f.late)
}

func (f *filter) worn(at time.Time, since int) bool {
	return f != nil && (monthOf(at) > f.month || since > maxSince+f.count/16)
}

// maxSince is the number of media that may become invalid before a filter is
// worth building anew, besides a sixteenth of those in it.
const maxSince = 1 << 16

// validIn reports whether the medium may be used in a month, given as YYMM.
func (m *Medium) validIn(month uint16) bool {
	return m.Status == MediumActive && (m.Expiry == 0 || m.Expiry >= month)
}

// monthOf gives the month as YYMM, in UTC. A medium is good to the end of its.
func monthOf(at time.Time) uint16 {
	y, m, _ := at.UTC().Date()
	return uint16(y%100*100 + int(m))
}

// filterBuilder gathers the keys of invalid media, 8 bytes each, until it is told
// that a byte is done. As soon as there are enough, they become a filter: of a
// hundred million, 400,000 at a time. Beside the result, it takes 10 MB for that,
// and up to 8 MB for each byte that is being read. Where it is not told, it takes
// 8 bytes and more for every medium until the end.
type filterBuilder struct {
	keys [parts]struct {
		mu   sync.Mutex
		keys []uint64
	}

	mu      sync.Mutex // guards the following
	f       filter
	done    [parts]bool
	pending []uint64
	bytes   []byte // what IDs of the pending begin with
	builder xorfilter.BinaryFuseBuilder
}

// minKeys is the size from which on a filter takes 9.4 bits for each medium, or
// less. Smaller ones take more.
const minKeys = 1 << 18

func newFilterBuilder(now time.Time) *filterBuilder {
	return &filterBuilder{f: filter{month: monthOf(now)}}
}

func (b *filterBuilder) add(id *kessai.MediumID, m *Medium) {
	if m.validIn(b.f.month) {
		return
	}
	k := &b.keys[id[0]]
	k.mu.Lock()
	k.keys = append(k.keys, filterKey(id))
	k.mu.Unlock()
}

// end takes the keys of a byte into a filter, for the first time that it is done.
func (b *filterBuilder) end(first byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done[first] {
		return
	}
	b.done[first] = true
	b.bytes, b.pending = append(b.bytes, first), append(b.pending, b.take(first)...)
	if len(b.pending) >= minKeys {
		b.build()
	}
}

func (b *filterBuilder) take(first byte) []uint64 {
	k := &b.keys[first]
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := k.keys
	k.keys = nil
	return keys
}

// build makes a filter of the pending keys. Should that fail, which the library
// says is less likely than a fault of the memory, all media that could be in it
// are suspect.
func (b *filterBuilder) build() {
	n := len(b.pending)
	fuse, err := xorfilter.BuildBinaryFuse[uint8](&b.builder, b.pending)
	for _, first := range b.bytes {
		b.f.of[first], b.f.all[first] = uint8(len(b.f.filters)), err != nil
	}
	fuse.Fingerprints = slices.Clone(fuse.Fingerprints) // the builder uses its own again
	b.f.filters = append(b.f.filters, fuse)
	b.f.count += n
	b.pending, b.bytes = b.pending[:0], b.bytes[:0]
}

// filter ends the building.
func (b *filterBuilder) filter() *filter {
	for first := range parts {
		if b.done[first] {
			b.f.late = append(b.f.late, b.take(byte(first))...)
		} else {
			b.end(byte(first))
		}
	}
	if len(b.pending) > 0 {
		b.build()
	}
	slices.Sort(b.f.late)
	b.f.late = slices.Clip(b.f.late)
	b.f.count += len(b.f.late)
	f := b.f // and let go of the rest
	return &f
}
