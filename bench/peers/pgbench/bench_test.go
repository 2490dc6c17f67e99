package pgbench

import (
	"testing"
	"time"

	"kessai/bench/peers/postgres"
)

// BenchmarkRun lets pgbench measure for five seconds, with the clients and the
// scale that it has by default. The time of an operation says nothing here.
func BenchmarkRun(b *testing.B) {
	if _, ok := postgres.Found(); !ok {
		b.Skip("PostgreSQL is not installed")
	}
	for b.Loop() {
		r, err := Run(b.Context(), Options{Duration: 5 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.TPS, "transactions/s")
		b.ReportMetric(r.LatencyMS, "ms/transaction")
	}
}
