//go:build !race

package gateway

import (
	"testing"
	"time"

	"kessai/pos/iso8583"
)

// TestISO_HotPathAllocations holds the way from bytes to request and from reply
// to bytes to nothing at all.
func TestISO_HotPathAllocations(t *testing.T) {
	w := newISOShop(t)
	o := w.options()
	o.Logger = nil
	s, err := NewISO(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &isoTerminal{t: t, dialect: s.o.Dialect}
	wire := p.frame(isoSale(p))
	c := newISOConn(s, &scriptedConn{}, 1)
	b, x := new(isoBatch), s.codec()
	decode := func() {
		b.frames, b.messages, b.asks, b.asked = b.frames[:0], b.messages[:0], b.asks[:0], b.asked[:0]
		f, size, err := s.o.Framing.Split(wire, 4096)
		if err != nil || size != len(wire) {
			t.Fatalf("a frame of %d bytes of %d, %v", size, len(wire), err)
		}
		b.add(f)
		b.began = time.Now()
		err = s.o.Dialect.Decode(&x.in, b.body(b.messages[0]))
		if c.sort(b, b.messages[0], x, err); len(b.asks) != 1 {
			t.Fatal("it is not for the engine")
		}
		s.inFlight.Add(-1)
	}
	decode()
	s.o.Authorize(t.Context(), b.asks)
	if a := b.asks[0]; a.Err != nil || !a.Reply.Code.IsApproval() {
		t.Fatalf("code %s, error %v", a.Reply.Code, a.Err)
	}
	done := b.asks[0]
	encode := func() {
		b.answers, b.n = b.answers[:0], 0
		if c.decided(b, b.messages[0], x, &done); b.n != 1 {
			t.Fatal("it is not answered")
		}
	}
	var reply iso8583.Message
	encode()
	if err := s.o.Dialect.Decode(&reply, b.answers[2:]); err != nil || string(reply.Get(39)) != "00" {
		t.Fatalf("the answer: %v", err)
	}
	if n := testing.AllocsPerRun(1_000, decode); n != 0 {
		t.Errorf("from bytes to request allocates %v times, want 0", n)
	}
	if n := testing.AllocsPerRun(1_000, encode); n != 0 {
		t.Errorf("from reply to bytes allocates %v times, want 0", n)
	}
}
