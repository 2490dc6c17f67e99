package gateway

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	moov "github.com/moov-io/iso8583"
	connection "github.com/moov-io/iso8583-connection"

	"kessai"
	"kessai/authz"
	"kessai/pos/iso8583"
)

const (
	foreignConnections = 16
	foreignInFlight    = 64
)

// TestForeignClient has a client that is not ours carry out every kind of
// transaction, on 16 connections at once with 64 messages in flight on each,
// and checks that each answer belongs to its request.
func TestForeignClient(t *testing.T) {
	var terminals []string
	for i := range foreignConnections {
		terminals = append(terminals, fmt.Sprintf("POS%05d", i))
	}
	w := newISOShop(t, terminals...)
	o := w.options()
	o.Logger = nil
	o.Authorize = eachAlone(allAtOnce(foreignConnections*foreignInFlight, w.engine.AuthorizeOne))
	s, addr := listenISO(t, o)
	var all sync.WaitGroup
	for i, terminal := range terminals {
		all.Go(func() { foreignTerminal(t, addr, terminal, i) })
	}
	all.Wait()
	if t.Failed() {
		return
	}
	suzuki, _ := w.book.AccountByName("customer/suzuki")
	if want := int64(1_235_000 - 4*foreignConnections*foreignInFlight); suzuki.Balance != want || suzuki.Held != 0 {
		t.Errorf("the customer has %d and %d held, want %d and 0", suzuki.Balance, suzuki.Held, want)
	}
	for _, k := range kessai.Kinds() {
		if n := metric(t, w.metrics, "kessai_requests_total", "wire=iso8583", "kind="+k.String()); n < foreignConnections*foreignInFlight && !k.OnPurse() && !k.OfCustomer() {
			t.Errorf("%v of kind %s were counted", n, k)
		}
	}
	until(t, "everything read is answered", func() bool {
		return metric(t, w.metrics, "kessai_iso_frames_received_total") == metric(t, w.metrics, "kessai_iso_frames_sent_total")
	})
	if n := s.InFlight(); n != 0 {
		t.Errorf("%d messages are still in flight", n)
	}
}

// allAtOnce lets the first n requests go only when all of them are there.
func allAtOnce(n int, authorize func(context.Context, *authz.Request) (authz.Reply, error)) func(context.Context, *authz.Request) (authz.Reply, error) {
	var here atomic.Int64
	full := make(chan struct{})
	return func(ctx context.Context, r *authz.Request) (authz.Reply, error) {
		switch at := here.Add(1); {
		case at == int64(n):
			close(full)
		case at < int64(n):
			<-full
		}
		return authorize(ctx, r)
	}
}

func foreignTerminal(t *testing.T, addr, terminal string, number int) {
	d, _ := iso8583.ByName(iso8583.ASCII)
	c, err := connection.New(addr, d.Spec(),
		func(r io.Reader) (int, error) {
			var n uint16
			err := binary.Read(r, binary.BigEndian, &n)
			return int(n), err
		},
		func(w io.Writer, n int) (int, error) { return w.Write(binary.BigEndian.AppendUint16(nil, uint16(n))) },
		connection.SendTimeout(isoPatience), connection.IdleTime(isoPatience))
	if err != nil {
		t.Error(err)
		return
	}
	if err := c.Connect(); err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	var all sync.WaitGroup
	for i := range foreignInFlight {
		all.Go(func() {
			w := foreignWorker{t: t, c: c, spec: d.Spec(), terminal: terminal, stan: i * 20, amount: number*foreignInFlight + i + 1}
			w.everyKind()
		})
	}
	all.Wait()
}

// foreignWorker sends one message after the other on a connection that it
// shares with the others of its terminal. The amount is its own.
type foreignWorker struct {
	t        *testing.T
	c        *connection.Connection
	spec     *moov.MessageSpec
	terminal string
	stan     int
	amount   int
}

func (w *foreignWorker) everyKind() {
	card := func(more fields) fields {
		more[2], more[14] = suzukiCard, "3912"
		return more
	}
	purchase, answer := w.ask("0200", "000000", card(fields{4: yen(w.amount)}), fields{39: "00", 4: yen(w.amount)})
	w.ask("0200", "090000", card(fields{4: yen(2), 54: "0040392D" + yen(1)}), fields{39: "00", 4: yen(2)})
	w.ask("0200", "200000", fields{4: yen(1), 37: answer[37], 38: answer[38]}, fields{39: "00", 4: yen(1)})
	w.ask("0200", "310000", card(fields{}), fields{39: "00"})
	w.ask("0100", "000000", card(fields{4: yen(0)}), fields{39: "85"})
	hold, answer := w.ask("0100", "000000", card(fields{4: yen(3)}), fields{39: "00", 4: yen(3)})
	w.ask("0100", "000000", fields{4: yen(1), 37: answer[37], 38: answer[38]}, fields{39: "00", 4: yen(1)})
	w.ask("0220", "000000", fields{4: yen(2), 90: originalOf(hold)}, fields{39: "00", 4: yen(2)})
	_, answer = w.ask("0100", "000000", card(fields{4: yen(3)}), fields{39: "00"})
	w.ask("0120", "000000", fields{4: yen(0), 37: answer[37]}, fields{39: "00"})
	reversal, answer := w.ask("0400", "000000", fields{4: yen(w.amount), 90: originalOf(purchase)}, fields{39: "00", 4: yen(w.amount)})
	reversal[0] = "0401"
	if again := w.send(reversal); again[37] != answer[37] || again[39] != "00" {
		w.t.Errorf("a repeated reversal was answered %v, first %v", again, answer)
	}
	w.ask("0800", "", fields{70: "301"}, fields{39: "00", 70: "301"})
}

// ask sends the next message, checks its answer, and gives both.
func (w *foreignWorker) ask(mti, processing string, f, want fields) (asked, answer fields) {
	w.stan++
	f[0], f[7], f[11], f[41] = mti, isoNow(), fmt.Sprintf("%06d", w.stan), w.terminal
	if processing != "" {
		f[3], f[49] = processing, "392"
	}
	answer = w.send(f)
	if answer == nil {
		return f, fields{}
	}
	want[0] = mti[:2] + string(mti[2]+1) + "0"
	for _, n := range []int{3, 7, 11, 41} {
		want[n] = f[n]
	}
	expect(w.t, answer, want)
	return f, answer
}

func (w *foreignWorker) send(f fields) fields {
	m := moov.NewMessage(w.spec)
	for n, v := range f {
		if n == 0 {
			m.MTI(v)
		} else if err := m.Field(n, v); err != nil {
			w.t.Error(err)
			return nil
		}
	}
	reply, err := w.c.Send(m)
	if err != nil {
		w.t.Errorf("%s %s: %v", w.terminal, f[11], err)
		return nil
	}
	got := fields{}
	for n, field := range reply.GetFields() {
		v, err := field.String()
		if err != nil {
			w.t.Error(err)
		}
		if n != 1 {
			got[n] = strings.TrimRight(v, " ")
		}
	}
	for n, width := range map[int]int{3: 6, 4: 12} { // moov drops the leading zeros
		if v, ok := got[n]; ok {
			got[n] = fmt.Sprintf("%0*s", width, v)
		}
	}
	return got
}
