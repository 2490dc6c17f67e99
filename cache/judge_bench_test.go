package cache_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/cache"
)

// judgeTerminals is the number of terminals that judging is measured with.
const judgeTerminals = 100_000

// BenchmarkJudge10M judges requests among ten million media and 100,000
// terminals, from the card number and the terminal's ID as they stand in a message
// to the facts about both. It needs KESSAI_SOAK, because it takes seconds to fill
// the cache.
//
// "Alone" is the time until one is judged: the next begins when the facts of the
// one before are there, or else the processor would do several at once. "Together"
// is one of 32 that come with one read, as a busy gateway has them.
func BenchmarkJudge10M(b *testing.B) {
	if os.Getenv("KESSAI_SOAK") == "" {
		b.Skip("takes long to fill: set KESSAI_SOAK")
	}
	const n = 10_000_000
	h, err := kessai.NewMediumHasher(bytes.Repeat([]byte{7}, kessai.MinKeyBytes))
	if err != nil {
		b.Fatal(err)
	}
	var c cache.Cache
	c.Swap(judged(h, n))
	b.Logf("%d bytes", c.Load().Bytes())
	requests := make([]asked, 1<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range requests {
		r := &requests[i]
		panDigits(&r.digits, rnd.IntN(n))
		r.terminal = terminalID(rnd.IntN(judgeTerminals))
		r.medium = identify(h, r)
	}
	one := func(r *asked, id kessai.MediumID) uint32 {
		s := c.Load()
		s.Expect(r.terminal, id)
		t, _ := s.Terminal(r.terminal)
		m, _ := s.Medium(id)
		if m.Status != cache.MediumActive || t.Status != cache.TerminalRegistered {
			b.Fatal("not found")
		}
		return (m.Account | t.Account) >> 31 // 0, which the processor learns when it has both
	}
	for name, judge := range map[string]func(r *asked) uint32{
		"alone/from the card number": func(r *asked) uint32 { return one(r, identify(h, r)) },
		"alone/from the medium's ID": func(r *asked) uint32 { return one(r, r.medium) },
		"alone/the card number's ID": func(r *asked) uint32 { return uint32(identify(h, r)[0]) >> 8 },
		"alone/nothing":              func(r *asked) uint32 { return uint32(r.medium[0]) >> 8 },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := uint32(0)
			for b.Loop() {
				i += 1 + judge(&requests[i%uint32(len(requests))])
			}
		})
	}
	const together = 32
	for name, id := range map[string]func(r *asked) kessai.MediumID{
		"together/from the card number": func(r *asked) kessai.MediumID { return identify(h, r) },
		"together/from the medium's ID": func(r *asked) kessai.MediumID { return r.medium },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var ids [together]kessai.MediumID
			for i := 0; b.Loop(); i += together {
				all := requests[i%len(requests):][:together]
				s := c.Load()
				for k := range all {
					ids[k] = id(&all[k])
					s.Expect(all[k].terminal, ids[k])
				}
				for k := range all {
					t, _ := s.Terminal(all[k].terminal)
					m, _ := s.Medium(ids[k])
					if m.Status != cache.MediumActive || t.Status != cache.TerminalRegistered {
						b.Fatal("not found")
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/together, "ns/request")
		})
	}
}

func identify(h *kessai.MediumHasher, r *asked) kessai.MediumID {
	number, _ := kessai.ParsePAN(r.digits[:])
	return h.Medium(number)
}

// asked is what a message says of who asks and with what.
type asked struct {
	digits   [16]byte
	terminal kessai.TerminalID
	medium   kessai.MediumID // of the digits
}

// judged gives a snapshot of n media with IDs of card numbers.
func judged(h *kessai.MediumHasher, n int) *cache.Snapshot {
	b := cache.NewBuilder(cache.Both, n, judgeTerminals)
	var all sync.WaitGroup
	adders := runtime.GOMAXPROCS(0)
	for a := range adders {
		all.Go(func() {
			for i := a; i < n; i += adders {
				b.AddMedium(h.Medium(pan(i)), cache.Medium{
					Status: cache.MediumActive, Account: uint32(i), Expiry: uint16(2900 + i%12), Allowed: kessai.AllKinds,
					Limits: cache.Limits{Single: int64(i % 10)},
				})
			}
		})
	}
	all.Wait()
	for i := range judgeTerminals {
		b.AddTerminal(terminalID(i), cache.Terminal{Status: cache.TerminalRegistered, Account: uint32(i)})
	}
	return b.Snapshot(time.Now(), 1)
}

func pan(n int) kessai.PAN {
	var digits [16]byte
	panDigits(&digits, n)
	p, err := kessai.ParsePAN(digits[:])
	if err != nil {
		panic(fmt.Sprint("card number ", n, " is none"))
	}
	return p
}

// panDigits gives a card number with its check digit.
func panDigits(to *[16]byte, n int) {
	sum := 0
	for i := 14; i >= 0; i-- {
		d := n % 10
		if i == 0 {
			d = 4
		}
		n /= 10
		to[i] = '0' + byte(d)
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	to[15] = '0' + byte((10-sum%10)%10)
}
