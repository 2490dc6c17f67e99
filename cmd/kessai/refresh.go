package main

import (
	"context"
	"time"
)

// refresher looks at the registry again and again. The registry's follower has an
// interval of its own, but one for life; this one changes on reload.
type refresher struct {
	look  func() error // the one who is told of every look is told of its error, too
	every chan time.Duration
}

func newRefresher(every time.Duration, look func() error) *refresher {
	r := &refresher{look: look, every: make(chan time.Duration, 1)}
	r.set(every)
	return r
}

// set changes the interval.
func (r *refresher) set(every time.Duration) {
	select {
	case <-r.every: // one that was not taken yet
	default:
	}
	r.every <- every
}

// until looks at each interval, until ctx ends.
func (r *refresher) until(ctx context.Context) {
	t := time.NewTicker(<-r.every)
	defer t.Stop()
	for {
		select {
		case every := <-r.every:
			t.Reset(every)
		case <-t.C:
			_ = r.look()
		case <-ctx.Done():
			return
		}
	}
}
