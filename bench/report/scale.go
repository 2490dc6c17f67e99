package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"kessai/bench"
)

//go:embed scale.html
var scaleText string

// The style and the drawing of curves are those of a single run's page.
var scaleTemplate = template.Must(template.Must(pageTemplate.Clone()).New("scale").Parse(scaleText))

//go:embed scale.svg
var drawingText string

var drawingTemplate = template.Must(template.Must(pageTemplate.Clone()).New("drawing").Parse(drawingText))

// ScaleDrawing writes one axis as an SVG file that needs nothing else: throughput
// above, the 50th and the 99th percentile of latency below.
func ScaleDrawing(w io.Writer, a bench.ScaleAxis) error {
	throughput, latency := scaleCharts(a)
	parts := struct{ Throughput, Latency template.HTML }{}
	for _, p := range []struct {
		to *template.HTML
		c  chart
		at int
	}{{&parts.Throughput, throughput, 10}, {&parts.Latency, latency, 316}} {
		var b strings.Builder
		if err := drawingTemplate.ExecuteTemplate(&b, "chart", p.c); err != nil {
			return err
		}
		*p.to = template.HTML(strings.Replace(b.String(), "<svg ", fmt.Sprintf(`<svg y="%d" width="768" height="296" `, p.at), 1))
	}
	return drawingTemplate.Execute(w, parts)
}

func scaleCharts(a bench.ScaleAxis) (throughput, latency chart) {
	return scaleChart(a, "a second", false, func(r *bench.Result) float64 { return r.Throughput }),
		scaleChart(a, "latency", true, func(r *bench.Result) float64 { return r.Latency.P50 }, func(r *bench.Result) float64 { return r.Latency.P99 })
}

// ScalePage writes how results change as one HTML file that needs nothing else.
type ScalePage struct{ *bench.Scale }

// WriteTo writes the page.
func (p ScalePage) WriteTo(w io.Writer) (int64, error) {
	type section struct {
		bench.ScaleAxis
		Throughput, Latency chart
	}
	v := struct {
		*bench.Scale
		Sections []section
	}{Scale: p.Scale}
	for _, a := range p.Axes {
		throughput, latency := scaleCharts(a)
		v.Sections = append(v.Sections, section{a, throughput, latency})
	}
	var b bytes.Buffer
	if err := scaleTemplate.Execute(&b, v); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

// scaleChart draws numbers over the values of an axis, whose steps are as far from
// each other as the values are in powers of ten. Times are drawn likewise.
func scaleChart(a bench.ScaleAxis, name string, times bool, of ...func(*bench.Result) float64) chart {
	c := chart{XName: a.What, YName: name}
	if len(a.Points) == 0 {
		return c
	}
	low, high := math.Inf(1), 0.0
	for _, p := range a.Points {
		for _, f := range of {
			low, high = min(low, max(f(p.Result), 1e-3)), max(high, f(p.Result), 1e-3)
		}
	}
	x := placeOf(a)
	y := func(v float64) float64 { return bottom - (bottom-top)*v/high }
	if times {
		lo, hi := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high*1.0001))
		y = func(v float64) float64 {
			return bottom - (bottom-top)*(math.Log10(max(v, 1e-3))-lo)/max(1, hi-lo)
		}
		for d := lo; d <= hi; d++ {
			c.Y = append(c.Y, tick{y(math.Pow(10, d)), decade(d)})
		}
	} else {
		step := niceStep(high / 4)
		high = math.Ceil(high/step) * step
		for v := 0.0; v <= high*1.0001; v += step {
			c.Y = append(c.Y, tick{y(v), bench.Grouped(v)})
		}
	}
	for i, p := range a.Points {
		c.X = append(c.X, tick{x(i), bench.Grouped(float64(p.Value))})
	}
	for k, f := range of {
		var at []string
		for i, p := range a.Points {
			at = append(at, fmt.Sprintf("%.1f,%.1f", x(i), y(f(p.Result))))
		}
		c.Curves = append(c.Curves, newCurve("", []string{"a", "b"}[k%2], at))
	}
	return c
}

// placeOf gives where the points of an axis lie.
func placeOf(a bench.ScaleAxis) func(i int) float64 {
	at := func(i int) float64 { return math.Log10(float64(max(1, a.Points[i].Value))) }
	first, last := at(0), at(len(a.Points)-1)
	if last <= first {
		return func(i int) float64 { return left + (right-left)*float64(i)/float64(max(1, len(a.Points)-1)) }
	}
	return func(i int) float64 { return left + (right-left)*(at(i)-first)/(last-first) }
}
