package validity

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"kessai"
	"kessai/cache"
)

// BenchmarkJudge is what kessai bench --scenario validity measures in mode both,
// with a cache that was filled here: the whole from the bytes of the two IDs, the
// keyed hash alone, and the whole message.
func BenchmarkJudge(b *testing.B) {
	sizes := []int{100_000}
	if os.Getenv("KESSAI_SOAK") != "" {
		sizes = append(sizes, 10_000_000)
	}
	for _, n := range sizes {
		p := Population{Media: n, Terminals: 100_000}
		hasher, err := kessai.NewMediumHasher(bytes.Repeat([]byte{7}, kessai.MinKeyBytes))
		if err != nil {
			b.Fatal(err)
		}
		valid := new(cache.Cache)
		valid.Swap(snapshotOf(b, p, hasher))
		stores := &Stores{Hasher: hasher}
		j := newJudge(stores, valid)
		r, err := newReader(newJudge(stores, valid))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("together/%d", n), func(b *testing.B) {
			asker, questions := newAsker(p, 1, 1), make([]question, batch)
			all := &several{judge: *newJudge(stores, valid)}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at := i * together % batch
				if at == 0 {
					b.StopTimer()
					asker.draw(questions)
					b.StartTimer()
				}
				if wrong, err := all.full(questions[at : at+together]); wrong > 0 || err != nil {
					b.Fatalf("%d wrong, %v", wrong, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/together, "ns/verdict")
		})
		for _, c := range []struct {
			name string
			ask  ask
		}{{"verdict", j.full}, {"early", j.early}, {"naming", j.name}, {"message", r.message}} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				asker, questions := newAsker(p, 1, 1), make([]question, batch)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%batch == 0 {
						b.StopTimer()
						asker.draw(questions)
						b.StartTimer()
					}
					q := &questions[i%batch]
					if code, ok, err := c.ask(q); err != nil || !ok || code != q.want {
						b.Fatalf("answered with %v, %v, %v; want %v", code, ok, err, q.want)
					}
				}
			})
		}
	}
}

// snapshotOf gives the facts about a population, without a registry.
func snapshotOf(t testing.TB, p Population, h *kessai.MediumHasher) *cache.Snapshot {
	b := cache.NewBuilder(cache.Both, p.Media, p.Terminals)
	for card := range p.Media {
		var digits [16]byte
		p.all().PutPAN(digits[:], card)
		pan, err := kessai.ParsePAN(digits[:])
		if err != nil {
			t.Fatal(err)
		}
		status, expiry := p.Medium(card)
		b.AddMedium(h.Medium(pan), cache.Medium{Status: mediumStatus[status], Expiry: expiry, Allowed: kessai.AllKinds, Account: uint32(card)})
	}
	for n := range p.Terminals {
		id, err := kessai.ParseTerminalID(p.all().TerminalID(n))
		if err != nil {
			t.Fatal(err)
		}
		shop, err := kessai.ParseMerchantID(p.all().MerchantID(p.all().MerchantOf(n)))
		if err != nil {
			t.Fatal(err)
		}
		b.AddMerchant(shop)
		b.AddTerminal(id, cache.Terminal{Status: terminalStatus[p.Terminal(n)], Merchant: shop, Allowed: kessai.AllKinds, Currency: kessai.JPY})
	}
	return b.Snapshot(time.Now(), 1)
}
