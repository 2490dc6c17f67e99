package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"kessai/authz"
	"kessai/gateway"
)

// Scrape is what a gateway's metrics said at one moment.
type Scrape struct {
	Transactions float64 // in the book

	mallocs, cpu, resident float64
	stages                 map[string]*dto.Histogram
}

// Resident is the memory of the gateway's process, in bytes.
func (s *Scrape) Resident() int { return int(s.resident) }

// ScrapeMetrics asks the gateway whose JSON API is at address.
func ScrapeMetrics(ctx context.Context, address string) (*Scrape, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s/metrics answers %s", address, resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(http.MaxBytesReader(nil, resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("%s/metrics cannot be read: %w", address, err)
	}
	s := &Scrape{stages: make(map[string]*dto.Histogram)}
	for name, into := range map[string]*float64{
		"go_memstats_mallocs_total": &s.mallocs, "process_cpu_seconds_total": &s.cpu, "process_resident_memory_bytes": &s.resident,
		"kessai_book_transactions": &s.Transactions,
	} {
		if f := families[name]; f != nil && len(f.Metric) == 1 {
			*into = f.Metric[0].GetCounter().GetValue() + f.Metric[0].GetGauge().GetValue()
		}
	}
	f := families["kessai_stage_duration_seconds"]
	if f == nil {
		return nil, errors.New("there is no kessai_stage_duration_seconds in the metrics: this is no gateway of this version")
	}
	for _, m := range f.Metric {
		for _, l := range m.Label {
			if l.GetName() == "stage" {
				s.stages[l.GetValue()] = m.Histogram
			}
		}
	}
	return s, nil
}

// Compare fills in what the gateway did between two scrapes.
func (r *Result) Compare(before, after *Scrape, b gateway.Budget) {
	if r.Answered > 0 {
		allocs := (after.mallocs - before.mallocs) / float64(r.Answered)
		r.AllocsPerOp = &allocs
	}
	cpu := after.cpu - before.cpu
	r.CPU.Gateway, r.Resident = &cpu, &after.resident
	for s := range authz.NumStages {
		d := between(before.stages[s.String()], after.stages[s.String()])
		r.Stages[s.String()] = Stage{
			P50: d.quantile(0.5) * 1e6, P99: d.quantile(0.99) * 1e6,
			BudgetP50: float64(b.P50[s]) / 1e3, BudgetP99: float64(b.P99[s]) / 1e3,
		}
	}
}

// buckets is a histogram in cumulative counts.
type buckets struct {
	ends   []float64
	counts []float64
}

// between subtracts an earlier histogram from a later one with the same buckets.
func between(before, after *dto.Histogram) (b buckets) {
	earlier := make(map[float64]float64)
	for _, x := range before.GetBucket() {
		earlier[x.GetUpperBound()] = float64(x.GetCumulativeCount())
	}
	for _, x := range after.GetBucket() {
		b.ends = append(b.ends, x.GetUpperBound())
		b.counts = append(b.counts, float64(x.GetCumulativeCount())-earlier[x.GetUpperBound()])
	}
	return b
}

// quantile reads a quantile, as Prometheus does: evenly within a bucket. Zero
// stands for no observation; what is beyond the last bucket counts as its end.
func (b buckets) quantile(q float64) float64 {
	if len(b.counts) == 0 || b.counts[len(b.counts)-1] == 0 {
		return 0
	}
	rank := q * b.counts[len(b.counts)-1]
	low, below, finite := 0.0, 0.0, 0.0
	for i, n := range b.counts {
		if b.ends[i] < 1e9 {
			finite = b.ends[i]
		}
		if n >= rank {
			if b.ends[i] >= 1e9 || n == below {
				return finite
			}
			return low + (b.ends[i]-low)*(rank-below)/(n-below)
		}
		low, below = b.ends[i], n
	}
	return finite
}
