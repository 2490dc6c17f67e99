package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"kessai/bench"
	"kessai/bench/validity"
)

//go:embed validity.html
var validityText string

var validityTemplate = template.Must(template.Must(pageTemplate.Clone()).Funcs(template.FuncMap{
	"ns": nanoseconds, "mb": func(b int) string { return fmt.Sprintf("%.1f MiB", float64(b)/(1<<20)) },
}).New("validity").Parse(validityText))

// ValidityJSON writes what judging costs for programs.
type ValidityJSON struct{ *validity.Result }

// WriteTo writes it, indented.
func (j ValidityJSON) WriteTo(w io.Writer) (int64, error) {
	b, err := json.MarshalIndent(j.Result, "", "  ")
	if err != nil {
		return 0, err
	}
	n, err := w.Write(append(b, '\n'))
	return int64(n), err
}

// ValidityDrawings gives the drawings of a result by the names of their files.
func ValidityDrawings(r *validity.Result) (map[string][]byte, error) {
	files := make(map[string][]byte)
	for name, b := range validityBars(r) {
		var out bytes.Buffer
		if err := b.write(&out); err != nil {
			return nil, err
		}
		files["validity-"+name+".svg"] = out.Bytes()
	}
	return files, nil
}

func validityBars(r *validity.Result) map[string]bars {
	all := make(map[string]bars)
	var times, memory, phases []bar
	measured := func(name string, m *validity.Measured, second bool) {
		times = append(times, bar{Name: name, value: m.NS, rounds: m.Rounds, Text: nanoseconds(m.NS), Second: second})
	}
	for _, name := range r.ModeOrder() {
		m := r.Modes[name]
		if r.Asked == 0 {
			break
		}
		if name != "both" {
			measured(name+", at first", m.Early, true)
		}
		measured(name, m.Verdict, false)
		memory = append(memory, bar{Name: name, value: float64(m.Bytes) / (1 << 20),
			Text: fmt.Sprintf("%.1f MiB, %.2f bytes a medium", float64(m.Bytes)/(1<<20), m.BytesMedium)})
	}
	for _, name := range []string{"registry", "postgres"} {
		if m := r.Others[name]; m != nil {
			measured(name+", every time", m, false)
		}
	}
	if len(times) > 0 {
		all["time"] = drawBars("time of one verdict; dots are rounds, bars their medians", times, true, nanoseconds)
		all["memory"] = drawBars(fmt.Sprintf("memory of the facts about %s media and %s terminals, MiB", bench.Grouped(float64(r.Settings.Media)), bench.Grouped(float64(r.Settings.Terminals))),
			memory, false, func(v float64) string { return fmt.Sprintf("%g", v) })
	}
	if r.Load == nil {
		return all
	}
	for _, name := range validity.PhaseOrder {
		if p := r.Load.Phases[name]; p != nil {
			phases = append(phases, bar{Name: name, value: p.Latency.P99, rounds: p.P99s, Text: bench.Milliseconds(p.Latency.P99), Second: name == "quiet"})
		}
	}
	all["load"] = drawBars(fmt.Sprintf("p99 at %s payments a second; dots are rounds, bars their medians", bench.Grouped(r.Load.Rate)), phases, false,
		func(v float64) string { return fmt.Sprintf("%g ms", v) })
	return all
}

// ValidityPage writes a result as one HTML file that needs nothing else.
type ValidityPage struct{ *validity.Result }

// WriteTo writes the page.
func (p ValidityPage) WriteTo(w io.Writer) (int64, error) {
	type phase struct {
		Name, What string
		*validity.Phase
		Ratio float64
	}
	v := struct {
		*validity.Result
		Drawings map[string]template.HTML
		Order    []string
		Phases   []phase
		Facts    []row
	}{Result: p.Result, Drawings: make(map[string]template.HTML), Order: p.ModeOrder()}
	for name, b := range validityBars(p.Result) {
		var out strings.Builder
		if err := b.write(&out); err != nil {
			return 0, err
		}
		// Its style is meant for a file of its own, and would reach the whole page.
		text := out.String()
		from, to := strings.Index(text, "<style>"), strings.Index(text, "</style>")
		text = strings.Replace(text[:from]+text[to+len("</style>"):], ` xmlns="http://www.w3.org/2000/svg"`, "", 1)
		v.Drawings[name] = template.HTML(strings.Replace(text, ` fill="#fff"`, ` class="ground"`, 1))
	}
	if p.Load != nil {
		for _, name := range validity.PhaseOrder {
			if ph := p.Load.Phases[name]; ph != nil {
				v.Phases = append(v.Phases, phase{name, validity.PhaseWhat[name], ph, p.Load.Ratios[name]})
			}
		}
	}
	s, m := p.Settings, p.Machine
	v.Facts = []row{
		{"version", p.Version}, {"measured", p.At.Format("2006-01-02 15:04:05 MST")},
		{"processor", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores)}, {"memory", m.Memory}, {"kernel", m.Kernel + ", " + m.OS}, {"Go", m.Go},
		{"PostgreSQL", p.Postgres},
		{"registry", fmt.Sprintf("%s media (%s not valid), %s terminals", bench.Grouped(float64(s.Media)), bench.Grouped(float64(s.Invalid)), bench.Grouped(float64(s.Terminals)))},
		{"rounds", fmt.Sprintf("%d, of %s for each", s.Rounds, s.Slot)}, {"seed", fmt.Sprint(s.Seed)},
	}
	v.Facts = slices.DeleteFunc(v.Facts, func(r row) bool { return r.Value == "" })
	var b bytes.Buffer
	if err := validityTemplate.Execute(&b, v); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}
