package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"kessai/bench/load"
)

// Result is all that a benchmark has to say. Its JSON is read by others: names do
// not change.
type Result struct {
	Version string    `json:"version"` // of the program
	At      time.Time `json:"at"`      // when it began

	Throughput float64     `json:"throughput_per_s"` // answers a second
	Latency    Percentiles `json:"latency_ms"`       // from when a request was due
	Service    Percentiles `json:"service_ms"`       // from when it was sent
	Sent       int64       `json:"sent"`
	Answered   int64       `json:"answered"`
	Missed     int64       `json:"missed"` // due, and never sent
	Approved   int64       `json:"approved"`
	Declined   int64       `json:"declined"`
	Errors     int64       `json:"errors"` // sent, and not answered

	Codes map[string]int64 `json:"codes"` // answers by response code

	Stages      map[string]Stage `json:"stages"`        // of the gateway's hot path; empty where it could not be asked
	AllocsPerOp *float64         `json:"allocs_per_op"` // of the gateway's process; null where it could not be asked
	CPU         CPU              `json:"cpu_seconds"`
	Resident    *float64         `json:"resident_bytes"` // of the gateway, at the end

	Rounds []float64          `json:"rounds,omitzero"` // throughput of each, where there were several; the rest is the median one's
	Peers  map[string]Peer    `json:"peers"`
	Ratios map[string]float64 `json:"ratios"` // Kessai's throughput by the peer's

	BookAgrees *bool  `json:"book_agrees"` // null where it could not be checked
	BookNote   string `json:"book_note"`

	Settings Settings  `json:"settings"`
	Machine  Machine   `json:"machine"`
	Series   []float64 `json:"series"` // throughput of each second

	LatencyCurve []Point `json:"-"`
	ServiceCurve []Point `json:"-"`
}

// Percentiles are times in milliseconds.
type Percentiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Stage is one stage of the hot path and its budget, in microseconds. It is read
// from the buckets of the gateway's histogram, and so good to a fifth or so.
type Stage struct {
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	BudgetP50 float64 `json:"budget_p50_us"`
	BudgetP99 float64 `json:"budget_p99_us"`
}

// CPU is processor time that was used while it was measured, in seconds. The
// gateway's is null where it could not be asked.
type CPU struct {
	Gateway   *float64 `json:"gateway"`
	Generator float64  `json:"generator"`
}

// Peer is another program under the same load: the median of its rounds.
type Peer struct {
	Throughput float64     `json:"throughput_per_s"`
	Latency    Percentiles `json:"latency_ms"`
	Rounds     []float64   `json:"rounds"` // throughput of each
	Caveat     string      `json:"caveat"` // what it does not do
}

// Settings are what was asked of the run.
type Settings struct {
	Wire      string   `json:"wire"`
	Addr      string   `json:"addr,omitzero"` // of a gateway that ran already
	Conns     int      `json:"conns"`
	Window    int      `json:"window"`
	Rate      float64  `json:"rate_per_s"` // zero: closed loop
	Duration  string   `json:"duration"`
	Warmup    string   `json:"warmup"`
	Seed      uint64   `json:"seed"`
	Mix       string   `json:"mix"`
	Media     int      `json:"media"`
	Terminals int      `json:"terminals"`
	Book      int      `json:"book"`           // transactions that were in it before
	Procs     int      `json:"procs,omitzero"` // of the gateway; zero: all
	Dialect   string   `json:"dialect,omitzero"`
	Framing   string   `json:"framing,omitzero"`
	Rounds    int      `json:"rounds,omitzero"`
	Gateway   []string `json:"gateway,omitzero"` // its settings, as KEY=VALUE
}

// Point is one point of a curve: so many of a hundred took at most so long.
type Point struct {
	Percentile float64
	MS         float64
}

// NewResult turns the outcome of a run into a result that lacks what only the
// gateway, the book and the peers can say.
func NewResult(version string, began time.Time, s Settings, o *load.Outcome) *Result {
	return &Result{
		Version: version, At: began.UTC().Truncate(time.Second), Throughput: o.Throughput,
		Latency: PercentilesOf(o.Latency), Service: PercentilesOf(o.Service),
		Sent: o.Sent, Answered: o.Answered, Missed: o.Missed,
		Approved: o.Approved, Declined: o.Declined, Errors: o.Errors, Codes: o.Codes,
		Stages: map[string]Stage{}, Peers: map[string]Peer{}, Ratios: map[string]float64{},
		Settings: s, Machine: ThisMachine(), Series: o.Series,
		LatencyCurve: curve(o.Latency), ServiceCurve: curve(o.Service),
	}
}

// PercentilesOf reads those that are reported.
func PercentilesOf(h *hdrhistogram.Histogram) Percentiles {
	if h.TotalCount() == 0 {
		return Percentiles{}
	}
	ms := func(percentile float64) float64 { return float64(h.ValueAtQuantile(percentile)) / 1e6 }
	return Percentiles{ms(50), ms(90), ms(99), ms(99.9), float64(h.Max()) / 1e6}
}

// curve reads some points of a histogram, denser towards the end, as far as the
// count carries them.
func curve(h *hdrhistogram.Histogram) (points []Point) {
	if h.TotalCount() == 0 {
		return nil
	}
	for _, b := range h.CumulativeDistributionWithTicks(5) {
		points = append(points, Point{b.Quantile, float64(b.ValueAt) / 1e6})
	}
	return points
}

// Note fills in the verdict of the check of the book.
func (r *Result) Note(agrees *bool, note string) { r.BookAgrees, r.BookNote = agrees, note }
