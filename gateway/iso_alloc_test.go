//go:build !race

package gateway

import (
	"testing"
	"time"
)

// TestISO_HotPathAllocations holds the way from message to request and from
// reply to message to its budget: the approval code and nothing else.
func TestISO_HotPathAllocations(t *testing.T) {
	w := newISOShop(t)
	s, err := NewISO(w.options())
	if err != nil {
		t.Fatal(err)
	}
	p := &isoTerminal{t: t, dialect: s.o.Dialect}
	frame := p.frame(sale(p))[2:]
	x := &isoExchange{}
	if err := s.o.Dialect.Decode(&x.in, frame); err != nil {
		t.Fatal(err)
	}
	s.mapper.request(&x.request, &x.in, time.Now())
	reply, err := w.engine.Authorize(t.Context(), &x.request)
	if err != nil || !reply.Code.IsApproval() {
		t.Fatalf("code %s, error %v", reply.Code, err)
	}
	now := time.Now()
	decode := testing.AllocsPerRun(100, func() {
		if s.o.Dialect.Decode(&x.in, frame) != nil {
			t.Fatal("cannot be decoded")
		}
		if f := s.mapper.request(&x.request, &x.in, now); f.code != 0 {
			t.Fatal(f)
		}
	})
	encode := testing.AllocsPerRun(100, func() {
		isoReply(&x.out, &x.in, reply.Code, &reply)
		if x.wire, err = s.o.Framing.AppendMessage(x.wire[:0], x.frame.TPDU, s.o.Dialect, &x.out); err != nil {
			t.Fatal(err)
		}
	})
	if decode != 0 || encode != 0 {
		t.Errorf("decoding allocates %v times, want 0; encoding %v times, want 0", decode, encode)
	}
}
