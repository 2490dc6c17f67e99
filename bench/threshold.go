package bench

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Threshold is a bound that a result must keep, such as p99<10ms.
type Threshold struct {
	text   string
	what   string
	than   string  // <, <=, > or >=
	bound  float64 // milliseconds, or a number
	timely bool    // it bounds a time
}

// measures are what can be bounded.
var measures = map[string]func(*Result) float64{
	"p50":        func(r *Result) float64 { return r.Latency.P50 },
	"p90":        func(r *Result) float64 { return r.Latency.P90 },
	"p99":        func(r *Result) float64 { return r.Latency.P99 },
	"p999":       func(r *Result) float64 { return r.Latency.P999 },
	"max":        func(r *Result) float64 { return r.Latency.Max },
	"throughput": func(r *Result) float64 { return r.Throughput },
	"missed":     func(r *Result) float64 { return float64(r.Missed) },
	"declined":   func(r *Result) float64 { return float64(r.Declined) },
	"errors":     func(r *Result) float64 { return float64(r.Errors) },
}

var thresholdForm = regexp.MustCompile(`^\s*([a-z0-9]+)\s*(<=|>=|<|>)\s*(\S+)\s*$`)

// ParseThreshold reads a bound: p50, p90, p99, p999 or max of the latency against
// a duration, or throughput, missed, declined or errors against a number.
func ParseThreshold(s string) (Threshold, error) {
	m := thresholdForm.FindStringSubmatch(s)
	if m == nil {
		return Threshold{}, fmt.Errorf("%q is no threshold; a threshold is p99<10ms or throughput>50000", s)
	}
	t := Threshold{text: strings.TrimSpace(s), what: m[1], than: m[2]}
	if measures[t.what] == nil {
		return Threshold{}, fmt.Errorf("%q bounds nothing that is measured; p50, p90, p99, p999, max, throughput, missed, declined and errors are", s)
	}
	if t.timely = t.what[0] == 'p' || t.what == "max"; t.timely {
		d, err := time.ParseDuration(m[3])
		if err != nil || d < 0 {
			return Threshold{}, fmt.Errorf("%q needs a duration such as 10ms or 250us", s)
		}
		t.bound = float64(d) / 1e6
		return t, nil
	}
	n, err := strconv.ParseFloat(m[3], 64)
	if err != nil || n < 0 || math.IsInf(n, 0) || math.IsNaN(n) {
		return Threshold{}, fmt.Errorf("%q needs a number", s)
	}
	t.bound = n
	return t, nil
}

// Check gives nothing where the result keeps the bound, and what it was where not.
// A latency of nothing keeps no bound.
func (t Threshold) Check(r *Result) string {
	v := measures[t.what](r)
	kept := map[string]bool{"<": v < t.bound, "<=": v <= t.bound, ">": v > t.bound, ">=": v >= t.bound}[t.than]
	if t.timely && r.Sent+r.Missed == 0 {
		return t.text + ": nothing was asked"
	}
	if kept {
		return ""
	}
	if t.timely {
		return fmt.Sprintf("%s: it was %s", t.text, Milliseconds(v))
	}
	return fmt.Sprintf("%s: it was %s", t.text, Grouped(v))
}

// OverBudget names the stages whose p50 or p99 is over budget, in order of name.
func (r *Result) OverBudget() (over []string) {
	for name, s := range r.Stages {
		for _, b := range []struct {
			what       string
			was, bound float64
		}{{"p50", s.P50, s.BudgetP50}, {"p99", s.P99, s.BudgetP99}} {
			if b.bound > 0 && b.was > b.bound {
				over = append(over, fmt.Sprintf("%s %s: %s, budget %s", name, b.what, Microseconds(b.was), Microseconds(b.bound)))
			}
		}
	}
	slices.Sort(over)
	return over
}
