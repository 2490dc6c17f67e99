package gateway

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/iso8583"
)

// scriptedConn is a connection whose other side has sent everything and then
// closed its half. What is written to it is kept.
type scriptedConn struct {
	in io.Reader

	mu  sync.Mutex
	out bytes.Buffer
}

func (c *scriptedConn) Read(b []byte) (int, error) { return c.in.Read(b) }

func (c *scriptedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(b)
}

func (*scriptedConn) Close() error                     { return nil }
func (*scriptedConn) LocalAddr() net.Addr              { return nil }
func (*scriptedConn) RemoteAddr() net.Addr             { return nil }
func (*scriptedConn) SetDeadline(time.Time) error      { return nil }
func (*scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (*scriptedConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzISOConnection puts any bytes on a connection, in each dialect and framing.
// The connection always ends, every message read is answered or counted as
// unanswered, and every answer can be read.
//
// In the engine's place stands a function that approves everything: what a book
// does in the background would hide from the fuzzer what its inputs reach.
func FuzzISOConnection(f *testing.F) {
	h, err := kessai.NewMediumHasher(bytes.Repeat([]byte{7}, kessai.MinKeyBytes))
	if err != nil {
		f.Fatal(err)
	}
	approve := func(_ context.Context, r *authz.Request) (authz.Reply, error) {
		tx := ledger.Tx{ID: 42, Kind: r.Kind, Amount: r.Amount.Value, Available: -r.Amount.Value, Currency: r.Amount.Currency}
		return authz.Reply{Tx: tx, Code: kessai.Approved}, nil
	}
	for _, sent := range isoSeeds(f) {
		f.Add(uint8(0), sent)
	}
	f.Fuzz(func(t *testing.T, form uint8, sent []byte) {
		if len(sent) > 1<<14 {
			return
		}
		dialects := iso8583.BuiltIn()
		o := ISOOptions{Authorize: eachAlone(approve), Hasher: h, Metrics: NewMetrics(MetricsOptions{})}
		o.Dialect = dialects[int(form)%len(dialects)]
		o.Framing = iso8583.Framing{
			Length: iso8583.LengthForm(form / 4 % 3), TPDU: form&64 != 0, Inclusive: form&128 != 0,
		}
		s, err := NewISO(o)
		if err != nil {
			t.Fatal(err)
		}
		nc := &scriptedConn{in: bytes.NewReader(sent)}
		newISOConn(s, nc, 1).run()

		answers := readAnswers(t, o, nc.out.Bytes())
		count := gathered(t, o.Metrics)
		read, unanswered := count("kessai_iso_frames_received_total"), count("kessai_iso_unanswered_total")
		if read != float64(answers)+unanswered {
			t.Errorf("%v messages were read, %d answered, %v counted as unanswered", read, answers, unanswered)
		}
		for what, want := range map[string]float64{
			"kessai_requests_total": float64(answers), "kessai_iso_disconnects_total": 1, "kessai_requests_in_flight": 0,
		} {
			if got := count(what); got != want {
				t.Errorf("%s is %v, want %v", what, got, want)
			}
		}
		for _, reason := range []string{"unwritable", "outcome_unknown", "connection_lost"} {
			if n := count("kessai_iso_unanswered_total", "reason="+reason); n != 0 {
				t.Errorf("%v messages are unanswered: %s", n, reason)
			}
		}
	})
}

func readAnswers(t *testing.T, o ISOOptions, written []byte) (n int) {
	t.Helper()
	frames := iso8583.NewFrameReader(bytes.NewReader(written), o.Framing, 4096)
	for {
		frame, err := frames.Next(nil)
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatalf("answer %d is no frame: %v", n, err)
		}
		var m iso8583.Message
		if err := o.Dialect.Decode(&m, frame.Body); err != nil {
			t.Fatalf("answer %d cannot be read: %v", n, err)
		}
		if len(m.Get(39)) != 2 || m.MTI[2]%2 != 1 || m.Has(2) || m.Has(35) {
			t.Fatalf("answer %d is none: MTI %s, fields 39 %q", n, m.MTI, m.Get(39))
		}
		n++
	}
}

// isoSeeds gives connections on which all goes well, as far as they go.
func isoSeeds(t testing.TB) [][]byte {
	p := &isoTerminal{t: t, dialect: iso8583.BuiltIn()[0]}
	card := fields{2: suzukiCard, 14: "3912", 4: yen(450), 49: "392"}
	first := p.financial("0200", "000000", card)
	hold := p.financial("0100", "000000", card)
	network := fields{0: "0800", 7: isoNow(), 11: "000001", 70: "001"}
	seeds := [][]byte{
		p.frame(network),
		p.frame(first),
		append(p.frame(first), p.frame(p.financial("0400", "000000", fields{90: originalOf(first), 95: yen(100) + yen(0) + yen(0) + "000000"}))...),
		append(p.frame(hold), p.frame(p.financial("0220", "000000", fields{4: yen(400), 49: "392", 90: originalOf(hold)}))...),
		p.frame(p.financial("0200", "090000", fields{35: suzukiCard + "=3912", 4: yen(450), 49: "392", 54: "0040392D" + yen(100)})),
		p.frame(p.financial("0200", "310000", card)),
		p.frame(isoAsks(p)),
		p.frame(isoAsks(p, "CF", "Q", "TI", "20261122033912-1", "IT", "A1|2|120|Water^B1|1")),
		{0, 0}, {0xff, 0xff, 1}, []byte("GET / HTTP/1.1\r\n\r\n"),
	}
	return append(seeds, bytes.Join(seeds[:6], nil))
}
