package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kessai/bench"
	loadgen "kessai/bench/load"
	benchreport "kessai/bench/report"
	"kessai/configs"
	"kessai/gateway"
	"kessai/pos/iso8583"
)

// bencher is one call of kessai bench.
type bencher struct {
	addr, http   string
	data         string
	wire         string
	mix          string
	dialect      string
	framing      string
	json, html   string
	hgrm         string
	thresholds   []string
	gatewaySet   []string
	budget       bool
	peers        bool
	rounds       int
	media, terms int
	book         int // transactions in the book before it begins
	procs        int // GOMAXPROCS of the gateway; zero: as it comes
	o            loadgen.Options

	scenario  string
	slot      time.Duration // of the scenario validity, as the rest
	part, svg string
	add       bool
	postgres  bool

	stdout, stderr io.Writer
	bounds         []bench.Threshold
}

func benchCommand() *cobra.Command {
	var b bencher
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how many payments a gateway takes, and how long each waits",
		Example: `  kessai bench
  kessai bench --rate 50000 --duration 30s --threshold 'p99<10ms' --threshold 'errors<1'
  kessai bench --peers --rounds 5 --json result.json --html result.html
  kessai bench --addr 127.0.0.1:8583 --conns 64 --window 32
  kessai bench --scenario validity --threshold 'ratios.postgres>=200' --html validity.html
  kessai bench --scenario reader --rounds 7 --threshold 'p256.payments_per_s>=5000'`,
		Long: `Starts a gateway of its own as a separate process, on a new folder with
generated cards and terminals, asks it for payments from this process, and prints
throughput, latency, the stages of the hot path against their budget, and whether
the book agrees with every answer. --addr measures a gateway that runs already and
whose registry was filled with what kessai bench registry writes.

--rate 0 (the default) is a closed loop: each connection keeps --window requests in
flight. --rate N is an open loop: N requests a second become due whatever the
answers do, and latency counts from when a request was due.

Over JSON a connection carries one request at a time, and so there are
--conns times --window connections. docs/BENCH.md says what the numbers mean and
what they do not.

--scenario validity measures what it costs to judge media and terminals: from
memory in each mode, by asking the registry every time, and by asking PostgreSQL
every time; and what refreshes and changes do to a gateway under load.
docs/VALIDITY.md has its numbers and their names. The registry has ten million
media there, unless --media says otherwise: filling it takes minutes, and --data
keeps it for the next time.

--scenario reader measures the key pairs that a card reader's payments are sealed
with, one for each payment, beside RSA-2048. It starts no gateway.

Exit code 6: a threshold or a budget was missed, a verdict was wrong, or the book
does not agree.`,
		Args: cobra.NoArgs,
	}
	b.flags(cmd)
	b.validityFlags(cmd)
	// Unlike a group, it does something without a command behind it.
	cmd.SetUsageTemplate(strings.Replace(usageTemplate, "{{.CommandPath}} COMMAND{{else}}", "{{.UseLine}}\n  {{.CommandPath}} COMMAND{{else}}", 1))
	cmd.RunE = action("run the benchmark", func(cmd *cobra.Command, _ []string) error {
		b.stdout, b.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		b.scenarioDefaults(cmd)
		switch b.scenario {
		case scenarioPurchase:
			return b.run(cmd.Context())
		case scenarioValidity:
			return b.validity(cmd.Context())
		case scenarioReader:
			return b.reader(cmd.Context())
		}
		return usage("--scenario "+b.scenario+" cannot be used", "there is no such scenario", "give purchase, validity or reader")
	})
	cmd.AddCommand(benchRegistryCommand(), benchScaleCommand(), benchPeerCommand())
	return cmd
}

func (b *bencher) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&b.addr, "addr", "", "`ADDRESS` of a gateway that runs already (default: one is started)")
	f.StringVar(&b.http, "http", "", "`ADDRESS` of that gateway's JSON API, for its metrics")
	f.StringVar(&b.data, "data", "", "data `FOLDER` of the gateway, which is kept (default: a temporary one, which is not)")
	f.StringVar(&b.wire, "wire", "iso", "iso or json")
	f.IntVar(&b.o.Conns, "conns", 8, "connections")
	f.IntVar(&b.o.Window, "window", 256, "requests in flight on each connection, at most")
	f.Float64Var(&b.o.Rate, "rate", 0, "requests a second over all connections; 0: as fast as answers come")
	f.DurationVar(&b.o.Duration, "duration", 10*time.Second, "how long it is measured")
	f.DurationVar(&b.o.Warmup, "warmup", 2*time.Second, "how long it runs before that")
	f.Uint64Var(&b.o.Seed, "seed", 1, "draws the cards, amounts and kinds")
	f.StringVar(&b.mix, "mix", "purchase=100", "`PARTS` of purchase, balance and reversal, such as purchase=90,balance=5,reversal=5")
	f.IntVar(&b.media, "media", 100_000, "cards in the registry, each with a customer")
	f.IntVar(&b.terms, "terminals", 1000, "terminals in the registry, of a hundred merchants at most")
	f.IntVar(&b.book, "book", 0, "transactions that are in the book before, of other customers")
	f.IntVar(&b.procs, "procs", 0, "processors that the gateway may use; 0: all")
	f.StringVar(&b.dialect, "dialect", iso8583.ASCII, "dialect of the ISO 8583 messages")
	f.StringVar(&b.framing, "framing", iso8583.Binary2.String(), "binary2, ascii4 or bcd2")
	f.StringVar(&b.json, "json", "", "write the result to `FILE` as JSON")
	f.StringVar(&b.html, "html", "", "write a page with curves to `FILE`")
	f.StringVar(&b.hgrm, "hgrm", "", "write the distribution of the latency to `FILE`, in the form of HdrHistogram")
	f.StringArrayVar(&b.thresholds, "threshold", nil, "`BOUND` that must be kept, such as 'p99<10ms', 'throughput>50000', 'missed<1'; may be repeated")
	f.BoolVar(&b.budget, "budget", false, "fail when a stage's p50 or p99 is over configs/budget.yaml")
	f.StringArrayVar(&b.gatewaySet, "gateway-set", nil, "`KEY=VALUE` setting for the gateway that is started; may be repeated")
	f.BoolVar(&b.peers, "peers", false, "measure other programs in turn with this one, and give the ratios")
	f.IntVar(&b.rounds, "rounds", 5, "with --peers, validity and reader: how often each is measured; medians count")
}

const maxBook = 100_000_000

// maxPeerConns is what floor and moov take.
const maxPeerConns = 1024

func (b *bencher) check() error {
	fault := func(flag, why, next string) error { return usage("--"+flag+" cannot be used", why, next) }
	var err error
	if b.o.Mix, err = loadgen.ParseMix(b.mix); err != nil {
		return fault("mix", err.Error(), "give the parts of each kind")
	}
	if b.o.JSON = b.wire == "json"; !b.o.JSON && b.wire != "iso" {
		return fault("wire", "there is no wire of that name", "give iso or json")
	}
	if b.o.Dialect, err = findDialect(b.dialect, ""); err != nil {
		return fault("dialect", err.Error(), "give one of the built-in dialects")
	}
	if b.o.Framing.Length, err = iso8583.ParseLengthForm(b.framing); err != nil {
		return fault("framing", err.Error(), "give binary2, ascii4 or bcd2")
	}
	for _, text := range b.thresholds {
		t, err := bench.ParseThreshold(text)
		if err != nil {
			return fault("threshold", err.Error(), "see kessai bench --help")
		}
		b.bounds = append(b.bounds, t)
	}
	b.o.Population = loadgen.Population{Media: b.media, Terminals: b.terms}
	if err := b.o.Validate(); err != nil {
		return usage("the benchmark cannot be run so", err.Error(), "see kessai bench --help")
	}
	switch {
	case b.addr != "" && (b.peers || b.data != "" || len(b.gatewaySet) > 0 || b.book != 0 || b.procs != 0):
		return fault("addr", "the gateway runs already", "leave out --peers, --data, --gateway-set, --book and --procs")
	case b.book < 0 || b.book > maxBook:
		return fault("book", fmt.Sprintf("it must be 0 to %d", maxBook), "give a smaller number")
	case b.book > 0 && b.data != "":
		return fault("book", "it fills a new book only", "leave out --data")
	case b.procs < 0 || b.procs > 1024:
		return fault("procs", "it must be 0 to 1024", "leave it out to use all")
	case b.addr == "" && b.http != "":
		return fault("http", "the gateway is started here", "give --addr too, or leave it out")
	case b.addr != "" && b.budget && b.http == "":
		return fault("budget", "the gateway's stages are in its metrics", "give --http too")
	case b.peers && b.o.JSON:
		return fault("peers", "the other programs speak ISO 8583 only", "leave out --wire json")
	case b.peers && b.o.Conns > maxPeerConns:
		return fault("peers", fmt.Sprintf("the other programs take %d connections at most", maxPeerConns), "give fewer --conns")
	case b.rounds < 1 || b.rounds > 100:
		return fault("rounds", "it must be 1 to 100", "five are enough as a rule")
	}
	return nil
}

func (b *bencher) run(ctx context.Context) error {
	if err := b.check(); err != nil {
		return err
	}
	var r *bench.Result
	var err error
	var histogram io.WriterTo
	switch {
	case b.addr != "":
		r, histogram, err = b.there(ctx)
	default:
		r, histogram, err = b.here(ctx)
	}
	if err != nil {
		return err
	}
	if err := r.WriteTable(b.stdout); err != nil {
		return err
	}
	if err := b.files(r, histogram); err != nil {
		return err
	}
	return b.verdict(r)
}

// there measures a gateway that runs already.
func (b *bencher) there(ctx context.Context) (*bench.Result, io.WriterTo, error) {
	o := b.o
	o.Addr = b.addr
	m := &measurement{bencher: b, name: "kessai", http: b.http}
	out, err := m.run(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	r := m.result(out)
	r.Settings.Addr = b.addr
	r.Note(nil, "the book of a gateway that goes on running cannot be read; run kessai bench without --addr for that")
	return r, benchreport.Distribution{Histogram: out.Latency}, nil
}

// measurement is one run of load, with what the gateway says of itself.
type measurement struct {
	*bencher
	name          string
	http          string // where the metrics are; empty: not asked for
	began         time.Time
	before, after *bench.Scrape
	scrapeErr     error
	cpu           time.Duration // of this process, while it was measured
}

func (m *measurement) run(ctx context.Context, o loadgen.Options) (*loadgen.Outcome, error) {
	live := newLive(m.stderr, m.name)
	o.Progress = live.show
	cpu := time.Duration(0)
	o.Measuring = func() {
		cpu = cpuTime()
		if m.http != "" {
			m.before, m.scrapeErr = bench.ScrapeMetrics(ctx, m.http)
		}
	}
	m.began = time.Now()
	out, err := loadgen.Run(ctx, o)
	m.cpu = cpuTime() - cpu
	live.clear()
	if err != nil {
		return nil, runError(o.Addr, err)
	}
	if m.before != nil {
		m.after, m.scrapeErr = bench.ScrapeMetrics(ctx, m.http)
	}
	if m.scrapeErr != nil {
		return nil, fail("the gateway's metrics could not be read", m.scrapeErr, "check --http, or leave it out")
	}
	return out, nil
}

func runError(addr string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return fail("the benchmark was ended", err, "let it run to its end")
	case isDial(err):
		return &exitError{exitConnect, "cannot connect to " + addr, plainNet(err), "check that a gateway listens there"}
	}
	return fail("the benchmark failed", err, "check that --wire, --dialect and --framing are the gateway's, and its limits on connections; its log says why it closed one")
}

func (m *measurement) result(out *loadgen.Outcome) *bench.Result {
	version, _ := buildVersion()
	r := bench.NewResult(version, m.began, m.settings(), out)
	r.CPU.Generator = m.cpu.Seconds()
	if m.after != nil {
		b, err := gateway.ParseBudget(configs.Budget)
		if err == nil { // a test of configs sees to it
			r.Compare(m.before, m.after, b)
		}
	}
	return r
}

func (b *bencher) settings() bench.Settings {
	s := bench.Settings{
		Wire: b.wire, Conns: b.o.Conns, Window: b.o.Window, Rate: b.o.Rate,
		Duration: b.o.Duration.String(), Warmup: b.o.Warmup.String(), Seed: b.o.Seed, Mix: b.o.Mix.String(),
		Media: b.media, Terminals: b.terms, Gateway: b.gatewaySet,
		Book: b.book, Procs: b.procs,
	}
	if !b.o.JSON {
		s.Dialect, s.Framing = b.dialect, b.framing
	}
	if b.peers {
		s.Rounds = b.rounds
	}
	return s
}

// files writes the result in the forms that were asked for.
func (b *bencher) files(r *bench.Result, histogram io.WriterTo) error {
	for _, f := range []struct {
		flag, path string
		content    io.WriterTo
	}{{"json", b.json, benchreport.JSON{Result: r}}, {"html", b.html, benchreport.Page{Result: r}}, {"hgrm", b.hgrm, histogram}} {
		if f.path == "" {
			continue
		}
		if err := writeTo(f.flag, f.path, f.content); err != nil {
			return err
		}
	}
	return nil
}

// writeTo writes a file that a flag asked for.
func writeTo(flag, path string, content io.WriterTo) error {
	var text bytes.Buffer
	if _, err := content.WriteTo(&text); err != nil {
		return err
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return fail("cannot write "+path, errors.New(plainPath(err)), "give --"+flag+" something in a folder that exists")
	}
	return nil
}

// verdict is the end: a book that disagrees, thresholds and budget.
func (b *bencher) verdict(r *bench.Result) error {
	if r.BookAgrees != nil && !*r.BookAgrees {
		return &exitError{exitMissed, "the book does not agree with the answers", r.BookNote, "run it again with --data to keep the folder, and look with kessai verify"}
	}
	var missed []string
	for _, t := range b.bounds {
		if why := t.Check(r); why != "" {
			missed = append(missed, why)
		}
	}
	if b.budget {
		missed = append(missed, r.OverBudget()...)
	}
	return missedError(missed, "look at the stages in the table for where the time goes")
}

func missedError(missed []string, next string) error {
	if len(missed) == 0 {
		return nil
	}
	return &exitError{exitMissed, fmt.Sprintf("%d of the bounds were missed", len(missed)), strings.Join(missed, "; "), next}
}
