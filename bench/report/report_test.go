package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"kessai/bench"
	"kessai/bench/load"
)

func sample() *bench.Result {
	o := &load.Outcome{Latency: load.NewHistogram(), Throughput: 104_512, Series: []float64{101_000, 98_500, 106_000, 104_000, 107_300}}
	o.Service = load.NewHistogram()
	for i := range int64(50_000) {
		_ = o.Latency.RecordValue(2e6 + i%97*5e4 + i%1009/1000*3e7)
		_ = o.Service.RecordValue(1e6 + i%97*5e4)
	}
	o.Sent, o.Answered, o.Approved = 522_560, 522_560, 522_560
	r := bench.NewResult("1.2.3", time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), bench.Settings{
		Wire: "iso", Conns: 8, Window: 256, Rate: 100_000, Duration: "5s", Warmup: "1s", Mix: "purchase=100", Media: 100_000, Terminals: 1000,
		Dialect: "iso87-ascii", Framing: "binary2",
	}, o)
	r.Stages = map[string]bench.Stage{
		"decode": {P50: 0.9, P99: 12, BudgetP50: 2, BudgetP99: 50}, "judge": {P50: 0.3, P99: 4, BudgetP50: 1, BudgetP99: 20},
		"decide": {P50: 0.8, P99: 3, BudgetP50: 2, BudgetP99: 20}, "commit": {P50: 4100, P99: 48_000, BudgetP50: 10_000, BudgetP99: 40_000},
		"encode": {P50: 0.4, P99: 6, BudgetP50: 1, BudgetP99: 20},
	}
	yes, n, mem := true, 0.31, 512.0*(1<<20)
	r.AllocsPerOp, r.Resident = &n, &mem
	r.Note(&yes, "522,560 approvals <answered>")
	r.Peers = map[string]bench.Peer{
		"floor": {Throughput: 741_000, Latency: bench.Percentiles{P99: 3.2}, Caveat: "It judges nothing."},
		"moov":  {Throughput: 4_100, Latency: bench.Percentiles{P99: 80}, Caveat: "It knows no holds."},
	}
	r.Ratios = map[string]float64{"floor": 0.141, "moov": 25.5}
	return r
}

func TestPageNeedsNothingElse(t *testing.T) {
	var b bytes.Buffer
	if _, err := (Page{sample()}).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, outside := range []string{"http:", "https:", "//", "<script", "<link", "<img", "url(", "@import", "src="} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %q in it", outside)
		}
	}
	for _, want := range []string{"104,512", "prefers-color-scheme", "approvals &lt;answered&gt;", "25.50 ×", "It judges nothing.", `class="bad">48.0 ms`, "iso87-ascii"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(page, "<polyline"); n != 3 {
		t.Errorf("%d curves, want latency, service and throughput", n)
	}
	if bad := regexp.MustCompile(`NaN|Inf|ZgotmplZ`).FindString(page); bad != "" {
		t.Errorf("the page has %s in it", bad)
	}
}

// TestPageOfNothing: a run without an answer makes a page too.
func TestPageOfNothing(t *testing.T) {
	o := &load.Outcome{Latency: load.NewHistogram(), Service: load.NewHistogram()}
	var b bytes.Buffer
	if _, err := (Page{bench.NewResult("", time.Time{}, bench.Settings{}, o)}).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if bad := regexp.MustCompile(`NaN|Inf`).FindString(b.String()); bad != "" {
		t.Errorf("the page has %s in it", bad)
	}
}

func TestJSONCanBeReadAgain(t *testing.T) {
	var b bytes.Buffer
	if _, err := (JSON{sample()}).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	var r bench.Result
	if err := json.Unmarshal(b.Bytes(), &r); err != nil || r.Throughput != 104_512 || r.Stages["commit"].P99 != 48_000 {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestDistribution(t *testing.T) {
	h := load.NewHistogram()
	for i := range int64(1000) {
		_ = h.RecordValue((i + 1) * 1e6)
	}
	var b bytes.Buffer
	if _, err := (Distribution{h}).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "Percentile") || !strings.Contains(b.String(), "#[Max") {
		t.Errorf("no hgrm:\n%s", b.String())
	}
}

func TestScalePage(t *testing.T) {
	axis := bench.ScaleAxis{Name: "conns", What: "connections"}
	for _, v := range []int{1, 8, 64, 10_000} {
		axis.Points = append(axis.Points, bench.ScalePoint{Value: v, Result: sample()})
	}
	one := bench.ScaleAxis{Name: "procs", What: "processors", Points: axis.Points[:1]}
	var b bytes.Buffer
	if _, err := (ScalePage{&bench.Scale{Axes: []bench.ScaleAxis{axis, one}}}).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, outside := range []string{"http:", "https:", "//", "<script", "url(", "NaN", "Inf", "ZgotmplZ"} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %q in it", outside)
		}
	}
	for _, want := range []string{"By connections", "10,000", "512 MiB", "prefers-color-scheme"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// TestScaleDrawing: the drawing is XML, has both charts and needs nothing else.
func TestScaleDrawing(t *testing.T) {
	a := bench.ScaleAxis{Name: "conns", What: "connections"}
	for _, n := range []int{1, 10, 100} {
		a.Points = append(a.Points, bench.ScalePoint{Value: n, Result: &bench.Result{Throughput: float64(n), Latency: bench.Percentiles{P50: 1, P99: 2}}})
	}
	var b bytes.Buffer
	if err := ScaleDrawing(&b, a); err != nil {
		t.Fatal(err)
	}
	curves := 0
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			for _, at := range e.Attr {
				if at.Name.Local == "href" {
					t.Errorf("it needs %s", at.Value)
				}
			}
			if e.Name.Local == "polyline" {
				curves++
			}
		}
	}
	if curves != 3 {
		t.Errorf("%d curves, want 3", curves)
	}
}
