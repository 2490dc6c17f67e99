package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp/fasthttputil"
)

// What changes anything is refused unless a page of this gateway asks, with plain
// JSON: on every route, before anything else is looked at.
func TestPhone_OtherSites(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p := f.in("suzuki")
	id := f.asked("suzuki")
	for _, r := range f.server.phone.routes() {
		if r.method == "GET" {
			continue
		}
		path := strings.NewReplacer(":id", id, ":try", "x", ":code", "x").Replace(r.path)
		for _, c := range []struct {
			status  int
			code    string
			headers []string
		}{
			{403, "other_site", []string{headerPhone, ""}},
			{403, "other_site", []string{headerPhone, "yes"}},
			{403, "other_site", []string{"Origin", "https://evil.example"}},
			{403, "other_site", []string{"Origin", "null"}},
			{403, "other_site", []string{"Origin", "ftp" + strings.TrimPrefix(f.url, "http")}},
			{403, "other_site", []string{"Origin", f.url + "0"}},
			{403, "other_site", []string{"Origin", strings.Replace(f.url, "127.0.0.1", "localhost", 1)}},
			{403, "other_site", []string{"Sec-Fetch-Site", "cross-site"}},
			{403, "other_site", []string{"Sec-Fetch-Site", "same-site"}},
			{415, "unsupported_media_type", []string{"Content-Type", "text/plain"}},
			{415, "unsupported_media_type", []string{"Content-Type", "application/x-www-form-urlencoded"}},
			{415, "unsupported_media_type", []string{"Content-Type", ""}},
			{415, "unsupported_encoding", []string{"Content-Encoding", "gzip"}},
		} {
			a := p.call(r.method, path, `{}`, c.headers...)
			if a.status != c.status || a.text("code") != c.code || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s with %q: %d %s", r.method, r.path, c.headers, a.status, a.raw)
			}
		}
	}
	big := `{"client_first":"` + strings.Repeat("x", 70<<10) + `"}`
	f.expect("a body that is too large", p.call("POST", "/phone/v1/sign-in", big), 413, "body_too_large")
	if a := p.call("OPTIONS", "/phone/v1/sales/"+id+"/cancel", nil, "Access-Control-Request-Method", "POST"); a.status < 400 || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a browser asks for another site: %d", a.status)
	}
	for _, headers := range [][]string{{"Origin", ""}, {"Sec-Fetch-Site", "same-origin"}, {"Origin", "http://localhost:8080"}} {
		f.expect("the app itself", p.call("POST", "/phone/v1/claims", `{"code":"x"}`, headers...), 404, "claim_refused")
	}
	if a := f.shop(id); a.text("status") != "waiting" {
		t.Errorf("the payment is %s", a.raw)
	}
}

// A gateway whose address is https takes no word of pages that came over http, and
// its cookie goes over TLS alone, also behind a proxy that ends TLS.
func TestPhone_OverTLS(t *testing.T) {
	f := newPhoneFixture(t, func(s *phoneSetup) { s.origin = "https://pay.example.com" })
	p := f.phone("suzuki", phonePasswords["suzuki"])
	host := strings.TrimPrefix(f.url, "http://")
	f.expect("http", p.call("POST", "/phone/v1/claims", `{"code":"x"}`, "Origin", "http://"+host), 403, "other_site")
	f.expect("https, signed out", p.call("POST", "/phone/v1/claims", `{"code":"x"}`, "Origin", "https://pay.example.com"), 401, "signed_out")
	f.expect("https by the name that was asked", p.call("POST", "/phone/v1/claims", `{"code":"x"}`, "Origin", "https://"+host), 401, "signed_out")
}

// TestPhone_Cookie: the session is out of reach of pages and of other sites, and goes
// over TLS alone but on the machine itself.
func TestPhone_Cookie(t *testing.T) {
	for _, c := range []struct {
		origin, host string
		tls, secure  bool
	}{
		{"http://localhost:8080", "localhost:8080", false, false},
		{"http://localhost:8080", "127.0.0.1:8080", false, false},
		{"http://localhost:8080", "localhost", true, true},
		{"http://localhost:8080", "pay.example.com", false, true},
		{"http://localhost:8080", "localhost.example.com", false, true},
		{"https://pay.example.com", "localhost:8080", false, true},
		{"https://pay.example.com", "pay.example.com", true, true},
	} {
		f := newPhoneFixture(t, func(s *phoneSetup) { s.origin = c.origin })
		scheme := "http"
		l := fasthttputil.NewInmemoryListener()
		var listener net.Listener = l
		if c.tls {
			scheme = "https"
			listener = tls.NewListener(l, &tls.Config{Certificates: httptestCertificate(t)})
		}
		go func() { _ = f.server.Serve(listener) }()
		f.client = &http.Client{Transport: &http.Transport{
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return l.Dial() },
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // a pipe within the test
			DisableKeepAlives: true,
		}}
		f.url = scheme + "://" + c.host
		p := f.phone("suzuki", phonePasswords["suzuki"])
		p.origin = c.origin
		a := p.signIn()
		want := "; max-age=43200; path=/phone; HttpOnly"
		if c.secure {
			want += "; secure"
		}
		got := a.header.Get("Set-Cookie")
		if _, rest, _ := strings.Cut(got, ";"); a.status != 200 || "; "+strings.TrimSpace(rest) != want+"; SameSite=Strict" {
			t.Errorf("%s at %s: %d; the cookie has %q, want %q", c.origin, f.url, a.status, got, want)
		}
		if hsts := a.header.Get("Strict-Transport-Security"); (hsts != "") != c.tls {
			t.Errorf("%s: HSTS %q", f.url, hsts)
		}
		a = p.call("DELETE", "/phone/v1/session", `{}`)
		if got := a.header.Get("Set-Cookie"); a.status != 204 || !strings.HasPrefix(got, phoneCookie+"=;") || !strings.Contains(got, "expires=") && !strings.Contains(got, "max-age=0") {
			t.Errorf("signing out: %d %q", a.status, got)
		}
	}
}

func httptestCertificate(t *testing.T) []tls.Certificate {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	return s.TLS.Certificates
}

// TestPhone_Pages: what the pages may do is said with each of them, and nothing but
// the app's files is served.
func TestPhone_Pages(t *testing.T) {
	for _, framed := range []bool{false, true} {
		f := newPhoneFixture(t, func(s *phoneSetup) {
			s.phone.Framed = framed
			if framed {
				s.http = func(o *HTTPOptions) { o.Floor = &FloorOptions{} }
			}
		})
		a := f.do("GET", "/phone", "")
		if a.status != 308 || a.header.Get("Location") != "/phone/" {
			t.Errorf("/phone: %d %q", a.status, a.header.Get("Location"))
		}
		for name, file := range f.server.phone.files {
			path := "/phone/" + name
			a := f.do("GET", path, "")
			csp := a.header.Get("Content-Security-Policy")
			frames, old := "frame-ancestors 'none'", "DENY"
			if framed {
				frames, old = "frame-ancestors 'self'", "SAMEORIGIN"
			}
			if a.status != 200 || string(a.raw) != string(file.body) || a.header.Get("Content-Type") != file.kind || a.header.Get("Cache-Control") != "no-cache" ||
				!strings.HasSuffix(csp, frames) || a.header.Get("X-Frame-Options") != old || a.header.Get("X-Content-Type-Options") != "nosniff" ||
				a.header.Get("Cross-Origin-Opener-Policy") != "same-origin" || a.header.Get("Cross-Origin-Resource-Policy") != "same-origin" ||
				a.header.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(a.header.Get("Permissions-Policy"), "microphone=()") {
				t.Errorf("%s: %d %v", path, a.status, a.header)
			}
			for _, rule := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'"} {
				if !strings.Contains(csp, rule+";") {
					t.Errorf("%s: %s is missing in %q", path, rule, csp)
				}
			}
			if strings.Contains(csp, "unsafe") {
				t.Errorf("%s: %q", path, csp)
			}
			b := f.do("GET", path, "", "If-None-Match", a.header.Get("ETag"))
			if b.status != 304 || len(b.raw) != 0 || b.header.Get("ETag") != a.header.Get("ETag") || b.header.Get("Content-Security-Policy") != csp {
				t.Errorf("%s again: %d, %d bytes", path, b.status, len(b.raw))
			}
			if c := f.do("HEAD", path, "", "If-None-Match", `"another"`); c.status != 200 || len(c.raw) != 0 {
				t.Errorf("%s, head alone: %d, %d bytes", path, c.status, len(c.raw))
			}
		}
		for _, path := range []string{
			"/phone/../phone.go", "/phone/..%2f..%2fhttp.go", "/phone/%2e%2e/%2e%2e/go.mod", "/phone/./../web.go", "/phone//index.html/", "/phone/index.html/",
			"/phone/..", "/phone/i18n", "/phone/i18n/", "/phone/%00", "/phone/index.html%00.js", "/phone/..%5c..%5cgo.mod", "/phone/nothing.js", "/phone/v1/nothing", "/phoney", "/demo/../go.mod",
		} {
			if a := f.do("GET", path, ""); a.status < 400 && !(framed && strings.HasPrefix(path, "/demo")) && a.header.Get("Location") == "" || strings.Contains(string(a.raw), "module kessai") {
				t.Errorf("%s: %d %.100s", path, a.status, a.raw)
			}
		}
		if a := f.do("GET", "/demo/floor.json", ""); (a.status == 200) != framed {
			t.Errorf("the shop floor: %d, where there is one: %v", a.status, framed)
		}
	}
}

// Strangers have places of their own, and one address a part of them: they keep out
// neither merchants, nor phones that are signed in, nor all other strangers.
func TestPhone_StrangersKeepNobodyOut(t *testing.T) {
	f := newPhoneFixture(t, func(s *phoneSetup) {
		s.http = func(o *HTTPOptions) { o.MaxInFlight = 32 }
	})
	side := f.server.phone
	p := f.in("suzuki")
	id := f.asked("suzuki")
	f.held = make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(f.held)
	for range 2 {
		stranger := f.phone("sato", "wrong")
		all.Go(func() { stranger.signIn() })
	}
	until(t, "two are worked on", func() bool { return side.strangers.count() == 2 })
	f.expect("a third of this address", f.phone("sato", "wrong").signIn(), 503, "busy")
	if !side.strangers.enter("198.51.100.7") {
		t.Error("another address is kept out")
	}
	side.strangers.leave("198.51.100.7")
	f.expect("a phone that is signed in", p.approve(id), 200, "approved")
	if a := f.shop(id); a.text("status") != "approved" {
		t.Errorf("the merchant hears %s", a.raw)
	}
	if n := metric(t, f.server.o.Metrics, "kessai_requests_refused_total", "reason=in_flight"); n != 1 {
		t.Errorf("%v refusals were counted", n)
	}
}

func TestPhone_Crowd(t *testing.T) {
	d := newCrowd(4, 2)
	var entered []string
	for _, peer := range []string{"a", "a", "a", "b", "c", "d"} {
		if d.enter(peer) {
			entered = append(entered, peer)
		}
	}
	if got := strings.Join(entered, ""); got != "aabc" {
		t.Errorf("%s entered", got)
	}
	for _, peer := range entered {
		d.leave(peer)
	}
	if d.working != 0 || len(d.peers) != 0 {
		t.Errorf("%d are left, of %d peers", d.working, len(d.peers))
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if d.enter("x") {
					d.leave("x")
				}
			}
		})
	}
	all.Wait()
	for _, c := range [][2]string{
		{"192.0.2.1:443", "192.0.2.1"}, {"[2001:db8:1:2:3::4]:443", "2001:db8:1:2::/64"}, {"[::ffff:192.0.2.1]:5", "192.0.2.1"}, {"[fe80::1%eth0]:5", "fe80::/64"},
	} {
		if got := peerOf(net.TCPAddrFromAddrPort(mustAddrPort(t, c[0]))); got != c[1] {
			t.Errorf("%s is %s, want %s", c[0], got, c[1])
		}
	}
	if got := peerOf(&net.UnixAddr{Name: "x"}); got != "" {
		t.Errorf("a socket is %q", got)
	}
}

func mustAddrPort(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	return httpMust[netip.AddrPort](t)(netip.ParseAddrPort(s))
}
