package keys

import (
	"bytes"
	"errors"

	"kessai"
)

// MaxKept is how many bytes [Key.Keep] takes.
const MaxKept = 64

// A slot is a private half, the length of what is kept, and that.
const (
	keptAt   = privateSize
	slotSize = privateSize + 1 + MaxKept + 31 // 128: no key shares a cache line
)

// Key is the key pair of one transaction. It may be used from many goroutines at
// once, and after its end: then everything fails with [ErrGone].
type Key struct {
	keeper *Keeper
	id     kessai.TxID

	// Guarded by the keeper's lock.
	slot   int // negative: destroyed
	public []byte
}

// Public gives the public half as HPKE serializes it; nil when destroyed.
func (k *Key) Public() []byte {
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	return bytes.Clone(k.public)
}

// Destroy overwrites the private half and what is kept. It may be called at any
// time, from any goroutine, more than once, and does not wait for an Open: that one
// works on copies, which it overwrites itself, and gives [ErrGone] if its message
// is not in use yet.
func (k *Key) Destroy() {
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	k.destroy()
}

// destroy needs the keeper's lock.
func (k *Key) destroy() {
	if k.slot < 0 {
		return
	}
	clear(k.keeper.slot(k.slot))
	clear(k.public)
	k.keeper.free = append(k.keeper.free, k.slot)
	delete(k.keeper.live, k.id)
	k.slot, k.public = -1, nil
}

// private copies the private half; false when destroyed.
func (k *Key) private(to *[privateSize]byte) bool {
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	if k.slot < 0 || k.public == nil {
		return false
	}
	copy(to[:], k.keeper.slot(k.slot))
	return true
}

func (k *Key) lives() bool {
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	return k.slot >= 0
}

// Open opens one sealed message (the encapsulated key and the ciphertext) that was
// sealed with info. use gets the plaintext and 16 bytes exported with exportContext;
// both are overwritten when it returns, and its error is given back. It runs on a
// goroutine of its own, whose stack is overwritten too.
//
// Whatever is wrong with the message, including a false check (the caller's own,
// such as a signature; may be nil), it takes the same steps, gives [ErrRefused] and
// destroys the key. A panic in check or use destroys it too and becomes an error.
func (k *Key) Open(info, sealed []byte, exportContext string, check func() bool, use func(plain, exported []byte) error) error {
	err := quietly(func() (err error) {
		var o opened
		defer o.wipe()
		good := check == nil || check()
		undisturbed(func() { o, err = k.unseal(info, sealed, exportContext, good) })
		if err != nil {
			return err
		}
		return use(o.plain, o.exported)
	})
	if errors.Is(err, errBroken) {
		k.Destroy()
	}
	return err
}

func (k *Key) unseal(info, sealed []byte, exportContext string, good bool) (opened, error) {
	var private [privateSize]byte
	defer clear(private[:])
	if !k.private(&private) {
		return opened{}, ErrGone
	}
	o := k.keeper.suite.open(&private, info, sealed, exportContext)
	switch {
	case !o.ok || !good:
		k.Destroy()
		return o, ErrRefused
	case !k.lives():
		return o, ErrGone
	}
	return o, nil
}

// Keep keeps up to 64 bytes in locked memory until the key is destroyed; they take
// the place of what was kept before. It reports whether they are kept.
func (k *Key) Keep(b []byte) bool {
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	if k.slot < 0 || len(b) > MaxKept {
		return false
	}
	kept := k.keeper.slot(k.slot)[keptAt:]
	clear(kept)
	kept[0] = byte(len(b))
	copy(kept[1:], b)
	return true
}

// Kept hands what is kept to use, in a copy that is overwritten when it returns. It
// reports whether the key lives; nothing kept is an empty slice.
func (k *Key) Kept(use func([]byte)) bool {
	lives := false
	_ = quietly(func() error {
		var b [1 + MaxKept]byte
		defer clear(b[:])
		k.keeper.mu.Lock()
		lives = k.slot >= 0
		if lives {
			copy(b[:], k.keeper.slot(k.slot)[keptAt:])
		}
		k.keeper.mu.Unlock()
		if lives {
			use(b[1:][:b[0]])
		}
		return nil
	})
	return lives
}
