package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"

	"kessai/bench"
)

//go:embed bars.svg
var barsText string

var barsTemplate = template.Must(template.New("bars").Parse(barsText))

// bars is a drawing of one bar for each of some things.
type bars struct {
	Title  string
	Rows   []bar
	Ticks  []tick
	Height float64
	Bottom float64 // of the grid
}

// bar is one of them. Dots are single rounds, of which the bar is the median.
type bar struct {
	Name, Text string
	Y, Width   float64
	At         float64 // where its text begins
	Dots       []float64
	value      float64
	rounds     []float64
	Second     bool // drawn in the second colour
}

// The frame of the bars, in units of the view box.
const (
	barsLeft, barsRight, barsTop, barStep = 190.0, 640.0, 34.0, 26.0
)

// drawBars fills in the places. With decades, lengths are powers of ten from the
// power below the least value on; else they begin at zero.
func drawBars(title string, rows []bar, decades bool, unit func(float64) string) bars {
	b := bars{Title: title, Rows: rows, Bottom: barsTop + barStep*float64(len(rows))}
	b.Height = b.Bottom + 24
	low, high := math.Inf(1), 0.0
	for _, r := range rows {
		for _, v := range append([]float64{r.value}, r.rounds...) {
			low, high = min(low, max(v, 1e-9)), max(high, v)
		}
	}
	if high == 0 {
		low, high = 1, 1
	}
	var x func(float64) float64
	if decades {
		lo, hi := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high*1.0001))
		if math.Log10(low)-lo < 0.05 {
			lo--
		}
		x = func(v float64) float64 {
			return barsLeft + (barsRight-barsLeft)*(math.Log10(max(v, 1e-9))-lo)/max(1, hi-lo)
		}
		for d := lo; d <= hi; d++ {
			b.Ticks = append(b.Ticks, tick{x(math.Pow(10, d)), unit(math.Pow(10, d))})
		}
	} else {
		step := niceStep(high / 4)
		top := math.Ceil(high/step) * step
		x = func(v float64) float64 { return barsLeft + (barsRight-barsLeft)*v/top }
		for v := 0.0; v <= top*1.0001; v += step {
			b.Ticks = append(b.Ticks, tick{x(v), unit(v)})
		}
	}
	for i := range rows {
		r := &rows[i]
		r.Y, r.Width = barsTop+barStep*float64(i), max(1, x(r.value)-barsLeft)
		r.At = barsLeft + r.Width
		for _, v := range r.rounds {
			r.Dots, r.At = append(r.Dots, x(v)), max(r.At, x(v))
		}
		r.At += 8
	}
	return b
}

func (b bars) write(w io.Writer) error { return barsTemplate.Execute(w, b) }

// nanoseconds writes a time in nanoseconds for people.
func nanoseconds(ns float64) string {
	if ns < 1000 {
		return fmt.Sprintf("%.3g ns", ns)
	}
	if ns < 1e6 {
		return fmt.Sprintf("%.3g µs", ns/1e3)
	}
	return bench.Milliseconds(ns / 1e6)
}
