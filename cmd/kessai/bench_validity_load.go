package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"kessai/bench"
	loadgen "kessai/bench/load"
	"kessai/bench/validity"
	"kessai/cache"
)

// starts starts a gateway in each mode, and finds out what it takes.
func (v *validator) starts(ctx context.Context, g *ground, r *validity.Result) error {
	for _, mode := range []cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter} {
		c, err := v.start(ctx, g, mode, r)
		if err := errors.Join(err, c.stop()); err != nil {
			return err
		}
	}
	return nil
}

// load puts load to a gateway in mode both while what is valid changes.
func (v *validator) load(ctx context.Context, g *ground, r *validity.Result) error {
	c, err := v.start(ctx, g, cache.Both, r)
	if err == nil {
		err = v.phases(ctx, g, c, r)
	}
	return errors.Join(err, c.stop())
}

// start starts a gateway in one mode, and notes what that takes, and what the
// gateway takes.
func (v *validator) start(ctx context.Context, g *ground, mode cache.Mode, r *validity.Result) (*child, error) {
	if err := g.setMode(mode); err != nil {
		return nil, err
	}
	began := time.Now()
	c, err := g.serve(ctx)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	s, err := bench.ScrapeMetrics(ctx, c.HTTP)
	if err != nil {
		return c, err
	}
	most, err := v.put(ctx, c, "as much as it takes in mode "+mode.String(), 0, v.o.Duration)
	if err != nil {
		return c, err
	}
	if r.Modes == nil {
		r.Modes = make(map[string]*validity.Mode)
	}
	m := r.Modes[mode.String()]
	if m == nil {
		m = &validity.Mode{Early: new(validity.Measured), Verdict: new(validity.Measured)}
		r.Modes[mode.String()] = m
	}
	m.StartSecs, m.Resident, m.Payments = took.Seconds(), s.Resident(), most.Throughput
	return c, nil
}

// setMode writes the file that the gateway reads its mode from, at its start and
// when it is told to.
func (g *ground) setMode(mode cache.Mode) error {
	g.config = filepath.Join(g.dir, "gateway.yaml")
	return writeFile(g.config, fmt.Appendf(nil, "cache:\n  mode: %s\n", mode), 0o600)
}

// phases puts half of what the gateway takes to it: while nothing changes, and
// while much does, in turn. While the mode changes it is half of what it takes in
// the slowest mode, or the phase would only show that this is too much for it.
func (v *validator) phases(ctx context.Context, g *ground, c *child, r *validity.Result) error {
	most := r.Modes[cache.Both.String()].Payments
	least := most // in any mode
	for _, m := range r.Modes {
		if m.Payments > 0 {
			least = min(least, m.Payments)
		}
	}
	r.Load = &validity.Load{Maximum: most, Rate: most / 2, Phases: make(map[string]*validity.Phase), Ratios: make(map[string]float64)}
	// After so many payments the book writes much of itself anew: that belongs to no phase.
	if _, err := v.put(ctx, c, "settling", r.Load.Rate, settlings*v.o.Duration); err != nil {
		return err
	}
	stirs := map[string]func(context.Context, *stir) error{
		"quiet": nil, "refresh": g.refreshing, "modes": g.changingModes, "feed": v.feeding(g),
	}
	rounds := make(map[string][]*loadgen.Outcome)
	events := make(map[string]*stir)
	for n := range v.rounds {
		if err := g.toMode(ctx, cache.Both); err != nil { // where the round before left it
			return err
		}
		for _, name := range validity.PhaseOrder {
			if events[name] == nil {
				events[name] = new(stir)
			}
			what, rate := fmt.Sprintf("%s, round %d", validity.PhaseWhat[name], n+1), r.Load.Rate
			if name == "modes" {
				rate = least / 2
			}
			outs, err := v.stirred(ctx, c, what, rate, stirs[name], events[name])
			if err != nil {
				return err
			}
			rounds[name] = append(rounds[name], outs...)
		}
	}
	for name, outs := range rounds {
		r.Load.Phases[name] = phaseOf(outs, events[name])
		r.Load.Phases[name].Rate = r.Load.Rate
	}
	r.Load.Phases["modes"].Rate = least / 2
	for name, p := range r.Load.Phases {
		if quiet := r.Load.Phases["quiet"].Latency.P99; quiet > 0 {
			r.Load.Ratios[name] = p.Latency.P99 / quiet
		}
	}
	return nil
}

// put puts load to the gateway: rate payments a second, or as many as it takes. Each
// begins with a second of its own: the names of payments begin anew with it, and those
// of a run that ended in the same second would be taken for them.
func (v *validator) put(ctx context.Context, c *child, what string, rate float64, d time.Duration) (*loadgen.Outcome, error) {
	o := v.o
	o.Addr, o.Rate, o.Duration = c.ISO[0], rate, d
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	return (&measurement{bencher: v.bencher, name: what}).run(ctx, o)
}

// stirred does the same a few times while something happens, and again until it
// has happened once: a refresh of ten million media takes longer than that.
func (v *validator) stirred(ctx context.Context, c *child, what string, rate float64, happen func(context.Context, *stir) error, events *stir) (outs []*loadgen.Outcome, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	var fault error
	before := events.count()
	if happen != nil {
		wg.Go(func() {
			if fault = happen(ctx, events); fault != nil {
				stop(fault)
			}
		})
	}
	for turn := range maxTurns {
		var out *loadgen.Outcome
		if out, err = v.put(ctx, c, what, rate, v.o.Duration); err != nil {
			break
		}
		if outs = append(outs, out); turn+1 >= minTurns && (happen == nil || events.count() > before) {
			break
		}
	}
	stop(nil)
	wg.Wait()
	if fault != nil {
		err = fmt.Errorf("%s: %w", what, fault)
	}
	return outs, err
}

// settlings is for how many durations load is put to the gateway before the phases.
const settlings = 2

// minTurns is how often load is put to the gateway in each phase of a round, and
// maxTurns how often at most for something to happen once.
const minTurns, maxTurns = 3, 20

// stir is what happened, and how long each of it took.
type stir struct {
	mu   sync.Mutex
	took []float64 // milliseconds
}

func (s *stir) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.took)
}

// again does something again and again until ctx ends, with a pause in between.
func (s *stir) again(ctx context.Context, pause time.Duration, f func(n int) error) error {
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		if err := f(n); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		s.mu.Lock()
		s.took = append(s.took, float64(time.Since(began))/1e6)
		s.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// phaseOf gives the median of the rounds by p99, and the sum of what is counted.
func phaseOf(outs []*loadgen.Outcome, events *stir) *validity.Phase {
	p := new(validity.Phase)
	var all []bench.Percentiles
	for _, o := range outs {
		l := bench.PercentilesOf(o.Latency)
		all, p.P99s = append(all, l), append(p.P99s, l.P99)
		p.Answered, p.Missed, p.Declined, p.Errors = p.Answered+o.Answered, p.Missed+o.Missed, p.Declined+o.Declined, p.Errors+o.Errors
	}
	slices.SortFunc(all, func(a, b bench.Percentiles) int { return int(1e6 * (a.P99 - b.P99)) })
	p.Latency = all[(len(all)-1)/2]
	slices.Sort(events.took)
	if n := len(events.took); n > 0 {
		p.Events, p.EventMS, p.EventMax = int64(n), events.took[n/2], events.took[n-1]
	}
	return p
}
