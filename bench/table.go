package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// StageOrder is the order in which a request goes through the stages.
var StageOrder = []string{"decode", "judge", "decide", "commit", "encode"}

// WriteTable prints a result for people.
func (r *Result) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	s := r.Settings
	loop := "closed loop"
	if s.Rate > 0 {
		loop = fmt.Sprintf("open loop, %s a second", Grouped(s.Rate))
	}
	fmt.Fprintf(w, "throughput\t%s a second\t(%s, %d × %d, %s, %s)\n\n", Grouped(r.Throughput), s.Wire, s.Conns, s.Window, loop, s.Duration)
	fmt.Fprintf(w, "\tp50\tp90\tp99\tp999\tmax\n")
	for _, row := range []struct {
		name string
		p    Percentiles
	}{{"latency", r.Latency}, {"service", r.Service}} {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", row.name, Milliseconds(row.p.P50), Milliseconds(row.p.P90),
			Milliseconds(row.p.P99), Milliseconds(row.p.P999), Milliseconds(row.p.Max))
	}
	fmt.Fprintf(w, "\nsent\t%s\tanswered\t%s\tmissed\t%s\n", count(r.Sent), count(r.Answered), count(r.Missed))
	fmt.Fprintf(w, "approved\t%s\tdeclined\t%s\terrors\t%s\n", count(r.Approved), count(r.Declined), count(r.Errors))
	r.writeStages(w)
	r.writePeers(w)
	fmt.Fprintln(w)
	if r.AllocsPerOp != nil {
		fmt.Fprintf(w, "allocations\t%.2f a request\n", *r.AllocsPerOp)
	}
	if r.CPU.Gateway != nil {
		fmt.Fprintf(w, "processor\t%.1f s gateway, %.1f s generator\n", *r.CPU.Gateway, r.CPU.Generator)
	} else {
		fmt.Fprintf(w, "processor\t%.1f s generator\n", r.CPU.Generator)
	}
	if r.Resident != nil {
		fmt.Fprintf(w, "memory\t%s MiB resident\n", Grouped(*r.Resident/(1<<20)))
	}
	fmt.Fprintf(w, "book\t%s\n", r.BookVerdict())
	return w.Flush()
}

func (r *Result) writeStages(w io.Writer) {
	if len(r.Stages) == 0 {
		return
	}
	fmt.Fprintf(w, "\nstage\tp50\tbudget\tp99\tbudget\n")
	for _, name := range StageOrder {
		s := r.Stages[name]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, Microseconds(s.P50), Microseconds(s.BudgetP50), Microseconds(s.P99), Microseconds(s.BudgetP99))
	}
}

func (r *Result) writePeers(w io.Writer) {
	if len(r.Peers) == 0 {
		return
	}
	fmt.Fprintf(w, "\npeer\ta second\tKessai is\tp99\tbut\n")
	for _, name := range slices.Sorted(maps.Keys(r.Peers)) {
		p := r.Peers[name]
		fmt.Fprintf(w, "%s\t%s\t%.2f ×\t%s\t%s\n", name, Grouped(p.Throughput), r.Ratios[name], known(p.Latency.P99), p.Caveat)
	}
}

// known writes a time, and nothing for zero, which is a time that nobody measured.
func known(ms float64) string {
	if ms == 0 {
		return ""
	}
	return Milliseconds(ms)
}

// BookVerdict says in words whether the book agrees.
func (r *Result) BookVerdict() string {
	verdict := "not checked"
	if r.BookAgrees != nil {
		if verdict = "DISAGREES"; *r.BookAgrees {
			verdict = "agrees"
		}
	}
	if r.BookNote != "" {
		verdict += ": " + r.BookNote
	}
	return verdict
}
