package gateway

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/customers/phones"
)

// everyMetric makes a set of metrics in which each has a value at least once.
func everyMetric(now time.Time) *Metrics {
	valid := new(cache.Cache)
	b := cache.NewBuilder(cache.Both, 1, 1)
	b.AddMedium(kessai.MediumID{1}, cache.Medium{})
	valid.Swap(b.Snapshot(now.Add(-90*time.Second), 7))
	m := NewMetrics(MetricsOptions{
		Version: "v1.2.3",
		Budget:  Budget{P99: [authz.NumStages]time.Duration{authz.StageDecode: time.Millisecond}},
		Book: func() ledger.Stats {
			return ledger.Stats{Float: map[kessai.Currency]int64{kessai.JPY: 5}, Blocks: 3, HoldsOpen: 2, SyncSeconds: 1.5, DiskBytes: 4096}
		},
		Cache: valid,
		Now:   func() time.Time { return now },
	})
	m.Stage(authz.StageDecode, time.Microsecond, 1)
	m.Stage(authz.StageDecode, time.Second, 1)
	m.Began(ledger.WireISO, 1)
	m.Began(ledger.WireJSON, 1)
	m.Ended(ledger.WireISO, time.Millisecond, 1)
	m.Answered(ledger.WireISO, kessai.Purchase, kessai.Approved)
	m.Replayed(ledger.WireJSON)
	m.Refused(ledger.WireISO, RefusedBusy)
	m.HTTP("/v1/payments", "POST", 201, time.Millisecond)
	m.Refreshed(time.Second, nil)
	m.Refreshed(time.Second, errors.New("no"))
	m.changed(3, 1)
	m.LookedUp(LookUpMedium, true, time.Millisecond, nil)
	m.LookedUp(LookUpTerminal, false, time.Millisecond, errors.New("no"))
	m.DialogueOpened()
	m.DialogueOpened()
	m.DialogueEnded("timeout")
	m.Retained()
	m.imported(nil)
	m.imported(errors.New("no"))
	m.iso.refused.WithLabelValues("too_many").Inc()
	m.iso.disconnects.WithLabelValues("idle").Inc()
	m.iso.formatErrors.WithLabelValues("3").Inc()
	m.iso.unanswered.WithLabelValues("outcome_unknown").Inc()
	m.WatchPhones(func() authz.PhoneStats {
		return authz.PhoneStats{Ended: map[authz.PhoneEnding]uint64{0: 1}, Refused: map[string]uint64{"open": 1}}
	})
	m.WatchReaders(func() authz.ReaderStats {
		return authz.ReaderStats{
			Waiting: [authz.ReaderEnded]int{authz.ReaderPIN: 2}, Keys: 2, Issued: 5,
			Ended: map[authz.ReaderEnd]uint64{{Step: authz.ReaderCard, Code: kessai.SecurityViolation}: 3},
		}
	})
	m.Pushed(phones.PushSent)
	m.WatchRates(func() (time.Duration, bool) { return time.Hour, true })
	return m
}

func TestMetrics_Values(t *testing.T) {
	m := everyMetric(time.Now())
	expectCount(t, m, "kessai_stage_duration_seconds", 2, "stage=decode")
	expectCount(t, m, "kessai_stage_overruns_total", 1, "stage=decode")
	expectCount(t, m, "kessai_stage_overruns_total", 0, "stage=commit")
	expectCount(t, m, "kessai_requests_in_flight", 0, "wire=iso8583")
	expectCount(t, m, "kessai_requests_in_flight", 1, "wire=json")
	expectCount(t, m, "kessai_requests_total", 1, "wire=iso8583", "kind=purchase", "code=00")
	expectCount(t, m, "kessai_http_requests_total", 1, "route=/v1/payments", "method=POST", "status=201")
	expectCount(t, m, "kessai_cache_age_seconds", 90)
	expectCount(t, m, "kessai_cache_media", 1)
	expectCount(t, m, "kessai_rates_age_seconds", 3600)
	expectCount(t, m, "kessai_push_messages_total", 1, "outcome=sent")
	expectCount(t, m, "kessai_reader_keys_issued_total", 5)
	expectCount(t, m, "kessai_reader_payments_waiting", 2, "step=pin")
	expectCount(t, m, "kessai_reader_payments_ended_total", 3, "step=card", "code=63")
	expectCount(t, m, "kessai_cache_version", 7)
	expectCount(t, m, "kessai_cache_mode", 1, "mode=both")
	expectCount(t, m, "kessai_cache_mode", 0, "mode=filter")
	expectCount(t, m, "kessai_cache_refreshes_total", 1, "result=failed")
	expectCount(t, m, "kessai_changes_total", 3, "result=applied")
	expectCount(t, m, "kessai_changes_total", 1, "result=refused")
	expectCount(t, m, "kessai_lookups_total", 1, "of=medium", "result=found")
	expectCount(t, m, "kessai_lookups_total", 1, "of=terminal", "result=failed")
	expectCount(t, m, "kessai_dialogues_open", 1)
	expectCount(t, m, "kessai_dialogues_opened_total", 2)
	expectCount(t, m, "kessai_dialogues_ended_total", 1, "reason=timeout")
	expectCount(t, m, "kessai_book_blocks", 3)
	expectCount(t, m, "kessai_book_holds_open", 2)
	expectCount(t, m, "kessai_book_sync_seconds_total", 1.5)
	expectCount(t, m, "kessai_imports_total", 1, "result=failed")
	expectCount(t, m, "kessai_build_info", 1, "version=v1.2.3")
}

// TestMetrics_Lint holds every name and help text to Prometheus' conventions.
func TestMetrics_Lint(t *testing.T) {
	families, err := everyMetric(time.Now()).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "kessai_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestMetrics_NoLabelNamesAnybody refuses labels that could tell who pays whom.
func TestMetrics_NoLabelNamesAnybody(t *testing.T) {
	for _, row := range exported(t) {
		for _, word := range []string{"pan", "card", "merchant", "terminal", "medium", "customer"} {
			if slices.Contains(strings.Split(row[2], ", "), "`"+word+"`") {
				t.Errorf("%s has a label %s", row[0], word)
			}
		}
	}
}

// exported gives name, type and labels of every metric of the gateway, as
// docs/METRICS.md writes them.
func exported(t *testing.T) (rows [][3]string) {
	t.Helper()
	m := everyMetric(time.Now())
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "kessai_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		slices.Sort(labels)
		rows = append(rows, [3]string{f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", ")})
	}
	return rows
}

var docRow = regexp.MustCompile("(?m)^\\| `(kessai_[a-z_0-9]+)` \\| (counter|gauge|histogram) \\| ([^|]*?) \\| [^|]+ \\|$")

// TestMetrics_Documented compares docs/METRICS.md with what is exported, both
// ways.
func TestMetrics_Documented(t *testing.T) {
	doc, err := os.ReadFile("../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string][3]string{}
	for _, row := range docRow.FindAllStringSubmatch(string(doc), -1) {
		labels := strings.Split(strings.TrimSuffix(row[3], "none"), ", ")
		slices.Sort(labels)
		documented[row[1]] = [3]string{row[1], row[2], strings.Join(labels, ", ")}
	}
	for _, row := range exported(t) {
		switch d, ok := documented[row[0]]; {
		case !ok:
			t.Errorf("%s is exported, but not in docs/METRICS.md", row[0])
		case d != row:
			t.Errorf("%s is exported as %q, documented as %q", row[0], row[1:], d[1:])
		}
		delete(documented, row[0])
	}
	delete(documented, "kessai_http_problems_total") // registered by the HTTP server
	for name := range documented {
		t.Errorf("%s is in docs/METRICS.md, but not exported", name)
	}
}
