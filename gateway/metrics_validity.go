package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kessai/authz"
)

// validityMetrics are about what is judged by: how it is kept up to date, what
// has to be looked up, and the dialogues.
type validityMetrics struct {
	refreshes   *prometheus.CounterVec
	refreshTime prometheus.Observer
	imports     *prometheus.CounterVec
	changes     *prometheus.CounterVec
	lookUps     *prometheus.CounterVec
	lookUpTime  *histograms
	open        prometheus.Gauge
	opened      prometheus.Counter
	ended       *prometheus.CounterVec
	retained    prometheus.Counter
}

// LookUp is what the registry was asked about.
type LookUp string

// What memory may leave to the registry.
const (
	LookUpMedium   LookUp = "medium"
	LookUpTerminal LookUp = "terminal"
)

func newValidityMetrics(f factory) validityMetrics {
	return validityMetrics{
		refreshes: f.counter("kessai_cache_refreshes_total", "Times that the cache was brought up to date with the registry.", "result"),
		refreshTime: f.histogram("kessai_cache_refresh_duration_seconds",
			"Time that bringing the cache up to date took.", refreshBuckets).WithLabelValues(),
		imports:    f.counter("kessai_imports_total", "Imports into the registry through the admin socket.", "result"),
		changes:    f.counter("kessai_changes_total", "Changes of media, terminals, merchants and API keys asked for while running.", "result"),
		lookUps:    f.counter("kessai_lookups_total", "Times that the registry was asked about what memory does not know.", "of", "result"),
		lookUpTime: f.hot("kessai_lookup_duration_seconds", "Time that asking the registry took.", "of", string(LookUpMedium), string(LookUpTerminal)),
		open:       f.gauge("kessai_dialogues_open", "Dialogues that are open.").WithLabelValues(),
		opened:     f.counter("kessai_dialogues_opened_total", "Dialogues opened.").WithLabelValues(),
		ended:      f.counter("kessai_dialogues_ended_total", "Dialogues ended.", "reason"),
		retained:   f.counter("kessai_media_retained_total", "Media that terminals reported as retained.").WithLabelValues(),
	}
}

// Seconds; ten million media take some.
var refreshBuckets = []float64{1e-4, 1e-3, 1e-2, 0.1, 0.5, 1, 2, 5, 10, 20, 60}

// Refreshed says that the cache was brought up to date with the registry, or that
// this failed and the older one stayed in force, and how long it took.
func (m *Metrics) Refreshed(took time.Duration, err error) {
	m.validity.refreshes.WithLabelValues(doneOrFailed(err)).Inc()
	m.validity.refreshTime.Observe(took.Seconds())
}

// imported counts one import through the admin socket.
func (m *Metrics) imported(err error) { m.validity.imports.WithLabelValues(doneOrFailed(err)).Inc() }

func doneOrFailed(err error) string {
	if err != nil {
		return "failed"
	}
	return "done"
}

// changed counts changes that are in force and others that were refused.
func (m *Metrics) changed(applied, refused int) {
	m.validity.changes.WithLabelValues("applied").Add(float64(applied))
	m.validity.changes.WithLabelValues("refused").Add(float64(refused))
}

// LookedUp says that the registry was asked about a medium or a terminal, whether
// it knew it, and how long that took.
func (m *Metrics) LookedUp(of LookUp, known bool, took time.Duration, err error) {
	result := "unknown"
	switch {
	case err != nil:
		result = "failed"
	case known:
		result = "found"
	}
	m.validity.lookUps.WithLabelValues(string(of), result).Inc()
	m.validity.lookUpTime.of[string(of)].observe(took, 1)
}

// DialogueOpened counts a dialogue that was opened.
func (m *Metrics) DialogueOpened() {
	m.validity.opened.Inc()
	m.validity.open.Inc()
}

// DialogueEnded counts a dialogue that ended.
func (m *Metrics) DialogueEnded(how authz.Ending) {
	m.validity.ended.WithLabelValues(string(how)).Inc()
	m.validity.open.Dec()
}

// Retained counts a medium that a terminal kept.
func (m *Metrics) Retained() { m.validity.retained.Inc() }
