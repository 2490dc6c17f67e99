package keys

import (
	"crypto/hpke"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"kessai"
)

// DefaultMax is how many keys live at once when [Options] do not say.
const DefaultMax = 10_000

// Errors of this package. ErrRefused is the one answer for every sealed message
// that does not open, and wraps nothing: a cause would be of use to an attacker only.
var (
	ErrFull    = errors.New("no more keys can be issued now: as many as allowed are live; try again when payments have ended, or raise the limit")
	ErrIssued  = errors.New("this transaction has a key already; a transaction gets one")
	ErrRefused = errors.New("the sealed message is refused")
	ErrGone    = errors.New("the transaction's key is destroyed; begin a new transaction")
)

// Options say how many keys there may be and of which kind.
type Options struct {
	Max  int      // keys that live at once; 0: DefaultMax
	KEM  hpke.KEM // DHKEM(P-256, HKDF-SHA256) or MLKEM768-X25519
	KDF  hpke.KDF
	AEAD hpke.AEAD
}

// Keeper issues keys and holds their private halves. It may be used from many
// goroutines at once.
type Keeper struct {
	suite *suite

	mu     sync.Mutex // guards all below, every slot, and every Key
	arena  *arena
	live   map[kessai.TxID]*Key
	free   []int // slots that hold no key
	issued uint64
	closed bool
}

// New makes a keeper. It fails when the KEM is none of the two, when the memory
// cannot be had, and when this version of Go lays out private keys in a form that
// cannot be overwritten.
func New(o Options) (*Keeper, error) {
	if o.Max == 0 {
		o.Max = DefaultMax
	}
	if o.Max < 0 || o.Max > 1_000_000 {
		return nil, fmt.Errorf("%d keys cannot be live at once; give 1 to 1000000", o.Max)
	}
	s, err := newSuite(o.KEM, o.KDF, o.AEAD)
	if err != nil {
		return nil, err
	}
	a, err := newArena(o.Max * slotSize)
	if err != nil {
		return nil, err
	}
	k := &Keeper{suite: s, arena: a, live: make(map[kessai.TxID]*Key), free: make([]int, o.Max)}
	for i := range k.free {
		k.free[i] = o.Max - 1 - i
	}
	return k, nil
}

// Issue makes the key pair of a transaction. It fails with [ErrIssued], [ErrFull],
// or [ErrGone] after Close.
func (k *Keeper) Issue(id kessai.TxID) (*Key, error) {
	key := &Key{keeper: k, id: id, slot: -1}
	if err := k.reserve(key); err != nil {
		return nil, err
	}
	err := quietly(func() (err error) {
		undisturbed(func() { err = k.make(key) })
		return err
	})
	if err != nil {
		key.Destroy()
		return nil, err
	}
	return key, nil
}

// reserve takes the transaction's place, so that a second Issue fails at once.
func (k *Keeper) reserve(key *Key) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return ErrGone
	case k.live[key.id] != nil:
		return ErrIssued
	case len(k.free) == 0:
		return ErrFull
	}
	key.slot = k.free[len(k.free)-1]
	k.free = k.free[:len(k.free)-1]
	k.live[key.id] = key
	return nil
}

// make draws the private half and stores it, unless the key was destroyed meanwhile.
func (k *Keeper) make(key *Key) error {
	var private [privateSize]byte
	defer clear(private[:])
	public, err := k.suite.generate(&private)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if key.slot < 0 {
		return ErrGone
	}
	copy(k.slot(key.slot), private[:])
	key.public = public
	k.issued++
	return nil
}

func (a *arena) bytes() []byte { return unsafe.Slice(a.at, a.size) }

func (k *Keeper) slot(i int) []byte { return k.arena.bytes()[i*slotSize:][:slotSize:slotSize] }

// Live gives the number of keys that are issued and not destroyed.
func (k *Keeper) Live() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.live)
}

// Issued gives the number of keys issued since the start.
func (k *Keeper) Issued() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.issued
}

// Locked gives nil when private halves stand in memory that is neither swapped nor
// dumped, and otherwise what the system refused.
func (k *Keeper) Locked() error { return k.arena.locked }

// DestroyAll destroys every live key.
func (k *Keeper) DestroyAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.live {
		key.destroy()
	}
}

// Close destroys every key and gives the memory back. Issue fails afterwards.
func (k *Keeper) Close() error {
	k.DestroyAll()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	for _, key := range k.live { // issued since
		key.destroy()
	}
	return k.arena.close()
}
