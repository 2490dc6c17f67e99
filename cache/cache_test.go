package cache_test

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/cache"
)

// mediumID gives an ID that looks like chance, as a real one does.
func mediumID(n int) kessai.MediumID {
	mixed := (uint64(n) + 1) * 0x9e3779b97f4a7c15
	return mediumOf(mixed^mixed>>32, uint64(n))
}

func mediumOf(first, second uint64) (id kessai.MediumID) {
	binary.BigEndian.PutUint64(id[:], first)
	binary.BigEndian.PutUint64(id[8:], second)
	return id
}

func terminalID(n int) (id kessai.TerminalID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)+1)
	return id
}

// loaded gives a snapshot of n media and terminals, every one of which carries
// the version, so that a mixture of two snapshots would show.
func loaded(n int, version uint64) *cache.Snapshot {
	b := cache.NewBuilder(cache.Both, n, n)
	for i := range n {
		b.AddMedium(mediumID(i), cache.Medium{Status: cache.MediumActive, Account: uint32(version)})
		b.AddTerminal(terminalID(i), cache.Terminal{Status: cache.TerminalRegistered, Account: uint32(version)})
	}
	b.AddMerchant(kessai.MerchantID{'M'})
	return b.Snapshot(time.Unix(int64(version), 0), version)
}

func TestV3_SnapshotGivesWhatWasAdded(t *testing.T) {
	b := cache.NewBuilder(cache.Both, 0, 0)
	card, till := mediumID(1), terminalID(1)
	m := cache.Medium{
		Status: cache.MediumStolen, Expiry: 2912, Allowed: kessai.KindSetOf(kessai.Purchase),
		Account: 7, Limits: cache.Limits{Single: 1, DayTotal: 2, DayCount: 3},
	}
	term := cache.Terminal{
		Status: cache.TerminalWithdrawn, Partial: true, Merchant: kessai.MerchantID{'M'}, Account: 8,
		Currency: kessai.JPY, Allowed: kessai.AllKinds, Limits: cache.Limits{Single: 4, DayTotal: 5, DayCount: 6},
	}
	b.AddMedium(card, m)
	b.AddTerminal(till, term)
	b.AddMerchant(kessai.MerchantID{'M'})
	at := time.Unix(1000, 0)
	s := b.Snapshot(at, 9)
	if mediumIn(s, card) != m || terminalIn(s, till) != term || !s.HasMerchant(kessai.MerchantID{'M'}) {
		t.Error("what was added is not what is found")
	}
	if mediumIn(s, mediumID(2)).Status != cache.MediumUnknown || terminalIn(s, terminalID(2)).Status != cache.TerminalUnknown || s.HasMerchant(kessai.MerchantID{'N'}) {
		t.Error("what was not added is found")
	}
	if mediumIn(s, kessai.MediumID{}).Status != cache.MediumUnknown || terminalIn(s, kessai.TerminalID{}).Status != cache.TerminalUnknown {
		t.Error("the zero ID is known")
	}
	if media, terminals := s.Sizes(); media != 1 || terminals != 1 || s.Version() != 9 || !s.Loaded().Equal(at) {
		t.Error("sizes, version or time are wrong")
	}
	later := s.Confirmed(at.Add(time.Minute))
	if !later.Loaded().Equal(at.Add(time.Minute)) || !s.Loaded().Equal(at) || mediumIn(later, card) != m || later.Version() != 9 {
		t.Error("a confirmed snapshot must have the same facts and a new time, and leave the old one alone")
	}
}

func TestEmptyCacheKnowsNothing(t *testing.T) {
	var c cache.Cache
	s := c.Load()
	if mediumIn(s, mediumID(1)) != (cache.Medium{}) || terminalIn(s, terminalID(1)) != (cache.Terminal{}) || !s.Loaded().IsZero() || s.Version() != 0 {
		t.Error("a cache that nothing was loaded into knows something")
	}
}

func TestV3_LookUpsDoNotAllocate(t *testing.T) {
	var c cache.Cache
	c.Swap(loaded(1000, 1))
	card, till, shop := mediumID(500), terminalID(500), kessai.MerchantID{'M'}
	known := true
	n := testing.AllocsPerRun(1000, func() {
		s := c.Load()
		known = known && mediumIn(s, card).Status == cache.MediumActive && terminalIn(s, till).Status == cache.TerminalRegistered && s.HasMerchant(shop)
		known = known && mediumIn(s, kessai.MediumID{}).Status == cache.MediumUnknown
	})
	if n != 0 || !known {
		t.Errorf("%v allocations for each request, all found %v; want none", n, known)
	}
}

// While snapshots are swapped, a reader finds every medium and terminal, all of
// one version, and versions that only go up.
func TestV1_SwapUnderLoad(t *testing.T) {
	const n, swaps = 200, 300
	var c cache.Cache
	c.Swap(loaded(n, 1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			last := uint64(0)
			for ctx.Err() == nil {
				s := c.Load()
				v := s.Version()
				if v < last {
					t.Errorf("version %d after %d", v, last)
					return
				}
				last = v
				for i := range n {
					m, term := mediumIn(s, mediumID(i)), terminalIn(s, terminalID(i))
					if m.Status != cache.MediumActive || term.Status != cache.TerminalRegistered {
						t.Errorf("version %d is half loaded", v)
						return
					}
					if uint64(m.Account) != v || uint64(term.Account) != v {
						t.Errorf("version %d has facts of versions %d and %d", v, m.Account, term.Account)
						return
					}
				}
			}
		})
	}
	for v := uint64(2); v <= swaps; v++ {
		c.Swap(loaded(n, v))
	}
	if got := c.Load().Version(); got != swaps {
		t.Errorf("version %d is in force; want %d", got, swaps)
	}
	cancel()
	readers.Wait()
}

func BenchmarkBuild(b *testing.B) {
	const n = 1_000_000
	b.ReportAllocs()
	for b.Loop() {
		if m, _ := mediaSnapshot(n).Sizes(); m != n {
			b.Fatal("media are missing")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/medium")
}

// What spares the look-up of a terminal's merchant is there, and ends with the
// first change of the merchant.
func TestV3_ATerminalTellsOfItsMerchant(t *testing.T) {
	here, gone := merchantID(1), merchantID(2)
	at := func(m kessai.MerchantID) cache.Terminal {
		return cache.Terminal{Status: cache.TerminalSuspended, Merchant: m}
	}
	b := cache.NewBuilder(cache.Both, 0, 0)
	b.AddTerminal(terminalID(1), at(here))
	b.AddTerminal(terminalID(2), at(gone))
	b.AddMerchant(here)
	built := b.Snapshot(time.Now(), 1)
	other := built.With(cache.Changes{
		Terminals: []cache.TerminalChange{{ID: terminalID(3), Facts: at(here)}, {ID: terminalID(4), Facts: at(gone)}},
		Merchants: []cache.MerchantChange{{ID: gone, Active: true}},
	}, 2, time.Now())
	blocked := other.With(cache.Changes{Merchants: []cache.MerchantChange{{ID: here}}}, 3, time.Now())
	for _, c := range []struct {
		name   string
		s      *cache.Snapshot
		active []int
	}{{"built", built, []int{1}}, {"another merchant changed", other, []int{1, 3}}, {"blocked", blocked, nil}} {
		for i := range 5 {
			var f cache.Terminal
			if _, active := c.s.ReadTerminal(&f, terminalID(i)); active != slices.Contains(c.active, i) {
				t.Errorf("%s: terminal %d tells of an active merchant: %v", c.name, i, active)
			}
		}
	}
}
