package keys

import (
	"bufio"
	"bytes"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

// mask lies over every secret that a test remembers, so that the test itself puts
// no copy into the memory that it searches.
const mask = 0xA5

// search knows secrets, masked, and finds them in the memory of this process.
type search struct {
	secrets [][]byte            // masked, of 16 bytes
	names   []string            // of the secrets
	begin   map[uint64][]int    // first eight bytes, masked: which secrets
	maybe   [1 << 13]byte       // a bit for each hash of begin's keys
	found   map[string][]string // name to where
}

func newSearch() *search { return &search{begin: make(map[uint64][]int)} }

//go:norace
func hashOf(u uint64) uint64 { return u * 0x9E3779B97F4A7C15 >> 48 }

// add remembers both halves of a secret, as it stands and backwards. It reads from
// where the secret stands and writes no byte of it unmasked.
func (s *search) add(name string, secret []byte) {
	for at := 0; at+16 <= len(secret); at += 16 {
		half := make([]byte, 16)
		for i := range half {
			half[i] = secret[at+i] ^ mask
		}
		back := slices.Clone(half)
		slices.Reverse(back)
		for _, m := range [][]byte{half, back} {
			u := binary.LittleEndian.Uint64(m)
			s.begin[u] = append(s.begin[u], len(s.secrets))
			s.maybe[hashOf(u)/8] |= 1 << (hashOf(u) % 8)
			s.secrets, s.names = append(s.secrets, m), append(s.names, name)
		}
	}
}

// look reads all of this process's memory and gives what it found where.
func (s *search) look(t *testing.T) map[string][]string {
	t.Helper()
	s.found = make(map[string][]string)
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const size, overlap = 1 << 20, 16
	buf, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { clear(buf); _ = syscall.Munmap(buf) }()
	own := uint64(uintptr(unsafe.Pointer(&buf[0])))
	read := 0
	for _, m := range mappings(t) {
		for at := m.from; at < m.to; at += size - overlap {
			n := min(size, m.to-at)
			if at < own+size && own < at+n {
				continue // the copy that is searched; mappings are merged, so only this piece
			}
			got, _ := mem.ReadAt(buf[:n], int64(at))
			read += got
			s.piece(buf[:got], at, m.name)
		}
	}
	if read < 1<<20 {
		t.Fatalf("only %d bytes of this process's memory could be read", read)
	}
	return s.found
}

//go:norace
func (s *search) piece(b []byte, at uint64, name string) {
	const masks = mask * 0x0101010101010101
	for i := 0; i+16 <= len(b); i++ {
		u := binary.LittleEndian.Uint64(b[i:]) ^ masks
		if h := hashOf(u); s.maybe[h/8]>>(h%8)&1 == 0 {
			continue
		}
		for _, k := range s.begin[u] {
			if same(b[i:], s.secrets[k]) {
				s.found[s.names[k]] = append(s.found[s.names[k]], fmt.Sprintf("%#x %s", at+uint64(i), name))
			}
		}
	}
}

//go:norace
func same(b, masked []byte) bool {
	for i, m := range masked {
		if b[i]^mask != m {
			return false
		}
	}
	return true
}

type mapping struct {
	from, to uint64
	name     string
}

// mappings gives what can be read of this process, but nothing larger than 256 MiB:
// those are the race detector's, and hold who read what, not what was read.
func mappings(t *testing.T) (all []mapping) {
	t.Helper()
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for l := bufio.NewScanner(f); l.Scan(); {
		var m mapping
		var rights string
		if _, err := fmt.Sscanf(l.Text(), "%x-%x %s", &m.from, &m.to, &rights); err != nil {
			t.Fatal(err)
		}
		if rights[0] != 'r' || m.to-m.from > 256<<20 || strings.Contains(l.Text(), "[v") {
			continue
		}
		m.name = l.Text()
		all = append(all, m)
	}
	return all
}

// remember adds everything that would be enough to open the key's messages.
func (s *search) remember(t *testing.T, name string, key *Key) {
	t.Helper()
	k := key.keeper
	k.mu.Lock()
	private := k.slot(key.slot)[:privateSize]
	s.add(name, private)
	k.mu.Unlock()
	if !k.suite.hybrid {
		return
	}
	_ = quietly(func() error {
		undisturbed(func() { s.rememberParts(name, k.suite, (*[privateSize]byte)(private)) })
		return nil
	})
}

func (s *search) rememberParts(name string, with *suite, private *[privateSize]byte) {
	p := with.pair(private)
	defer p.wipe()
	s.add(name+" (ML-KEM and X25519 as the standard library holds them)", reflect.ValueOf(p.curve.PrivateKey).Elem().FieldByName("privateKey").Bytes())
	inner := reflect.ValueOf(p.mlkem).Elem().FieldByName("key").Elem()
	for _, f := range []string{"d", "z", "decryptionKey"} {
		v := inner.FieldByName(f)
		s.add(name+" (ML-KEM's "+f+")", unsafe.Slice((*byte)(unsafe.Pointer(v.UnsafeAddr())), 32)) // of the last, what is enough to know it
	}
}

// ways are the ways in which a transaction ends.
var ways = map[string]func(t *testing.T, key *Key, n int){
	"settled": func(t *testing.T, key *Key, n int) {
		for _, step := range []string{"card", "pin"} {
			if err := key.Open([]byte(step), seal(t, key, step, 512), "ctx", nil, func(plain, _ []byte) error { key.Keep(plain[:16]); return nil }); err != nil {
				t.Error(err)
			}
		}
		key.Destroy()
	},
	"refused": func(t *testing.T, key *Key, n int) {
		if err := key.Open([]byte("card"), seal(t, key, "card", 512), "ctx", nil, func(plain, _ []byte) error { return errors.New("no such card") }); err == nil {
			t.Error("the caller's error is lost")
		}
		key.Destroy()
	},
	"late": func(t *testing.T, key *Key, n int) { key.Destroy() },
	"late while a message is opened": func(t *testing.T, key *Key, n int) {
		sealed := seal(t, key, "card", 512)
		var both sync.WaitGroup
		both.Go(func() { _ = key.Open([]byte("card"), sealed, "ctx", nil, nothing) })
		both.Go(func() {
			for range n % 50 {
				runtime.Gosched()
			}
			key.Destroy()
		})
		both.Wait()
	},
	"not opened": func(t *testing.T, key *Key, n int) {
		sealed := seal(t, key, "card", 512)
		sealed[n*len(sealed)/keysPerWay] ^= 1
		refused(t, key, "card", sealed)
	},
	"wrong signature": func(t *testing.T, key *Key, n int) {
		if err := key.Open([]byte("card"), seal(t, key, "card", 512), "ctx", func() bool { return false }, nothing); err != ErrRefused {
			t.Error(err)
		}
	},
	"broken off": func(t *testing.T, key *Key, n int) {
		err := key.Open([]byte("card"), seal(t, key, "card", 512), "ctx", nil, func(plain, _ []byte) error {
			panic("a mistake, with " + string(plain))
		})
		if !errors.Is(err, errBroken) || strings.Contains(err.Error(), "mistake") || !strings.Contains(err.Error(), "memory_linux_test") && !strings.Contains(err.Error(), "keys.") {
			t.Error(err)
		}
	},
	"drained": func(t *testing.T, key *Key, n int) {
		if n%2 == 0 {
			_ = key.Open([]byte("card"), seal(t, key, "card", 512), "ctx", nil, nothing)
		}
		if n == keysPerWay-1 {
			key.keeper.DestroyAll()
		}
	},
}

// keysPerWay is enough for the collector to come upon one of them at work.
const keysPerWay = 24 - 18*raceDetector

// TestR16_NothingStaysInMemory: after every way out of a transaction, nothing of the
// private half can be found anywhere in the memory of this process, and before, it
// can (or else the search would be worth nothing). Other goroutines work and the
// collector runs meanwhile, as in life: stacks are looked at, interrupted and moved.
func TestR16_NothingStaysInMemory(t *testing.T) {
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			k := s.keeper(t, keysPerWay*len(ways))
			if err := k.Locked(); err != nil {
				t.Logf("not locked here: %v", err)
			}
			where := newSearch()
			issued := make(map[string][]*Key)
			for name := range ways {
				for n := range keysPerWay {
					key := issue(t, k)
					where.remember(t, fmt.Sprintf("%s %d", name, n), key)
					issued[name] = append(issued[name], key)
				}
			}
			before := where.look(t)
			for name := range ways {
				for n := range keysPerWay {
					if at := before[fmt.Sprintf("%s %d", name, n)]; len(at) != 2 {
						t.Fatalf("both halves of the live key %s %d are found at %v, want two places", name, n, at)
					}
				}
			}
			stop := disturb()
			for _, name := range slices.Sorted(maps.Keys(ways)) {
				for n, key := range issued[name] {
					if name != "drained" {
						ways[name](t, key, n)
						if key.lives() {
							t.Errorf("%s: the key lives", name)
						}
					}
				}
			}
			for n, key := range issued["drained"] { // last: it ends them all
				ways["drained"](t, key, n)
			}
			stop()
			if k.Live() != 0 {
				t.Errorf("%d keys live", k.Live())
			}
			for name, at := range where.look(t) {
				t.Errorf("of the key of %q there is still something in memory: %v", name, at)
			}
		})
	}
}

// TestR16_TheSearchFindsWhatIsLeft is the control: with crypto/hpke alone, without
// what this package does, private halves stay in memory after their last use.
func TestR16_TheSearchFindsWhatIsLeft(t *testing.T) {
	for _, s := range suites {
		where := newSearch()
		for range 8 {
			func() {
				priv, err := s.kem.GenerateKey()
				if err != nil {
					t.Fatal(err)
				}
				raw, _ := priv.Bytes()
				where.add(s.name, raw)
				sealed, err := hpke.Seal(priv.PublicKey(), hpke.HKDFSHA256(), hpke.AES256GCM(), nil, []byte("card"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := hpke.Open(priv, hpke.HKDFSHA256(), hpke.AES256GCM(), nil, sealed); err != nil {
					t.Fatal(err)
				}
				clear(raw)
			}()
		}
		if len(where.look(t)) == 0 {
			t.Errorf("%s: nothing is found, though nothing was overwritten", s.name)
		}
	}
}

// disturb runs what may copy stacks and interrupt work, until the function that it
// gives is called.
func disturb() func() {
	end := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					_ = bytes.Repeat([]byte{1}, 1<<16)
				}
			}
		})
	}
	all.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				runtime.GC()
			}
		}
	})
	return func() { close(end); all.Wait() }
}
