package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"syscall"
	"unsafe"
)

// hashIndex finds numbers (of transactions, of accounts) by 64-bit hashes of
// their names. The names themselves are not in it: a number that it gives is a
// candidate, which the caller confirms in the row. It takes 15 to 18 bytes for
// each entry, has no pointers for the collector to follow, and grows one shard
// at a time, so that nobody waits long for that.
//
// A Go map of key, digest and number takes several times as much.
type hashIndex struct {
	shards [1 << shardBits]shard
	n      int
}

// shard is a hash table with open addressing. Its size need not be a power of
// two: it grows by a fifth when four fifths of it are taken.
type shard struct {
	slots  []slot
	n      int
	mapped bool // slots is not the collector's
}

const shardBits = 10

// slot holds 56 bits of hash and a number of 40 bits. Ten of the hash's 64 bits
// say which shard it is in; all others are here. Number zero: empty.
type slot [3]uint32

func makeSlot(hash, number uint64) slot {
	h := inShard(hash)
	return slot{uint32(h >> 24), uint32(h)<<8 | uint32(number>>32)&0xff, uint32(number)}
}

func inShard(hash uint64) uint64 { return hash << shardBits >> 8 }

func (s slot) hash() uint64   { return uint64(s[0])<<24 | uint64(s[1]>>8) }
func (s slot) number() uint64 { return uint64(s[1]&0xff)<<32 | uint64(s[2]) }

// home is where an entry belongs if nobody else is there. It grows with the
// hash, so that growing a shard walks through memory in order.
func home(hash uint64, size int) int {
	hi, _ := bits.Mul64(hash<<8, uint64(size))
	return int(hi)
}

// probe walks over the numbers that stand under a hash.
type probe struct {
	slots []slot
	hash  uint64
	at    int
}

func (x *hashIndex) probe(hash uint64) probe {
	sh := &x.shards[hash>>(64-shardBits)]
	h := inShard(hash)
	return probe{sh.slots, h, home(h, len(sh.slots))}
}

// next gives the next number that stands under the hash; zero when there is none.
func (p *probe) next() uint64 {
	for len(p.slots) > 0 {
		if p.at == len(p.slots) {
			p.at = 0
		}
		s := p.slots[p.at]
		n := s.number()
		if n == 0 {
			return 0
		}
		if p.at++; s.hash() == p.hash {
			return n
		}
	}
	return 0
}

func (x *hashIndex) add(hash, number uint64) {
	x.shards[hash>>(64-shardBits)].add(hash, number)
	x.n++
}

func (sh *shard) add(hash, number uint64) {
	if (sh.n+1)*5 > len(sh.slots)*4 {
		// Shards begin at different sizes, so that they do not all grow at once.
		first := 16 + int(hash>>(64-shardBits)%4)
		sh.resize(max(first, len(sh.slots)*6/5))
	}
	sh.put(makeSlot(hash, number))
	sh.n++
}

func (sh *shard) put(s slot) {
	i := home(s.hash(), len(sh.slots))
	for sh.slots[i].number() != 0 {
		if i++; i == len(sh.slots) {
			i = 0
		}
	}
	sh.slots[i] = s
}

func (sh *shard) resize(size int) {
	old := *sh
	sh.alloc(size)
	for _, s := range old.slots {
		if s.number() != 0 {
			sh.put(s)
		}
	}
	old.free()
}

// Large shards are not the collector's. It would let the heap grow by as much
// again before it collects, and there is nothing in a shard for it to follow.
const largeShard = 64 << 10 // bytes

const slotBytes = int(unsafe.Sizeof(slot{}))

func (sh *shard) alloc(size int) {
	if sh.mapped = size*slotBytes >= largeShard; sh.mapped {
		memory, err := syscall.Mmap(-1, 0, size*slotBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err == nil {
			sh.slots = unsafe.Slice((*slot)(unsafe.Pointer(unsafe.SliceData(memory))), size)
			return
		}
		sh.mapped = false
	}
	sh.slots = make([]slot, size)
}

func (sh *shard) free() {
	if sh.mapped {
		_ = syscall.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(sh.slots))), len(sh.slots)*slotBytes))
	}
	*sh = shard{}
}

// free empties the index and gives its memory back.
func (x *hashIndex) free() {
	for i := range x.shards {
		x.shards[i].free()
	}
	x.n = 0
}

// reserve makes room for about so many entries, in an index that is empty.
func (x *hashIndex) reserve(entries uint64) {
	for i := range x.shards {
		each := entries / uint64(len(x.shards))
		// A little more for chance, and not the same for all: see add.
		x.shards[i].resize(int(each*5/4 + each*uint64(i%16)/80 + 32))
	}
}

// remove takes out one entry, if it is there. The entries behind it move up, so
// that nothing has to mark the gap.
func (x *hashIndex) remove(hash, number uint64) {
	sh := &x.shards[hash>>(64-shardBits)]
	size := len(sh.slots)
	if size == 0 {
		return
	}
	want := makeSlot(hash, number)
	i := home(want.hash(), size)
	for sh.slots[i] != want {
		if sh.slots[i].number() == 0 {
			return
		}
		i = (i + 1) % size
	}
	for j := (i + 1) % size; sh.slots[j].number() != 0; j = (j + 1) % size {
		if h := home(sh.slots[j].hash(), size); (j-h+size)%size >= (j-i+size)%size {
			sh.slots[i] = sh.slots[j]
			i = j
		}
	}
	sh.slots[i] = slot{}
	sh.n--
	x.n--
}

// hash spreads a key, which is a digest already, but perhaps a poor one.
func (k Key) hash() uint64 {
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(k[:])^0x9e3779b97f4a7c15, binary.LittleEndian.Uint64(k[8:])^0xc2b2ae3d27d4eb4f)
	hi, lo = bits.Mul64(hi^lo, 0xd6e8feb86659fd93)
	return hi ^ lo
}

// nameDigest stands for an account's name: 64 bits of it are found in the index,
// the other 64 in the account's row. Among a thousand million accounts the chance
// that any two names have the same 128 bits is 10^18 / 2^129, about 10^-21. An
// account with a name whose digest another name has is not opened (see confirm),
// so even then no money goes to the wrong one.
func nameDigest(name string) (hash, rest uint64) {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])
}
