package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"kessai/authz"
)

// readerCollector tells how payments with card readers go. It asks the engine once
// per scrape.
type readerCollector struct{ stats func() authz.ReaderStats }

var readerReadings = []reading[authz.ReaderStats]{
	read("kessai_reader_keys", "Key pairs of payments with card readers that live now.", gauge, func(s authz.ReaderStats) float64 { return float64(s.Keys) }),
	read("kessai_reader_keys_issued_total", "Key pairs made.", prometheus.CounterValue, func(s authz.ReaderStats) float64 { return float64(s.Issued) }),
	read("kessai_reader_messages_refused_total", "Messages of readers that came when nobody waited for them.", prometheus.CounterValue, func(s authz.ReaderStats) float64 { return float64(s.Refused) }),
}

var (
	readerWaiting = prometheus.NewDesc("kessai_reader_payments_waiting",
		"Payments with card readers that wait, by what for.", []string{"step"}, nil)
	readerEnded = prometheus.NewDesc("kessai_reader_payments_ended_total",
		"Payments with card readers that ended, by the step in which they did and what the shop was told.", []string{"step", "code"}, nil)
)

func (c readerCollector) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, readerReadings)
	ch <- readerWaiting
	ch <- readerEnded
}

func (c readerCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	collect(ch, readerReadings, s)
	for step, n := range s.Waiting {
		ch <- prometheus.MustNewConstMetric(readerWaiting, gauge, float64(n), authz.ReaderStep(step).String())
	}
	for end, n := range s.Ended {
		ch <- prometheus.MustNewConstMetric(readerEnded, prometheus.CounterValue, float64(n), end.Step.String(), end.Code.String())
	}
}

// WatchReaders exports what there is to count about payments with card readers:
// stats is authz.Engine.ReaderStats. It may be called once.
func (m *Metrics) WatchReaders(stats func() authz.ReaderStats) {
	m.registry.MustRegister(readerCollector{stats})
}
