package cache_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/cache"
)

// truth is what a snapshot must say, kept in plain maps.
type truth struct {
	media     map[kessai.MediumID]cache.Medium
	terminals map[kessai.TerminalID]cache.Terminal
	merchants map[kessai.MerchantID]bool
}

func newTruth() *truth {
	return &truth{make(map[kessai.MediumID]cache.Medium), make(map[kessai.TerminalID]cache.Terminal), make(map[kessai.MerchantID]bool)}
}

func (t *truth) clone() *truth {
	return &truth{maps.Clone(t.media), maps.Clone(t.terminals), maps.Clone(t.merchants)}
}

func (t *truth) apply(c cache.Changes) {
	for _, m := range c.Media {
		t.media[m.ID] = m.Facts
		if m.Facts.Status == cache.MediumUnknown {
			delete(t.media, m.ID)
		}
	}
	for _, m := range c.Terminals {
		t.terminals[m.ID] = m.Facts
		if m.Facts.Status == cache.TerminalUnknown {
			delete(t.terminals, m.ID)
		}
	}
	for _, m := range c.Merchants {
		t.merchants[m.ID] = m.Active
	}
}

// build makes a snapshot from scratch.
func (t *truth) build(mode cache.Mode, hint int) *cache.Snapshot {
	b := cache.NewBuilder(mode, hint, hint)
	for id, m := range t.media {
		b.AddMedium(id, m)
	}
	for id, m := range t.terminals {
		b.AddTerminal(id, m)
	}
	for id, active := range t.merchants {
		if active {
			b.AddMerchant(id)
		}
	}
	return b.Snapshot(time.Unix(0, 0), 1)
}

// check holds a snapshot against the truth: everything that is there, and things
// beside it that may not be.
func (t *truth) check(s *cache.Snapshot, rnd *rand.Rand) error {
	now := uint16(time.Now().UTC().Year()%100*100 + int(time.Now().UTC().Month()))
	for id, want := range t.media {
		near := id
		near[rnd.IntN(len(near))] ^= 1 << rnd.IntN(8)
		for _, id := range []kessai.MediumID{id, near} {
			m, known := s.Medium(id)
			switch s.Mode() {
			case cache.Both, cache.MediaOnly:
				if !known || m != t.media[id] || s.Suspect(id) {
					return fmt.Errorf("medium %v is %+v, known %v; want %+v", id, m, known, t.media[id])
				}
			default:
				if known || m != (cache.Medium{}) {
					return fmt.Errorf("medium %v is known in mode %v", id, s.Mode())
				}
			}
		}
		if s.Mode() == cache.Filter && (want.Status != cache.MediumActive || want.Expiry != 0 && want.Expiry < now) && !s.Suspect(id) {
			return fmt.Errorf("medium %v is %+v, and not suspect", id, want)
		}
	}
	for id := range t.terminals {
		near := id
		near[rnd.IntN(len(near))] ^= 1 << rnd.IntN(8)
		for _, id := range []kessai.TerminalID{id, near} {
			m, known := s.Terminal(id)
			if known != (s.Mode() != cache.MediaOnly) || known && m != t.terminals[id] {
				return fmt.Errorf("terminal %v is %+v, known %v; want %+v", id, m, known, t.terminals[id])
			}
			if again, active := s.ReadTerminal(&m, id); again != known || active && !t.merchants[m.Merchant] {
				return fmt.Errorf("terminal %v is known %v and of an active merchant, which %v is not", id, again, m.Merchant)
			}
		}
	}
	for id, active := range t.merchants {
		if s.HasMerchant(id) != active {
			return fmt.Errorf("merchant %v: %v", id, !active)
		}
	}
	media, terminals := s.Sizes()
	if s.Mode() == cache.Both || s.Mode() == cache.MediaOnly {
		if media != len(t.media) {
			return fmt.Errorf("%d media; want %d", media, len(t.media))
		}
	}
	if s.Mode() != cache.MediaOnly && terminals != len(t.terminals) {
		return fmt.Errorf("%d terminals; want %d", terminals, len(t.terminals))
	}
	return nil
}

// randomChanges gives changes of things that are there, and some that are not.
// The fewer bits, the more often they are about the same.
func randomChanges(rnd *rand.Rand, n int, bits uint64) (c cache.Changes) {
	for range n {
		x := rnd.Uint64N(1 << bits)
		switch rnd.IntN(8) {
		case 0, 1:
			f := cache.Terminal{
				Status: cache.TerminalStatus(rnd.IntN(5)), Account: rnd.Uint32(), Limits: cache.Limits{Single: int64(x)},
				Merchant: merchantID(rnd.Uint64N(1 << min(bits, 7))),
			}
			if f.Status == cache.TerminalUnknown {
				f = cache.Terminal{}
			}
			c.Terminals = append(c.Terminals, cache.TerminalChange{ID: terminalID(int(x)), Facts: f})
		case 2:
			c.Merchants = append(c.Merchants, cache.MerchantChange{ID: merchantID(x), Active: rnd.IntN(2) == 0})
		default:
			f := randomMedium(rnd, 1+rnd.IntN(1000))
			if f.Status = cache.MediumStatus(rnd.IntN(7)); f.Status == cache.MediumUnknown {
				f = cache.Medium{}
			}
			c.Media = append(c.Media, cache.MediumChange{ID: mediumID(int(x)), Facts: f})
		}
	}
	return c
}

func merchantID(n uint64) (id kessai.MerchantID) {
	binary.BigEndian.PutUint64(id[3:], n+1) // zero names none
	return id
}

// However a snapshot was changed, it says what one says that is built anew; and
// each that it was made of still says what it said.
func TestV1_ChangedIsAsBuiltAnew(t *testing.T) {
	for _, mode := range []cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter} {
		for _, c := range []struct {
			start, groups, most int
			bits                uint64
		}{
			{0, 60, 20, 3}, {0, 100, 60, 14}, {3000, 150, 40, 10}, {8000, 8, 2000, 13}, {20_000, 200, 3, 15}, {500, 2, 20_000, 20},
		} {
			t.Run(fmt.Sprintf("%v/%d+%d", mode, c.start, c.groups*c.most), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(uint64(c.start), uint64(mode)))
				now := newTruth()
				now.apply(randomChanges(rnd, c.start, c.bits))
				s := now.build(mode, c.start/2)
				type stage struct {
					s    *cache.Snapshot
					want *truth
				}
				stages := []stage{{s, now.clone()}}
				for g := range c.groups {
					changes := randomChanges(rnd, rnd.IntN(c.most)+1, c.bits)
					now.apply(changes)
					before := s
					s = s.With(changes, uint64(g)+2, time.Unix(int64(g), 0))
					if s.Version() != uint64(g)+2 || !s.Loaded().Equal(time.Unix(int64(g), 0)) || before.Version() != uint64(g)+1 {
						t.Fatal("version or time is wrong")
					}
					if g%(1+c.groups/6) == 0 || g == c.groups-1 {
						stages = append(stages, stage{s, now.clone()})
					}
				}
				for i, st := range stages {
					if err := st.want.check(st.s, rnd); err != nil {
						t.Fatalf("stage %d of %d: %v", i, len(stages), err)
					}
				}
				if err := now.check(now.build(mode, 0), rnd); err != nil {
					t.Fatalf("built anew: %v", err)
				}
			})
		}
	}
}

// Two snapshots made of the same one know nothing of each other's changes.
func TestV1_TwoOfOne(t *testing.T) {
	s := loaded(1000, 1)
	active := func(account uint32) cache.Changes {
		// Facts that no medium had, so that both need a place for them.
		f := cache.Medium{Status: cache.MediumActive, Account: account, Limits: cache.Limits{Single: int64(account)}}
		return cache.Changes{Media: []cache.MediumChange{{ID: mediumID(7), Facts: f}}}
	}
	var one, two *cache.Snapshot
	var both sync.WaitGroup
	both.Go(func() { one = s.With(active(11), 2, time.Unix(2, 0)) })
	both.Go(func() { two = s.With(active(22), 2, time.Unix(2, 0)) })
	both.Wait()
	if a, b, was := mediumIn(one, mediumID(7)), mediumIn(two, mediumID(7)), mediumIn(s, mediumID(7)); a.Limits.Single != 11 || b.Limits.Single != 22 || was.Limits.Single != 0 {
		t.Errorf("limits %d, %d and before %d; want 11, 22, 0", a.Limits.Single, b.Limits.Single, was.Limits.Single)
	}
}

// While changes come in and whole snapshots are built, a reader always finds all
// of a group or nothing of it, and versions that only go up.
func TestV1_ReadersDuringChanges(t *testing.T) {
	const n, group, rounds = 2000, 40, 300
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
				if s.Version() < last {
					t.Errorf("version %d after %d", s.Version(), last)
					return
				}
				last = s.Version()
				first := mediumIn(s, mediumID(0)).Account
				for i := range group {
					s.Expect(terminalID(i), mediumID(i))
					m, term := mediumIn(s, mediumID(i)), terminalIn(s, terminalID(i))
					if m.Account != first || term.Account != first || uint64(first) != last || m.Limits.Single != int64(first) && last > 1 {
						t.Errorf("version %d has facts of versions %d, %d and %d", last, first, m.Account, term.Account)
						return
					}
				}
				if m := mediumIn(s, mediumID(group+int(last)%(n-group))); m.Account != 1 {
					t.Errorf("a medium that was never changed is %+v", m)
					return
				}
			}
		})
	}
	for v := uint64(2); v < rounds; v++ {
		if v%100 == 0 {
			c.Swap(rebuilt(n, group, v))
			continue
		}
		var changes cache.Changes
		for i := range group {
			changes.Media = append(changes.Media, cache.MediumChange{ID: mediumID(i), Facts: changedMedium(v)})
			changes.Terminals = append(changes.Terminals, cache.TerminalChange{ID: terminalID(i), Facts: changedTerminal(v)})
		}
		c.Swap(c.Load().With(changes, v, time.Unix(int64(v), 0)))
	}
	cancel()
	readers.Wait()
}

func changedMedium(version uint64) cache.Medium {
	return cache.Medium{Status: cache.MediumActive, Account: uint32(version), Limits: cache.Limits{Single: int64(version)}}
}

func changedTerminal(version uint64) cache.Terminal {
	return cache.Terminal{Status: cache.TerminalRegistered, Account: uint32(version)}
}

// rebuilt gives what changes lead to, built from scratch.
func rebuilt(n, group int, version uint64) *cache.Snapshot {
	b := cache.NewBuilder(cache.Both, n, n)
	for i := range n {
		m, term := changedMedium(version), changedTerminal(version)
		if i >= group {
			m, term = cache.Medium{Status: cache.MediumActive, Account: 1}, changedTerminal(1)
		}
		b.AddMedium(mediumID(i), m)
		b.AddTerminal(terminalID(i), term)
	}
	return b.Snapshot(time.Unix(int64(version), 0), version)
}

// A change copies a small part of a large snapshot: on average less than a
// hundredth, groups of one included, and merging.
func TestV1_AChangeCopiesLittle(t *testing.T) {
	const n, changes = 200_000, 6_000
	s := mediaSnapshot(n)
	rnd := rand.New(rand.NewPCG(5, 5))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range changes {
		id := mediumID(rnd.IntN(n))
		m := mediumIn(s, id)
		m.Status = cache.MediumStolen
		s = s.With(cache.Changes{Media: []cache.MediumChange{{ID: id, Facts: m}}}, uint64(i), time.Unix(1, 0))
	}
	runtime.ReadMemStats(&after)
	each := int(after.TotalAlloc-before.TotalAlloc) / changes
	if each > s.Bytes()/100 {
		t.Errorf("a change copies %d bytes of %d", each, s.Bytes())
	}
	t.Logf("%d bytes for each change, of %d", each, s.Bytes())
	if media, _ := s.Sizes(); media != n || float64(s.Bytes()) > 1.15*float64(mediaSnapshot(n).Bytes()) {
		t.Errorf("%d media take %d bytes after the changes, and %d before", media, s.Bytes(), mediaSnapshot(n).Bytes())
	}
}

// Many new combinations of facts say that it is time to build anew, some do not.
func TestV1_WornByFacts(t *testing.T) {
	s := mediaSnapshot(10_000)
	limits := func(from, n int) (c cache.Changes) {
		for i := range n {
			f := cache.Medium{Status: cache.MediumActive, Limits: cache.Limits{DayTotal: int64(from + i)}}
			c.Media = append(c.Media, cache.MediumChange{ID: mediumID(i % 10_000), Facts: f})
		}
		return c
	}
	if s = s.With(limits(1, 1000), 2, time.Now()); s.Worn(time.Now()) {
		t.Error("worn after a thousand changes")
	}
	if s = s.With(limits(1001, 300_000), 3, time.Now()); !s.Worn(time.Now()) {
		t.Error("not worn after 300,000 changes, each with facts of its own")
	}
	if m := mediumIn(s, mediumID(9_999)); m.Limits.DayTotal != 301_000 {
		t.Errorf("the day's limit is %d", m.Limits.DayTotal)
	}
}

// FuzzChanges reads changes of a few things from the bytes, and holds the
// snapshot against plain maps.
func FuzzChanges(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8}, uint8(0))
	f.Add([]byte("every third byte begins another group"), uint8(3))
	f.Add(slices.Repeat([]byte{9, 200, 31}, 200), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, mode uint8) {
		rnd := rand.New(rand.NewPCG(1, 1))
		now := newTruth()
		s := now.build(cache.Mode(mode%4), 0)
		for v := uint64(2); len(b) >= 3; v++ {
			var c cache.Changes
			for more := true; more && len(b) >= 3; b = b[3:] {
				more = b[0]&1 == 0
				medium, till := cache.Medium{Status: cache.MediumStatus(b[0] >> 1 % 7)}, cache.Terminal{Status: cache.TerminalStatus(b[0] >> 1 % 5)}
				if medium.Status != cache.MediumUnknown {
					medium.Account, medium.Limits.Single = uint32(b[2]), int64(b[2]&3)
				}
				if till.Status != cache.TerminalUnknown {
					till.Account, till.Merchant = uint32(b[2]), merchantID(uint64(b[2]>>1))
				}
				switch b[0] >> 5 {
				case 0:
					c.Merchants = append(c.Merchants, cache.MerchantChange{ID: merchantID(uint64(b[1])), Active: b[2]&1 == 0})
				case 1, 2:
					c.Terminals = append(c.Terminals, cache.TerminalChange{ID: terminalID(int(b[1])), Facts: till})
				default:
					c.Media = append(c.Media, cache.MediumChange{ID: kessai.MediumID{b[1] & 3, 0, b[1]}, Facts: medium})
				}
			}
			now.apply(c)
			s = s.With(c, v, time.Unix(int64(v), 0))
		}
		if err := now.check(s, rnd); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkWith is a group of changes: of media alone, and of terminals too.
func BenchmarkWith(b *testing.B) {
	for _, n := range sizes() {
		s := mediaSnapshot(n)
		for _, group := range []int{1, 50, 1000} {
			b.Run(fmt.Sprintf("media/%d/%d", n, group), func(b *testing.B) {
				rnd, s := rand.New(rand.NewPCG(1, 1)), s
				c := cache.Changes{Media: make([]cache.MediumChange, group)}
				b.ReportAllocs()
				for b.Loop() {
					for i := range c.Media {
						c.Media[i] = cache.MediumChange{ID: mediumID(rnd.IntN(n)), Facts: cache.Medium{Status: cache.MediumStatus(1 + rnd.IntN(4))}}
					}
					s = s.With(c, 1, time.Unix(1, 0))
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(group), "ns/change")
			})
		}
	}
	s := loaded(100_000, 1)
	for _, group := range []int{1, 50} {
		b.Run(fmt.Sprintf("terminals/100000/%d", group), func(b *testing.B) {
			rnd, s := rand.New(rand.NewPCG(1, 1)), s
			c := cache.Changes{Terminals: make([]cache.TerminalChange, group)}
			b.ReportAllocs()
			for b.Loop() {
				for i := range c.Terminals {
					c.Terminals[i] = cache.TerminalChange{ID: terminalID(rnd.IntN(100_000)), Facts: changedTerminal(3)}
				}
				s = s.With(c, 1, time.Unix(1, 0))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(group), "ns/change")
		})
	}
}
