// Package reader measures what a key pair for one payment alone costs: to issue it, to
// open a sealed card and a sealed PIN with it, and to destroy it. Beside HPKE, in both
// suites, stands RSA-2048 as the reader's source has it: a pair for each payment, and
// what was decrypted is encrypted again and compared.
//
// What it is for: kessai bench --scenario reader, and the numbers in docs/BENCH.md.
//
// What it is not for: whole payments. There is no network, no book, no registry and no
// signature in it.
//
// Where to start: Run.
package reader

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kessai/authz/keys"
	"kessai/pos/tether"
)

// Options say how long is measured.
type Options struct {
	Rounds   int           // every way once in each
	Slot     time.Duration // how long each way takes in each round, at least
	Progress func(string)  // may be nil
}

// payment is what the gateway does for one payment, in turn. seal is the reader's part
// and is not measured.
type payment interface {
	issue() error
	seal() error
	card() error
	pin() error
	destroy()
}

// way is one way to do it.
type way struct {
	name  string
	batch int // payments whose steps are measured together
	begin func(number int) payment
	took  []spent // of each round
}

// spent is what some payments took, by the clock, all processors at work.
type spent struct {
	payments                  int
	issue, card, pin, destroy time.Duration
}

// Run measures every way in turn, round after round: whatever else happens on the
// machine happens to all.
func Run(ctx context.Context, o Options) (*Result, error) {
	ways, closeAll, err := allWays()
	if err != nil {
		return nil, err
	}
	defer closeAll()
	for n := range o.Rounds {
		for _, w := range ways {
			if o.Progress != nil {
				o.Progress(fmt.Sprintf("round %d of %d: %s", n+1, o.Rounds, w.name))
			}
			if err := w.round(ctx, o.Slot); err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	return conclude(o, ways), nil
}

func allWays() (ways []*way, closeAll func(), err error) {
	var keepers []*keys.Keeper
	closeAll = func() {
		for _, k := range keepers {
			_ = k.Close() // its memory goes with the process anyway
		}
	}
	for _, s := range []tether.Suite{tether.SuiteP256, tether.SuiteHybrid} {
		const batch = 512
		kem, kdf, aead, _ := s.HPKE()
		k, err := keys.New(keys.Options{Max: batch, KEM: kem, KDF: kdf, AEAD: aead})
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		keepers = append(keepers, k)
		ways = append(ways, &way{name: s.String(), batch: batch, begin: func(n int) payment { return &sealed{keeper: k, suite: s, number: n} }})
	}
	ways = append(ways, &way{name: rsaName, batch: 4 * runtime.GOMAXPROCS(0), begin: func(int) payment { return new(rsaPayment) }})
	return ways, closeAll, nil
}

func (w *way) round(ctx context.Context, slot time.Duration) error {
	var s spent
	for began := time.Now(); time.Since(began) < slot || s.payments == 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		list := make([]payment, w.batch)
		for i := range list {
			list[i] = w.begin(i + 1)
		}
		var unmeasured time.Duration
		for _, step := range []struct {
			took *time.Duration
			do   func(payment) error
		}{
			{&s.issue, payment.issue},
			{&unmeasured, payment.seal},
			{&s.card, payment.card},
			{&s.pin, payment.pin},
			{&s.destroy, func(p payment) error { p.destroy(); return nil }},
		} {
			took, err := together(list, step.do)
			if err != nil {
				return err
			}
			*step.took += took
		}
		s.payments += len(list)
	}
	w.took = append(w.took, s)
	return nil
}

// together does one step of all payments, on all processors.
func together(list []payment, do func(payment) error) (time.Duration, error) {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	began := time.Now()
	for worker := range errs {
		all.Go(func() {
			for errs[worker] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				errs[worker] = do(list[i])
			}
		})
	}
	all.Wait()
	return time.Since(began), errors.Join(errs...)
}

func conclude(o Options, ways []*way) *Result {
	r := &Result{Settings: Settings{Rounds: o.Rounds, Slot: o.Slot.String(), Workers: runtime.GOMAXPROCS(0)}, Ways: make(map[string]*Measured), Ratios: make(map[string]float64)}
	for _, w := range ways {
		m := new(Measured)
		r.Ways[w.name] = m
		var issue, card, pin, destroy, opens []float64
		for _, s := range w.took {
			n := float64(s.payments)
			m.Payments += s.payments
			m.Rounds = append(m.Rounds, n/(s.issue+s.card+s.pin+s.destroy).Seconds())
			opens = append(opens, n/(s.issue+s.card+s.destroy).Seconds())
			each := func(d time.Duration) float64 { return d.Seconds() * 1e6 / n * float64(r.Settings.Workers) }
			issue, card, pin, destroy = append(issue, each(s.issue)), append(card, each(s.card)), append(pin, each(s.pin)), append(destroy, each(s.destroy))
		}
		m.Sales, m.IssueOpen = median(m.Rounds), median(opens)
		m.Issue, m.Card, m.PIN, m.Destroy = median(issue), median(card), median(pin), median(destroy)
	}
	if rsa := r.Ways[rsaName].Sales; rsa > 0 {
		for name, m := range r.Ways {
			if name != rsaName {
				r.Ratios[name] = m.Sales / rsa
			}
		}
	}
	return r
}

// median gives the middle one; of an even number, the lower middle.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(v))
	return sorted[(len(sorted)-1)/2]
}
