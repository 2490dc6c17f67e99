package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kessai/authz/ledger"
	"kessai/cache"
)

// Classic buckets, in seconds, for scrapers that do not take native histograms.
var requestBuckets = []float64{1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30}

// factory makes metrics on one registry.
type factory struct{ r prometheus.Registerer }

func (f factory) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	f.r.MustRegister(v)
	return v
}

func (f factory) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	f.r.MustRegister(v)
	return v
}

// hot makes histograms for the hot path.
func (f factory) hot(name, help, label string, values ...string) *histograms {
	hs := newHistograms(name, help, label, values...)
	f.r.MustRegister(hs)
	return hs
}

// histogram makes a histogram both classic and native. The native one has
// buckets 10 % apart, and at most 160 of them.
func (f factory) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, labels)
	f.r.MustRegister(v)
	return v
}

// reading is one number that a collector reads at scrape time.
type reading[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(T) float64
}

func read[T any](name, help string, kind prometheus.ValueType, of func(T) float64) reading[T] {
	return reading[T]{prometheus.NewDesc(name, help, nil, nil), kind, of}
}

// bookCollector asks the book for its sizes once per scrape.
type bookCollector struct{ stats func() ledger.Stats }

const gauge = prometheus.GaugeValue

var bookReadings = []reading[ledger.Stats]{
	read("kessai_book_blocks", "Blocks in the book.", gauge, func(s ledger.Stats) float64 { return float64(s.Blocks) }),
	read("kessai_book_transactions", "Transactions in the book.", gauge, func(s ledger.Stats) float64 { return float64(s.Transactions) }),
	read("kessai_book_resident_transactions", "Transactions of the book that are in memory.", gauge, func(s ledger.Stats) float64 { return float64(s.Resident) }),
	read("kessai_book_pages_read_total", "Pages of the book read back from disk.", prometheus.CounterValue, func(s ledger.Stats) float64 { return float64(s.PagesRead) }),
	read("kessai_book_accounts", "Accounts in the book.", gauge, func(s ledger.Stats) float64 { return float64(s.Accounts) }),
	read("kessai_book_attempts", "Names of attempts remembered.", gauge, func(s ledger.Stats) float64 { return float64(s.Attempts) }),
	read("kessai_book_holds_open", "Holds that are open.", gauge, func(s ledger.Stats) float64 { return float64(s.HoldsOpen) }),
	read("kessai_book_tombstones", "Reversals that came before their original.", gauge, func(s ledger.Stats) float64 { return float64(s.Tombstones) }),
	read("kessai_book_queue_length", "Operations waiting for a block.", gauge, func(s ledger.Stats) float64 { return float64(s.Queue) }),
	read("kessai_book_queue_capacity", "Operations that may wait for a block.", gauge, func(s ledger.Stats) float64 { return float64(s.MaxQueue) }),
	read("kessai_book_follower_lag_transactions", "Transactions that the index has not seen yet.", gauge, func(s ledger.Stats) float64 { return float64(s.FollowerLag) }),
	read("kessai_book_snapshot_block", "Block at which the newest snapshot was taken.", gauge, func(s ledger.Stats) float64 { return float64(s.SnapshotBlock) }),
	read("kessai_book_last_block_operations", "Operations in the last block.", gauge, func(s ledger.Stats) float64 { return float64(s.LastBlockOps) }),
	read("kessai_book_sync_seconds_total", "Time spent in syncs to disk.", prometheus.CounterValue, func(s ledger.Stats) float64 { return s.SyncSeconds }),
	read("kessai_book_disk_bytes", "Size of the book on disk.", gauge, func(s ledger.Stats) float64 { return float64(s.DiskBytes) }),
}

func (c bookCollector) Describe(ch chan<- *prometheus.Desc) { describe(ch, bookReadings) }

func (c bookCollector) Collect(ch chan<- prometheus.Metric) { collect(ch, bookReadings, c.stats()) }

// cacheCollector reads the snapshot in force once per scrape.
type cacheCollector struct {
	c   *cache.Cache
	now func() time.Time
}

// cacheState is a snapshot and the moment at which it is looked at.
type cacheState struct {
	s   *cache.Snapshot
	now time.Time
}

var cacheReadings = []reading[cacheState]{
	read("kessai_cache_age_seconds", "Time since the registry was read; 0 before the first time.", gauge, cacheState.age),
	read("kessai_cache_media", "Media in the cache.", gauge, func(s cacheState) float64 { n, _ := s.s.Sizes(); return float64(n) }),
	read("kessai_cache_terminals", "Terminals in the cache.", gauge, func(s cacheState) float64 { _, n := s.s.Sizes(); return float64(n) }),
	read("kessai_cache_bytes", "Memory that the cache takes.", gauge, func(s cacheState) float64 { return float64(s.s.Bytes()) }),
	read("kessai_cache_version", "The registry's change counter when it was read.", gauge, func(s cacheState) float64 { return float64(s.s.Version()) }),
}

func (s cacheState) age() float64 {
	if s.s.Loaded().IsZero() {
		return 0
	}
	return s.now.Sub(s.s.Loaded()).Seconds()
}

var cacheModes = []cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter}

var cacheMode = prometheus.NewDesc("kessai_cache_mode", "What the cache holds: 1 for the mode in force, 0 for the others.", []string{"mode"}, nil)

func (c cacheCollector) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, cacheReadings)
	ch <- cacheMode
}

func (c cacheCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.c.Load()
	collect(ch, cacheReadings, cacheState{s, c.now()})
	for _, m := range cacheModes {
		in := 0.0
		if m == s.Mode() {
			in = 1
		}
		ch <- prometheus.MustNewConstMetric(cacheMode, prometheus.GaugeValue, in, m.String())
	}
}

func describe[T any](ch chan<- *prometheus.Desc, rs []reading[T]) {
	for _, r := range rs {
		ch <- r.desc
	}
}

func collect[T any](ch chan<- prometheus.Metric, rs []reading[T], of T) {
	for _, r := range rs {
		ch <- prometheus.MustNewConstMetric(r.desc, r.kind, r.of(of))
	}
}
