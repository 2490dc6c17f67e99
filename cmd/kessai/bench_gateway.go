package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/bench"
	loadgen "kessai/bench/load"
	benchreport "kessai/bench/report"
)

// child is a process of this same program, which says on which addresses it
// answers in a file.
type child struct {
	cmd   *exec.Cmd
	ended chan error
	readyFile
}

// readyFile is what the file says.
type readyFile struct {
	HTTP string   `json:"http,omitzero"`
	ISO  []string `json:"iso"`
	Data string   `json:"data"`
}

// writeTo writes the file that whoever started the process waits for.
func (r readyFile) writeTo(path string) error {
	if path == "" {
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := writeFile(path, append(b, '\n'), 0o644); err != nil {
		return fail("cannot write "+path, errors.New(plainPath(err)), "give --ready a file in a folder that exists")
	}
	return nil
}

// command makes a process of this same program. What it says goes to stderr.
func command(ctx context.Context, stderr io.Writer, args ...string) (*exec.Cmd, error) {
	me, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, me, args...)
	cmd.Args[0] = "kessai"
	cmd.Stderr = stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = maxEnding
	return cmd, nil
}

const (
	maxStarting = 10 * time.Minute // with millions of cards to load
	maxEnding   = 2 * time.Minute
)

// spawn starts a process and waits until it answers. Dir is for the file, procs
// the number of processors that it may use, or zero.
func spawn(ctx context.Context, stderr io.Writer, dir string, procs int, args ...string) (*child, error) {
	file := filepath.Join(dir, "ready-"+strconv.FormatInt(time.Now().UnixNano(), 36)+".json")
	cmd, err := command(ctx, stderr, append(args, "--ready", file)...)
	if err != nil {
		return nil, err
	}
	if procs > 0 {
		cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, ended: make(chan error, 1)}
	go func() { c.ended <- cmd.Wait() }()
	defer os.Remove(file)
	for deadline := time.Now().Add(maxStarting); ; {
		b, err := os.ReadFile(file)
		if err == nil {
			return c, json.Unmarshal(b, &c.readyFile)
		}
		select {
		case err := <-c.ended:
			return nil, fail("kessai "+args[0]+" did not start", endOf(err), "it has said above why")
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(errors.New("it does not answer"), c.stop())
		}
	}
}

func endOf(err error) error {
	if err == nil {
		return errors.New("it ended at once")
	}
	return err
}

// stop asks the process to end and waits until it has; nil is one that never
// started.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-c.ended:
		return err
	case <-time.After(maxEnding):
		return errors.Join(errors.New("it did not end"), c.cmd.Process.Kill())
	}
}

// ground is the folder that a gateway is measured on, with its registry filled.
type ground struct {
	*bencher
	dir, data string // of this call; of the gateway
	config    string // the gateway's configuration file; may be empty
	records   bench.Fill
	answered  bench.Answered
	gateways  int // started so far
}

// prepare makes the folder and fills the registry. The function that it gives
// removes what is not to be kept.
func (b *bencher) prepare(ctx context.Context, records bench.Fill) (*ground, func(), error) {
	dir, err := os.MkdirTemp("", "kessai-bench-")
	if err != nil {
		return nil, nil, err
	}
	clean := func() { _ = os.RemoveAll(dir) } // what stays is the system's to remove
	g := &ground{bencher: b, dir: dir, data: b.data, records: records, answered: bench.Answered{Population: b.o.Population}}
	if g.data == "" {
		g.data = filepath.Join(dir, "data")
	}
	if g.data, err = filepath.Abs(g.data); err == nil {
		err = g.fill(ctx)
	}
	if err != nil {
		clean()
		return nil, nil, err
	}
	return g, clean, nil
}

// fill fills the registry, unless it was filled alike before.
func (g *ground) fill(ctx context.Context) error {
	mark := filepath.Join(g.data, "bench.json")
	want, err := json.Marshal(map[string]any{"scenario": g.scenario, "population": g.records.Population})
	if err != nil {
		return err
	}
	if b, err := os.ReadFile(mark); err == nil && string(b) == string(want) {
		return nil
	}
	l := newLive(g.stderr, "")
	defer l.clear()
	if err := g.writeBook(l); err != nil {
		return err
	}
	s, err := g.open()
	if err != nil {
		return err
	}
	g.records.Progress = func(done int) { l.say(fmt.Sprintf("filling the registry: %d of %d cards", done, g.records.Media)) }
	err = bench.FillRegistry(ctx, s.registry, g.records)
	if err := errors.Join(err, s.close()); err != nil {
		return fail("the registry could not be filled", err, "give --data a folder on a disk with room, or fewer --media")
	}
	debug.FreeOSMemory() // the generator runs in this process
	return os.WriteFile(mark, want, 0o600)
}

// open opens the stores that a gateway is to run on.
func (g *ground) open() (*stores, error) {
	l, err := settings{flags: map[string]string{"data": g.data}, set: append([]string{"log.level=error"}, g.gatewaySet...)}.load()
	if err != nil {
		return nil, err
	}
	return openStores(&l.Config, slog.New(slog.NewTextHandler(g.stderr, &slog.HandlerOptions{Level: slog.LevelError})), nil)
}

// writeBook writes what is in the book before: others' transactions, unless the
// folder is an old one.
func (g *ground) writeBook(l live) error {
	if g.book == 0 {
		return nil
	}
	l.say(fmt.Sprintf("writing a book of %d transactions", g.book))
	if err := os.MkdirAll(g.data, 0o700); err != nil {
		return err
	}
	return ledger.Generate(ledger.Options{Dir: g.data}, ledger.Sample{
		Transactions: uint64(g.book), Customers: max(1, g.book/100), Merchants: 100, Seed: g.o.Seed,
	})
}

// serve starts a gateway whose limits fit what it will be asked.
func (g *ground) serve(ctx context.Context) (*child, error) {
	most := g.o.Conns * g.o.Window
	listener, err := json.Marshal([]map[string]any{{
		"address": "127.0.0.1:0", "dialect": g.dialect, "framing": g.framing,
		"max_connections": max(1024, g.o.Conns), "max_in_flight": max(65536, most), "max_in_flight_per_connection": max(256, g.o.Window),
	}})
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--data", g.data, "--http", "127.0.0.1:0",
		"--set", "log.format=text", "--set", "log.level=error", "--set", listenersKey + "=" + string(listener)}
	for key, n := range map[string]int{"http.max_connections": most + 64, "http.max_in_flight": most + 64, "book.max_queue": max(65536, most)} {
		args = append(args, "--set", key+"="+strconv.Itoa(n))
	}
	if g.config != "" {
		args = append(args, "--config", g.config)
	}
	for _, kv := range g.gatewaySet {
		args = append(args, "--set", kv)
	}
	l := newLive(g.stderr, "")
	l.say("starting the gateway")
	defer l.clear()
	return spawn(ctx, g.stderr, g.dir, g.procs, args...)
}

// measure runs the load once against a gateway that lives for this run only.
func (g *ground) measure(ctx context.Context, name string) (*measurement, *loadgen.Outcome, error) {
	c, err := g.serve(ctx)
	if err != nil {
		return nil, nil, err
	}
	m := &measurement{bencher: g.bencher, name: name, http: c.HTTP}
	if g.gateways++; g.gateways == 1 {
		s, err := bench.ScrapeMetrics(ctx, c.HTTP)
		if err != nil {
			return nil, nil, errors.Join(err, c.stop())
		}
		g.answered.After = kessai.TxID(s.Transactions)
	}
	o := g.o
	o.Addr, o.Remember = c.HTTP, true
	if !o.JSON {
		o.Addr = c.ISO[0]
	}
	out, err := m.run(ctx, o)
	if err := errors.Join(err, c.stop()); err != nil {
		return nil, nil, err
	}
	g.answered.Outcomes = append(g.answered.Outcomes, out)
	return m, out, nil
}

// checkBook notes whether the book agrees with all that was answered.
func (g *ground) checkBook(r *bench.Result) {
	l := newLive(g.stderr, "")
	l.say("reading the book")
	defer l.clear()
	note, err := bench.CheckBook(g.data, g.answered, progressBar(g.stderr))
	agrees := err == nil
	switch {
	case agrees:
		r.Note(&agrees, note)
	case errors.Is(err, bench.ErrDisagrees), errors.Is(err, ledger.ErrDamaged):
		r.Note(&agrees, err.Error())
	default:
		r.Note(nil, err.Error())
	}
}

// here measures a gateway that is started for it, and with --peers others in turn.
func (b *bencher) here(ctx context.Context) (*bench.Result, io.WriterTo, error) {
	g, clean, err := b.prepare(ctx, bench.Fill{Population: b.o.Population})
	if err != nil {
		return nil, nil, err
	}
	defer clean()
	if b.peers {
		return g.rounds(ctx)
	}
	m, out, err := g.measure(ctx, "kessai")
	if err != nil {
		return nil, nil, err
	}
	r := m.result(out)
	g.checkBook(r)
	return r, benchreport.Distribution{Histogram: out.Latency}, nil
}
