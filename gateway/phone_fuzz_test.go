package gateway

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// FuzzPhoneBodies sends anything to every route of the phones' side, of a phone that
// is signed in: there is an answer or a problem that is documented, never a failure.
func FuzzPhoneBodies(f *testing.F) {
	house := newPhoneFixture(f, func(s *phoneSetup) {
		s.asks.MaxTries, s.phone.Tries, s.asks.DayTries, s.phone.DayTries = 255, 255, 1<<20, 1<<20
	})
	p := house.in("suzuki")
	id := house.asked("suzuki")
	var routes []httpRoute
	for _, r := range house.server.phone.routes() {
		// A session that ends would hide the rest, and a stream does not end.
		if r.path != "/phone/v1/events" && r.path != "/phone/v1/session" && r.method != "DELETE" && !strings.HasSuffix(r.path, "/cancel") {
			routes = append(routes, r)
		}
	}
	key := raw64(p.spki)
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `{"code":"0"}`, `{"device":"0123456789abcdef"}`, `{"client_first":"p=kessai-device,,n=suzuki,r=0123456789abcdef","device_key":"` + key + `"}`,
		`{"client_first":"p=kessai-sale,,n=suzuki,r=0123456789abcdef"}`, `{"client_first":"p=kessai-change,,n=suzuki,r=0123456789abcdef"}`,
		`{"client_final":"c=AAAA,r=x,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","signature":"AAAA"}`, `{"signature":"AAAA"}`,
		`{"credential":{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{}},"signature":"AAAA","device_key":"` + key + `"}`,
		`{"client_final":"c=AAAA,r=x,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","credential":{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oA"}}}`,
		`{"verifier":"SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","device_key":"` + key + `","signature":"AAAA"}`,
		`{"endpoint":"https://fcm.googleapis.com/x","keys":{"p256dh":"AAAA","auth":"AAAA"}}`,
	} {
		for i := range routes {
			f.Add(uint8(i), body, "x", "cursor=x&columns=32&lang=ja")
		}
	}
	handler := house.server.app.Server().Handler
	f.Fuzz(func(t *testing.T, n uint8, body, part, query string) {
		r := routes[int(n)%len(routes)]
		// A cursor, a claim or a passkey that begins here goes on with the next input.
		path := strings.NewReplacer(":id", id, ":try", part, ":code", part, "*", part).Replace(r.path)
		var c fasthttp.RequestCtx
		c.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, nil)
		c.Request.Header.SetMethod(r.method)
		c.Request.Header.SetHost(strings.TrimPrefix(house.url, "http://"))
		c.Request.SetRequestURI(path)
		c.Request.URI().SetQueryString(query)
		c.Request.Header.Set(headerPhone, "1")
		c.Request.Header.Set("Cookie", p.cookie)
		c.Request.Header.SetContentType("application/json")
		c.Request.SetBodyString(body)
		handler(&c)
		status, answer := c.Response.StatusCode(), c.Response.Body()
		if status >= 500 || status < 200 {
			t.Fatalf("%s %s with %q: %d %s", r.method, path, body, status, answer)
		}
		if status < 400 {
			return
		}
		var said struct{ Code problemCode }
		if err := json.Unmarshal(answer, &said); err != nil || problemKinds[said.Code].status != status {
			t.Fatalf("%s %s with %q: %d %s, %v", r.method, path, body, status, answer, err)
		}
		if len(part) > 20 && strings.Contains(string(answer), part) {
			t.Fatalf("%s repeats what was sent: %s", r.path, answer)
		}
	})
}
