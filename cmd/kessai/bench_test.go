package main

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"kessai/bench"
	loadgen "kessai/bench/load"
)

// TestBenchVerdict: a book that does not agree, a threshold and a budget each end
// with 6 and say which.
func TestBenchVerdict(t *testing.T) {
	no, yes := false, true
	p99, err := bench.ParseThreshold("p99<10ms")
	if err != nil {
		t.Fatal(err)
	}
	over := map[string]bench.Stage{"commit": {P99: 50, BudgetP99: 40}}
	for name, c := range map[string]struct {
		b    bencher
		r    bench.Result
		want string
	}{
		"book":      {bencher{}, bench.Result{BookAgrees: &no, BookNote: "one entry too many"}, "one entry too many"},
		"threshold": {bencher{bounds: []bench.Threshold{p99}}, bench.Result{Sent: 1, Latency: bench.Percentiles{P99: 11}}, "p99<10ms: it was 11.0 ms"},
		"budget":    {bencher{budget: true}, bench.Result{Stages: over}, "commit p99: 50 µs, budget 40 µs"},
		"no budget": {bencher{}, bench.Result{Stages: over, BookAgrees: &yes}, ""},
	} {
		err := c.b.verdict(&c.r)
		e, ok := errors.AsType[*exitError](err)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !ok || e.code != exitMissed || !strings.Contains(e.why, c.want) {
			t.Errorf("%s: %v, want exit code 6 for %q", name, err, c.want)
		}
	}
}

// TestBenchMedian: the middle round counts, and ratios are of medians.
func TestBenchMedian(t *testing.T) {
	rounds := func(v ...float64) (rs []round) {
		for _, x := range v {
			rs = append(rs, round{throughput: x})
		}
		return rs
	}
	if m := median(rounds(5, 1, 3)).throughput; m != 3 {
		t.Errorf("median %v, want 3", m)
	}
	if m := median(rounds(4, 1, 3, 2)).throughput; m != 2 {
		t.Errorf("median of four %v, want the lower middle 2", m)
	}
	c := contest{own: rounds(90, 100, 110), others: map[string][]round{"floor": rounds(400, 1, 500)}, caveat: map[string]string{"floor": "less"}}
	r := &bench.Result{Throughput: 100, Peers: map[string]bench.Peer{}, Ratios: map[string]float64{}}
	c.tell(r)
	if r.Ratios["floor"] != 0.25 || r.Peers["floor"].Caveat != "less" || !slices.Equal(r.Rounds, []float64{90, 100, 110}) {
		t.Errorf("%+v", r)
	}
}

// TestBenchPeers: the generator's load is one that every peer answers, and the
// service of moov approves.
func TestBenchPeers(t *testing.T) {
	who := loadgen.Population{Media: 30, Terminals: 4}
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- p.serve(ctx, l, t.TempDir(), who) }()
			o := loadgen.Options{Addr: l.Addr().String(), Population: who, Conns: 2, Window: 4, Duration: 200 * time.Millisecond,
				Mix: loadgen.Mix{loadgen.Purchase: 8, loadgen.Balance: 1, loadgen.Reversal: 1}}
			out, err := loadgen.Run(t.Context(), o)
			for err == nil && out.Total.Sent == 0 && o.Duration < time.Minute { // the machine stood still as long
				o.Duration *= 2
				out, err = loadgen.Run(t.Context(), o)
			}
			if err != nil || out.Answered == 0 || out.Errors > 0 || out.Declined > 0 {
				t.Errorf("%+v, %v", out, err)
			}
			if judges := p.name == "moov"; err == nil && (out.Approved > 0) != judges {
				t.Errorf("%d approvals of %d", out.Approved, out.Answered)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBenchSpawn: a process that does not start is told of, and none is left.
func TestBenchSpawn(t *testing.T) {
	_, err := spawn(t.Context(), io.Discard, t.TempDir(), 0, "bench", "peer", "nobody", "--dir", t.TempDir())
	if e, ok := errors.AsType[*exitError](err); !ok || !strings.Contains(e.why, "exit status 2") {
		t.Errorf("error %v, want one that names the exit status", err)
	}
}
