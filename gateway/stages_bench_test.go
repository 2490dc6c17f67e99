package gateway

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/iso8583"
)

// benchSale is a purchase for 1 JPY, which any balance of the shop's lasts for a
// while. With track 2 the card is read from its stripe or chip, as most are.
func benchSale(t testing.TB, terminal string, track2 bool) *iso8583.Message {
	p := &isoTerminal{t: t}
	card := fields{4: yen(1), 49: "392", 41: terminal, 2: suzukiCard, 14: "3912"}
	if track2 {
		card[2], card[14], card[35] = "", "", suzukiCard+"=39121010000000000000"
	}
	return p.message(p.financial("0200", "000000", card))
}

func benchISO(t testing.TB, w *isoShop, d *iso8583.Dialect) *ISO {
	o := w.options()
	o.Logger, o.Dialect = nil, d
	s, err := NewISO(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// BenchmarkMapping turns a message into a request: all of the stage decode but
// reading the message itself.
func BenchmarkMapping(b *testing.B) {
	for _, name := range []string{"card", "track2"} {
		b.Run(name, func(b *testing.B) {
			s := benchISO(b, newISOShop(b), nil)
			m, now := benchSale(b, "AOI00001", name == "track2"), time.Now()
			var r authz.Request
			b.ReportAllocs()
			for b.Loop() {
				if f := s.mapper.request(&r, m, now); f.code != 0 {
					b.Fatal(f)
				}
			}
		})
	}
}

// BenchmarkReply is the whole stage encode: the fields of the answer, written
// and framed.
func BenchmarkReply(b *testing.B) {
	for _, d := range iso8583.BuiltIn() {
		b.Run(d.Name(), func(b *testing.B) {
			in, reply := benchSale(b, "AOI00001", false), benchReply()
			var out iso8583.Message
			var wire []byte
			var err error
			b.ReportAllocs()
			for b.Loop() {
				isoReply(&out, in, reply.Code, &reply)
				if wire, err = (iso8583.Framing{}).AppendMessage(wire[:0], iso8583.TPDU{}, d, &out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchReply() authz.Reply {
	tx := ledger.Tx{ID: 42, Kind: kessai.Purchase, Amount: 1, Currency: kessai.JPY}
	return authz.Reply{Tx: tx, Code: kessai.Approved}
}

// caller is one terminal on one connection that asks and waits in turn.
type caller struct {
	nc      net.Conn
	frames  *iso8583.FrameReader
	dialect *iso8583.Dialect
	m       *iso8583.Message
	in      iso8583.Message
	buf     []byte
	stan    int
}

func newCaller(b *testing.B, addr, terminal string) *caller {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { nc.Close() })
	d, _ := iso8583.ByName(iso8583.ASCII)
	return &caller{
		nc: nc, frames: iso8583.NewFrameReader(nc, iso8583.Framing{}, 4096), dialect: d,
		m: benchSale(b, terminal, false), buf: make([]byte, 0, 4096),
	}
}

// ask makes one purchase; with another STAN than the last one where it is new.
func (c *caller) ask(isNew bool) (err error) {
	if isNew {
		c.stan++
		var digits [6]byte
		c.m.Set(11, kessai.AppendDigits(digits[:0], uint64(c.stan), 6))
	}
	if c.buf, err = (iso8583.Framing{}).AppendMessage(c.buf[:0], iso8583.TPDU{}, c.dialect, c.m); err != nil {
		return err
	}
	if _, err := c.nc.Write(c.buf); err != nil {
		return err
	}
	f, err := c.frames.Next(c.buf)
	if err != nil {
		return err
	}
	if err := c.dialect.Decode(&c.in, f.Body); err != nil {
		return err
	}
	if code := c.in.Get(39); string(code) != "00" {
		return fmt.Errorf("answered with code %s", code)
	}
	return nil
}

// BenchmarkExchange is a purchase over a loopback connection, from the terminal
// and back to it, with the book on a real disk. A repeat is answered from memory:
// it shows what all but the disk costs.
func BenchmarkExchange(b *testing.B) {
	for _, name := range []string{"alone", "repeat"} {
		b.Run(name, func(b *testing.B) {
			_, addr := listenISO(b, benchISO(b, newISOShop(b), nil).o)
			c := newCaller(b, addr, "AOI00001")
			if err := c.ask(true); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.ask(name == "alone"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("together", benchTogether)
}

// benchTogether has 128 terminals for each processor, each with a connection of
// its own, and reports how long the stages took: the bucket in which 50 and 99 of
// 100 end. (b.Loop does not go with many goroutines.)
func benchTogether(b *testing.B) {
	terminals := make([]string, 4096)
	for i := range terminals {
		terminals[i] = fmt.Sprintf("TILL%04d", i)
	}
	w := newISOShop(b, terminals...)
	_, addr := listenISO(b, benchISO(b, w, nil).o)
	var next atomic.Int64
	b.SetParallelism(128)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c := newCaller(b, addr, terminals[next.Add(1)])
		for pb.Next() {
			if err := c.ask(true); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	reportStages(b, w.metrics)
}

// reportStages says how long the stages took, as budget.yaml has it.
func reportStages(b *testing.B, m *Metrics) {
	b.Helper()
	for s := range authz.NumStages {
		for _, percent := range []float64{50, 99} {
			d := stageWithin(b, m, s, percent/100)
			b.ReportMetric(float64(d.Nanoseconds()), fmt.Sprintf("ns-p%v-%s", percent, s))
		}
	}
}

// stageWithin gives the time within which a part of all passes through a stage
// ended: the upper end of the histogram's bucket.
func stageWithin(t testing.TB, m *Metrics, s authz.Stage, part float64) time.Duration {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "kessai_stage_duration_seconds" {
			continue
		}
		for _, one := range f.GetMetric() {
			if !hasLabels(one, []string{"stage=" + s.String()}) {
				continue
			}
			h := one.GetHistogram()
			for _, bucket := range h.GetBucket() {
				if float64(bucket.GetCumulativeCount()) >= part*float64(h.GetSampleCount()) {
					return time.Duration(bucket.GetUpperBound() * float64(time.Second))
				}
			}
		}
	}
	t.Fatalf("the metrics do not say how long stage %s took", s)
	return 0
}

// BenchmarkJSON is a payment through fiber without a socket, from the bytes of
// the request to those of the answer. A repeat is answered from memory.
func BenchmarkJSON(b *testing.B) {
	for _, name := range []string{"purchase", "repeat"} {
		b.Run(name, func(b *testing.B) {
			f := newHTTPFixture(b, func(o *HTTPOptions) { o.Logger = nil })
			serve := f.server.App().Handler()
			body := []byte(httpSale("purchase", "1", httpCard))
			var c fasthttp.RequestCtx
			var r fasthttp.Request
			n := 0
			ask := func() {
				if name == "purchase" {
					n++
				}
				r.Reset()
				r.Header.SetMethod(fasthttp.MethodPost)
				r.SetRequestURI("/v1/payments")
				r.Header.SetContentType("application/json")
				r.Header.Set("Authorization", "Bearer "+httpKeyAoi)
				r.Header.Set("Idempotency-Key", fmt.Sprintf("key-%08d", n))
				r.SetBodyRaw(body)
				c.Init(&r, nil, nil)
				c.Response.Reset()
				serve(&c)
				if c.Response.StatusCode() != fasthttp.StatusCreated {
					b.Fatalf("status %d: %s", c.Response.StatusCode(), c.Response.Body())
				}
			}
			ask()
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
		})
	}
}
