package ledger

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"kessai"
)

// TestIndexAgainstMap adds to, removes from and asks an index and a map the same.
// Hashes come from few values, so that many entries stand under the same one and
// many others crowd around the same home; all are in a few shards, which grow.
func TestIndexAgainstMap(t *testing.T) {
	for _, spread := range []uint64{1, 7, 300, 1 << 40} {
		t.Run(fmt.Sprint(spread), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(5, spread))
			var x hashIndex
			defer x.free()
			want := make(map[hashed]bool)
			var all []hashed
			hashOf := func() uint64 { return rnd.Uint64N(3)<<(64-shardBits) | rnd.Uint64N(spread)<<12 | rnd.Uint64N(2) }
			for step := range 6_000 {
				growing := step%2_000 < 1_200
				if e := (hashed{hashOf(), kessai.TxID(1 + rnd.Uint64N(1<<40-1))}); len(all) == 0 || growing || rnd.IntN(4) == 0 {
					x.add(e.hash, uint64(e.id))
					want[e] = true
					all = append(all, e)
				} else {
					i := rnd.IntN(len(all))
					x.remove(all[i].hash, uint64(all[i].id))
					delete(want, all[i])
					all[i] = all[len(all)-1]
					all = all[:len(all)-1]
				}
				x.remove(hashOf(), 1<<40-1) // which is not there
				if step%100 == 0 {
					agree(t, &x, want)
				}
			}
			agree(t, &x, want)
		})
	}
}

func agree(t *testing.T, x *hashIndex, want map[hashed]bool) {
	t.Helper()
	if x.n != len(want) {
		t.Fatalf("%d entries, want %d", x.n, len(want))
	}
	hashes := map[uint64]int{1: 0}
	for e := range want {
		hashes[e.hash]++
	}
	for h, n := range hashes {
		got := 0
		p := x.probe(h)
		for id := p.next(); id != 0; id = p.next() {
			if got++; !want[hashed{h, kessai.TxID(id)}] {
				t.Fatalf("%d stands under %x and should not", id, h)
			}
		}
		if got != n {
			t.Fatalf("%d entries under %x, want %d", got, h, n)
		}
	}
}

// grown gives what a value that make builds keeps in memory.
func grown(build func() any) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := build()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return after.HeapAlloc - before.HeapAlloc
}

// TestAllocOfAttempts holds the memory that a remembered attempt takes, whose row
// has left memory, to 20 bytes, at many sizes of the index: just grown and full.
func TestAllocOfAttempts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector counts too")
	}
	for _, n := range []uint64{200_000, 230_000, 260_000, 300_000} {
		bytes := grown(func() any {
			var x hashIndex
			for i := range n {
				x.add(keyOf(i).hash(), i+1)
			}
			return &x
		})
		if each := float64(bytes) / float64(n); each > 20 {
			t.Errorf("%.1f bytes for each of %d attempts", each, n)
		} else {
			t.Logf("%.1f bytes for each of %d attempts", each, n)
		}
	}
}

// TestAllocOfAccounts holds the memory that an account takes, with everything by
// which it is found, to 56 bytes.
func TestAllocOfAccounts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector counts too")
	}
	s := must(emptyState(t.TempDir(), pageSize))
	defer s.files.close()
	free, unlock := func() error { return nil }, func() {}
	open := func(n int) {
		for i := range n {
			if err := s.openAccount(AccountSpec{Name: fmt.Sprintf("customer/%010d", s.accounts.n), Kind: CustomerAccount, Currency: kessai.JPY}); err != nil {
				t.Fatal(err)
			}
			if i%10_000 == 0 {
				must(s.save(false, free, unlock))
			}
		}
		must(s.save(true, free, unlock))
	}
	open(50_000) // with buffers and the like, which are there once
	const n = 250_000
	if each := float64(grown(func() any { open(n); return s })) / n; each > 56 {
		t.Errorf("%.1f bytes for each account", each)
	} else {
		t.Logf("%.1f bytes for each account", each)
	}
}

// TestLargeShards grows shards to where they have memory of their own.
func TestLargeShards(t *testing.T) {
	var x hashIndex
	const n = 30_000
	hash := func(i uint64) uint64 { return keyOf(i).hash() >> shardBits } // all in the first shard
	for i := range uint64(n) {
		x.add(hash(i), i+1)
	}
	if !x.shards[0].mapped {
		t.Fatal("a shard of 30,000 is not large")
	}
	for i := range uint64(n) {
		p := x.probe(hash(i))
		if got := p.next(); got != i+1 {
			t.Fatalf("%d stands where %d should", got, i+1)
		}
	}
	x.free()
	if p := x.probe(hash(1)); p.next() != 0 || x.n != 0 {
		t.Error("something is in an index that was freed")
	}
}

func BenchmarkIndex(b *testing.B) {
	var x hashIndex
	i := uint64(0)
	for b.Loop() {
		i++
		var k Key
		binary.LittleEndian.PutUint64(k[:], i)
		p := x.probe(k.hash())
		p.next()
		x.add(k.hash(), i)
	}
}
