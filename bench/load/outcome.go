package load

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// outcome adds up what the connections counted. Nothing runs any more.
func (r *run) outcome() *Outcome {
	out := &Outcome{Latency: NewHistogram(), Codes: make(map[string]int64), Took: time.Duration(r.now())}
	out.Service = out.Latency
	if r.Rate > 0 {
		out.Service = NewHistogram()
	}
	inWindow := int64(0)
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		out.Counts.add(&s.counts)
		out.Total.add(&s.total)
		out.Latency.Merge(s.latency)
		if s.service != nil {
			out.Service.Merge(s.service)
		}
		inWindow += s.inWindow
		out.Recorded += s.recorded
		for code, n := range s.codes {
			if n > 0 {
				out.Codes[fmt.Sprintf("%02d", code)] += n
			}
		}
		if out.Fault == nil {
			out.Fault = s.fault
		}
		s.mu.Unlock()
	}
	for _, c := range r.conns {
		r.remains(c, out)
		if len(c.approvals.chunks) > 0 {
			out.Approvals = append(out.Approvals, c.approvals.chunks...)
		}
	}
	out.Throughput = float64(inWindow) / (time.Duration(r.until - r.from)).Seconds()
	out.Sent = out.Answered + out.Errors
	out.Total.Sent = out.Total.Answered + out.Total.Errors
	return out
}

// remains counts what got no answer. Its time goes on at least until now, and is
// recorded as that: leaving out the worst would flatter.
func (r *run) remains(c *conn, out *Outcome) {
	now := r.now()
	for i := range c.slots {
		s := &c.slots[i]
		if !s.busy {
			continue
		}
		out.Unanswered = append(out.Unanswered, Unanswered{s.terminal, s.stan, s.amount, s.kind})
		out.Total.Errors++
		if !s.measured {
			continue
		}
		out.Errors++
		record(out.Latency, now-s.due)
		if r.Rate > 0 {
			record(out.Service, now-s.sent)
		}
	}
	if r.Rate == 0 {
		return
	}
	for j := c.taken; j < c.scheduled; j++ {
		out.Total.Missed++
		if due := c.dueAt(j); due >= r.from {
			out.Missed++
			record(out.Latency, now-due)
		}
	}
}

// watch looks at the counters once in each second of what is measured, and tells
// Progress. The function that it gives ends it, and gives the throughput of each
// whole second.
func (r *run) watch(ctx context.Context) func() []float64 {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	var series []float64
	go func() {
		defer close(done)
		if !sleepUntil(ctx, r.began.Add(r.Warmup)) {
			return
		}
		if r.Measuring != nil {
			r.Measuring()
		}
		before, last := int64(0), r.now()
		for at := r.began.Add(r.Warmup + time.Second); !at.After(r.began.Add(time.Duration(r.until))); at = at.Add(time.Second) {
			if !sleepUntil(ctx, at) {
				return
			}
			n, now := r.inWindow(), r.now()
			rate := float64(n-before) / time.Duration(now-last).Seconds()
			series = append(series, rate)
			before, last = n, now
			if r.Progress != nil {
				r.Progress(r.progress(rate))
			}
		}
	}()
	return func() []float64 { stop(); <-done; return series }
}

func sleepUntil(ctx context.Context, at time.Time) bool {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *run) inWindow() (n int64) {
	for i := range r.shards {
		r.shards[i].mu.Lock()
		n += r.shards[i].inWindow
		r.shards[i].mu.Unlock()
	}
	return n
}

func (r *run) progress(rate float64) Progress {
	p := Progress{Elapsed: time.Duration(r.now()), Of: time.Duration(r.until), Rate: rate}
	all := []*hdrhistogram.Histogram{NewHistogram()}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		p.Counts.add(&s.total)
		all[0].Merge(s.latency)
		s.mu.Unlock()
	}
	p.P99 = time.Duration(all[0].ValueAtQuantile(99))
	return p
}
