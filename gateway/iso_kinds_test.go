package gateway

import (
	"strings"
	"testing"

	"kessai"
)

// TestISO_EveryKind carries out every kind of transaction over the wire, on a
// real book, and checks what the terminal is told.
func TestISO_EveryKind(t *testing.T) {
	w := newISOShop(t)
	_, addr := listenISO(t, w.options())
	p := dialISO(t, addr)
	card := fields{2: suzukiCard, 14: "3912", 49: "392"}
	with := func(more fields) fields {
		all := fields{}
		for n, v := range card {
			all[n] = v
		}
		for n, v := range more {
			all[n] = v
		}
		return all
	}
	balance := func() string {
		t.Helper()
		got := p.ask(p.financial("0200", "310000", card))
		expect(t, got, fields{0: "0210", 39: "00"})
		return got[54]
	}
	expectEqual(t, "balance before", balance(), "0002392C"+yen(1_235_000))

	purchase := p.financial("0200", "000000", with(fields{4: yen(450), 12: "123456", 13: "1122", 32: "123456"}))
	got := p.ask(purchase)
	expect(t, got, fields{0: "0210", 2: "", 3: "000000", 4: yen(450), 7: purchase[7], 11: purchase[11], 12: "123456",
		13: "1122", 14: "", 32: "123456", 39: "00", 41: "AOI00001", 42: "AOI000000000001", 49: "392", 54: ""})
	id, ok := kessai.ParseTxID(got[37])
	if !ok || got[38] != id.ApprovalCode() {
		t.Fatalf("RRN %q with approval code %q", got[37], got[38])
	}
	repeat := with(purchase)
	repeat[0] = "0201"
	expect(t, p.ask(repeat), fields{0: "0210", 37: got[37], 38: got[38], 39: "00", 4: yen(450)})
	changed := with(purchase)
	changed[4] = yen(451)
	expect(t, p.ask(changed), fields{0: "0210", 37: "", 38: "", 39: "94", 4: yen(451)})

	cash := with(fields{4: yen(1000), 54: "0040392D" + yen(300)})
	expect(t, p.ask(p.financial("0200", "090000", cash)), fields{39: "00", 4: yen(1000)})
	over := with(fields{4: yen(100), 54: "0040392D" + yen(300)})
	expect(t, p.ask(p.financial("0200", "090000", over)), fields{39: "13"})
	expectEqual(t, "balance after purchases", balance(), "0002392C"+yen(1_235_000-1450))

	refund := p.financial("0200", "200000", fields{4: yen(50), 49: "392", 90: originalOf(purchase)})
	expect(t, p.ask(refund), fields{39: "00", 4: yen(50), 90: ""})
	byNumber := fields{4: yen(25), 49: "392", 37: got[37], 38: got[38]}
	expect(t, p.ask(p.financial("0200", "200000", byNumber)), fields{39: "00", 4: yen(25)})
	expect(t, p.ask(p.financial("0200", "200000", with(fields{4: yen(25)}))), fields{39: "00", 4: yen(25)})
	expectEqual(t, "balance after refunds", balance(), "0002392C"+yen(1_235_000-1450+100))

	testISOHolds(t, p, with, balance)
	testISOReversals(t, p, with, balance)
	testISODeclines(t, p, with)
	if strings.Contains(w.log.String(), suzukiCard) {
		t.Error("the log holds a card number")
	}
	for _, k := range kessai.Kinds() {
		if !k.OnPurse() && !k.OfCustomer() && metric(t, w.metrics, "kessai_requests_total", "wire=iso8583", "kind="+k.String()) == 0 {
			t.Errorf("no %s was counted", k)
		}
	}
}

func testISOHolds(t *testing.T, p *isoTerminal, with func(fields) fields, balance func() string) {
	expect(t, p.ask(p.financial("0100", "000000", with(fields{4: yen(0)}))), fields{0: "0110", 39: "85", 4: yen(0)})
	expect(t, p.ask(p.financial("0200", "000000", with(fields{}))), fields{0: "0210", 39: "85", 4: ""})

	hold := p.financial("0100", "000000", with(fields{4: yen(5000)}))
	held := p.ask(hold)
	expect(t, held, fields{0: "0110", 39: "00", 4: yen(5000)})
	raise := p.financial("0100", "000000", fields{4: yen(1000), 49: "392", 37: held[37], 38: held[38]})
	expect(t, p.ask(raise), fields{0: "0110", 39: "00", 4: yen(1000)})
	expectEqual(t, "balance with a hold", balance(), "0002392C"+yen(1_235_000-1350-6000))
	done := p.financial("0220", "000000", fields{4: yen(5500), 49: "392", 90: originalOf(hold)})
	expect(t, p.ask(done), fields{0: "0230", 39: "00", 4: yen(5500)})
	again := with(done)
	again[0] = "0221"
	delete(again, 2)
	delete(again, 14)
	expect(t, p.ask(again), fields{0: "0230", 39: "00", 4: yen(5500)})
	expectEqual(t, "balance after completion", balance(), "0002392C"+yen(1_235_000-1350-5500))

	hold = p.financial("0100", "000000", with(fields{4: yen(700)}))
	held = p.ask(hold)
	release := p.financial("0120", "000000", fields{4: yen(0), 37: held[37]})
	expect(t, p.ask(release), fields{0: "0130", 39: "00"})
	late := p.financial("0220", "000000", fields{4: yen(700), 49: "392", 37: held[37]})
	expect(t, p.ask(late), fields{0: "0230", 39: "12"})
	expectEqual(t, "balance after release", balance(), "0002392C"+yen(1_235_000-1350-5500))
}

func testISOReversals(t *testing.T, p *isoTerminal, with func(fields) fields, balance func() string) {
	const before = 1_235_000 - 1350 - 5500
	sale := p.financial("0200", "000000", with(fields{4: yen(900)}))
	p.ask(sale)
	part := p.financial("0400", "000000", fields{4: yen(900), 49: "392", 90: originalOf(sale), 95: yen(400) + strings.Repeat("0", 30)})
	expect(t, p.ask(part), fields{0: "0410", 39: "00", 4: yen(900), 90: originalOf(sale), 95: ""})
	expectEqual(t, "balance after partial reversal", balance(), "0002392C"+yen(before-400))
	whole := p.financial("0420", "000000", fields{4: yen(900), 49: "392", 90: originalOf(sale)})
	expect(t, p.ask(whole), fields{0: "0430", 39: "00"})
	repeat := with(whole)
	repeat[0] = "0421"
	delete(repeat, 2)
	delete(repeat, 14)
	expect(t, p.ask(repeat), fields{0: "0430", 39: "00"})
	expectEqual(t, "balance after whole reversal", balance(), "0002392C"+yen(before))

	early := p.financial("0200", "000000", with(fields{4: yen(900), 32: "00000123456"}))
	first := p.financial("0400", "000000", fields{4: yen(900), 32: "123456", 90: originalOf(early)})
	expect(t, p.ask(first), fields{0: "0410", 39: "00"})
	expect(t, p.ask(early), fields{0: "0210", 39: "05"})
	unknown := p.financial("0400", "000000", fields{4: yen(900), 37: "999999999999"})
	expect(t, p.ask(unknown), fields{0: "0410", 39: "25"})
	expectEqual(t, "balance after reversals", balance(), "0002392C"+yen(before))
}

func testISODeclines(t *testing.T, p *isoTerminal, with func(fields) fields) {
	for name, c := range map[string]struct {
		more fields
		want fields
	}{
		"stolen":         {fields{2: stolenCard}, fields{39: "43", 4: yen(450), 38: ""}},
		"expired":        {fields{14: "2001"}, fields{39: "54"}},
		"no card number": {fields{2: "4242424242424243"}, fields{39: "14"}},
		"unknown card":   {fields{2: "4111111111111111"}, fields{39: "14"}},
		"terminal":       {fields{41: "NOBODY01"}, fields{39: "58", 41: "NOBODY01"}},
		"merchant":       {fields{42: "NOBODY"}, fields{39: "03"}},
		"too much":       {fields{4: yen(999_999_999_999), 2: suzukiCard}, fields{39: "10"}},
		"track 2":        {fields{2: "", 14: "", 35: stolenCard + "=39121010000000000000"}, fields{39: "43", 35: ""}},
	} {
		more := with(fields{4: yen(450)})
		for n, v := range c.more {
			more[n] = v
		}
		got := p.ask(p.financial("0200", "000000", more))
		if stranger := c.more[41] != ""; (got[37] == "") != stranger {
			t.Errorf("%s: RRN %q; every decline is recorded, but nothing is for a terminal that nobody knows", name, got[37])
		}
		t.Run(name, func(t *testing.T) { expect(t, got, c.want) })
	}
	part := with(fields{2: satoCard, 4: yen(800)})
	expect(t, p.ask(p.financial("0200", "000000", part)), fields{39: "10", 4: yen(500)})
	expect(t, p.ask(p.financial("0200", "000000", part)), fields{39: "51", 4: yen(800), 38: ""})
}

// expect compares the fields named; an empty value means that the field must
// not be there.
func expect(t testing.TB, got, want fields) {
	t.Helper()
	for n, v := range want {
		if strings.TrimRight(got[n], " ") != v {
			t.Errorf("field %d is %q, want %q (message %v)", n, got[n], v, got)
		}
	}
}

func expectEqual(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}
