package cache_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/cache"
)

// kinds of ID: how they are spread, which a table must find all the same.
var spreads = map[string]func(*rand.Rand) kessai.MediumID{
	"even": func(r *rand.Rand) (id kessai.MediumID) { return randomID(r) },
	"one part": func(r *rand.Rand) (id kessai.MediumID) {
		id = randomID(r)
		id[0] = 7
		return id
	},
	"one bucket": func(r *rand.Rand) (id kessai.MediumID) {
		id[15], id[9] = byte(r.Uint32()), byte(r.Uint32N(8))
		return id
	},
	// Any two of these differ in very few bits, wherever in the ID.
	"nearly the same": func(r *rand.Rand) (id kessai.MediumID) {
		for range 2 {
			n := r.IntN(128)
			id[n/8] |= 1 << (n % 8)
		}
		return id
	},
	"repeated": func(r *rand.Rand) (id kessai.MediumID) { return mediumID(r.IntN(50)) },
}

func randomID(r *rand.Rand) (id kessai.MediumID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

// randomMedium gives one of about as many combinations of facts as told.
func randomMedium(r *rand.Rand, combinations int) cache.Medium {
	n := r.IntN(combinations)
	return cache.Medium{
		Status: cache.MediumStatus(1 + n%4), Expiry: uint16(n % 3000), Allowed: kessai.KindSet(n % 7),
		Account: r.Uint32(), Limits: cache.Limits{Single: int64(n), DayCount: uint32(n)},
	}
}

// A snapshot gives for each ID what a map gives: whatever the IDs, their order,
// the number that the builder was told, and the number of combinations.
func TestV3_MediaAgainstAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, spread := range spreads {
		for _, c := range []struct{ n, hint, combinations int }{
			{0, 0, 1}, {1, 0, 1}, {300, 300, 3}, {5000, 5000, 40}, {5000, 0, 5000}, {20_000, 100_000, 2}, {20_000, 1, 300},
		} {
			for _, sorted := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%v", name, c.n, sorted), func(t *testing.T) {
					ids := make([]kessai.MediumID, c.n)
					for i := range ids {
						ids[i] = spread(rnd)
					}
					if sorted {
						slices.SortFunc(ids, func(a, b kessai.MediumID) int { return bytes.Compare(a[:], b[:]) })
					}
					want := make(map[kessai.MediumID]cache.Medium)
					b := cache.NewBuilder(cache.Both, c.hint, 0)
					for _, id := range ids {
						want[id] = randomMedium(rnd, c.combinations)
						b.AddMedium(id, want[id])
					}
					compare(t, rnd, b.Snapshot(time.Now(), 1), want)
				})
			}
		}
	}
}

// compare looks for what is there, and for IDs beside it that may not be.
func compare(t *testing.T, rnd *rand.Rand, s *cache.Snapshot, want map[kessai.MediumID]cache.Medium) {
	t.Helper()
	if n, _ := s.Sizes(); n != len(want) {
		t.Errorf("%d media; want %d", n, len(want))
	}
	for id, m := range want {
		if got := mediumIn(s, id); got != m {
			t.Fatalf("medium %v is %+v; want %+v", id, got, m)
		}
		near := id
		near[rnd.IntN(len(near))] ^= 1 << rnd.IntN(8)
		if got := mediumIn(s, near); got != want[near] {
			t.Fatalf("medium %v, one bit beside another, is %+v; want %+v", near, got, want[near])
		}
	}
	for range 1000 {
		if id := randomID(rnd); mediumIn(s, id) != want[id] {
			t.Fatalf("medium %v is known", id)
		}
	}
}

// More combinations than half a number can count: nothing is mixed up, nor where
// only the last media have them.
func TestV3_EveryMediumWithFactsOfItsOwn(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	want := make(map[kessai.MediumID]cache.Medium)
	b := cache.NewBuilder(cache.Both, 0, 0)
	for i := range 140_000 {
		id := randomID(rnd)
		want[id] = cache.Medium{Status: cache.MediumActive, Account: uint32(i), Limits: cache.Limits{Single: int64(max(0, i-2000))}}
		b.AddMedium(id, want[id])
	}
	compare(t, rnd, b.Snapshot(time.Now(), 1), want)
}

// The same for terminals, where IDs differ in their last characters, or their first.
func TestV3_TerminalsAgainstAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	for _, n := range []int{0, 1, 8, 9, 1000, 20_000} {
		for _, hint := range []int{0, n} {
			want := make(map[kessai.TerminalID]cache.Terminal)
			b := cache.NewBuilder(cache.Both, 0, hint)
			id := func() kessai.TerminalID {
				id, err := kessai.ParseTerminalID(fmt.Sprintf(fmt.Sprintf("%%0%dd", 1+rnd.IntN(8)), rnd.IntN(n/2+1)))
				if err != nil {
					t.Fatal(err)
				}
				return id
			}
			for range n {
				id := id()
				want[id] = cache.Terminal{Status: cache.TerminalRegistered, Partial: true, Merchant: kessai.MerchantID{'M'}, Account: rnd.Uint32()}
				b.AddTerminal(id, want[id])
			}
			s := b.Snapshot(time.Now(), 1)
			if _, got := s.Sizes(); got != len(want) {
				t.Errorf("%d terminals; want %d", got, len(want))
			}
			for id, term := range want {
				if got := terminalIn(s, id); got != term {
					t.Fatalf("terminal %v is %+v; want %+v", id, got, term)
				}
			}
			for range n {
				if id := id(); terminalIn(s, id) != want[id] {
					t.Fatalf("terminal %v is wrong", id)
				}
			}
		}
	}
}

func TestV3_ManyBuildersAtOnce(t *testing.T) {
	const n, adders = 40_000, 8
	want := make(map[kessai.MediumID]cache.Medium)
	b := cache.NewBuilder(cache.Both, n, 0)
	var all sync.WaitGroup
	for a := range adders {
		for i := a; i < n; i += adders {
			want[mediumID(i)] = cache.Medium{Status: cache.MediumActive, Account: uint32(i), Expiry: uint16(i % 500)}
		}
		all.Go(func() {
			for i := a; i < n; i += adders {
				b.AddMedium(mediumID(i), cache.Medium{Status: cache.MediumActive, Account: uint32(i), Expiry: uint16(i % 500)})
			}
		})
	}
	all.Wait()
	compare(t, rand.New(rand.NewPCG(5, 6)), b.Snapshot(time.Now(), 1), want)
}

// mediaSnapshot has n media, of some hundred combinations of facts.
func mediaSnapshot(n int) *cache.Snapshot {
	b := cache.NewBuilder(cache.Both, n, 0)
	for i := range n {
		b.AddMedium(mediumID(i), cache.Medium{
			Status: cache.MediumActive, Account: uint32(i), Expiry: uint16(2500 + 100*(i%7) + i%12), Allowed: kessai.AllKinds,
			Limits: cache.Limits{Single: int64(i % 3)},
		})
	}
	return b.Snapshot(time.Unix(1, 0), 1)
}

// maxBytes is what a medium may take in memory, with all that goes with it.
const maxBytes = 26

func TestV3_BytesOfAMedium(t *testing.T) {
	const n = 1_000_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	s := mediaSnapshot(n)
	got := float64(heap()-before) / n
	if size, _ := s.Sizes(); size != n || got > maxBytes || got < 20 {
		t.Errorf("%d media take %.1f bytes each; want %d media of 20 to %d", size, got, n, maxBytes)
	}
	t.Logf("%.1f bytes for each medium", got)
	runtime.KeepAlive(s)
}

// Building takes room for the table, and no garbage for each medium.
func TestV3_BuildingAllocatesTheTableOnly(t *testing.T) {
	const n = 200_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s := mediaSnapshot(n)
	runtime.ReadMemStats(&after)
	bytes, count := float64(after.TotalAlloc-before.TotalAlloc)/n, float64(after.Mallocs-before.Mallocs)/n
	if bytes > maxBytes+2 || count > 0.01 {
		t.Errorf("building allocates %.1f bytes and %.3f times for each medium", bytes, count)
	}
	runtime.KeepAlive(s)
}

// sizes of a registry; building ten million takes seconds.
func sizes() []int {
	all := []int{10_000, 1_000_000}
	if os.Getenv("KESSAI_SOAK") != "" {
		all = append(all, 10_000_000)
	}
	return all
}

// Each look-up depends on what the one before found, as if between two requests
// there were much else to do: otherwise the processor does several at once.
func BenchmarkMedium(b *testing.B) {
	for _, n := range sizes() {
		s := mediaSnapshot(n)
		for name, flip := range map[string]byte{"known": 0, "unknown": 1} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				r, i, found := rand.New(rand.NewPCG(7, 8)), 0, false
				for b.Loop() {
					id := mediumID(i)
					id[15] ^= flip
					m := mediumIn(s, id)
					i = int(r.Uint64N(uint64(n))) ^ int(m.Account&1)
					i -= i / n
					found = found || m.Status != cache.MediumUnknown
				}
				if found != (flip == 0) {
					b.Errorf("found: %v", found)
				}
			})
		}
	}
}

// BenchmarkJudge looks a medium and one of 100,000 terminals up: alone, where
// each pair waits for what the one before found, and as requests that have
// nothing to do with one another.
func BenchmarkJudge(b *testing.B) {
	const terminals = 100_000
	for _, n := range sizes() {
		bl := cache.NewBuilder(cache.Both, n, terminals)
		for i := range n {
			bl.AddMedium(mediumID(i), cache.Medium{Status: cache.MediumActive, Account: uint32(i)})
		}
		for i := range terminals {
			bl.AddTerminal(terminalID(i), cache.Terminal{Status: cache.TerminalRegistered, Account: uint32(i)})
		}
		var c cache.Cache
		c.Swap(bl.Snapshot(time.Now(), 1))
		for name, wait := range map[string]uint32{"alone": 1, "one of many": 0} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				r, i, j := rand.New(rand.NewPCG(7, 8)), 0, 0
				for b.Loop() {
					s := c.Load()
					m, t := mediumIn(s, mediumID(i)), terminalIn(s, terminalID(j))
					i, j = int(r.Uint64N(uint64(n)))^int(t.Account&wait), int(r.Uint64N(terminals))^int(m.Account&wait)
					i, j = i-i/n, j-j/terminals
					if m.Status != cache.MediumActive || t.Status != cache.TerminalRegistered {
						b.Fatal("not found")
					}
				}
			})
		}
	}
}

// Bytes says what the collector says, in every mode, and after changes.
func TestBytesAreTrue(t *testing.T) {
	const n = 100_000
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	for _, mode := range []cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter} {
		for _, own := range []int{100, n} { // combinations of facts
			before := heap()
			b := cache.NewBuilder(mode, n, n/10)
			for i := range n {
				b.AddMedium(mediumID(i), cache.Medium{Status: cache.MediumLost, Limits: cache.Limits{Single: int64(i % own)}})
			}
			for i := range n / 10 {
				b.AddTerminal(terminalID(i), cache.Terminal{Status: cache.TerminalRegistered})
				b.AddMerchant(merchantID(uint64(i)))
			}
			s := b.Snapshot(time.Now(), 1)
			for round := range 3 {
				got, want := s.Bytes(), heap()-before
				if d := float64(got) / float64(want); d < 0.93 || d > 1.07 {
					t.Errorf("mode %v, %d combinations, %d changes: %d bytes said, %d on the heap", mode, own, round, got, want)
				}
				s = s.With(randomChanges(rand.New(rand.NewPCG(1, uint64(round))), 7_000, 16), 1, time.Now())
			}
			runtime.KeepAlive(s)
		}
	}
}
