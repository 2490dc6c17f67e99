package authz

import (
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
)

// TestR9_CardsAreJudgedInEveryMode: where memory does not know the card, the registry
// is asked; where that cannot be read, the sale ends with 96.
func TestR9_CardsAreJudgedInEveryMode(t *testing.T) {
	for _, mode := range []cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter} {
		t.Run(mode.String(), func(t *testing.T) {
			onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
				var terminal cache.Terminal
				f.valid.Load().ReadTerminal(&terminal, f.terminal(0))
				stolen := hasher.Medium(pinCard(0))
				known := make(map[kessai.MediumID]cache.Medium)
				s := cache.NewBuilder(mode, 2, 1)
				s.AddMerchant(shop)
				s.AddTerminal(f.terminal(0), terminal)
				for id, m := range f.media {
					m.Account += uint32(f.first)
					if id == stolen {
						m.Status = cache.MediumStolen
					}
					known[id] = m
					s.AddMedium(id, m)
				}
				f.valid.Swap(s.Snapshot(time.Now(), 2))
				var fails error
				f.Engine.o.Registry = Registry{
					Medium:   func(id kessai.MediumID) (cache.Medium, error) { return known[id], fails },
					Terminal: func(kessai.TerminalID) (cache.Terminal, error) { return terminal, fails },
					Version:  func() uint64 { return 2 },
				}
				pay := func(pan kessai.PAN, code kessai.ResponseCode) {
					t.Helper()
					id, offer := f.offered(0)
					if _, err := f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, offer, pan)); err != nil {
						t.Fatal(err)
					}
					f.ended(0, id, code)
				}
				pay(plainCard(0), kessai.Approved)
				pay(pinCard(0), kessai.StolenCard)
				pay(panOf(99), kessai.InvalidCardNumber)
				if mode == cache.Both {
					return
				}
				id, offer := f.offered(0)
				fails = errRegistry
				if _, err := f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, offer, plainCard(0))); err != nil {
					t.Fatal(err)
				}
				f.ended(0, id, kessai.SystemMalfunction)
			})
		})
	}
}

// TestR9_LimitsAreInTheCardsCurrency: a card that is accounted in euro may pay so many
// cents, whatever the sale is in.
func TestR9_LimitsAreInTheCardsCurrency(t *testing.T) {
	onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
		id := hasher.Medium(plainCard(0))
		sale, _ := f.book.Find(ledger.Ref{ID: f.buy(0)})
		for _, c := range []struct {
			cents, most int64
			want        kessai.ResponseCode
		}{
			{0, 450, kessai.Approved}, {0, 449, kessai.AmountLimit}, // 450 yen
			{281, 281, kessai.Approved}, {281, 280, kessai.AmountLimit}, {281, 0, kessai.Approved},
		} {
			if sale.Foreign = (ledger.Foreign{}); c.cents != 0 {
				sale.Foreign = ledger.Foreign{Currency: kessai.EUR, Amount: c.cents}
			}
			s, m := cache.NewBuilder(cache.Both, 1, 1), f.media[id]
			m.Account += uint32(f.first)
			m.Limits.Single, m.Limits.DayTotal = c.most, 1000
			var terminal cache.Terminal
			f.valid.Load().ReadTerminal(&terminal, f.terminal(0))
			s.AddMerchant(shop)
			s.AddTerminal(f.terminal(0), terminal)
			s.AddMedium(id, m)
			f.valid.Swap(s.Snapshot(time.Now(), 2))
			limit, code := f.judgeCard(&sale, id, 2912)
			if code != c.want || limit.MaxTotal != 1000 {
				t.Errorf("%d cents, at most %d: %v, %+v; want %v", c.cents, c.most, code, limit, c.want)
			}
		}
	})
}
