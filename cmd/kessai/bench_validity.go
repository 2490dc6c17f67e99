package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"kessai/bench"
	"kessai/bench/peers/postgres"
	benchreport "kessai/bench/report"
	"kessai/bench/validity"
)

// The scenarios of kessai bench.
const (
	scenarioPurchase = "purchase"
	scenarioValidity = "validity"
)

// What the scenario validity does where nothing else is said.
const (
	validityMedia     = 10_000_000
	validityTerminals = 100_000
	validityPhase     = 4 * time.Second
	validityConns     = 8 // of PostgreSQL
)

// The parts of the scenario. Each takes a minute or two when --data was filled
// before.
var validityParts = []string{"all", "judge", "start", "load"}

// validator is one call of kessai bench --scenario validity.
type validator struct {
	*bencher
	who    validity.Population
	bounds []validity.Bound
}

// validityFlags are flags of this scenario only.
func (b *bencher) validityFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&b.scenario, "scenario", scenarioPurchase, "purchase (how many payments a gateway takes), validity (what judging media and terminals costs) or reader (what keys for one payment cost)")
	f.DurationVar(&b.slot, "slot", 500*time.Millisecond, "validity and reader: how long each way is measured, in each round")
	f.StringVar(&b.part, "part", "all", "validity: judge, start, load, or all")
	f.BoolVar(&b.postgres, "postgres", true, "validity: ask PostgreSQL too, where it is installed")
	f.BoolVar(&b.add, "add", false, "validity: go on with the result that the file of --json has, so that both parts come together")
	f.StringVar(&b.svg, "svg", "", "validity: write drawings into `FOLDER`, as validity-*.svg")
}

// scenarioDefaults gives the flags that were not set the values that go with the
// scenario.
func (b *bencher) scenarioDefaults(cmd *cobra.Command) {
	if b.scenario != scenarioValidity {
		return
	}
	f := cmd.Flags()
	if !f.Changed("media") {
		b.media = validityMedia
	}
	if !f.Changed("terminals") {
		b.terms = validityTerminals
	}
	if !f.Changed("duration") {
		b.o.Duration = validityPhase
	}
	if !f.Changed("warmup") {
		b.o.Warmup = 500 * time.Millisecond
	}
}

func (v *validator) check() error {
	fault := func(flag, why, next string) error { return usage("--"+flag+" cannot be used", why, next) }
	for _, text := range v.thresholds {
		t, err := validity.ParseBound(text)
		if err != nil {
			return fault("threshold", err.Error(), "see docs/VALIDITY.md for the names")
		}
		v.bounds = append(v.bounds, t)
	}
	v.who = validity.Population{Media: v.media, Terminals: v.terms}
	if err := v.who.Validate(); err != nil {
		return usage("the benchmark cannot be run so", err.Error(), "see kessai bench --help")
	}
	switch {
	case v.addr != "" || v.http != "" || v.peers || v.budget || v.hgrm != "" || v.book != 0 || v.o.Rate != 0 || v.wire != "iso":
		return usage("the scenario validity cannot be run so", "it starts a gateway of its own and puts its own load to it",
			"leave out --addr, --http, --peers, --budget, --hgrm, --book, --rate and --wire")
	case v.slot < 10*time.Millisecond || v.slot > time.Minute:
		return fault("slot", "it must be 10ms to 1m", "half a second is enough as a rule")
	case !slices.Contains(validityParts, v.part):
		return fault("part", "there is no such part", "give judge, start, load or all")
	}
	thresholds := v.thresholds
	v.bencher.thresholds = nil // they are of the other scenario's names there
	v.bencher.media, v.bencher.terms = v.who.Valid().Media, v.who.Valid().Terminals
	err := v.bencher.check()
	v.thresholds = thresholds
	return err
}

// validity measures what judging costs.
func (b *bencher) validity(ctx context.Context) error {
	v := &validator{bencher: b}
	if err := v.check(); err != nil {
		return err
	}
	r, err := v.earlier()
	if err != nil {
		return err
	}
	g, clean, err := b.prepare(ctx, v.who.Fill())
	if err != nil {
		return err
	}
	defer clean()
	if v.part == "all" || v.part == "judge" {
		before := r
		if r, err = v.judge(ctx, g); err != nil {
			return err
		}
		r.Keep(before)
	}
	r.Version, _ = buildVersion()
	r.At, r.Machine = time.Now().UTC().Truncate(time.Second), bench.ThisMachine()
	r.Settings.Media, r.Settings.Terminals, r.Settings.Invalid = v.who.Media, v.who.Terminals, v.who.Invalid()
	r.Settings.Seed, r.Settings.Rounds, r.Settings.Gateway = v.o.Seed, v.rounds, v.gatewaySet
	if v.part == "all" || v.part == "start" {
		if err := v.starts(ctx, g, r); err != nil {
			return err
		}
	}
	if v.part == "all" || v.part == "load" {
		if err := v.load(ctx, g, r); err != nil {
			return err
		}
	}
	if err := r.WriteTable(v.stdout); err != nil {
		return err
	}
	if err := v.files(r); err != nil {
		return err
	}
	return v.verdict(r)
}

// earlier gives the result that this call adds to.
func (v *validator) earlier() (*validity.Result, error) {
	r := new(validity.Result)
	if !v.add {
		return r, nil
	}
	if v.json == "" {
		return nil, usage("--add cannot be used", "it adds to the file of --json", "give --json too")
	}
	b, err := os.ReadFile(v.json)
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err == nil && (r.Settings.Media != v.who.Media || r.Settings.Terminals != v.who.Terminals) {
		err = errors.New("it is about other numbers of media and terminals")
	}
	if err != nil {
		return nil, fail("cannot add to "+v.json, errors.New(plainPath(err)), "give a file that the other part wrote")
	}
	return r, nil
}

// judge asks everybody in turn, in this process.
func (v *validator) judge(ctx context.Context, g *ground) (r *validity.Result, err error) {
	l := newLive(v.stderr, "")
	defer l.clear()
	l.say("opening the registry")
	s, err := g.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	stores := &validity.Stores{Registry: s.registry, Hasher: s.hasher}
	o := validity.Options{Population: v.who, Seed: v.o.Seed, Rounds: v.rounds, Slot: v.slot, Progress: l.say}
	if !v.postgres {
		return v.run(ctx, stores, o)
	}
	if _, ok := postgres.Found(); !ok {
		fmt.Fprintf(v.stderr, "PostgreSQL is left out: %v\n", postgres.ErrNotFound)
	} else {
		folder := ""
		if v.data != "" {
			folder = g.data + "-postgres" // beside it: its own user must be able to enter
		}
		if o.Postgres, err = validity.StartPostgres(ctx, stores, v.who, folder, validityConns, l.say); err != nil {
			return nil, fail("PostgreSQL could not be measured", err, "see what it says; or take its programs out of PATH to leave it out")
		}
		defer func() { err = errors.Join(err, o.Postgres.Close()) }()
	}
	return v.run(ctx, stores, o)
}

func (v *validator) run(ctx context.Context, s *validity.Stores, o validity.Options) (*validity.Result, error) {
	r, err := validity.Run(ctx, s, o)
	if err != nil {
		return nil, fail("judging could not be measured", err, "look at what it says; with --data the folder is kept")
	}
	return r, nil
}

func (v *validator) files(r *validity.Result) error {
	files := []struct {
		flag, path string
		content    io.WriterTo
	}{{"json", v.json, benchreport.ValidityJSON{Result: r}}, {"html", v.html, benchreport.ValidityPage{Result: r}}}
	for _, f := range files {
		if f.path == "" {
			continue
		}
		if err := writeTo(f.flag, f.path, f.content); err != nil {
			return err
		}
	}
	if v.svg == "" {
		return nil
	}
	drawings, err := benchreport.ValidityDrawings(r)
	if err != nil {
		return err
	}
	for name, content := range drawings {
		if err := writeTo("svg", filepath.Join(v.svg, name), bytes.NewBuffer(content)); err != nil {
			return err
		}
	}
	return nil
}

// verdict is the end: wrong verdicts, and thresholds.
func (v *validator) verdict(r *validity.Result) error {
	if r.Wrong > 0 {
		return &exitError{exitMissed, fmt.Sprintf("%d verdicts were wrong", r.Wrong), "the modes, the registry and PostgreSQL do not judge alike",
			"run it again with --data to keep the folder"}
	}
	var missed []string
	for _, b := range v.bounds {
		if why := b.Check(r); why != "" {
			missed = append(missed, why)
		}
	}
	return missedError(missed, "docs/VALIDITY.md says what limits each of the numbers")
}
