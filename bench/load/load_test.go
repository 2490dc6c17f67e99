package load

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/pos/iso8583"
)

// TestClosedLoop: every request is a different attempt, every card a valid one,
// and the counts are those of the other side, in every dialect and framing.
func TestClosedLoop(t *testing.T) {
	for _, d := range iso8583.BuiltIn() {
		for _, f := range []iso8583.Framing{{}, {Length: iso8583.ASCII4, Inclusive: true}, {Length: iso8583.BCD2, TPDU: true}} {
			t.Run(d.Name()+" "+f.Length.String(), func(t *testing.T) {
				mix, err := ParseMix("purchase=8,balance=1,reversal=1")
				if err != nil {
					t.Fatal(err)
				}
				var s *server
				out := longEnough(t, func(took time.Duration) *Outcome {
					s = serve(t, &server{dialect: d, framing: f, keep: true})
					return mustRun(t, small(s, Options{Mix: mix, Remember: true, Warmup: took / 4, Duration: took}))
				}, func(out *Outcome) bool { return out.Answered >= 500 && out.Answered < out.Total.Answered })
				asked := int64(s.count.Load())
				if out.Total.Sent != asked || out.Total.Answered != asked || out.Total.Approved != asked || out.Errors != 0 {
					t.Errorf("%+v, and the server was asked %d times", out.Total, asked)
				}
				if out.Answered == 0 || out.Answered >= asked || out.Latency.TotalCount() != out.Answered {
					t.Errorf("measured %+v of %d, histogram %d", out.Counts, asked, out.Latency.TotalCount())
				}
				if s.twice != 0 || len(s.names) != int(asked) {
					t.Errorf("%d of %d attempts had the name of another", s.twice, asked)
				}
				checkCards(t, s)
				checkApprovals(t, out, asked)
			})
		}
	}
}

func checkCards(t *testing.T, s *server) {
	t.Helper()
	delete(s.pans, "") // reversals
	if len(s.pans) < 40 {
		t.Errorf("only %d of 50 cards were used", len(s.pans))
	}
	for pan := range s.pans {
		if _, err := kessai.ParsePAN(pan); err != nil {
			t.Errorf("a card that is none: %v", err)
		}
	}
}

func checkApprovals(t *testing.T, out *Outcome, asked int64) {
	t.Helper()
	var kinds [numKinds]int
	seen := make(map[uint64]bool)
	for _, chunk := range out.Approvals {
		for _, a := range chunk {
			kinds[a.Kind]++
			seen[a.RRN] = true
			if a.STAN == 0 || a.Kind == Purchase && a.Amount == 0 {
				t.Fatalf("remembered %+v", a)
			}
		}
	}
	if int64(len(seen)) != asked {
		t.Errorf("%d approvals remembered of %d", len(seen), asked)
	}
	if kinds[Purchase] == 0 || kinds[Balance] == 0 || kinds[Reversal] == 0 {
		t.Errorf("kinds %v, want some of each", kinds)
	}
}

// TestNamesAreUniqueWhenSTANsAreFew: connections that share a terminal have few
// STANs, which must all be used again in the next second.
func TestNamesAreUniqueWhenSTANsAreFew(t *testing.T) {
	s := serve(t, &server{keep: true})
	o := small(s, Options{Conns: 30, Window: 8192, Population: Population{Media: 5, Terminals: 1}, Duration: 1200 * time.Millisecond})
	mustRun(t, o)
	if s.twice != 0 {
		t.Errorf("%d attempts had the name of another", s.twice)
	}
}

// TestSTANsRunOut: a connection whose STANs are used up asks for nothing more
// until the next second.
func TestSTANsRunOut(t *testing.T) {
	const window = 32
	// 61 STANs for each connection, and so one for each slot.
	o := Options{Conns: 16_384, Window: window, Population: Population{Media: 5, Terminals: 1}}
	o.complete()
	c := &conn{run: &run{Options: o, began: time.Unix(1_000, 0)}}
	var err error
	if c.wire, err = newISOWire(o.Dialect, o.Framing); err == nil {
		err = c.settle(0)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.slots, c.free = make([]slot, window), newRing[uint32](window)
	for second := range int64(3) {
		used := make(map[uint32]bool)
		for try, want := range []int{window, 0} {
			for i := range uint32(window) { // all are answered
				c.free.put(i)
			}
			c.free.publish()
			if n := c.fill(second*int64(time.Second)+int64(try), window, nil); n != want {
				t.Fatalf("second %d, try %d: %d requests, want %d", second, try, n, want)
			}
		}
		for i := range c.slots {
			used[c.slots[i].stan] = true
		}
		if len(used) != window {
			t.Errorf("second %d: %d STANs of %d requests", second, len(used), window)
		}
		for c.free.take(); !c.free.empty(); c.free.take() {
		}
	}
}

// TestReversalsNameApprovedPurchases of the same terminal, each once.
func TestReversalsNameApprovedPurchases(t *testing.T) {
	s := &server{}
	terminals := make(map[string]string) // of each answered purchase, by RRN
	serve(t, s)
	s.answer = func(in, out *iso8583.Message, _ uint64) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if in.MTI[1] == '2' {
			terminals[string(out.Get(37))] = string(in.Get(41))
			return true
		}
		rrn := string(in.Get(37))
		if terminals[rrn] != string(in.Get(41)) {
			t.Errorf("%s reverses %s, which was asked by %q", in.Get(41), rrn, terminals[rrn])
		}
		delete(terminals, rrn)
		return true
	}
	out := longEnough(t, func(took time.Duration) *Outcome {
		return mustRun(t, small(s, Options{Mix: Mix{Purchase: 1, Reversal: 1}, Duration: took}))
	}, func(out *Outcome) bool { return out.Answered >= 100 })
	if out.Answered == 0 {
		t.Error("nothing was asked")
	}
}

// TestOpenLoopCorrectsForAStall: a stall shows in the corrected latency of all that
// waited behind it, though few were really under way. A machine that stalls too may
// hide that for once, but not again and again.
func TestOpenLoopCorrectsForAStall(t *testing.T) {
	why := ""
	for try := 0; try == 0 || why != "" && try < 10; try++ {
		why = aStallShows(t)
	}
	if why != "" {
		t.Error(why)
	}
}

// aStallShows says why it does not; nothing where it does.
func aStallShows(t *testing.T) (why string) {
	const rate, stall = 400, 300 * time.Millisecond
	s := &server{}
	s.before = func(n uint64) {
		if n == rate*3/10 {
			time.Sleep(stall)
		}
	}
	serve(t, s)
	out := mustRun(t, small(s, Options{Conns: 1, Window: 8, Rate: rate, Duration: time.Second}))
	if out.Answered+out.Missed != rate || int64(s.count.Load()) != out.Answered {
		t.Fatalf("%+v, want %d answered or missed", out.Counts, rate)
	}
	corrected, service := time.Duration(out.Latency.ValueAtQuantile(90)), time.Duration(out.Service.ValueAtQuantile(90))
	switch top := time.Duration(out.Service.Max()); {
	// The last ones may find the window full; but they are fewer than became due
	// during the stall, which are sent after it.
	case out.Missed > rate/4:
		return fmt.Sprintf("%+v, want %d answers", out.Counts, rate)
	case corrected < stall/3 || service > corrected/2:
		return fmt.Sprintf("p90 %s from when they were due, %s from when they were sent: want the stall in the first alone", corrected, service)
	case top < stall:
		return fmt.Sprintf("the longest service took %s, and one took %s at least", top, stall)
	}
	return ""
}

// TestOpenLoopSpreadsEvenly: each connection has its share of the schedule.
func TestOpenLoopSchedule(t *testing.T) {
	s := serve(t, &server{})
	out := mustRun(t, small(s, Options{Conns: 5, Window: 4, Rate: 1003, Warmup: 100 * time.Millisecond, Duration: 500 * time.Millisecond}))
	if out.Sent+out.Missed < 501 || out.Sent+out.Missed > 503 || out.Errors != 0 {
		t.Errorf("%+v, want 502 in half a second", out.Counts)
	}
	if out.Total.Sent+out.Total.Missed < 601 || out.Total.Sent+out.Total.Missed > 603 {
		t.Errorf("%+v in all, want 602", out.Total)
	}
}

// TestWhatCannotBeSentIsMissed, and what is not answered is an error; both stay in
// the latencies.
func TestWhatCannotBeSentIsMissed(t *testing.T) {
	s := serve(t, &server{answer: func(_, _ *iso8583.Message, n uint64) bool { return n <= 10 }})
	out := mustRun(t, small(s, Options{Conns: 1, Window: 5, Rate: 300, Duration: time.Second, Patience: 50 * time.Millisecond}))
	if out.Answered != 10 || out.Errors != 5 || out.Missed != 300-15 || len(out.Unanswered) != 5 {
		t.Errorf("%+v with %d unanswered, want 10 answered, 5 errors, the rest missed", out.Counts, len(out.Unanswered))
	}
	if out.Latency.TotalCount() != 300 || time.Duration(out.Latency.Max()) < time.Second {
		t.Errorf("%d latencies, the longest %s: want all 300, until the end", out.Latency.TotalCount(), time.Duration(out.Latency.Max()))
	}
}

func TestDeclinesAreCounted(t *testing.T) {
	s := serve(t, &server{answer: func(_, out *iso8583.Message, n uint64) bool {
		if n%4 == 0 {
			out.SetString(39, "51")
			out.Unset(38)
		}
		return true
	}})
	out := longEnough(t, func(took time.Duration) *Outcome { return mustRun(t, small(s, Options{Duration: took})) },
		func(out *Outcome) bool { return out.Answered >= 100 })
	if out.Declined == 0 || out.Declined < out.Answered/5 || out.Codes["51"] != out.Declined || out.Codes["00"] != out.Approved {
		t.Errorf("%+v, codes %v", out.Counts, out.Codes)
	}
}

// TestServerThatOnlyEchoes: an answer without DE39 is neither approved nor declined.
func TestServerThatOnlyEchoes(t *testing.T) {
	s := serve(t, &server{answer: func(in, out *iso8583.Message, _ uint64) bool {
		*out = iso8583.Message{MTI: iso8583.MTI([]byte("0210"))}
		for f := range in.Fields {
			out.Set(f, in.Get(f))
		}
		return true
	}})
	out := longEnough(t, func(took time.Duration) *Outcome { return mustRun(t, small(s, Options{Duration: took})) },
		func(out *Outcome) bool { return out.Answered > 0 })
	if out.Answered == 0 || out.Approved+out.Declined+out.Errors != 0 {
		t.Errorf("%+v", out.Counts)
	}
}

func TestConnectionsThatEnd(t *testing.T) {
	s := &server{}
	s.before = func(n uint64) {
		if n == 100 {
			_ = s.l.Close()
		}
	}
	s.answer = func(_, out *iso8583.Message, n uint64) bool {
		if n >= 100 {
			out.SetString(11, "000000") // an answer to nothing ends the connection on our side
		}
		return true
	}
	serve(t, s)
	for _, rate := range []float64{0, 5000} {
		s.count.Store(0)
		if rate > 0 {
			s = serve(t, &server{answer: s.answer})
		}
		out, err := Run(t.Context(), small(s, Options{Rate: rate, Duration: time.Minute})) // it ends with its connections
		if err == nil || !strings.Contains(err.Error(), "nobody waits for") || out == nil || out.Fault == nil {
			t.Errorf("error %v", err)
		}
	}
}

func TestOptionsAreRefused(t *testing.T) {
	good := Options{Population: Population{Media: 1, Terminals: 1}, Conns: 1, Window: 1, Duration: time.Second}
	for name, change := range map[string]func(*Options){
		"no cards":       func(o *Options) { o.Population.Media = 0 },
		"no terminals":   func(o *Options) { o.Population.Terminals = 0 },
		"no connections": func(o *Options) { o.Conns = 0 },
		"too many":       func(o *Options) { o.Conns = MaxConns + 1 },
		"no window":      func(o *Options) { o.Window = 0 },
		"over JSON":      func(o *Options) { o.JSON, o.Conns, o.Window = true, 1000, 1000 },
		"no rate":        func(o *Options) { o.Rate = -1 },
		"no time":        func(o *Options) { o.Duration = 0 },
	} {
		o := good
		change(&o)
		if o.Validate() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestMix(t *testing.T) {
	m, err := ParseMix("purchase=90,balance=5,reversal=5")
	if err != nil || m.String() != "purchase=90,balance=5,reversal=5" {
		t.Fatalf("%v, %v", m, err)
	}
	var seen [numKinds]int
	for i := range uint32(1000) {
		seen[m.pick(i*(1<<32/1000))]++
	}
	if seen[Purchase] < 890 || seen[Balance] < 45 || seen[Reversal] < 45 {
		t.Errorf("%v of 1000", seen)
	}
	for _, bad := range []string{"", "purchase", "refund=1", "purchase=-1", "purchase=0", "purchase=1,,"} {
		if _, err := ParseMix(bad); err == nil {
			t.Errorf("%q is taken for a mix", bad)
		}
	}
}

func TestPAN(t *testing.T) {
	p := Population{Media: MaxMedia, Terminals: 1}
	seen := make(map[string]bool)
	for _, i := range []int{0, 1, 9, 10, 99, 100, 12345, 999_999, MaxMedia - 1} {
		pan := p.PAN(i)
		if _, err := kessai.ParsePAN(pan); err != nil || len(pan) != 16 || seen[pan] {
			t.Errorf("card %d: %v", i, err)
		}
		seen[pan] = true
	}
}

// TestRequestAllocNothing, and neither does reading an answer.
func TestRequestAndReplyAllocNothing(t *testing.T) {
	w, answer := wireAndAnswer(t)
	at := &place{[]byte("B0000001"), bytes.Repeat([]byte("M"), 15)}
	var buf []byte
	var r reply
	ask := &request{stan: 7, at: at, card: 5, amount: 450}
	n := testing.AllocsPerRun(100, func() {
		buf = w.request(buf[:0], ask)
		if _, err := w.reply(answer, &r); err != nil || r.rrn != 42 || r.stan != 7 || r.code != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func wireAndAnswer(tb testing.TB) (wire, []byte) {
	d := iso8583.BuiltIn()[0]
	w, err := newISOWire(d, iso8583.Framing{})
	if err != nil {
		tb.Fatal(err)
	}
	w.tick(time.Now())
	m := iso8583.Message{MTI: iso8583.MTI([]byte("0210"))}
	for f, v := range map[int]string{3: "000000", 4: "000000000450", 7: "1122034000", 11: "000007", 12: "124000", 13: "1122",
		37: "000000000042", 38: "533295", 39: "00", 41: "B0000001", 42: "BENCH0000000001", 49: "392"} {
		m.SetString(f, v)
	}
	b, err := iso8583.Framing{}.AppendMessage(nil, iso8583.TPDU{}, d, &m)
	if err != nil {
		tb.Fatal(err)
	}
	return w, b
}

func BenchmarkRequestAndReply(b *testing.B) {
	w, answer := wireAndAnswer(b)
	at := &place{[]byte("B0000001"), bytes.Repeat([]byte("M"), 15)}
	var buf []byte
	var r reply
	var ask request
	b.ReportAllocs()
	for i := range uint32(b.N) {
		ask = request{stan: i % 999_999, at: at, card: i, amount: i % 10_000}
		buf = w.request(buf[:0], &ask)
		if _, err := w.reply(answer, &r); err != nil {
			b.Fatal(err)
		}
	}
}
