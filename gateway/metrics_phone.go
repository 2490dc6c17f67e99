package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"kessai/authz"
)

// phoneCollector tells how many payments wait for their customers, and what became
// of the others. It asks the engine once per scrape.
type phoneCollector struct{ stats func() authz.PhoneStats }

var phoneReadings = []reading[authz.PhoneStats]{
	read("kessai_confirmations_waiting", "Payments that wait for their customers.", gauge, func(s authz.PhoneStats) float64 { return float64(s.Waiting) }),
	read("kessai_confirmations_watching", "Requests and messages that wait for such a payment.", gauge, func(s authz.PhoneStats) float64 { return float64(s.Watching) }),
	read("kessai_confirmations_asked_total", "Payments that began to wait.", prometheus.CounterValue, func(s authz.PhoneStats) float64 { return float64(s.Asked) }),
}

var (
	phoneEnded = prometheus.NewDesc("kessai_confirmations_ended_total",
		"Payments that wait no more, by how they ended.", []string{"outcome"}, nil)
	phoneRefused = prometheus.NewDesc("kessai_confirmations_refused_total",
		"Payments that could not wait for their customers, by why.", []string{"reason"}, nil)
)

func (c phoneCollector) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, phoneReadings)
	ch <- phoneEnded
	ch <- phoneRefused
}

func (c phoneCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	collect(ch, phoneReadings, s)
	for how, n := range s.Ended {
		ch <- prometheus.MustNewConstMetric(phoneEnded, prometheus.CounterValue, float64(n), how.String())
	}
	for why, n := range s.Refused {
		ch <- prometheus.MustNewConstMetric(phoneRefused, prometheus.CounterValue, float64(n), why)
	}
}

// WatchPhones exports what there is to count about payments that customers confirm:
// stats is authz.Engine.PhoneStats. It may be called once.
func (m *Metrics) WatchPhones(stats func() authz.PhoneStats) {
	m.registry.MustRegister(phoneCollector{stats})
}
