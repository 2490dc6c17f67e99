package gateway

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/cache"
	"kessai/pos/iso8583"
)

// newDialogueShop is a shop in mode terminals-only, whose registry knows the card
// of Suzuki and the stolen one. Look-ups wait until they are released.
func newDialogueShop(t *testing.T) (w *isoShop, release func()) {
	t.Helper()
	w = newISOShop(t, "AOI00002")
	suzuki, stolen := w.hasher.Medium(panOf(t, suzukiCard)), w.hasher.Medium(panOf(t, stolenCard))
	good, _ := w.valid.Load().Medium(suzuki)
	terminals := w.valid.Load()
	b := cache.NewBuilder(cache.TerminalsOnly, 0, 2)
	shop, _ := kessai.ParseMerchantID("AOI000000000001")
	b.AddMerchant(shop)
	for _, name := range []string{"AOI00001", "AOI00002"} {
		id, _ := kessai.ParseTerminalID(name)
		facts, _ := terminals.Terminal(id)
		b.AddTerminal(id, facts)
	}
	valid := new(cache.Cache)
	valid.Swap(b.Snapshot(time.Now(), 1))
	held := make(chan struct{})
	var kept atomic.Bool
	registry := authz.Registry{
		Medium: func(id kessai.MediumID) (m cache.Medium, err error) {
			<-held
			switch m = good; {
			case id == stolen && kept.Load():
				m.Status = cache.MediumRetained
			case id == stolen:
				m.Status = cache.MediumStolen
			case id != suzuki:
				err = errors.New("offline")
			}
			return m, err
		},
		Terminal: func(id kessai.TerminalID) (cache.Terminal, error) { t, _ := terminals.Terminal(id); return t, nil },
		Version:  func() uint64 { return 1 },
		Retain: func(id kessai.MediumID, by kessai.TerminalID, _ time.Time) (bool, error) {
			if id == stolen {
				kept.Store(true)
			}
			return id == stolen, nil
		},
	}
	w.engine = authz.New(w.book, valid, authz.Options{HoldFor: time.Hour, Observe: w.metrics.Stage, Registry: registry})
	return w, func() { close(held) }
}

// opening opens a dialogue and gives the DE48 that belongs to it.
func (p *isoTerminal) opening(card string) fields {
	return p.financial("0100", "330000", fields{2: card, 14: "3912"})
}

// TestV13_ISO_OpeningIsAnsweredBeforeWhatCameWithIt: the positive answer goes out
// while what came in the same read still waits for the registry.
func TestV13_ISO_OpeningIsAnsweredBeforeWhatCameWithIt(t *testing.T) {
	w, release := newDialogueShop(t)
	o := w.options()
	o.Engine = w.engine
	_, addr := listenISO(t, o)
	p := dialISO(t, addr)
	sale := p.financial("0200", "000000", fields{2: suzukiCard, 4: yen(100), 49: "392"})
	p.write(append(p.frame(sale), p.frame(p.opening(suzukiCard))...))
	opened := p.receive()
	expect(t, opened, fields{0: "0110", 3: "330000", 37: "", 38: "", 39: "85", 2: "", 14: ""})
	if n := opened[48]; len(n) != 37 || !strings.HasPrefix(n, "DI032") {
		t.Fatalf("DE48 is %q", n)
	}
	transaction := p.financial("0200", "000000", fields{4: yen(450), 49: "392", 48: opened[48]})
	p.send(transaction)
	release()
	for range 2 {
		expect(t, p.receive(), fields{0: "0210", 39: "00", 48: ""})
	}
	transaction[0] = "0201"
	expect(t, p.ask(transaction), fields{0: "0210", 39: "00", 4: yen(450)}) // the dialogue is gone
	if got := metric(t, w.metrics, "kessai_requests_total", "wire=iso8583", "kind=dialogue", "code=85"); got != 1 {
		t.Errorf("%v openings were counted", got)
	}
	if !strings.Contains(w.log.String(), "kind=dialogue code=85") || strings.Contains(w.log.String(), suzukiCard) {
		t.Error("the log does not say that a dialogue opened, or holds the card")
	}
}

// TestV11_ISO_NobodyWaitsForAnother: of two terminals on one connection, whose
// messages came together, the one whose card is known is not slowed by the other,
// whose messages stay in their order.
func TestV11_ISO_NobodyWaitsForAnother(t *testing.T) {
	w, release := newDialogueShop(t)
	o := w.options()
	o.Engine = w.engine
	_, addr := listenISO(t, o)
	p := dialISO(t, addr)
	slow := p.financial("0200", "000000", fields{2: suzukiCard, 4: yen(100), 49: "392"})
	undo := p.financial("0400", "000000", fields{90: originalOf(slow)})
	quick := p.financial("0200", "000000", fields{2: "4242424242424241", 4: yen(100), 49: "392", 41: "AOI00002"})
	p.write(append(append(p.frame(slow), p.frame(undo)...), p.frame(quick)...))
	expect(t, p.receive(), fields{0: "0210", 11: quick[11], 39: "14"})
	release()
	first, second := p.receive(), p.receive()
	expect(t, first, fields{0: "0210", 11: slow[11], 39: "00"})
	expect(t, second, fields{0: "0410", 11: undo[11], 39: "00"})
}

// TestV4_ISO_DialogueMisuse: each wrong use of a dialogue has its answer, nothing
// is recorded, and the dialogue stays open for its own terminal.
func TestV4_ISO_DialogueMisuse(t *testing.T) {
	w, release := newDialogueShop(t)
	release()
	o := w.options()
	o.Engine = w.engine
	_, addr := listenISO(t, o)
	p, other := dialISO(t, addr), dialISO(t, addr)
	other.stan = 500
	opened := p.ask(p.opening(suzukiCard))
	sale := func(p *isoTerminal, more fields) fields {
		f := p.financial("0200", "000000", fields{4: yen(100), 49: "392", 48: opened[48]})
		for n, v := range more {
			if f[n] = v; v == "" {
				delete(f, n)
			}
		}
		return f
	}
	number := opened[48][5:]
	for name, c := range map[string]struct {
		who  *isoTerminal
		said fields
		want string
	}{
		"another connection":      {other, sale(other, nil), "25"},
		"another terminal":        {p, sale(p, fields{41: "AOI00002"}), "25"},
		"a number out of the air": {p, sale(p, fields{48: "DI032" + strings.Repeat("0", 32)}), "25"},
		"too short a number":      {p, sale(p, fields{48: "DI031" + number[1:]}), "30"},
		"too long a number":       {p, sale(p, fields{48: "DI033" + number + "0"}), "30"},
		"no hexadecimal number":   {p, sale(p, fields{48: "DI032x" + number[1:]}), "30"},
		"an element cut short":    {p, sale(p, fields{48: opened[48][:20]}), "30"},
		"an element twice":        {p, sale(p, fields{48: opened[48] + opened[48]}), "30"},
		"no elements at all":      {p, sale(p, fields{48: "hello"}), "30"},
		"no card, no dialogue":    {p, sale(p, fields{48: ""}), "30"},
	} {
		got := c.who.ask(c.said)
		if got[39] != c.want || got[37] != "" {
			t.Errorf("%s: %s (RRN %q), want %s", name, got[39], got[37], c.want)
		}
	}
	if n := metric(t, w.metrics, "kessai_iso_format_errors_total", "field=48"); n != 6 {
		t.Errorf("%v errors in DE48 were counted, want 6", n)
	}
	reversal := p.financial("0400", "000000", fields{48: "DI032" + strings.Repeat("0", 32), 90: originalOf(sale(p, nil))})
	expect(t, p.ask(reversal), fields{39: "00"}) // it needs no dialogue
	expect(t, p.ask(sale(p, fields{2: suzukiCard})), fields{39: "00"})
	expect(t, p.ask(sale(p, nil)), fields{39: "25"})

	opened = p.ask(p.opening(suzukiCard))
	expect(t, p.ask(sale(p, fields{2: satoCard})), fields{39: "25"})
	expect(t, p.ask(sale(p, nil)), fields{39: "25"}) // it has ended with that

	opened = other.ask(other.opening(suzukiCard))
	_ = other.nc.Close()
	until(t, "the dialogue of a closed connection ends", func() bool { return w.engine.Dialogues() == 0 })
	if n := w.book.Stats().Transactions; n != 2 {
		t.Errorf("%d transactions are in the book", n)
	}
}

// TestV4_ISO_OpeningsAreRefused in every way in which they can be.
func TestV4_ISO_OpeningsAreRefused(t *testing.T) {
	w, release := newDialogueShop(t)
	release()
	o := w.options()
	o.Engine = w.engine
	_, addr := listenISO(t, o)
	p := dialISO(t, addr)
	for name, c := range map[string]struct {
		said fields
		want string
	}{
		"a stranger":              {fields{2: suzukiCard, 41: "NOBODY01"}, "58"},
		"another merchant":        {fields{2: suzukiCard, 42: "VEND00000000001"}, "03"},
		"no card number":          {fields{2: "4242424242424241"}, "14"},
		"no card":                 {fields{}, "30"},
		"no terminal":             {fields{2: suzukiCard, 41: ""}, ""},
		"no time":                 {fields{2: suzukiCard, 7: ""}, "30"},
		"a bad DE48":              {fields{2: suzukiCard, 48: "x"}, "30"},
		"track 2 and another PAN": {fields{2: suzukiCard, 35: satoCard + "=3912"}, "30"},
	} {
		if c.want == "" {
			continue // the connection ends, as for any message that nobody can be told to have sent
		}
		if got := p.ask(p.financial("0100", "330000", c.said)); got[39] != c.want || got[48] != "" || got[37] != "" {
			t.Errorf("%s: %s %q %q, want %s", name, got[39], got[48], got[37], c.want)
		}
	}
	expect(t, p.ask(p.financial("0200", "330000", fields{2: suzukiCard})), fields{39: "12"})
	late := p.financial("0100", "330000", fields{2: stolenCard})
	expect(t, p.ask(late), fields{39: "85"}) // V-11: it turns out later
	none := w.options()
	_, addr = listenISO(t, none)
	expect(t, dialISO(t, addr).ask(p.opening(suzukiCard)), fields{39: "12"})
}

// TestV12_ISO_Retained: 0120 with the code that told the terminal to keep the card.
func TestV12_ISO_Retained(t *testing.T) {
	w, release := newDialogueShop(t)
	o := w.options()
	o.Engine = w.engine
	_, addr := listenISO(t, o)
	p := dialISO(t, addr)
	kept := func(card, code string) fields {
		return p.financial("0120", "330000", fields{2: card, 39: code})
	}
	p.send(kept(stolenCard, "43"))
	expect(t, p.ask(fields{0: "0800", 7: isoNow(), 11: "999999", 70: "301"}), fields{0: "0810", 39: "00"}) // nobody waits for it
	release()
	expect(t, p.receive(), fields{0: "0130", 39: "00", 37: ""})
	again := kept(stolenCard, "43")
	again[0] = "0121"
	expect(t, p.ask(again), fields{0: "0130", 39: "00"})
	expect(t, p.ask(kept(suzukiCard, "41")), fields{39: "12"})
	expect(t, p.ask(kept(satoCard, "04")), fields{39: "96"}) // the registry is offline for this one
	expect(t, p.ask(kept("4242424242424241", "04")), fields{39: "14"})
	for _, bad := range []string{"00", "05", ""} {
		f := kept(stolenCard, bad)
		if bad == "" {
			delete(f, 39)
		}
		expect(t, p.ask(f), fields{39: "30"})
	}
	sale := p.financial("0200", "000000", fields{2: stolenCard, 4: yen(1), 49: "392"})
	expect(t, p.ask(sale), fields{39: "04"})
}

// TestISO_RegistryBoundsWaiting: what waits for the registry counts as in flight.
func TestISO_RegistryBoundsWaiting(t *testing.T) {
	w, release := newDialogueShop(t)
	o := w.options()
	o.Engine, o.MaxInFlight = w.engine, 1
	s, addr := listenISO(t, o)
	p := dialISO(t, addr)
	p.send(p.financial("0120", "330000", fields{2: stolenCard, 39: "43"}))
	until(t, "the report waits", func() bool { return s.InFlight() == 1 })
	expect(t, p.ask(p.financial("0120", "330000", fields{2: stolenCard, 39: "43"})), fields{39: "96"})
	release()
	expect(t, p.receive(), fields{39: "00"})
	ctx, cancel := context.WithTimeout(t.Context(), isoPatience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestISO_EveryDialectCarriesDialogues: DE48 goes through each of them.
func TestISO_EveryDialectCarriesDialogues(t *testing.T) {
	w := newISOShop(t)
	for i, d := range iso8583.BuiltIn() {
		t.Run(d.Name(), func(t *testing.T) {
			o := w.options()
			o.Engine, o.Dialect = w.engine, d
			_, addr := listenISO(t, o)
			p := dialISO(t, addr)
			p.dialect = d
			opened := p.ask(p.opening(suzukiCard))
			p.stan += 100 * (i + 1) // the four share a terminal
			sale := p.financial("0200", "000000", fields{4: yen(1), 49: "392", 48: opened[48]})
			expect(t, p.ask(sale), fields{0: "0210", 39: "00"})
		})
	}
}
