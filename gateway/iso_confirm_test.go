package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/pos/iso8583"
)

// private writes elements of DE48: a tag and its value in turn.
func private(elements ...string) string {
	var b []byte
	for i := 0; i+1 < len(elements); i += 2 {
		b = iso8583.AppendPrivate(b, elements[i], []byte(elements[i+1]))
	}
	return string(b)
}

// isoAsks is a purchase of a coffee that Suzuki is asked about.
func isoAsks(p *isoTerminal, elements ...string) fields {
	if len(elements) == 0 {
		elements = []string{"CF", "P", "CU", "suzuki", "IT", "2000000000015|1"}
	}
	return p.financial("0200", "000000", fields{4: yen(450), 49: "392", 48: private(elements...)})
}

func withEngine(w *isoShop) ISOOptions {
	o := w.options()
	o.Engine, o.Codes = w.engine, testCodes()
	return o
}

// awaitID waits until Suzuki is asked about so many payments, and gives the newest.
func awaitID(t *testing.T, w *isoShop, n int) (id kessai.TxID) {
	t.Helper()
	suzuki := customerOf(t, w.book, "suzuki")
	until(t, "Suzuki is asked", func() bool {
		all := w.engine.Sales(suzuki)
		if len(all) == n {
			id = all[n-1].ID
		}
		return id != 0
	})
	return id
}

// TestISO_TheAnswerComesWithTheDecision, and what came with the question is answered
// at once.
func TestISO_TheAnswerComesWithTheDecision(t *testing.T) {
	w := newISOShop(t)
	_, addr := listenISO(t, withEngine(w))
	p := dialISO(t, addr)
	ask := isoAsks(p)
	p.send(ask)
	for range 31 {
		p.send(isoSale(p))
	}
	for range 31 {
		expect(t, p.receive(), fields{39: "00", 4: yen(450)})
	}
	id := awaitID(t, w, 1)
	if n := w.options().Metrics; metric(t, n, "kessai_requests_in_flight", "wire=iso8583") != 0 {
		t.Error("what waits for a customer counts as in flight")
	}
	approves(t, w.engine, id, customerOf(t, w.book, "suzuki"))
	expect(t, p.receive(), fields{0: "0210", 11: ask[11], 39: "00", 37: id.RRN(), 38: id.ApprovalCode(), 4: yen(450), 48: ""})
	expect(t, p.ask(isoAsks(p, "CF", "P", "CU", "nobody", "IT", "2000000000015|1")), fields{39: "05"})
}

// TestISO_FirstAnswerShowsWhatToCompare: a terminal with a display hears 09 at once,
// and its repeat (0201) waits.
func TestISO_FirstAnswerShowsWhatToCompare(t *testing.T) {
	w := newISOShop(t)
	_, addr := listenISO(t, withEngine(w))
	p := dialISO(t, addr)
	suzuki := customerOf(t, w.book, "suzuki")
	ask := isoAsks(p, "CF", "N", "CU", "suzuki", "IT", "2000000000015|1|450|Coffee")
	first := p.ask(ask)
	expect(t, first, fields{39: "09", 38: "", 48: private("NO", first[37][10:])})
	expect(t, p.ask(ask), fields{39: "09", 37: first[37], 48: private("NO", first[37][10:])})
	again := fields{}
	for n, v := range ask {
		again[n] = v
	}
	again[0] = "0201"
	p.send(again)
	id := awaitID(t, w, 1)
	until(t, "the repeat waits", func() bool { return w.engine.PhoneStats().Watching == 1 })
	approves(t, w.engine, id, suzuki)
	expect(t, p.receive(), fields{0: "0210", 39: "00", 37: first[37]})
	expect(t, p.ask(again), fields{39: "00", 37: first[37]})

	claim := isoAsks(p, "CF", "Q", "TI", time.Now().UTC().Format("20060102150405")+"-0001", "IT", "A1|1|450|Water")
	got := p.ask(claim)
	expect(t, got, fields{39: "09", 48: private("NO", got[37][10:], "QR", "https://pay.example.com/phone#claim=C"+got[37])})
	id, _ = kessai.ParseTxID(got[37])
	if _, code, err := w.engine.Claim(context.Background(), id, "suzuki"); code != kessai.Approved || err != nil {
		t.Fatal(code, err)
	}
	expect(t, p.ask(claim), fields{39: "09", 48: private("NO", got[37][10:])})
	reverse := p.financial("0400", "000000", fields{4: yen(450), 49: "392", 90: originalOf(claim)})
	expect(t, p.ask(reverse), fields{39: "00"})
	claim[0] = "0201"
	expect(t, p.ask(claim), fields{39: "17"})
}

// TestISO_HangUpLeavesThePaymentWaiting: a repeat over another connection joins it.
func TestISO_HangUpLeavesThePaymentWaiting(t *testing.T) {
	w := newISOShop(t)
	_, addr := listenISO(t, withEngine(w))
	p := dialISO(t, addr)
	ask := isoAsks(p)
	p.send(ask)
	id := awaitID(t, w, 1)
	until(t, "the terminal waits", func() bool { return w.engine.PhoneStats().Watching == 1 })
	p.nc.Close()
	until(t, "nobody waits", func() bool { return w.engine.PhoneStats().Watching == 0 })
	if w.engine.PhoneStats().Waiting != 1 {
		t.Fatal("the payment waits no more")
	}
	p = dialISO(t, addr)
	ask[0] = "0201"
	p.send(ask)
	until(t, "the repeat waits", func() bool { return w.engine.PhoneStats().Watching == 1 })
	approves(t, w.engine, id, customerOf(t, w.book, "suzuki"))
	expect(t, p.receive(), fields{0: "0210", 39: "00", 37: id.RRN()})
}

// TestISO_DrainGivesNoAnswerToWhatWaits: any answer would be wrong.
func TestISO_DrainGivesNoAnswerToWhatWaits(t *testing.T) {
	w := newISOShop(t)
	s, addr := listenISO(t, withEngine(w))
	p := dialISO(t, addr)
	p.send(isoAsks(p))
	awaitID(t, w, 1)
	until(t, "the terminal waits", func() bool { return w.engine.PhoneStats().Watching == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), isoPatience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	p.gone()
	if stats := w.engine.PhoneStats(); stats.Waiting != 1 || stats.Watching != 0 || s.waiting.Load() != 0 {
		t.Errorf("%+v, and %d messages", stats, s.waiting.Load())
	}
}

// TestISO_WaitingHasABound: beyond it a terminal hears that the payment waits, which
// is the truth.
func TestISO_WaitingHasABound(t *testing.T) {
	w := newISOShop(t)
	o := withEngine(w)
	o.MaxWaitingPerConn = 1
	_, addr := listenISO(t, o)
	p := dialISO(t, addr)
	ask := isoAsks(p)
	p.send(ask)
	id := awaitID(t, w, 1)
	until(t, "the terminal waits", func() bool { return w.engine.PhoneStats().Watching == 1 })
	expect(t, p.ask(ask), fields{39: "09", 37: id.RRN()})
	if n := metric(t, w.metrics, "kessai_requests_refused_total", "reason=waiting"); n != 1 {
		t.Errorf("%v refusals were counted", n)
	}
}

// TestISO_BadSales: what cannot be shown to a customer is refused, says why, and
// leaves nothing in the book.
func TestISO_BadSales(t *testing.T) {
	w := newISOShop(t)
	_, addr := listenISO(t, withEngine(w))
	p := dialISO(t, addr)
	reference := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("20060102150405") + "-1" }
	phone := []string{"CF", "P", "CU", "suzuki"}
	for name, c := range map[string]struct {
		elements []string
		code     string
		why      string // in TX; empty where the form alone is wrong
	}{
		"no items":          {nil, "30", "1 to 100"},
		"too many items":    {[]string{"IT", strings.TrimSuffix(strings.Repeat("A1|1^", 101), "^")}, "30", ""},
		"another sum":       {[]string{"IT", "2000000000015|2"}, "13", "sum"},
		"negative price":    {[]string{"IT", "A1|1|-450|Water"}, "13", "sum"},
		"line too large":    {[]string{"IT", "A1|999999|999999999999|Water"}, "30", "quantity times price"},
		"price too long":    {[]string{"IT", "A1|1|1000000000000|Water"}, "30", ""},
		"no quantity":       {[]string{"IT", "A1"}, "30", ""},
		"quantity zero":     {[]string{"IT", "A1|0"}, "30", ""},
		"unknown code":      {[]string{"IT", "2000000000022|1"}, "30", "no such item"},
		"reference too old": {[]string{"IT", "2000000000015|1", "TI", reference(-11 * time.Minute)}, "30", "It is 20"},
		"clock ahead":       {[]string{"IT", "2000000000015|1", "TI", reference(11 * time.Minute)}, "30", "clock"},
		"no reference":      {[]string{"IT", "2000000000015|1", "TI", "4711"}, "30", "YYYYMMDDhhmmss"},
	} {
		got := p.ask(isoAsks(p, append(append([]string(nil), phone...), c.elements...)...))
		if got[39] != c.code || got[37] != "" || !strings.Contains(got[48], c.why) || (c.why == "") != (got[48] == "") {
			t.Errorf("%s: %v; want %s with %q", name, got, c.code, c.why)
		}
	}
	item := []string{"IT", "2000000000015|1"}
	for name, elements := range map[string][]string{
		"no way": {"CU", "suzuki"}, "another way": {"CF", "X", "CU", "suzuki"}, "no customer": {"CF", "P"},
		"customer for claim": {"CF", "Q", "CU", "suzuki"}, "long customer": {"CF", "P", "CU", strings.Repeat("1", 41)},
	} {
		expect(t, p.ask(isoAsks(p, append(elements, item...)...)), fields{39: "30", 37: ""})
		_ = name
	}
	card := isoAsks(p)
	card[2] = suzukiCard
	expect(t, p.ask(card), fields{39: "30", 37: ""})
	nothing := isoAsks(p)
	nothing[4] = yen(0)
	expect(t, p.ask(nothing), fields{39: "30", 37: ""})
	currency := isoAsks(p)
	currency[49] = "999"
	expect(t, p.ask(currency), fields{39: "30", 37: ""})
	if n := w.book.Stats().Transactions; n != 0 {
		t.Errorf("%d transactions are in the book", n)
	}
	// A reference names one sale, whatever STAN it comes under.
	ti := reference(0)
	sold := func(items string) fields {
		return p.ask(isoAsks(p, "CF", "N", "CU", "suzuki", "TI", ti, "IT", items))
	}
	first := sold("2000000000015|1")
	expect(t, sold("2000000000015|1"), fields{39: "09", 37: first[37]})
	expect(t, sold("2000000000015|1|450"), fields{39: "94", 37: ""})
}

// TestISO_ManyWaitWithoutGoroutines: a message that waits costs memory, and nothing
// that runs.
func TestISO_ManyWaitWithoutGoroutines(t *testing.T) {
	w := newISOShop(t)
	_, addr := listenISO(t, withEngine(w))
	p := dialISO(t, addr)
	const many = 16
	ask := func(i int) {
		p.send(isoAsks(p, "CF", "Q", "TI", fmt.Sprintf("%s-%d", time.Now().UTC().Format("20060102150405"), i), "IT", "A1|1|450|Water"))
	}
	for i := range many {
		ask(i)
	}
	for range many {
		expect(t, p.receive(), fields{39: "09"})
	}
	ask(many) // one more than a terminal may have unclaimed
	expect(t, p.receive(), fields{39: "65"})
}
