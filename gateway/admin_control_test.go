package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"kessai/cache"
)

// TestV1_ARefreshThatFailsSaysSo: in readiness, in what is judged by and in the
// metrics; what was read before stays in force, and approves nothing any more once
// it is too old.
func TestV1_ARefreshThatFailsSaysSo(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	valid, maxAge := new(cache.Cache), time.Minute
	valid.Swap(cache.NewBuilder(cache.Filter, 1, 1).Snapshot(at, 7))
	c := NewControl(ControlOptions{
		Cache: valid, MaxAge: func() time.Duration { return maxAge }, Now: func() time.Time { return at },
		Refresh: func(context.Context) error { return nil },
	})
	for _, step := range []struct {
		after  time.Duration
		err    error
		ok     bool
		detail string // of readiness
	}{
		{0, nil, true, ""},
		{40 * time.Second, errors.New("the disk is gone"), true, "the last refresh failed 0s ago"},
		{30 * time.Second, errors.New("the disk is gone"), false, "the registry was last read 1m10s ago: nothing is approved any more; the last refresh failed 0s ago"},
		{0, nil, false, "the registry was last read 1m10s ago: nothing is approved any more"},
	} {
		at = at.Add(step.after)
		c.Refreshed(time.Second, step.err)
		if check := c.Check(); check.Name != "cache" || check.OK != step.ok || check.Detail != step.detail {
			t.Errorf("readiness says %+v; want %v, %q", check, step.ok, step.detail)
		}
		v := c.Validity()
		if v.Stale == step.ok || (v.LastError != "") != (step.err != nil) || v.Mode != "filter" || v.Version != 7 {
			t.Errorf("%+v", v)
		}
	}
	maxAge = time.Hour
	if check := c.Check(); !check.OK {
		t.Errorf("an age that is allowed again: %+v", check)
	}
	expectCount(t, c.o.Metrics, "kessai_cache_refreshes_total", 2, "result=failed")
	expectCount(t, c.o.Metrics, "kessai_cache_refreshes_total", 2, "result=done")
	if strings.Contains(c.Check().Detail, "disk") {
		t.Error("readiness, which everybody can see, repeats the error")
	}
}
