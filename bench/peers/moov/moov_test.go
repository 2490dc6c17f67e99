package moov

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/bench/load"
	"kessai/pos/iso8583"
	"kessai/pos/sim"
)

var people = load.Population{Media: 20, Terminals: 4}

const purse = 1000 // what every customer has

// shop is a service and one connection to it.
type shop struct {
	t    *testing.T
	addr string
	dir  string
	stop func() error
	c    *sim.Client
	stan kessai.STAN
}

func open(t testing.TB, o Options) (addr, dir string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	dir = t.TempDir()
	go func() { end <- Serve(ctx, l, dir, o) }()
	stop = sync.OnceValue(func() error { cancel(); return <-end })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	return l.Addr().String(), dir, stop
}

func newShop(t *testing.T) *shop {
	s := &shop{t: t}
	s.addr, s.dir, s.stop = open(t, Options{Population: people, Balance: purse})
	d, _ := iso8583.ByName(iso8583.ASCII)
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.c = sim.New(c, sim.Options{Dialect: d})
	t.Cleanup(func() { s.c.Close() })
	return s
}

func (s *shop) sale(card int, amount int64) sim.Sale {
	s.stan++
	pan, err := kessai.ParsePAN(people.PAN(card))
	if err != nil {
		s.t.Fatal(err)
	}
	return sim.Sale{Terminal: people.TerminalID(1), Merchant: people.MerchantID(people.MerchantOf(1)), PAN: pan, Expiry: load.Expiry,
		Amount: amount, Currency: kessai.JPY, STAN: s.stan, Time: time.Date(2026, 11, 22, 3, 39, 12, 0, time.UTC)}
}

// ask sends a message, checks the response code, and gives the answer.
func (s *shop) ask(m *iso8583.Message, code string) *iso8583.Message {
	s.t.Helper()
	reply, err := s.c.Do(s.t.Context(), m)
	if err != nil {
		s.t.Fatal(err)
	}
	if want, _ := m.MTI.Reply(); reply.MTI != want || string(reply.Get(39)) != code {
		s.t.Errorf("%s was answered with %s and %s, want %s and %s", m.MTI, reply.MTI, reply.Get(39), want, code)
	}
	return reply
}

// has checks what a customer can spend, by a balance inquiry as the load sends it.
func (s *shop) has(card int, want int64) {
	s.t.Helper()
	m := s.sale(card, 0).Balance()
	m.MTI = iso8583.MTI([]byte("0200"))
	if got := string(s.ask(m, "00").Get(54)); got != fmt.Sprintf("0002392C%012d", want) {
		s.t.Errorf("the customer has %q, want %d", got, want)
	}
}

func TestPurchase(t *testing.T) {
	s := newShop(t)
	s.has(7, purse)
	reply := s.ask(s.sale(7, 400).Purchase(), "00")
	if len(reply.Get(37)) != 12 || len(reply.Get(38)) != 6 {
		t.Errorf("the answer has RRN %q and approval code %q", reply.Get(37), reply.Get(38))
	}
	s.has(7, purse-400)
	s.ask(s.sale(7, 601).Purchase(), "51")
	s.has(7, purse-400)
	s.ask(s.sale(7, 600).Purchase(), "00")
	s.has(7, 0)
	s.has(8, purse)
}

func TestRepeat(t *testing.T) {
	s := newShop(t)
	m := s.sale(3, 400).Purchase()
	first := s.ask(m, "00")
	second := s.ask(sim.Repeat(m), "00")
	if string(first.Get(37)) != string(second.Get(37)) || string(first.Get(38)) != string(second.Get(38)) {
		t.Errorf("a repeat was answered with %s and %s, first with %s and %s", second.Get(37), second.Get(38), first.Get(37), first.Get(38))
	}
	s.has(3, purse-400)
	m.SetString(4, "000000000401")
	s.ask(m, "94")
	declined := s.sale(3, purse+1).Purchase()
	first = s.ask(declined, "51")
	if second := s.ask(declined, "51"); string(first.Get(37)) != string(second.Get(37)) {
		t.Error("the repeat of a decline was noted anew")
	}
	s.has(3, purse-400)
}

func TestReversal(t *testing.T) {
	s := newShop(t)
	reply := s.ask(s.sale(5, 400).Purchase(), "00")
	original := sim.ByReply(reply)
	s.ask(s.sale(5, 400).Reverse(original, 0), "00")
	s.has(5, purse)
	s.ask(s.sale(5, 400).Reverse(original, 0), "00")
	s.has(5, purse) // once only
	original.RRN = "000000999999"
	s.ask(s.sale(5, 400).Reverse(original, 0), "25")
}

func TestDeclines(t *testing.T) {
	s := newShop(t)
	sale := s.sale(1, 10)
	sale.Terminal = "NOBODY"
	s.ask(sale.Purchase(), "58")
	sale = s.sale(1, 10)
	sale.PAN, _ = kessai.ParsePAN("4242424242424242")
	s.ask(sale.Purchase(), "14")
	sale = s.sale(1, 10)
	sale.Expiry = "2001"
	s.ask(sale.Purchase(), "54")
	s.ask(s.sale(1, 0).Purchase(), "13")
	s.has(1, purse)
}

// TestConflicts: many buy at once with one card; what they get is what it loses.
func TestConflicts(t *testing.T) {
	s := newShop(t)
	var all sync.WaitGroup
	for range 8 {
		sale := s.sale(2, purse/5)
		all.Go(func() {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			d, _ := iso8583.ByName(iso8583.ASCII)
			client := sim.New(c, sim.Options{Dialect: d})
			defer client.Close()
			if _, err := client.Do(t.Context(), sale.Purchase()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.has(2, 0)
}

// TestLoad: what the load generator asks for is approved, all of it.
func TestLoad(t *testing.T) {
	addr, _, _ := open(t, Options{Population: people, Balance: 1_000_000_000})
	mix, err := load.ParseMix("purchase=2,balance=1,reversal=1")
	if err != nil {
		t.Fatal(err)
	}
	o := load.Options{Addr: addr, Population: people, Mix: mix, Seed: 1, Conns: 4, Window: 4, Duration: 200 * time.Millisecond}
	out, err := load.Run(t.Context(), o)
	for err == nil && out.Total.Sent == 0 && o.Duration < time.Minute { // the machine stood still as long
		o.Duration *= 2
		out, err = load.Run(t.Context(), o)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out.Fault != nil || len(out.Codes) != 1 || out.Codes[approved] == 0 {
		t.Errorf("the answers were %v, and %v", out.Codes, out.Fault)
	}
}

// TestNoCardNumberOnDisk searches keys and values of the store for the number
// that was used. (Its tables are compressed, so their bytes say nothing.)
func TestNoCardNumberOnDisk(t *testing.T) {
	s := newShop(t)
	s.ask(s.sale(4, 10).Purchase(), "00")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	db, err := badger.Open(badger.DefaultOptions(s.dir).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	holds := func(text string) (found bool) {
		err := db.View(func(txn *badger.Txn) error {
			all := txn.NewIterator(badger.IteratorOptions{AllVersions: true, PrefetchValues: true})
			defer all.Close()
			for all.Rewind(); all.Valid(); all.Next() {
				v, err := all.Item().ValueCopy(nil)
				if err != nil {
					return err
				}
				found = found || strings.Contains(string(all.Item().Key())+string(v), text)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if holds(people.PAN(4)) {
		t.Error("the store holds a card number")
	}
	if !holds(people.TerminalID(1)) {
		t.Error("the search finds nothing")
	}
}

// TestUnreadable: what cannot be read ends the connection, and only that.
func TestUnreadable(t *testing.T) {
	s := newShop(t)
	for _, b := range []string{"\x00\x00", "\xff\xff", "\x00\x040200", "\x00\x0402", "\x00\x24" + "0210" + strings.Repeat("0", 32), "\x00\x04\x00\x00\x00\x00"} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, b); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err == nil && len(got) > 0 {
			t.Errorf("%q was answered", b)
		}
		c.Close()
	}
	s.has(1, purse)
}

// TestOnTheWire: the service and the dialect of the gateway see the same bytes.
func TestOnTheWire(t *testing.T) {
	d, _ := iso8583.ByName(iso8583.ASCII)
	in := &iso8583.Message{MTI: iso8583.MTI([]byte("0200"))}
	for f, v := range map[int]string{2: people.PAN(1), 3: "000000", 4: "000000000450", 7: "1122033912", 11: "000123", 12: "123912",
		13: "1122", 14: load.Expiry, 32: "12345", 37: "000000000001", 38: "123456", 39: "00", 41: "SHORT   ", 42: "BENCH          ", 49: "392", 54: "0002392C000000000001"} {
		in.SetString(f, v)
	}
	want, err := d.Append(nil, in)
	if err != nil {
		t.Fatal(err)
	}
	var m message
	mti, ok := unpack(want, &m)
	if !ok {
		t.Fatal("the dialect's message cannot be read")
	}
	if m.Terminal != "SHORT" || m.Amount != "000000000450" {
		t.Errorf("read terminal %q and amount %q", m.Terminal, m.Amount)
	}
	got, err := pack(mti, &m)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("what was read is written differently")
	}
}

// FuzzUnpack: no message ends the process.
func FuzzUnpack(f *testing.F) {
	m := message{Processing: "000000", STAN: "000001", Terminal: "T"}
	b, err := pack("0200", &m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		if mti, ok := unpack(b, &m); ok && len(mti) != 4 {
			t.Fatalf("an MTI of %d characters", len(mti))
		}
	})
}

// BenchmarkServe has b.N purchases answered, on 64 connections with 64 in flight.
func BenchmarkServe(b *testing.B) {
	const connections, inFlight = 64, 64
	population := load.Population{Media: 100_000, Terminals: 10_000}
	addr, _, _ := open(b, Options{Population: population, Balance: 1_000_000_000})
	all := make([]net.Conn, connections)
	for i := range all {
		var err error
		if all[i], err = net.Dial("tcp", addr); err != nil {
			b.Fatal(err)
		}
		defer all[i].Close()
	}
	if err := buy(all[0], population, 0, 1, 1); err != nil { // the service is ready
		b.Fatal(err)
	}
	b.ResetTimer()
	start := time.Now()
	var running sync.WaitGroup
	each := b.N/connections + 1
	for i, c := range all {
		running.Go(func() {
			if err := buy(c, population, i+1, each, inFlight); err != nil {
				b.Error(err)
			}
		})
	}
	running.Wait()
	b.ReportMetric(float64(each*connections)/time.Since(start).Seconds(), "purchases/s")
}

func buy(c net.Conn, p load.Population, who, n, inFlight int) error {
	slots := make(chan struct{}, inFlight)
	end := make(chan error, 1)
	go func() {
		var length [2]byte
		body := make([]byte, maxFrame)
		for range n {
			if _, err := io.ReadFull(c, length[:]); err != nil {
				end <- err
				return
			}
			b := body[:binary.BigEndian.Uint16(length[:])]
			if _, err := io.ReadFull(c, b); err != nil {
				end <- err
				return
			}
			var m message
			if _, ok := unpack(b, &m); !ok || m.Code != "00" {
				end <- fmt.Errorf("answered with %q", m.Code)
				return
			}
			<-slots
		}
		end <- nil
	}()
	for i := range n {
		select {
		case slots <- struct{}{}:
		case err := <-end:
			return err
		}
		at := (who*100 + i) % p.Terminals
		b, err := pack("0200", &message{PAN: p.PAN(rand.IntN(p.Media)), Processing: "000000", Amount: "000000000001", Sent: fmt.Sprintf("1122%06d", who),
			STAN: fmt.Sprintf("%06d", i), Expiry: load.Expiry, Terminal: p.TerminalID(at), Merchant: p.MerchantID(p.MerchantOf(at)), Currency: currency})
		if err != nil {
			return err
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			return err
		}
	}
	return <-end
}
