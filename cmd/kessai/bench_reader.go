package main

import (
	"context"
	"fmt"
	"time"

	"kessai/bench"
	"kessai/bench/reader"
)

// scenarioReader measures what a key pair for one payment costs.
const scenarioReader = "reader"

// reader measures it, in this process: there is no gateway in it.
func (b *bencher) reader(ctx context.Context) error {
	fault := func(flag, why, next string) error { return usage("--"+flag+" cannot be used", why, next) }
	var bounds []reader.Bound
	for _, text := range b.thresholds {
		t, err := reader.ParseBound(text)
		if err != nil {
			return fault("threshold", err.Error(), "see docs/BENCH.md for the names")
		}
		bounds = append(bounds, t)
	}
	switch {
	case b.addr != "" || b.http != "" || b.data != "" || b.peers || b.budget || b.html != "" || b.hgrm != "" || b.svg != "" || b.book != 0 || b.o.Rate != 0 || len(b.gatewaySet) > 0:
		return usage("the scenario reader cannot be run so", "it measures keys alone, without a gateway", "use --rounds, --slot, --json and --threshold only")
	case b.slot < time.Millisecond || b.slot > time.Minute:
		return fault("slot", "it must be 1ms to 1m", "half a second is enough as a rule")
	case b.rounds < 1 || b.rounds > 100:
		return fault("rounds", "it must be 1 to 100", "five are enough as a rule")
	}
	l := newLive(b.stderr, "")
	r, err := reader.Run(ctx, reader.Options{Rounds: b.rounds, Slot: b.slot, Progress: l.say})
	l.clear()
	if err != nil {
		return fail("keys could not be measured", err, "look at what it says")
	}
	r.Version, _ = buildVersion()
	r.At, r.Machine = time.Now().UTC().Truncate(time.Second), bench.ThisMachine()
	if err := r.WriteTable(b.stdout); err != nil {
		return fmt.Errorf("cannot print the result: %w", err)
	}
	if b.json != "" {
		if err := writeTo("json", b.json, r); err != nil {
			return err
		}
	}
	var missed []string
	for _, t := range bounds {
		if why := t.Check(r); why != "" {
			missed = append(missed, why)
		}
	}
	return missedError(missed, "docs/BENCH.md says what the numbers are")
}
