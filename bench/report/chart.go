package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"kessai/bench"
)

// chart is a drawing of curves in SVG units, of the size of its view box.
type chart struct {
	Curves []curve
	X, Y   []tick
	XName  string
	YName  string
}

type curve struct {
	Name   string
	Points template.HTMLAttr // of a polyline
	Class  string
}

type tick struct {
	At   float64
	Text string
}

// The frame that curves are drawn in, in units of the view box.
const (
	left, right, top, bottom = 64.0, 736.0, 14.0, 256.0
)

// latencyChart shows how much of a hundred is answered within how long. The axis
// of percentiles is logarithmic towards 100, and so is that of time.
func latencyChart(r *bench.Result) chart {
	c := chart{XName: "percentile", YName: "latency"}
	low, high := math.Inf(1), 0.0
	last := 90.0
	for _, points := range [][]bench.Point{r.LatencyCurve, r.ServiceCurve} {
		for _, p := range points {
			if p.MS > 0 {
				low, high = min(low, p.MS), max(high, p.MS)
			}
			if p.Percentile < 100 {
				last = max(last, p.Percentile)
			}
		}
	}
	if high == 0 {
		return c
	}
	bottomDecade, topDecade := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high*1.0001))
	nines := max(1, math.Ceil(-math.Log10(1-last/100)))
	x := func(percentile float64) float64 {
		return left + (right-left)*min(nines, -math.Log10(max(1e-12, 1-percentile/100)))/nines
	}
	y := func(ms float64) float64 {
		return bottom - (bottom-top)*(math.Log10(max(ms, 1e-6))-bottomDecade)/max(1, topDecade-bottomDecade)
	}
	for d := bottomDecade; d <= topDecade; d++ {
		c.Y = append(c.Y, tick{y(math.Pow(10, d)), decade(d)})
	}
	c.X = append(c.X, tick{x(0), "0"}, tick{x(50), "50"})
	for n := 1.0; n <= nines; n++ {
		percentile := 100 * (1 - math.Pow(10, -n))
		c.X = append(c.X, tick{x(percentile), fmt.Sprintf("%.*f", int(max(0, n-2)), percentile)})
	}
	draw := func(name, class string, points []bench.Point) {
		var at []string
		for _, p := range points {
			at = append(at, fmt.Sprintf("%.1f,%.1f", x(p.Percentile), y(p.MS)))
		}
		c.Curves = append(c.Curves, newCurve(name, class, at))
	}
	draw("from when it was due", "a", r.LatencyCurve)
	if r.Settings.Rate > 0 {
		draw("from when it was sent", "b", r.ServiceCurve)
	}
	return c
}

// decade writes a power of ten of milliseconds.
func decade(d float64) string {
	switch {
	case d >= 3:
		return fmt.Sprintf("%g s", math.Pow(10, d-3))
	case d >= 0:
		return fmt.Sprintf("%g ms", math.Pow(10, d))
	}
	return fmt.Sprintf("%g µs", math.Round(math.Pow(10, d+6))/1000)
}

// throughputChart shows the answers of each second, from zero up.
func throughputChart(r *bench.Result) chart {
	c := chart{XName: "seconds", YName: "a second"}
	if len(r.Series) == 0 {
		return c
	}
	high := 0.0
	for _, v := range r.Series {
		high = max(high, v)
	}
	step := niceStep(max(high, 1) / 4)
	high = math.Ceil(max(high, 1)/step) * step
	x := func(second float64) float64 { return left + (right-left)*second/float64(len(r.Series)) }
	y := func(v float64) float64 { return bottom - (bottom-top)*v/high }
	for v := 0.0; v <= high*1.0001; v += step {
		c.Y = append(c.Y, tick{y(v), bench.Grouped(v)})
	}
	xStep := max(1, niceStep(float64(len(r.Series))/8))
	for s := 0.0; s <= float64(len(r.Series)); s += xStep {
		c.X = append(c.X, tick{x(s), bench.Grouped(s)})
	}
	var at []string
	for i, v := range r.Series {
		at = append(at, fmt.Sprintf("%.1f,%.1f", x(float64(i)), y(v)), fmt.Sprintf("%.1f,%.1f", x(float64(i+1)), y(v)))
	}
	c.Curves = append(c.Curves, newCurve("answers", "a", at))
	return c
}

// newCurve makes the attribute of a polyline out of numbers that were formatted
// here, so that nothing in it needs escaping.
func newCurve(name, class string, at []string) curve {
	return curve{name, template.HTMLAttr(`points="` + strings.Join(at, " ") + `"`), class}
}

// niceStep gives the step of 1, 2 or 5 times a power of ten that is at least v.
func niceStep(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(max(v, 1e-9))))
	for _, n := range []float64{1, 2, 5} {
		if n*unit >= v {
			return n * unit
		}
	}
	return 10 * unit
}
