package validity

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"kessai"
	"kessai/cache"
	"kessai/merchants"
)

// Stores is what is asked: a registry that holds the population, and the hasher
// that its media are named by.
type Stores struct {
	Registry *merchants.Registry
	Hasher   *kessai.MediumHasher
}

// Options says how to measure.
type Options struct {
	Population Population
	Seed       uint64
	Rounds     int
	Slot       time.Duration // how long each is asked, in each round, by one and by all
	Postgres   *Postgres     // nil: left out
	Progress   func(string)
}

// modes are all modes, in the order in which they are shown.
var modes = [...]cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter}

// contender is one way of judging.
type contender struct {
	name    string
	mode    cache.Mode
	early   bool // an answer that does not wait for the registry
	workers int
	ask     func(worker int) (ask, error)
	several *several // asked many at a time instead
	// results
	m        Measured
	rates    []float64
	waited   int64
	untimely bool // only timed, not for its throughput
}

// Run measures. Everybody is asked in turn, round after round, so that whatever
// else the machine does happens to all of them; medians count.
func Run(ctx context.Context, s *Stores, o Options) (*Result, error) {
	r := &Result{
		Modes: make(map[string]*Mode), Others: make(map[string]*Measured), Ratios: make(map[string]float64),
		Settings: Settings{Media: o.Population.Media, Terminals: o.Population.Terminals, Invalid: o.Population.Invalid(),
			Seed: o.Seed, Rounds: o.Rounds, Slot: o.Slot.String(), Workers: runtime.GOMAXPROCS(0)},
	}
	m := &meeting{Stores: s, Options: o, result: r}
	for _, mode := range modes {
		if err := m.load(mode); err != nil {
			return nil, err
		}
	}
	m.others(ctx)
	for n := range o.Rounds {
		for _, c := range m.list {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := m.round(c, n); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	m.conclude()
	return r, nil
}

// meeting is everybody who is asked.
type meeting struct {
	*Stores
	Options
	result *Result
	list   []*contender
	naming *contender // the part of mode both before any look-up
	whole  *contender // mode both with the whole message around it
	batch  *contender // mode both, many at a time
}

// load reads the registry in one mode and enters its two contenders.
func (m *meeting) load(mode cache.Mode) error {
	m.Progress("reading the registry: " + mode.String())
	before, began := heap(), time.Now()
	s, err := m.Registry.Snapshot(mode)
	if err != nil {
		return err
	}
	took := time.Since(began)
	info := &Mode{Bytes: s.Bytes(), Heap: heap() - before, BytesMedium: float64(s.Bytes()) / float64(m.Population.Media), LoadSeconds: took.Seconds()}
	m.result.Modes[mode.String()] = info
	valid := new(cache.Cache)
	valid.Swap(s)
	workers := runtime.GOMAXPROCS(0)
	judge := func() *judge { return newJudge(m.Stores, valid) }
	early := &contender{name: mode.String() + ", early", mode: mode, early: true, workers: workers, ask: func(int) (ask, error) { return judge().early, nil }}
	full := &contender{name: mode.String(), mode: mode, workers: workers, ask: func(int) (ask, error) { return judge().full, nil }}
	m.list = append(m.list, early, full)
	info.Early, info.Verdict = &early.m, &full.m
	if mode == cache.Both {
		m.naming = &contender{name: "naming", workers: 1, untimely: true, ask: func(int) (ask, error) { return judge().name, nil }}
		m.whole = &contender{name: "whole message", workers: 1, untimely: true, ask: func(int) (ask, error) {
			r, err := newReader(judge())
			if err != nil {
				return nil, err
			}
			return r.message, nil
		}}
		m.batch = &contender{name: "together", workers: 1, untimely: true, several: &several{judge: *judge()}}
		m.list = append(m.list, m.naming, m.whole, m.batch)
	}
	return nil
}

// heap gives the bytes that are in use, after what is not has been collected.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// others enters those that know nothing by heart.
func (m *meeting) others(ctx context.Context) {
	registry := &contender{name: "registry", workers: runtime.GOMAXPROCS(0), ask: func(int) (ask, error) { return newJudge(m.Stores, new(cache.Cache)).ask, nil }}
	m.list = append(m.list, registry)
	m.result.Others["registry"] = &registry.m
	if m.Postgres == nil {
		return
	}
	m.result.Settings.PgConns = len(m.Postgres.conns)
	pg := &contender{name: "postgres", workers: len(m.Postgres.conns), ask: func(worker int) (ask, error) {
		return m.Postgres.asker(ctx, newJudge(m.Stores, new(cache.Cache)), worker), nil
	}}
	m.list = append(m.list, pg)
	m.result.Others["postgres"] = &pg.m
}

// round asks one contender, alone and then by everybody.
func (m *meeting) round(c *contender, n int) error {
	m.Progress(fmt.Sprintf("round %d of %d: %s", n+1, m.Rounds, c.name))
	one, err := m.asking(c, 0, n)
	if err != nil {
		return err
	}
	var before, after runtime.MemStats
	if err := one.run(m.Slot / 8); err != nil { // the first of a round finds everything cold
		return err
	}
	one.reset()
	runtime.ReadMemStats(&before)
	if err := one.run(m.Slot); err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	c.m.Rounds = append(c.m.Rounds, one.ns())
	c.m.Allocs = float64(after.Mallocs-before.Mallocs) / float64(one.asked)
	c.add(one)
	if c.untimely {
		return nil
	}
	all := make([]*asking, c.workers)
	errs := make([]error, c.workers)
	var wg sync.WaitGroup
	for w := range all {
		if all[w], err = m.asking(c, w, n); err != nil {
			return err
		}
		wg.Go(func() { errs[w] = all[w].run(m.Slot) })
	}
	wg.Wait()
	rate := 0.0
	for w, a := range all {
		if errs[w] != nil {
			return errs[w]
		}
		rate += 1e9 / a.ns()
		c.add(a)
	}
	c.rates = append(c.rates, rate)
	return nil
}

func (c *contender) add(a *asking) {
	c.m.Asked += a.asked
	c.m.Wrong += a.wrong
	c.waited += a.waited
}

// asking is one goroutine that asks one contender.
type asking struct {
	c                    *contender
	ask                  ask
	asker                *asker
	questions            []question
	asked, wrong, waited int64
	took                 time.Duration
}

// batch is the number of questions between two looks at the clock: few enough to
// stay in the processor's cache, as the bytes do that the kernel has just handed over.
const batch = 512

func (m *meeting) asking(c *contender, worker, round int) (*asking, error) {
	var f ask
	var err error
	if c.several == nil {
		f, err = c.ask(worker)
	}
	return &asking{c: c, ask: f, asker: newAsker(m.Population, m.Seed, uint64(round)<<16|uint64(worker)), questions: make([]question, batch)}, err
}

func (a *asking) reset() { a.asked, a.wrong, a.waited, a.took = 0, 0, 0, 0 }

func (a *asking) ns() float64 { return float64(a.took) / float64(max(a.asked, 1)) }

// run asks for a time. Drawing the questions does not count.
func (a *asking) run(d time.Duration) error {
	for a.took < d {
		a.asker.draw(a.questions)
		wrong, waited := 0, 0
		began := time.Now()
		if s := a.c.several; s != nil {
			for from := 0; from < batch; from += together {
				n, err := s.full(a.questions[from : from+together])
				if err != nil {
					return err
				}
				wrong += n
			}
		}
		for i := range a.questions {
			if a.ask == nil {
				break
			}
			q := &a.questions[i]
			code, ok, err := a.ask(q)
			switch {
			case err != nil:
				return err
			case !ok:
				waited++
			case code != q.want && a.c.mustSee(q.want, code):
				wrong++
			}
		}
		a.took += time.Since(began)
		a.asked += batch
		a.wrong += int64(wrong)
		a.waited += int64(waited)
	}
	return nil
}

// mustSee reports whether an answer other than the one wanted is wrong: an early
// one may be positive because of what its mode does not know.
func (c *contender) mustSee(want, got kessai.ResponseCode) bool {
	if !c.early || !got.IsApproval() {
		return true
	}
	terminal := want == kessai.NotPermittedToTerminal
	switch c.mode {
	case cache.MediaOnly:
		return !terminal
	case cache.TerminalsOnly:
		return terminal
	case cache.Filter:
		return terminal || want != kessai.InvalidCardNumber
	}
	return true
}

// conclude makes the medians and ratios.
func (m *meeting) conclude() {
	r := m.result
	for _, c := range m.list {
		c.m.NS, c.m.PerSecond = median(c.m.Rounds), median(c.rates)
		if c.early {
			c.m.Waited = float64(c.waited) / float64(max(c.m.Asked, 1))
		}
		r.Wrong += c.m.Wrong
		r.Asked += c.m.Asked
	}
	both := r.Modes[cache.Both.String()]
	r.JudgeNS, r.Allocs, r.Bytes = both.Verdict.NS, both.Verdict.Allocs, both.BytesMedium
	r.NameNS, r.MessageNS, r.TogetherNS = m.naming.m.NS, m.whole.m.NS, m.batch.m.NS
	for name, o := range r.Others {
		r.Ratios[name] = o.NS / r.JudgeNS
	}
}

// median gives the middle value; of an even number, the mean of the two.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
