package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"kessai"
)

// Approval is one approval that was answered, as the book must have it.
type Approval struct {
	RRN      uint64
	Terminal uint32 // number in the population
	STAN     uint32 // zero over JSON
	Amount   uint32 // minor units; zero for a balance
	Kind     Kind
}

// Unanswered is a request that was sent and not answered when the run ended. What
// became of it only the book knows.
type Unanswered struct {
	Terminal, STAN, Amount uint32
	Kind                   Kind
}

// Counts are numbers of requests.
type Counts struct {
	Sent, Answered, Missed, Approved, Declined, Errors int64
}

func (c *Counts) add(o *Counts) {
	c.Sent += o.Sent
	c.Answered += o.Answered
	c.Missed += o.Missed
	c.Approved += o.Approved
	c.Declined += o.Declined
	c.Errors += o.Errors
}

// NewHistogram makes a histogram of nanoseconds as this package fills it: from
// half a microsecond to two minutes, to three digits.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1000, int64(longest), 3)
}

const longest = 2 * time.Minute

// shard is where some of the connections write their numbers. It is locked once
// for each batch.
type shard struct {
	mu       sync.Mutex
	counts   Counts // of the requests that are measured
	total    Counts // of all, with the warm-up
	codes    [100]int64
	recorded int64 // declines of all that have a number in the book
	inWindow int64 // answers that came while it was measured, whatever they answered
	latency  *hdrhistogram.Histogram
	service  *hdrhistogram.Histogram // nil in a closed loop, where it is the same
	fault    error
}

var approves = func() (t [100]bool) {
	for c := range t {
		t[c] = kessai.ResponseCode(c).IsApproval()
	}
	return t
}()

// answered counts one answer. The shard is locked.
func (s *shard) answered(sl *slot, r *reply, now int64) {
	s.count(&s.total, r)
	if r.rrn != 0 && r.code >= 0 && !approves[r.code] {
		s.recorded++
	}
	if !sl.measured {
		return
	}
	s.count(&s.counts, r)
	if r.code >= 0 {
		s.codes[r.code]++
	}
	record(s.latency, now-sl.due)
	if s.service != nil {
		record(s.service, now-sl.sent)
	}
}

func (s *shard) count(c *Counts, r *reply) {
	c.Answered++
	switch {
	case r.code < 0:
	case approves[r.code]:
		c.Approved++
	default:
		c.Declined++
	}
}

// record notes a time; one beyond the histogram's range counts as its end.
func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 0), int64(longest)))
}

// chunk holds approvals; a list of chunks grows without being copied.
const chunkSize = 1 << 14

type approvals struct{ chunks [][]Approval }

func (a *approvals) add(v Approval) {
	last := len(a.chunks) - 1
	if last < 0 || len(a.chunks[last]) == chunkSize {
		size := chunkSize
		if last < 0 {
			size = 64 // of thousands of connections, most have few
		}
		a.chunks = append(a.chunks, make([]Approval, 0, size))
		last++
	}
	if last == 0 && len(a.chunks[0]) == cap(a.chunks[0]) && cap(a.chunks[0]) < chunkSize {
		grown := make([]Approval, len(a.chunks[0]), chunkSize)
		copy(grown, a.chunks[0])
		a.chunks[0] = grown
	}
	a.chunks[last] = append(a.chunks[last], v)
}
