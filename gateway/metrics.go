package gateway

import (
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/cache"
)

// MetricsOptions configures [NewMetrics]. Every setting may be left out.
type MetricsOptions struct {
	Version string              // of the program; default: what the build recorded
	Budget  Budget              // what each stage should take; more than its P99 is counted. Zero: no budget
	Book    func() ledger.Stats // the book's sizes; nil: not exported
	Cache   *cache.Cache        // nil: not exported
	Now     func() time.Time    // for the cache's age; default time.Now
}

// Metrics counts and measures what the gateway does, for Prometheus, on a
// registry of its own. No label ever holds a card number, a merchant or a
// terminal: the number of series is bounded, and a scrape tells nothing about
// anybody. docs/METRICS.md lists every one. It may be used from many
// goroutines at once.
type Metrics struct {
	registry *prometheus.Registry
	budget   [authz.NumStages]time.Duration

	stages   [authz.NumStages]*histogram
	overruns [authz.NumStages]prometheus.Counter

	requests        *prometheus.CounterVec
	known           [numWires][maxKinds][100]atomic.Pointer[prometheus.Counter] // those of requests that were used
	requestDuration [numWires]*histogram
	inFlight        [numWires]prometheus.Gauge
	replayed        *prometheus.CounterVec
	refused         *prometheus.CounterVec

	iso isoMetrics

	httpRequests *prometheus.CounterVec
	httpDuration *prometheus.HistogramVec

	validity validityMetrics
	pushed   *prometheus.CounterVec
}

// isoMetrics are the counters that only the ISO 8583 listener has.
type isoMetrics struct {
	open         prometheus.Gauge
	accepted     prometheus.Counter
	refused      *prometheus.CounterVec
	disconnects  *prometheus.CounterVec
	formatErrors *prometheus.CounterVec
	unanswered   *prometheus.CounterVec
	framesIn     prometheus.Counter
	framesOut    prometheus.Counter
}

// Pushed counts a message to a phone, by what became of it.
func (m *Metrics) Pushed(outcome string) { m.pushed.WithLabelValues(outcome).Inc() }

// NewMetrics makes a set of metrics on a registry of its own.
func NewMetrics(o MetricsOptions) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), budget: o.Budget.P99}
	f := factory{m.registry}
	stages := make([]string, authz.NumStages)
	for s := range authz.NumStages {
		stages[s] = s.String()
	}
	duration := f.hot("kessai_stage_duration_seconds", "Time that one stage of the hot path took.", "stage", stages...)
	over := f.counter("kessai_stage_overruns_total", "Times that a stage took longer than its budget.", "stage")
	for s := range authz.NumStages {
		m.stages[s] = duration.of[s.String()]
		m.overruns[s] = over.WithLabelValues(s.String())
	}
	m.requests = f.counter("kessai_requests_total", "Requests answered.", "wire", "kind", "code")
	took := f.hot("kessai_request_duration_seconds", "Time from a request read whole to its answer ready to be sent.", "wire",
		ledger.WireISO.String(), ledger.WireJSON.String())
	inFlight := f.gauge("kessai_requests_in_flight", "Requests read and not answered yet.", "wire")
	for _, w := range []ledger.Wire{ledger.WireISO, ledger.WireJSON} {
		m.requestDuration[w], m.inFlight[w] = took.of[w.String()], inFlight.WithLabelValues(w.String())
	}
	m.replayed = f.counter("kessai_requests_replayed_total", "Repeats that were given the stored answer.", "wire")
	m.refused = f.counter("kessai_requests_refused_total", "Requests refused before anything was done.", "wire", "reason")
	m.iso = isoMetrics{
		open:         f.gauge("kessai_iso_connections", "ISO 8583 connections open.").WithLabelValues(),
		accepted:     f.counter("kessai_iso_connections_total", "ISO 8583 connections taken.").WithLabelValues(),
		refused:      f.counter("kessai_iso_connections_refused_total", "ISO 8583 connections closed before a message was read.", "reason"),
		disconnects:  f.counter("kessai_iso_disconnects_total", "ISO 8583 connections ended.", "reason"),
		formatErrors: f.counter("kessai_iso_format_errors_total", "ISO 8583 messages refused for their form, by data element.", "field"),
		unanswered:   f.counter("kessai_iso_unanswered_total", "ISO 8583 messages that got no answer.", "reason"),
		framesIn:     f.counter("kessai_iso_frames_received_total", "ISO 8583 frames read whole.").WithLabelValues(),
		framesOut:    f.counter("kessai_iso_frames_sent_total", "ISO 8583 frames written whole.").WithLabelValues(),
	}
	m.httpRequests = f.counter("kessai_http_requests_total", "HTTP requests answered.", "route", "method", "status")
	m.httpDuration = f.histogram("kessai_http_request_duration_seconds", "Time that HTTP requests took.", requestBuckets, "route", "method")
	m.validity = newValidityMetrics(f)
	m.pushed = f.counter("kessai_push_messages_total", "Messages to phones through push services.", "outcome")
	m.registerCollectors(o)
	return m
}

func (m *Metrics) registerCollectors(o MetricsOptions) {
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(o.Version),
		budgetCollector(o.Budget),
	)
	if o.Book != nil {
		m.registry.MustRegister(bookCollector{o.Book}, purseCollector{o.Book})
	}
	if o.Cache != nil {
		now := o.Now
		if now == nil {
			now = time.Now
		}
		m.registry.MustRegister(cacheCollector{o.Cache, now})
	}
}

// Gatherer gives the metrics to whoever serves them.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Stage records how long one stage of the hot path took for n requests, and
// whether that was more than its budget. It is what authz.Options.Observe asks
// for.
func (m *Metrics) Stage(s authz.Stage, d time.Duration, n int) {
	m.stages[s].observe(d, n)
	if b := m.budget[s]; b > 0 && d > b {
		m.overruns[s].Add(float64(n))
	}
}

// Began says that n requests were read whole; each needs an end ([Metrics.Ended]).
func (m *Metrics) Began(w ledger.Wire, n int) { m.inFlight[w].Add(float64(n)) }

// Ended says that n requests got their answers, or that they never will, and how
// long that took.
func (m *Metrics) Ended(w ledger.Wire, d time.Duration, n int) {
	m.inFlight[w].Sub(float64(n))
	m.requestDuration[w].observe(d, n)
}

// Answered counts one answer by what was asked and what was said.
func (m *Metrics) Answered(w ledger.Wire, k kessai.Kind, c kessai.ResponseCode) {
	known := &m.known[w%numWires][k%maxKinds][c%100]
	counter := known.Load()
	if counter == nil {
		made := m.requests.WithLabelValues(w.String(), k.String(), codeNames[c%100])
		counter = &made
		known.Store(counter)
	}
	(*counter).Inc()
}

// answeredNetwork counts one answer to network management, which is not one of
// the book's kinds.
func (m *Metrics) answeredNetwork(c kessai.ResponseCode) {
	m.requests.WithLabelValues(ledger.WireISO.String(), networkManagement, codeNames[c%100]).Inc()
}

// Room for the wires and kinds that there are, and more.
const (
	numWires = 4
	maxKinds = 32
)

// Replayed counts a repeat that was given the stored answer.
func (m *Metrics) Replayed(w ledger.Wire) { m.replayed.WithLabelValues(w.String()).Inc() }

// Refusal says why a request was refused before anything was done.
type Refusal string

// The refusals.
const (
	RefusedInFlight Refusal = "in_flight" // as many requests in flight as are allowed
	RefusedBusy     Refusal = "busy"      // the book's queue is full
	RefusedDraining Refusal = "draining"  // the gateway is shutting down
	RefusedWaiting  Refusal = "waiting"   // as many wait for customers as are allowed
)

// Refused counts a request that was refused before anything was done.
func (m *Metrics) Refused(w ledger.Wire, why Refusal) {
	m.refused.WithLabelValues(w.String(), string(why)).Inc()
}

// HTTP records one HTTP request. Route is the route's pattern (/v1/payments/:id),
// never the path that was asked for, and method one of the methods served: both
// must come from a bounded set.
func (m *Metrics) HTTP(route, method string, status int, d time.Duration) {
	m.httpRequests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.httpDuration.WithLabelValues(route, method).Observe(d.Seconds())
}

var codeNames = func() (n [100]string) {
	for c := range n {
		n[c] = kessai.ResponseCode(c).String()
	}
	return n
}()

func buildInfo(version string) prometheus.Collector {
	revision := "unknown"
	if b, ok := debug.ReadBuildInfo(); ok {
		if version == "" {
			version = b.Main.Version
		}
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "kessai_build_info",
		Help:        "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "go": runtime.Version()},
	})
	g.Set(1)
	return g
}
