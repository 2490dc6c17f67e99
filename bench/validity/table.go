package validity

import (
	"fmt"
	"io"
	"text/tabwriter"

	"kessai/bench"
)

// WriteTable prints a result for people.
func (r *Result) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if r.Asked > 0 {
		r.writeModes(w)
	}
	for _, name := range r.ModeOrder() {
		if m := r.Modes[name]; m.Resident > 0 {
			fmt.Fprintf(w, "gateway in mode %s\tstarts in %.1f s\t%.0f MiB resident\ttakes %s payments a second\n", name, m.StartSecs, mib(m.Resident), bench.Grouped(m.Payments))
		}
	}
	if r.Load != nil {
		r.writeLoad(w)
	}
	return w.Flush()
}

func (r *Result) writeModes(w io.Writer) {
	fmt.Fprintf(w, "%s media, %s terminals; %s verdicts, %s of them wrong\n\n", bench.Grouped(float64(r.Settings.Media)),
		bench.Grouped(float64(r.Settings.Terminals)), bench.Grouped(float64(r.Asked)), bench.Grouped(float64(r.Wrong)))
	fmt.Fprintf(w, "mode\tfirst answer\thad to wait\tverdict\ta second\tallocations\tmemory\ta medium\tread in\n")
	for _, name := range r.ModeOrder() {
		m := r.Modes[name]
		fmt.Fprintf(w, "%s\t%s\t%.1f %%\t%s\t%s\t%.2f\t%.1f MiB\t%.2f bytes\t%.1f s\n", name, nanoseconds(m.Early.NS), 100*m.Early.Waited,
			nanoseconds(m.Verdict.NS), bench.Grouped(m.Verdict.PerSecond), m.Verdict.Allocs, mib(m.Bytes), m.BytesMedium, m.LoadSeconds)
	}
	for _, name := range []string{"registry", "postgres"} {
		if o := r.Others[name]; o != nil {
			fmt.Fprintf(w, "%s, every time\t\t\t%s\t%s\t%.2f\t\t\t\tboth is %.1f times faster\n", name, nanoseconds(o.NS), bench.Grouped(o.PerSecond), o.Allocs, r.Ratios[name])
		}
	}
	fmt.Fprintf(w, "\nmode both: %s, of which %s make the card number a keyed hash; %s each where %d come together; %s from the bytes of the whole message\n",
		nanoseconds(r.JudgeNS), nanoseconds(r.NameNS), nanoseconds(r.TogetherNS), together, nanoseconds(r.MessageNS))
}

func (r *Result) writeLoad(w io.Writer) {
	fmt.Fprintf(w, "\nwhile\ta second\tp50\tp99\tby quiet\tp999\tmissed\tdeclined\terrors\ttimes\teach took\tthe longest\n")
	for _, name := range PhaseOrder {
		p := r.Load.Phases[name]
		if p == nil {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.2f\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", PhaseWhat[name], bench.Grouped(p.Rate), bench.Milliseconds(p.Latency.P50), bench.Milliseconds(p.Latency.P99),
			r.Load.Ratios[name], bench.Milliseconds(p.Latency.P999), p.Missed, p.Declined, p.Errors, p.Events, bench.Milliseconds(p.EventMS), bench.Milliseconds(p.EventMax))
	}
}

func mib(bytes int) float64 { return float64(bytes) / (1 << 20) }

func nanoseconds(ns float64) string {
	if ns < 1000 {
		return fmt.Sprintf("%.0f ns", ns)
	}
	return bench.Microseconds(ns / 1000)
}
