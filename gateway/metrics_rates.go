package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var ratesAge = prometheus.NewDesc("kessai_rates_age_seconds", "Time since the end of the day that the exchange rates are of.", nil, nil)

// ratesCollector asks for the age of the exchange rates once per scrape. Without
// rates there is no age: 0 would look like fresh ones.
type ratesCollector func() (time.Duration, bool)

func (c ratesCollector) Describe(ch chan<- *prometheus.Desc) { ch <- ratesAge }

func (c ratesCollector) Collect(ch chan<- prometheus.Metric) {
	if age, ok := c(); ok {
		ch <- prometheus.MustNewConstMetric(ratesAge, gauge, age.Seconds())
	}
}

// WatchRates exports the age of the exchange rates; false means that there are none.
func (m *Metrics) WatchRates(age func() (time.Duration, bool)) {
	m.registry.MustRegister(ratesCollector(age))
}
