package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/iso8583"
)

// isoFormatError is a message with one thing wrong, and the field that is to
// blame.
type isoFormatError struct {
	name            string
	mti, processing string
	more            fields
	field           int
}

func isoFormatErrors() []isoFormatError {
	original := "0200000001" + isoNow() + strings.Repeat("0", 22)
	return []isoFormatError{
		{"no processing code", "0200", "", nil, 3},
		{"no transmission time", "0200", "000000", fields{7: ""}, 7},
		{"30 February", "0200", "000000", fields{7: "0230120000"}, 7},
		{"hour 24", "0200", "000000", fields{7: "0220240000"}, 7},
		{"no STAN", "0200", "000000", fields{11: ""}, 11},
		{"no terminal", "0200", "000000", fields{41: ""}, 41},
		{"terminal of spaces", "0200", "000000", fields{41: "        "}, 41},
		{"merchant of spaces", "0200", "000000", fields{42: "               "}, 42},
		{"no card", "0200", "000000", fields{2: ""}, 2},
		{"no card for a balance", "0200", "310000", fields{2: ""}, 2},
		{"no card for a plain refund", "0200", "200000", fields{2: ""}, 2},
		{"month 13", "0200", "000000", fields{14: "3913"}, 14},
		{"track 2 of another card", "0200", "000000", fields{35: satoCard + "=3912"}, 35},
		{"track 2 with another expiry", "0200", "000000", fields{35: suzukiCard + "=3911"}, 35},
		{"track 2 without separator", "0200", "000000", fields{2: "", 35: suzukiCard}, 35},
		{"no currency", "0200", "000000", fields{49: ""}, 49},
		{"unknown currency", "0200", "000000", fields{49: "001"}, 49},
		{"no amount to refund", "0200", "200000", fields{4: ""}, 4},
		{"no amount to complete", "0220", "000000", fields{4: "", 90: original}, 4},
		{"no cash part", "0200", "090000", nil, 54},
		{"cash part of another type", "0200", "090000", fields{54: "0002392D" + yen(100)}, 54},
		{"cash part in another currency", "0200", "090000", fields{54: "0040978D" + yen(100)}, 54},
		{"cash part without sign", "0200", "090000", fields{54: "0040392X" + yen(100)}, 54},
		{"cash part twice", "0200", "090000", fields{54: "0040392D" + yen(100) + "0040392D" + yen(100)}, 54},
		{"half a cash part", "0200", "090000", fields{54: "0040392D"}, 54},
		{"completion of nothing", "0220", "000000", nil, 90},
		{"reversal of nothing", "0400", "000000", nil, 90},
		{"original with a bad date", "0400", "000000", fields{90: "0200000001" + "9922120000" + strings.Repeat("0", 22)}, 90},
		{"original of an answer's type", "0400", "000000", fields{90: "0210" + original[4:]}, 90},
		{"RRN of letters", "0400", "000000", fields{37: "ABCDEFGHIJKL"}, 37},
		{"approval code of another", "0220", "000000", fields{37: "000000000001", 38: "000001"}, 38},
		{"letters to stand", "0400", "000000", fields{90: original, 95: "ABCDEFGHIJKL" + strings.Repeat("0", 30)}, 95},
	}
}

// TestISO_FormatErrors sends messages with one thing wrong each. They are
// answered with 30, and the metric names the field.
func TestISO_FormatErrors(t *testing.T) {
	w := newISOShop(t)
	_, addr := listenISO(t, w.options())
	p := dialISO(t, addr)
	card := fields{2: suzukiCard, 14: "3912", 4: yen(450), 49: "392"}
	for _, c := range isoFormatErrors() {
		t.Run(c.name, func(t *testing.T) {
			label := fmt.Sprintf("field=%d", c.field)
			before := metric(t, w.metrics, "kessai_iso_format_errors_total", label)
			more := fields{}
			for n, v := range card {
				more[n] = v
			}
			for n, v := range c.more {
				more[n] = v
			}
			if c.processing == "" {
				more[3] = ""
			}
			asked := p.financial(c.mti, c.processing, more)
			got := p.ask(asked)
			expect(t, got, fields{0: c.mti[:2] + string(c.mti[2]+1) + "0", 39: "30", 37: "", 38: "", 2: "", 11: asked[11]})
			if after := metric(t, w.metrics, "kessai_iso_format_errors_total", label); after != before+1 {
				t.Errorf("format errors of field %d: %v, then %v", c.field, before, after)
			}
		})
	}
	if n := w.book.Stats().Transactions; n != 0 {
		t.Errorf("%d transactions were recorded of messages that make no sense", n)
	}
}

// TestISO_Unparsable cuts a message short: answered with 30 where it still says
// who asks, ended without an answer where it does not.
func TestISO_Unparsable(t *testing.T) {
	w := newISOShop(t)
	_, addr := listenISO(t, w.options())
	p := dialISO(t, addr)
	sale := p.financial("0200", "000000", fields{2: suzukiCard, 4: yen(450), 49: "392"})
	whole := p.frame(sale)
	body := append([]byte(nil), whole[2:len(whole)-1]...) // the last digit of DE49 is cut off
	cut, err := iso8583.Framing{}.Append(nil, iso8583.TPDU{}, body)
	if err != nil {
		t.Fatal(err)
	}
	p.write(cut)
	expect(t, p.receive(), fields{0: "0210", 11: sale[11], 39: "30", 41: "AOI00001", 49: ""})

	noTerminal, _ := iso8583.Framing{}.Append(nil, iso8583.TPDU{}, body[:60])
	p.write(noTerminal)
	p.gone()
	expectEnd(t, w, "unreadable_message")

	p = dialISO(t, addr)
	p.write([]byte{0, 0})
	p.gone()
	expectEnd(t, w, "bad_frame")

	p = dialISO(t, addr)
	p.write(whole[:20])
	p.nc.Close()
	expectEnd(t, w, "ended_inside_frame")
	if strings.Contains(w.log.String(), suzukiCard) {
		t.Error("the log holds a card number")
	}
}

func expectEnd(t *testing.T, w *isoShop, reason string) {
	t.Helper()
	until(t, "a connection that ended with "+reason, func() bool {
		return metric(t, w.metrics, "kessai_iso_disconnects_total", "reason="+reason) == 1
	})
}

// TestISO_NotServed sends what is well-formed but not served.
func TestISO_NotServed(t *testing.T) {
	w := newISOShop(t)
	_, addr := listenISO(t, w.options())
	p := dialISO(t, addr)
	for _, c := range [][3]string{
		{"0200", "500000", "0210"}, {"0100", "200000", "0110"}, {"0220", "200000", "0230"},
		{"0500", "000000", "0510"}, {"0520", "000000", "0530"}, {"0300", "000000", "0310"},
		{"1200", "000000", "1210"}, {"0202", "000000", "0212"},
	} {
		sale := p.financial(c[0], c[1], fields{2: suzukiCard, 4: yen(450), 49: "392"})
		expect(t, p.ask(sale), fields{0: c[2], 39: "12", 11: sale[11], 37: "", 3: c[1]})
	}
	for _, mti := range []string{"0210", "0910", "0900", "0240", "0208"} {
		p := dialISO(t, addr)
		p.send(p.financial(mti, "000000", nil))
		p.gone()
	}
	until(t, "five connections ended for messages without an answer", func() bool {
		return metric(t, w.metrics, "kessai_iso_disconnects_total", "reason=message_without_answer") == 5
	})
}

// TestISO_Network signs on and off, with a listener that requires it.
func TestISO_Network(t *testing.T) {
	w := newISOShop(t)
	o := w.options()
	o.RequireSignOn = true
	o.Framing = iso8583.Framing{TPDU: true, Length: iso8583.ASCII4, Inclusive: true}
	_, addr := listenISO(t, o)
	p := dialISO(t, addr)
	p.framing, p.tpdu = o.Framing, iso8583.TPDU{0x60, 1, 2, 3, 4}
	p.frames = iso8583.NewFrameReader(p.nc, o.Framing, 4096)
	network := func(code string) fields {
		p.stan++
		return fields{0: "0800", 7: isoNow(), 11: fmt.Sprintf("%06d", p.stan), 70: code}
	}
	sale := func() fields {
		return p.financial("0200", "000000", fields{2: suzukiCard, 14: "3912", 4: yen(450), 49: "392"})
	}
	expect(t, p.ask(network("301")), fields{0: "0810", 39: "00", 70: "301"})
	expect(t, p.ask(sale()), fields{0: "0210", 39: "58", 37: ""})
	expect(t, p.ask(network("001")), fields{0: "0810", 39: "00", 70: "001"})
	expect(t, p.ask(sale()), fields{0: "0210", 39: "00"})
	expect(t, p.ask(network("002")), fields{0: "0810", 39: "00", 70: "002"})
	expect(t, p.ask(sale()), fields{0: "0210", 39: "58", 37: ""})
	expect(t, p.ask(network("999")), fields{0: "0810", 39: "12", 70: "999"})
	noCode := network("")
	delete(noCode, 70)
	expect(t, p.ask(noCode), fields{0: "0810", 39: "30"})
	if n := w.book.Stats().Transactions; n != 1 {
		t.Errorf("%d transactions were recorded, want 1", n)
	}
}

// TestISO_EngineErrors answers with 96 only where nothing was done.
func TestISO_EngineErrors(t *testing.T) {
	w := newISOShop(t)
	o := w.options()
	var fail error
	o.Authorize = eachAlone(func(ctx context.Context, r *authz.Request) (authz.Reply, error) {
		if fail != nil {
			return authz.Reply{}, fail
		}
		return w.engine.AuthorizeOne(ctx, r)
	})
	_, addr := listenISO(t, o)
	p := dialISO(t, addr)
	sale := func() fields {
		return p.financial("0200", "000000", fields{2: suzukiCard, 14: "3912", 4: yen(450), 49: "392"})
	}
	for _, fail = range []error{ledger.ErrBusy, ledger.ErrClosed, fmt.Errorf("wrapped: %w", ledger.ErrBusy)} {
		expect(t, p.ask(sale()), fields{39: "96", 37: ""})
	}
	fail = ledger.ErrUnknown
	p.send(sale())
	until(t, "a message without an answer", func() bool {
		return metric(t, w.metrics, "kessai_iso_unanswered_total", "reason=outcome_unknown") == 1
	})
	fail = nil
	next := sale()
	expect(t, p.ask(next), fields{39: "00", 11: next[11]}) // nothing came for the one before
}

// TestISO_NearestYear reads dates without a year.
func TestISO_NearestYear(t *testing.T) {
	for _, c := range []struct{ now, digits, want string }{
		{"2026-11-22T03:39:12Z", "1122033912", "2026-11-22T03:39:12Z"},
		{"2026-12-31T23:59:59Z", "0101000001", "2027-01-01T00:00:01Z"},
		{"2027-01-01T00:00:01Z", "1231235959", "2026-12-31T23:59:59Z"},
		{"2028-01-15T00:00:00Z", "0229120000", "2028-02-29T12:00:00Z"},
		{"2027-12-15T00:00:00Z", "0229120000", "2028-02-29T12:00:00Z"},
		{"2026-01-15T00:00:00Z", "0229120000", ""}, // no 29 February within a year
		{"2026-01-15T00:00:00Z", "0631120000", ""},
		{"2026-01-15T00:00:00Z", "0001120000", ""},
		{"2026-01-15T00:00:00Z", "0100120000", ""},
		{"2026-01-15T00:00:00Z", "0101006000", ""},
		{"2026-01-15T00:00:00Z", "01010000", ""},
		{"2026-01-15T00:00:00Z", "01010000:0", ""},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if at, ok := nearestYear([]byte(c.digits), now); ok {
			got = at.Format(time.RFC3339)
		}
		expectEqual(t, c.digits+" at "+c.now, got, c.want)
	}
}

// TestISO_Available writes balances, also those that are below zero or do not
// fit.
func TestISO_Available(t *testing.T) {
	for v, want := range map[int64]string{
		0: "0002392C000000000000", 450: "0002392C000000000450", -450: "0002392D000000000450",
		kessai.MaxAmount + 1: "0002392C999999999999", -1 << 63: "0002392D999999999999",
	} {
		expectEqual(t, fmt.Sprint(v), string(appendAvailable(nil, v, kessai.JPY)), want)
	}
}

// TestISO_OptionsRefused names what cannot be.
func TestISO_OptionsRefused(t *testing.T) {
	w := newISOShop(t)
	for name, spoil := range map[string]func(*ISOOptions){
		"engine":      func(o *ISOOptions) { o.Authorize = nil },
		"hasher":      func(o *ISOOptions) { o.Hasher = nil },
		"connections": func(o *ISOOptions) { o.MaxConnections = -1 },
		"idle":        func(o *ISOOptions) { o.IdleTimeout = -1 },
	} {
		o := w.options()
		spoil(&o)
		if _, err := NewISO(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v does not name it", name, err)
		}
	}
}
