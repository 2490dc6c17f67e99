package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"kessai/authz/ledger"
)

// purseCollector tells what is on media, and what they told. It asks the book
// once per scrape.
type purseCollector struct{ stats func() ledger.Stats }

var (
	purseFloat = prometheus.NewDesc("kessai_purse_float_minor_units",
		"Money on all media, by currency.", []string{"currency"}, nil)
	purseSettlements = prometheus.NewDesc("kessai_purse_settlements_total",
		"Pending writes of media that were settled, by what the medium told.", []string{"outcome"}, nil)
	purseRefused = prometheus.NewDesc("kessai_purse_states_refused_total",
		"States of media that were refused, by what was wrong with them.", []string{"reason"}, nil)
)

func (c purseCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- purseFloat
	ch <- purseSettlements
	ch <- purseRefused
}

func (c purseCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	for currency, sum := range s.Float {
		ch <- prometheus.MustNewConstMetric(purseFloat, gauge, float64(sum), currency.String())
	}
	count := func(d *prometheus.Desc, n uint64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), label)
	}
	count(purseSettlements, s.Purses.Written, "written")
	count(purseSettlements, s.Purses.Unwritten, "unwritten")
	for _, r := range ledger.PurseRefusals() {
		count(purseRefused, s.Purses.Refused[r], r.String())
	}
}
