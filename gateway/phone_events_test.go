package gateway

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// heard is a stream of events that a phone listens to.
type heard struct {
	t     *testing.T
	body  *http.Response
	lines *bufio.Scanner
}

// listen opens the stream; status says what came instead of it.
func (p *testPhone) listen(t *testing.T) (*heard, int) {
	t.Helper()
	r := httpMust[*http.Request](t)(http.NewRequest("GET", p.f.url+"/phone/v1/events", nil))
	r.Header.Set("Cookie", p.cookie)
	a := httpMust[*http.Response](t)(p.f.client.Do(r))
	t.Cleanup(func() { _ = a.Body.Close() })
	if a.StatusCode != 200 {
		return nil, a.StatusCode
	}
	if a.Header.Get("Content-Type") != "text/event-stream" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v", a.Header)
	}
	h := &heard{t, a, bufio.NewScanner(a.Body)}
	h.lines.Scan() // the first beat: from now on the phone hears everything
	return h, 200
}

// next gives the next event as "name data"; empty where the stream has ended.
func (h *heard) next() string {
	name := ""
	for h.lines.Scan() {
		if n, ok := strings.CutPrefix(h.lines.Text(), "event: "); ok {
			name = n
		}
		if data, ok := strings.CutPrefix(h.lines.Text(), "data: "); ok {
			return name + " " + data
		}
	}
	return ""
}

// TestPhone_Events: an open phone hears at once what waits and what has ended, by
// whomever, and nothing of other customers.
func TestPhone_Events(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p, sato := f.in("suzuki"), f.in("sato")
	h, _ := p.listen(t)
	his := f.asked("sato")
	id := f.asked("suzuki")
	if got := h.next(); got != `sales {"id":"`+id+`"}` {
		t.Errorf("asked: %q", got)
	}
	f.expect("approving", p.approve(id), 200, "approved")
	if got := h.next(); got != `ended {"id":"`+id+`"}` {
		t.Errorf("approved: %q", got)
	}
	id = f.asked("suzuki")
	h.next()
	if a := f.post("gives-up", "/v1/payments/"+id+"/cancel", `{}`); a.status != 201 {
		t.Fatalf("the shop cancels: %d %s", a.status, a.raw)
	}
	if got := h.next(); got != `ended {"id":"`+id+`"}` {
		t.Errorf("cancelled by the shop: %q", got)
	}
	f.expect("his", sato.approve(his), 200, "approved")
	if _, status := f.phone("suzuki", "").listen(t); status != 401 {
		t.Errorf("nobody listens: %d", status)
	}
	r := httpMust[*http.Request](t)(http.NewRequest("HEAD", f.url+"/phone/v1/events", nil))
	r.Header.Set("Cookie", p.cookie)
	if a := httpMust[*http.Response](t)(f.client.Do(r)); a.StatusCode != 404 {
		t.Errorf("the head alone of what has no end: %d", a.StatusCode)
	}
}

// A phone that does not listen is told to look again instead of everything.
func TestPhone_LostEvents(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p := f.in("suzuki")
	sub, err := f.engine.Subscribe(customerOf(t, f.book, "suzuki"))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		p.call("POST", "/phone/v1/sales/"+f.asked("suzuki")+"/cancel", `{}`)
	}
	lost := false
	for len(sub.Events) > 0 {
		e := <-sub.Events
		lost = lost || e.ID == 0
	}
	if !lost {
		t.Error("twenty events were kept for a phone that takes none")
	}
	f.engine.Unsubscribe(sub)
}

// TestPhone_EventsAreBounded: so many phones of one customer, and so many that wait in
// all; whoever closes makes room.
func TestPhone_EventsAreBounded(t *testing.T) {
	f := newPhoneFixture(t, func(s *phoneSetup) {
		s.http = func(o *HTTPOptions) { o.MaxWaiting = 22 }
	})
	p, sato := f.in("suzuki"), f.in("sato")
	for range 20 {
		if _, status := p.listen(t); status != 200 {
			t.Fatal(status)
		}
	}
	if _, status := p.listen(t); status != 429 {
		t.Errorf("the twenty-first phone of a customer: %d", status)
	}
	var last *heard
	for range 2 {
		last, _ = sato.listen(t)
	}
	if _, status := sato.listen(t); status != 503 {
		t.Errorf("more than may wait: %d", status)
	}
	if n := f.server.phonesWait.count(); n != 22 {
		t.Errorf("%d wait", n)
	}
	_ = last.body.Body.Close()
	id := f.asked("sato") // whoever is gone shows when something is written
	until(t, "there is room again", func() bool {
		sato.call("POST", "/phone/v1/sales/"+id+"/cancel", `{}`)
		id = f.asked("sato")
		return f.server.phonesWait.count() == 21
	})
}

// A phone that is signed out, or revoked, hears nothing more.
func TestPhone_EventsEndWithTheSession(t *testing.T) {
	f := newPhoneFixture(t, nil)
	for _, how := range []string{"signed out", "revoked", "signed in anew"} {
		p, other := f.in("suzuki"), f.in("suzuki")
		h, _ := p.listen(t)
		switch how {
		case "signed out":
			p.call("DELETE", "/phone/v1/session", `{}`)
		case "revoked":
			other.call("DELETE", "/phone/v1/devices/"+p.device, `{}`)
		default:
			p.renew()
		}
		id := f.asked("suzuki")
		if got := h.next(); got != "" {
			t.Errorf("%s, it hears %q", how, got)
		}
		other.call("POST", "/phone/v1/sales/"+id+"/cancel", `{}`)
	}
	until(t, "nobody waits", func() bool { return f.server.phonesWait.count() == 0 })
}

// Streams end when the server shuts down, at once: nothing else would end them.
func TestPhone_EventsEndWithTheServer(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p := f.in("suzuki")
	h, _ := p.listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := h.next(); got != "" || f.server.phonesWait.count() != 0 {
		t.Errorf("at the end: %q, %d wait", got, f.server.phonesWait.count())
	}
}
