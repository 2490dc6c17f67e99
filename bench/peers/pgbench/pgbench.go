// Package pgbench runs PostgreSQL's own debit-credit benchmark, TPC-B-like, on a
// fresh server of its own.
//
// What it is for: a comparison with a database that everybody knows, measured by
// its own tool. What it is not for: a comparison of messages; nothing here speaks
// ISO 8583, and pgbench talks to the server over a Unix socket. Start reading with
// [Run].
package pgbench

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"kessai/bench/peers/postgres"
)

// Caveat is what the benchmark does not do that Kessai does.
const Caveat = "Three balances change and one row is added for each transaction, but no card, terminal or limit is judged, no repeat is known, and no message is read or written: pgbench sends prepared SQL over a Unix socket."

// BestClients is the number of clients, up to 64, with which PostgreSQL 15 was
// fastest on two cores. In alternating runs 8 gave 5,460 transactions a second
// (median), 12 5,470, 16 4,820, 24 4,480; in a single row 4 gave 4,100, 32 5,000,
// 64 4,100. Of 8 and 12, which are the same within the noise, 8 waits less.
const BestClients = 8

// The limits of a run.
const (
	MaxClients  = 1000
	MaxScale    = 1000 // 15 GB
	MaxDuration = time.Hour
)

// Options says how to run.
type Options struct {
	Dir      string        // where the folder of the server is made; for root, one that the user postgres may enter. Default: that for temporary files
	Clients  int           // default BestClients
	Duration time.Duration // whole seconds, at least one
	Scale    int           // 100,000 accounts and one branch each; default: as many as clients, at least 16
	Progress func(string)  // told what is done at the moment; may be nil
}

// Result is what pgbench said.
type Result struct {
	TPS       float64 // transactions a second, without the time that connecting took
	LatencyMS float64 // mean, milliseconds
	Version   string  // of PostgreSQL
	Clients   int
	Scale     int
}

func (o *Options) validate() error {
	if o.Clients == 0 {
		o.Clients = BestClients
	}
	if o.Scale == 0 {
		o.Scale = max(o.Clients, 16)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	switch {
	case o.Clients < 1 || o.Clients > MaxClients:
		return fmt.Errorf("the number of clients must be 1 to %d", MaxClients)
	case o.Scale < 1 || o.Scale > MaxScale:
		return fmt.Errorf("the scale must be 1 to %d", MaxScale)
	case o.Duration < time.Second || o.Duration > MaxDuration || o.Duration%time.Second != 0:
		return fmt.Errorf("the duration must be whole seconds, 1 s to %s", MaxDuration)
	}
	return nil
}

// Run makes a server, fills it, has pgbench measure it, and leaves nothing behind:
// no process and no folder, also when ctx ends it early.
func Run(ctx context.Context, o Options) (r Result, err error) {
	if err := o.validate(); err != nil {
		return r, err
	}
	o.Progress("making a PostgreSQL server")
	pg, err := postgres.Start(ctx, postgres.Options{Dir: o.Dir, Connections: o.Clients})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, pg.Stop()) }()
	s := server{pg}
	r = Result{Clients: o.Clients, Scale: o.Scale}
	if r.Version, err = s.Run(ctx, "postgres", "--version"); err != nil {
		return r, err
	}
	r.Version = strings.TrimPrefix(strings.TrimSpace(r.Version), "postgres (PostgreSQL) ")
	o.Progress(fmt.Sprintf("filling it with %d accounts", o.Scale*100_000))
	if _, err := s.pgbench(ctx, "--initialize", "--quiet", "--scale", strconv.Itoa(o.Scale)); err != nil {
		return r, err
	}
	o.Progress(fmt.Sprintf("measuring for %s with %d clients", o.Duration, o.Clients))
	if _, err = s.measure(ctx, o.Clients, min(warmup, o.Duration)); err != nil {
		return r, err
	}
	out, err := s.measure(ctx, o.Clients, o.Duration)
	if err != nil {
		return r, err
	}
	return r, r.read(out)
}

// warmup is how long pgbench runs before the run that counts.
const warmup = 3 * time.Second

type server struct{ *postgres.Server }

func (s server) pgbench(ctx context.Context, args ...string) (string, error) {
	return s.Run(ctx, "pgbench", append(args, "--host", s.Socket(), "--username", postgres.User, postgres.Database)...)
}

func (s server) measure(ctx context.Context, clients int, d time.Duration) (string, error) {
	return s.pgbench(ctx, "--protocol", "prepared", "--jobs", strconv.Itoa(min(2, clients)),
		"--client", strconv.Itoa(clients), "--time", strconv.Itoa(int(d/time.Second)))
}

var (
	tpsLine     = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \((?:without initial connection time|excluding connections establishing)\)`)
	latencyLine = regexp.MustCompile(`(?m)^latency average = ([0-9.]+) ms`)
	failedLine  = regexp.MustCompile(`(?m)^number of failed transactions: ([0-9]+)`)
)

// read takes the numbers from what pgbench wrote.
func (r *Result) read(out string) error {
	for line, to := range map[*regexp.Regexp]*float64{tpsLine: &r.TPS, latencyLine: &r.LatencyMS} {
		m := line.FindStringSubmatch(out)
		if m == nil {
			return fmt.Errorf("pgbench did not report what was expected: no line %q", line)
		}
		var err error
		if *to, err = strconv.ParseFloat(m[1], 64); err != nil {
			return fmt.Errorf("pgbench reported %q, which is no number", m[1])
		}
	}
	if m := failedLine.FindStringSubmatch(out); m != nil && m[1] != "0" {
		return fmt.Errorf("%s transactions of pgbench failed", m[1])
	}
	return nil
}
