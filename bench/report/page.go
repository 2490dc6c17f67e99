package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kessai/bench"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ms": bench.Milliseconds, "us": bench.Microseconds, "n": bench.Grouped, "mib": func(b *float64) string { return bench.Grouped(*b / (1 << 20)) },
	"over": func(was, bound float64) bool { return bound > 0 && was > bound },
	"percent": func(was, bound float64) string {
		return strconv.FormatFloat(100*min(1, was/max(bound, 1e-9)), 'f', 1, 64)
	},
}).Parse(pageText))

// Page writes a result as one HTML file: no script, no picture, no font from
// anywhere else.
type Page struct{ *bench.Result }

// WriteTo writes the page.
func (p Page) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p.view()); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

// view is what the page shows, in the order in which it does.
type view struct {
	*bench.Result
	Verdict          string
	Agrees           bool
	Tiles            []row
	Counts, Facts    []row
	Stages           []stage
	Peers            []peer
	Latency, Through chart
}

type row struct{ Name, Value string }

type stage struct {
	Name string
	bench.Stage
}

type peer struct {
	Name  string
	Ratio float64
	Width string // of its bar, percent of the fastest
	bench.Peer
}

func (p Page) view() *view {
	r := p.Result
	v := &view{
		Result: r, Verdict: r.BookVerdict(), Agrees: r.BookAgrees != nil && *r.BookAgrees,
		Latency: latencyChart(r), Through: throughputChart(r),
		Tiles: []row{{"a second", bench.Grouped(r.Throughput)}, {"p50", bench.Milliseconds(r.Latency.P50)}, {"p99", bench.Milliseconds(r.Latency.P99)},
			{"p999", bench.Milliseconds(r.Latency.P999)}, {"longest", bench.Milliseconds(r.Latency.Max)}},
	}
	for _, c := range []struct {
		name string
		n    int64
	}{{"sent", r.Sent}, {"answered", r.Answered}, {"missed", r.Missed}, {"approved", r.Approved}, {"declined", r.Declined}, {"errors", r.Errors}} {
		v.Counts = append(v.Counts, row{c.name, bench.Grouped(float64(c.n))})
	}
	for _, name := range bench.StageOrder {
		if s, ok := r.Stages[name]; ok {
			v.Stages = append(v.Stages, stage{name, s})
		}
	}
	v.Peers = peersOf(r)
	v.Facts = facts(r)
	return v
}

func peersOf(r *bench.Result) (ps []peer) {
	if len(r.Peers) == 0 {
		return nil
	}
	top := r.Throughput
	for _, p := range r.Peers {
		top = max(top, p.Throughput)
	}
	width := func(v float64) string { return strconv.FormatFloat(100*v/max(top, 1), 'f', 1, 64) }
	ps = append(ps, peer{"Kessai", 1, width(r.Throughput), bench.Peer{Throughput: r.Throughput, Latency: r.Latency, Rounds: r.Rounds}})
	for _, name := range slices.Sorted(maps.Keys(r.Peers)) {
		ps = append(ps, peer{name, r.Ratios[name], width(r.Peers[name].Throughput), r.Peers[name]})
	}
	return ps
}

func facts(r *bench.Result) []row {
	s, m := r.Settings, r.Machine
	loop := "closed: as fast as answers come"
	if s.Rate > 0 {
		loop = "open: " + bench.Grouped(s.Rate) + " a second"
	}
	f := []row{
		{"version", r.Version}, {"measured", r.At.Format("2006-01-02 15:04:05 MST")},
		{"processor", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores)}, {"memory", m.Memory}, {"kernel", m.Kernel + ", " + m.OS}, {"Go", m.Go},
		{"wire", strings.Join(slices.DeleteFunc([]string{s.Wire, s.Dialect, s.Framing}, func(t string) bool { return t == "" }), ", ")},
		{"connections × window", fmt.Sprintf("%d × %d", s.Conns, s.Window)}, {"loop", loop},
		{"duration", s.Duration + " after a warm-up of " + s.Warmup}, {"mix", s.Mix}, {"seed", strconv.FormatUint(s.Seed, 10)},
		{"registry", fmt.Sprintf("%s cards, %s terminals", bench.Grouped(float64(s.Media)), bench.Grouped(float64(s.Terminals)))},
	}
	if len(s.Gateway) > 0 {
		f = append(f, row{"gateway settings", strings.Join(s.Gateway, " ")})
	}
	if r.CPU.Gateway != nil {
		f = append(f, row{"processor time", fmt.Sprintf("%.1f s gateway, %.1f s generator", *r.CPU.Gateway, r.CPU.Generator)})
	}
	if r.AllocsPerOp != nil {
		f = append(f, row{"allocations", strconv.FormatFloat(*r.AllocsPerOp, 'f', 2, 64) + " a request"})
	}
	if r.Resident != nil {
		f = append(f, row{"resident memory", bench.Grouped(*r.Resident/(1<<20)) + " MiB"})
	}
	return f
}
