package cache_test

import (
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/cache"
)

// filtered gives a snapshot in mode filter of n stolen media and as many active
// ones. told says whether the builder learns what is done.
func filtered(n int, told bool) *cache.Snapshot {
	b := cache.NewBuilder(cache.Filter, 2*n, 0)
	for first := range 256 {
		for i := range n {
			if id := mediumID(i); id[0] == byte(first) {
				b.AddMedium(id, cache.Medium{Status: cache.MediumStolen})
			}
			if id := mediumID(n + i); id[0] == byte(first) {
				b.AddMedium(id, cache.Medium{Status: cache.MediumActive})
			}
		}
		if told {
			b.Done(byte(first))
		}
	}
	return b.Snapshot(time.Unix(1, 0), 1)
}

// Whatever the number, every invalid medium is suspect, and few others are.
func TestFilter_NoInvalidMediumIsMissed(t *testing.T) {
	for n := range 40 {
		checkFilter(t, filtered(n, n%2 == 0), n)
	}
	for _, n := range []int{100, 1000, 1001, 20_000} {
		checkFilter(t, filtered(n, false), n)
		checkFilter(t, filtered(n, true), n)
	}
}

func checkFilter(t *testing.T, s *cache.Snapshot, n int) {
	t.Helper()
	if media, _ := s.Sizes(); media != n {
		t.Errorf("%d media in the filter; want %d", media, n)
	}
	for i := range n {
		if !s.Suspect(mediumID(i)) {
			t.Fatalf("of %d, medium %d is missed", n, i)
		}
	}
	const others = 20_000
	wrong := 0
	for i := range others {
		if s.Suspect(mediumID(n + i)) {
			wrong++
		}
	}
	// One in 256 would be 78 of them.
	if wrong > 200 || n > 1000 && wrong < 20 {
		t.Errorf("of %d valid media, %d are suspect beside %d invalid", others, wrong, n)
	}
}

// Some registries are read by many at once, who say which bytes are done; some
// say so too early. Nothing is missed all the same.
func TestFilter_ManyBuildersAtOnce(t *testing.T) {
	const n = 300_000
	b := cache.NewBuilder(cache.Filter, n, 0)
	var all sync.WaitGroup
	for reader := range 4 {
		all.Go(func() {
			for i := reader; i < n; i += 4 {
				b.AddMedium(mediumID(i), cache.Medium{Status: cache.MediumLost})
				if i%5000 == 0 {
					b.Done(mediumID(i)[0])
				}
			}
		})
	}
	all.Wait()
	s := b.Snapshot(time.Unix(1, 0), 1)
	for i := range n {
		if !s.Suspect(mediumID(i)) {
			t.Fatalf("medium %d is missed", i)
		}
	}
}

// The filter takes at most ten bits for an invalid medium, and nothing for the
// others, so that a hundred million go into 128 MiB.
func TestFilter_BitsOfAMedium(t *testing.T) {
	for _, n := range []int{100_000, 400_000, 1_000_000} {
		s := filtersOf(n)
		empty := filtersOf(0).Bytes()
		bits := 8 * float64(s.Bytes()-empty) / float64(n)
		if media, _ := s.Sizes(); media != n || bits > 10 || bits < 8 || empty > 100_000 {
			t.Errorf("%d of %d media take %.2f bits each, beside %d bytes", media, n, bits, empty)
		}
		t.Logf("%d media: %.2f bits each, beside %d bytes", n, bits, empty)
		for first := range 256 {
			for i := n * first / 256; i < n*(first+1)/256; i++ {
				if !s.Suspect(idIn(byte(first), i)) {
					t.Fatalf("of %d, medium %d is missed", n, i)
				}
			}
		}
	}
}

// filtersOf gives a filter of n media, added in the order of their first bytes, as
// a store that is sorted gives them.
func filtersOf(n int) *cache.Snapshot {
	b := cache.NewBuilder(cache.Filter, n, 0)
	for first := range 256 {
		for i := n * first / 256; i < n*(first+1)/256; i++ {
			b.AddMedium(idIn(byte(first), i), cache.Medium{Status: cache.MediumStolen})
		}
		b.Done(byte(first))
	}
	return b.Snapshot(time.Unix(1, 0), 1)
}

// idIn gives an ID that begins with a byte.
func idIn(first byte, n int) kessai.MediumID {
	id := mediumID(n)
	id[0] = first
	return id
}

// A medium that is valid when the filter is built expires with its month. It is
// then for the look-up to find out; a filter built anew knows.
func TestFilter_MediaExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is January 2000
		build := func() *cache.Snapshot {
			b := cache.NewBuilder(cache.Filter, 3, 0)
			for i, expiry := range []uint16{9912, 1, 2, 0} { // YYMM; as numbers, 99 is past 00
				b.AddMedium(mediumID(i), cache.Medium{Status: cache.MediumActive, Expiry: expiry})
			}
			return b.Snapshot(time.Now(), 1)
		}
		s := build()
		if s.Suspect(mediumID(1)) || s.Suspect(mediumID(2)) || s.Suspect(mediumID(3)) {
			t.Error("a medium is suspect that is good for this month")
		}
		if s.Worn(time.Now()) || s.Worn(time.Now().Add(30*24*time.Hour)) {
			t.Error("the filter is worn in the month in which it was built")
		}
		time.Sleep(31 * 24 * time.Hour) // February
		if !s.Worn(time.Now()) {
			t.Error("the filter is not worn after the month in which it was built")
		}
		s = build()
		if !s.Suspect(mediumID(1)) || s.Suspect(mediumID(2)) || s.Suspect(mediumID(3)) || s.Worn(time.Now()) {
			t.Error("built anew, the filter must have the medium that expired, and no other")
		}
		expired := cache.Medium{Status: cache.MediumActive, Expiry: 1}
		s = s.With(cache.Changes{Media: []cache.MediumChange{{ID: mediumID(3), Facts: expired}}}, 2, time.Now())
		if !s.Suspect(mediumID(3)) {
			t.Error("a medium whose expiry was changed to a month that is over is not suspect")
		}
	})
}

// What becomes invalid is suspect at once, and what was so only since the filter
// was built is not when it is valid again.
func TestFilter_Changes(t *testing.T) {
	const n = 5000
	s := filtered(n, true)
	change := func(i int, status cache.MediumStatus) {
		facts := cache.Medium{Status: status, Account: 1}
		s = s.With(cache.Changes{Media: []cache.MediumChange{{ID: mediumID(i), Facts: facts}}}, s.Version()+1, time.Now())
	}
	for i := n; i < 2*n; i++ {
		change(i, cache.MediumLost)
		if !s.Suspect(mediumID(i)) {
			t.Fatalf("medium %d is missed, which became invalid", i)
		}
	}
	checkFilter(t, s, 2*n)
	for i := n; i < 2*n; i++ {
		change(i, cache.MediumActive)
	}
	checkFilter(t, s, n)
	for i := range n {
		change(i, cache.MediumActive) // at worst, the look-up is in vain
	}
	if _, known := s.Medium(mediumID(0)); known || s.Worn(time.Now()) {
		t.Error("a medium is known in mode filter, or few changes wear it out")
	}
	many := cache.Changes{}
	for i := range 100_000 {
		many.Media = append(many.Media, cache.MediumChange{ID: mediumID(i), Facts: cache.Medium{Status: cache.MediumIssued}})
	}
	if s = s.With(many, 3, time.Now()); !s.Worn(time.Now()) {
		t.Error("a hundred thousand changes do not wear it out")
	}
}

// A hundred million invalid media: how much memory they take, and building them.
func TestFilter_HundredMillion(t *testing.T) {
	if os.Getenv("KESSAI_SOAK") == "" {
		t.Skip("takes a minute: set KESSAI_SOAK")
	}
	const n, readers = 100_000_000, 2
	runtime.GC()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	before, begun := now.HeapAlloc, time.Now()
	b := cache.NewBuilder(cache.Filter, n, 0)
	var all sync.WaitGroup
	var next atomic.Int64
	peak := uint64(0)
	for reader := range readers {
		all.Go(func() {
			for first := next.Add(1) - 1; first < 256; first = next.Add(1) - 1 {
				for i := n * int(first) / 256; i < n*(int(first)+1)/256; i++ {
					b.AddMedium(idIn(byte(first), i), cache.Medium{Status: cache.MediumStolen})
				}
				b.Done(byte(first))
				if reader == 0 {
					runtime.GC()
					runtime.ReadMemStats(&now)
					peak = max(peak, now.HeapAlloc-before)
				}
			}
		})
	}
	all.Wait()
	s := b.Snapshot(time.Now(), 1)
	took := time.Since(begun)
	runtime.GC()
	runtime.ReadMemStats(&now)
	heap := now.HeapAlloc - before
	t.Logf("%d invalid media: %d bytes (%.2f bits each), %d on the heap, at most %d while building, in %v",
		n, s.Bytes(), 8*float64(s.Bytes())/n, heap, peak, took.Round(time.Second))
	if s.Bytes() > 128<<20 || heap > 128<<20 || s.Bytes() > n*10/8 {
		t.Errorf("%d media take %d bytes; at most 128 MiB, and 10 bits each, are allowed", n, s.Bytes())
	}
	rnd, wrong := rand.New(rand.NewPCG(1, 2)), 0
	for range 10_000_000 {
		first := rnd.IntN(256)
		i := n*first/256 + rnd.IntN(n/256)
		if !s.Suspect(idIn(byte(first), i)) {
			t.Fatalf("medium %d is missed", i)
		}
		if s.Suspect(idIn(byte(first), n+i)) {
			wrong++
		}
	}
	t.Logf("of ten million others, %d are suspect", wrong)
	runtime.KeepAlive(s)
}
