package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"kessai"
)

type testSuite struct {
	name string
	kem  hpke.KEM
}

var suites = []testSuite{{"p256", hpke.DHKEM(ecdh.P256())}, {"mlkem768-x25519", hpke.MLKEM768X25519()}}

func (s testSuite) keeper(t testing.TB, max int) *Keeper {
	t.Helper()
	k, err := New(Options{Max: max, KEM: s.kem, KDF: hpke.HKDFSHA256(), AEAD: hpke.AES256GCM()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

var lastID atomic.Uint64

func issue(t testing.TB, k *Keeper) *Key {
	t.Helper()
	key, err := k.Issue(kessai.TxID(lastID.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// again gives another transaction the key's private half, which Issue never does: so
// one sealed message serves a whole test.
func again(t testing.TB, key *Key) *Key {
	t.Helper()
	k := key.keeper
	other := &Key{keeper: k, id: kessai.TxID(lastID.Add(1)), slot: -1}
	if err := k.reserve(other); err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	copy(k.slot(other.slot), k.slot(key.slot)[:privateSize])
	other.public = bytes.Clone(key.public)
	return other
}

// sender is the reader's side, by the standard library.
func sender(t testing.TB, key *Key, info string) (enc []byte, s *hpke.Sender) {
	t.Helper()
	kem := suites[0].kem
	if key.keeper.suite.hybrid {
		kem = suites[1].kem
	}
	public, err := kem.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	enc, s, err = hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(info))
	if err != nil {
		t.Fatal(err)
	}
	return enc, s
}

func content(size int) []byte { return bytes.Repeat([]byte("a card's content"), size/16) }

func seal(t testing.TB, key *Key, info string, size int) []byte {
	t.Helper()
	enc, s := sender(t, key, info)
	ciphertext, err := s.Seal(nil, content(size))
	if err != nil {
		t.Fatal(err)
	}
	return append(enc, ciphertext...)
}

func nothing(_, _ []byte) error { return nil }

// refused opens a message that must be refused and end the key.
func refused(t testing.TB, key *Key, info string, sealed []byte) {
	t.Helper()
	err := key.Open([]byte(info), sealed, "ctx", nil, func(_, _ []byte) error {
		t.Error("a message was opened that should not be")
		return nil
	})
	if err != ErrRefused {
		t.Errorf("the error is %v, want ErrRefused itself", err)
	}
	if key.lives() || key.Public() != nil {
		t.Error("the key lives after a message was refused")
	}
}

// TestR5_EveryTransactionHasItsOwnKey: one transaction, one key; and as many live at
// once as were allowed, no more.
func TestR5_EveryTransactionHasItsOwnKey(t *testing.T) {
	for _, s := range suites {
		const most = 20
		k := s.keeper(t, most)
		seen, all := make(map[string]bool), []*Key{}
		for id := range kessai.TxID(most) {
			key, err := k.Issue(id + 1)
			if err != nil || seen[string(key.Public())] {
				t.Fatalf("key %d: %v, or it was issued before", id, err)
			}
			seen[string(key.Public())] = true
			all = append(all, key)
		}
		if _, err := k.Issue(1); err != ErrIssued {
			t.Errorf("a second key for a transaction: %v, want ErrIssued", err)
		}
		if _, err := k.Issue(most + 1); err != ErrFull {
			t.Errorf("one key more than allowed: %v, want ErrFull", err)
		}
		all[3].Destroy()
		all[3].Destroy()
		if key, err := k.Issue(most + 1); err != nil || seen[string(key.Public())] || k.Live() != most || k.Issued() != most+1 {
			t.Errorf("after one has ended: %v, %d live, %d issued", err, k.Live(), k.Issued())
		}
		k.DestroyAll()
		if k.Live() != 0 || bytes.Trim(k.arena.bytes(), "\x00") != nil {
			t.Errorf("%d keys live after DestroyAll, or their memory is not overwritten", k.Live())
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		if _, err := k.Issue(99); err != ErrGone {
			t.Errorf("a key after Close: %v, want ErrGone", err)
		}
	}
}

// TestR8_OpensWhatTheStandardLibrarySealed, card and PIN with the same key, and gives
// the sender's exported secret; all of it is overwritten when it was used.
func TestR8_OpensWhatTheStandardLibrarySealed(t *testing.T) {
	for _, s := range suites {
		key := issue(t, s.keeper(t, 10))
		for _, step := range []string{"card", "pin"} {
			enc, snd := sender(t, key, step)
			ciphertext, _ := snd.Seal(nil, content(512))
			want, _ := snd.Export("pin key", 16)
			var plain, exported []byte
			wrong := errors.New("the caller's own error")
			err := key.Open([]byte(step), append(enc, ciphertext...), "pin key", func() bool { return true }, func(p, e []byte) error {
				plain, exported = p, e
				if !bytes.Equal(p, content(512)) || !bytes.Equal(e, want) {
					t.Errorf("%s, %s: another content or another exported secret", s.name, step)
				}
				return wrong
			})
			if err != wrong {
				t.Errorf("%s, %s: %v", s.name, step, err)
			}
			if bytes.Trim(plain, "\x00") != nil || bytes.Trim(exported, "\x00") != nil {
				t.Errorf("%s, %s: the content is not overwritten", s.name, step)
			}
		}
	}
}

// TestR8_OneErrorForEveryCause: what was not sealed for this transaction and step, or
// was changed, is refused, and nobody learns why.
func TestR8_OneErrorForEveryCause(t *testing.T) {
	for _, s := range suites {
		k := s.keeper(t, 100)
		first := issue(t, k)
		sealed := seal(t, first, "card", 512)
		enc, tag := k.suite.encSize, len(sealed)-tagSize
		other := issue(t, k)
		for name, c := range map[string]struct {
			info   string
			sealed []byte
		}{
			"another step":             {"pin", sealed},
			"another transaction":      {"card", seal(t, other, "card", 512)},
			"nothing":                  {"card", nil},
			"the encapsulated key":     {"card", sealed[:enc]},
			"no ciphertext":            {"card", sealed[:enc+tagSize]},
			"one byte less":            {"card", sealed[:len(sealed)-1]},
			"one byte more":            {"card", append(bytes.Clone(sealed), 0)},
			"one byte in front":        {"card", append([]byte{0}, sealed...)},
			"no tag":                   {"card", sealed[:tag]},
			"zeros":                    {"card", make([]byte, len(sealed))},
			"zeros for a key":          {"card", append(make([]byte, enc), sealed[enc:]...)},
			"a point of a low order":   {"card", append(append(bytes.Clone(sealed[:enc-32]), make([]byte, 32)...), sealed[enc:]...)},
			"its own public key":       {"card", append(bytes.Clone(first.Public())[:min(enc, len(first.Public()))], sealed...)},
			"a large message of zeros": {"card", make([]byte, 1<<20)},
		} {
			t.Run(s.name+"/"+name, func(t *testing.T) { refused(t, again(t, first), c.info, c.sealed) })
		}
		if err := again(t, first).Open([]byte("card"), sealed, "", func() bool { return false }, nothing); err != ErrRefused {
			t.Errorf("a wrong signature: %v, want ErrRefused", err)
		}
		if err := first.Open([]byte("card"), sealed, "", nil, nothing); err != nil {
			t.Errorf("the unchanged message: %v", err)
		}
		first.Destroy()
		if err := first.Open([]byte("card"), sealed, "", nil, nothing); err != ErrGone {
			t.Errorf("after the end: %v, want ErrGone", err)
		}
	}
}

// TestR8_EveryBitCounts: no single bit of a sealed card or PIN can be changed.
func TestR8_EveryBitCounts(t *testing.T) {
	for _, s := range suites {
		for _, size := range []int{16, 512} {
			if size == 512 && s.name != "p256" {
				continue // as before, with more ciphertext
			}
			k := s.keeper(t, 10)
			first := issue(t, k)
			sealed := seal(t, first, "card", size)
			step := 1 + 60*raceDetector
			var both sync.WaitGroup
			for half := range 2 {
				both.Go(func() {
					for bit := half * step; bit < 8*len(sealed); bit += 2 * step {
						changed := bytes.Clone(sealed)
						changed[bit/8] ^= 1 << (bit % 8)
						refused(t, again(t, first), "card", changed)
					}
				})
			}
			both.Wait()
			if err := first.Open([]byte("card"), sealed, "", nil, nothing); err != nil {
				t.Errorf("the unchanged message: %v", err)
			}
		}
	}
}

// TestR9_KeptUntilTheEnd: what is kept between card and PIN is there until the end.
func TestR9_KeptUntilTheEnd(t *testing.T) {
	k := suites[0].keeper(t, 3)
	key, other := issue(t, k), issue(t, k)
	is := func(want string) {
		t.Helper()
		var got []byte
		if !key.Kept(func(b []byte) {
			if string(b) != want {
				t.Errorf("%d bytes are kept, or others than %d", len(b), len(want))
			}
			got = b
		}) {
			t.Error("the key is gone")
		}
		if bytes.Trim(got, "\x00") != nil {
			t.Error("the copy that was handed out is not overwritten")
		}
	}
	is("")
	long := content(MaxKept)
	if !key.Keep(long) || !other.Keep([]byte("other")) {
		t.Error("nothing is kept")
	}
	is(string(long))
	if key.Keep(content(MaxKept + 16)) {
		t.Error("more is kept than there is room for")
	}
	is(string(long))
	if err := key.Open([]byte("card"), seal(t, key, "card", 16), "", nil, nothing); err != nil {
		t.Errorf("with something kept beside it, the key does not open: %v", err)
	}
	if !key.Keep([]byte("short")) {
		t.Error("it is not kept")
	}
	is("short")
	key.Destroy()
	if key.Keep([]byte("late")) || key.Kept(func([]byte) { t.Error("something is kept after the end") }) {
		t.Error("something is kept after the end")
	}
	if next := issue(t, k); !next.Kept(func(b []byte) {
		if len(b) != 0 {
			t.Error("the next key finds what was kept with the last one")
		}
	}) {
		t.Error("the next key is gone")
	}
}

// TestR16_EndsWhileInUse: a key may end while others use it. It is used, refused or
// gone, and nothing else; the race detector looks on.
func TestR16_EndsWhileInUse(t *testing.T) {
	for _, s := range suites {
		k := s.keeper(t, 8)
		for n := range 40 {
			key := issue(t, k)
			sealed := seal(t, key, "card", 16)
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					err := key.Open([]byte("card"), sealed, "", nil, func(p, _ []byte) error {
						if !bytes.Equal(p, content(16)) {
							t.Error("another content")
						}
						return nil
					})
					if err != nil && err != ErrGone {
						t.Error(err)
					}
				})
			}
			all.Go(func() { key.Keep([]byte("1234")); key.Kept(func([]byte) {}); key.Public() })
			all.Go(func() {
				if n%8 == 0 {
					k.DestroyAll()
				}
				key.Destroy()
			})
			all.Wait()
			if k.Live() != 0 {
				t.Fatal("the key lives")
			}
		}
	}
}

// TestR16_ClosedWhileIssuing: keys that are being made when the keeper closes are gone.
func TestR16_ClosedWhileIssuing(t *testing.T) {
	for range 20 {
		k := suites[0].keeper(t, 100)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if key, err := k.Issue(kessai.TxID(i + 1)); err == nil {
					_ = key.Open(nil, make([]byte, 200), "", nil, nothing)
				} else if err != ErrGone {
					t.Error(err)
				}
			})
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
		if k.Live() != 0 {
			t.Error("a key lives in a closed keeper")
		}
	}
}

// TestR16_PrintsNoKey: a private half shows in no form of printing.
func TestR16_PrintsNoKey(t *testing.T) {
	k := suites[0].keeper(t, 2)
	key := issue(t, k)
	key.Keep([]byte("4242424242424242"))
	secret := bytes.Clone(k.slot(key.slot)[:keptAt+17])
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		text := fmt.Sprintf(verb+" "+verb, k, key)
		for _, form := range []string{hex.EncodeToString(secret[:4]), fmt.Sprintf("%d", secret[:4])[1:9], fmt.Sprintf("%#v", secret[:4])[7:20], "4242424242424242"} {
			if bytes.Contains([]byte(text), []byte(form)) {
				t.Errorf("%q shows a private half, or what is kept", verb)
			}
		}
	}
}

// TestInABubble: nothing runs on after a call, so that engines can be tested with
// synthetic time.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := issue(t, suites[0].keeper(t, 1))
		if err := key.Open([]byte("card"), seal(t, key, "card", 16), "", nil, nothing); err != nil {
			t.Error(err)
		}
		key.Destroy()
	})
}

// TestNewRefuses what it cannot work with.
func TestNewRefuses(t *testing.T) {
	good := Options{Max: 1, KEM: suites[0].kem, KDF: hpke.HKDFSHA256(), AEAD: hpke.AES256GCM()}
	for name, change := range map[string]func(*Options){
		"no KEM":            func(o *Options) { o.KEM = nil },
		"no KDF":            func(o *Options) { o.KDF = nil },
		"no AEAD":           func(o *Options) { o.AEAD = nil },
		"an unknown KEM":    func(o *Options) { o.KEM = hpke.MLKEM1024() },
		"less than no keys": func(o *Options) { o.Max = -1 },
		"too many keys":     func(o *Options) { o.Max = 1 << 30 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
