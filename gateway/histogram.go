package gateway

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// The histograms of the hot path count many requests with one call: what came
// together took as long for each as for all. The client library's histogram
// counts one at a time, and costs some ten times as much.
//
// Their buckets are those of Prometheus' native histograms of schema 2: each
// ends 2^(1/4), about 19 %, above the one before. Scrapers that do not take
// native histograms get every second one.
const (
	histogramSchema  = 2
	bucketsPerOctave = 1 << histogramSchema
	firstOctave      = -24 // the first bucket ends at 2^-24 s, about 60 ns
	lastOctave       = 4   // the last at 16 s; what took longer is in none
	histogramBuckets = (lastOctave-firstOctave)*bucketsPerOctave + 1
)

// bucketEnds are the ends of the buckets in nanoseconds; bucketFrom is the first
// bucket that a number of so many bits can be in.
var bucketEnds, bucketFrom = func() (ends [histogramBuckets]int64, from [65]int) {
	for i := range ends {
		ends[i] = int64(bucketEnd(i) * 1e9)
	}
	for n := range from {
		for n > 0 && from[n] < histogramBuckets && ends[from[n]] < 1<<(n-1) {
			from[n]++
		}
	}
	return ends, from
}()

// bucketEnd gives the end of a bucket in seconds.
func bucketEnd(i int) float64 {
	return math.Exp2(firstOctave + float64(i)/bucketsPerOctave)
}

// histogram counts durations. It may be used from many goroutines at once.
type histogram struct {
	counts [histogramBuckets + 1]atomic.Uint64 // the last one counts what no bucket takes
	sum    atomic.Int64                        // nanoseconds
}

// observe counts a duration that n requests took each.
func (h *histogram) observe(d time.Duration, n int) {
	i := bucketFrom[bits.Len64(uint64(max(d, 0)))]
	for i < histogramBuckets && int64(d) > bucketEnds[i] {
		i++
	}
	h.counts[i].Add(uint64(n))
	h.sum.Add(int64(d) * int64(n))
}

// histograms collects histograms that differ in one label.
type histograms struct {
	desc  *prometheus.Desc
	label string
	of    map[string]*histogram // by the label's value
}

func newHistograms(name, help, label string, values ...string) *histograms {
	hs := &histograms{prometheus.NewDesc(name, help, []string{label}, nil), label, make(map[string]*histogram)}
	for _, v := range values {
		hs.of[v] = new(histogram)
	}
	return hs
}

// Describe is for the registry.
func (hs *histograms) Describe(c chan<- *prometheus.Desc) { c <- hs.desc }

// Collect gives what was counted so far.
func (hs *histograms) Collect(c chan<- prometheus.Metric) {
	for value, h := range hs.of {
		c <- &counted{h, hs.desc, &dto.LabelPair{Name: &hs.label, Value: &value}}
	}
}

// counted is a histogram on its way to a scraper.
type counted struct {
	h     *histogram
	desc  *prometheus.Desc
	label *dto.LabelPair
}

func (c *counted) Desc() *prometheus.Desc { return c.desc }

// Write gives the histogram in both forms.
func (c *counted) Write(out *dto.Metric) error {
	sum := float64(c.h.sum.Load()) / 1e9
	schema, zero := int32(histogramSchema), math.Exp2(firstOctave-1)
	h := dto.Histogram{SampleSum: &sum, Schema: &schema, ZeroThreshold: &zero, ZeroCount: new(uint64)}
	total, before := uint64(0), int64(0)
	for i := range c.h.counts {
		n := c.h.counts[i].Load()
		total += n
		if i < histogramBuckets && i%2 == 0 {
			end, upTo := bucketEnd(i), total
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &end, CumulativeCount: &upTo})
		}
		h.PositiveDelta = append(h.PositiveDelta, int64(n)-before)
		before = int64(n)
	}
	offset, length := int32(firstOctave*bucketsPerOctave), uint32(len(h.PositiveDelta))
	h.PositiveSpan = []*dto.BucketSpan{{Offset: &offset, Length: &length}}
	h.SampleCount = &total
	out.Label, out.Histogram = []*dto.LabelPair{c.label}, &h
	return nil
}
