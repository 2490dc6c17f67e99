package gateway

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/authz/ledger"
)

// A secret that must not come back, wherever it is put.
const httpPlanted = "5105105105105100"

func TestHTTP_BadBodies(t *testing.T) {
	f := newHTTPFixture(t, nil)
	for _, c := range httpBadBodies {
		a := f.post("k", "/v1/payments", c.body)
		httpCheckProblem(t, c.name, a, c.code, c.field)
	}
	if a := f.do("GET", "/v1/payments", ""); len(a.body["payments"].([]any)) != 0 {
		t.Error("something was made of the bad bodies")
	}
	if log := f.log.String(); strings.Contains(log, httpPlanted) || strings.Contains(log, httpCard) || strings.Contains(log, httpKeyAoi) {
		t.Error("a secret stands in the log")
	}
	a := f.do("GET", "/metrics", "")
	if !strings.Contains(string(a.raw), `kessai_http_problems_total{code="duplicate_field"} 3`) {
		t.Error("the problems are not counted")
	}
}

// httpCheckProblem checks that an answer is the problem that it should be, and
// repeats nothing.
func httpCheckProblem(t *testing.T, name string, a *httpAnswer, code, field string) {
	t.Helper()
	kind, known := problemKinds[problemCode(code)]
	switch {
	case !known:
		t.Fatalf("%s: there is no code %s", name, code)
	case a.status != kind.status || a.text("code") != code || a.text("field") != field:
		t.Errorf("%s: got %d %s, field %q (%s); want %d %s, field %q", name, a.status, a.text("code"), a.text("field"), a.text("detail"), kind.status, code, field)
	case a.number("status") != int64(kind.status) || a.text("title") != kind.title || a.text("type") != "/docs#problem-"+code:
		t.Errorf("%s: %s", name, a.raw)
	case a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Cache-Control") != "no-store":
		t.Errorf("%s: headers %v", name, a.header)
	case a.text("request_id") == "" || a.text("request_id") != a.header.Get("X-Request-Id"):
		t.Errorf("%s: request ID %q in the body, %q in the header", name, a.text("request_id"), a.header.Get("X-Request-Id"))
	case strings.Contains(string(a.raw), httpPlanted):
		t.Errorf("%s: the problem repeats what was sent: %s", name, a.raw)
	}
}

func TestHTTP_BadFollowUps(t *testing.T) {
	f := newHTTPFixture(t, nil)
	hold := f.made("00", "h", "/v1/payments", httpSale("pre_authorization", "100", httpCard))
	at := "/v1/payments/" + hold.text("id")
	for _, c := range []struct{ name, path, body, code, field string }{
		{"increment of nothing", at + "/increment", ``, "missing_field", "amount"},
		{"release of a part", at + "/release", `{"amount":{"value":1,"currency":"JPY"}}`, "invalid_field", "amount"},
		{"capture of zero", at + "/capture", `{"amount":{"value":0,"currency":"JPY"}}`, "invalid_field", "amount.value"},
		{"reverse to less than nothing", at + "/reverse", `{"replacement_amount":{"value":-1,"currency":"JPY"}}`, "invalid_field", "replacement_amount.value"},
		{"reverse by an amount", at + "/reverse", `{"amount":{"value":1,"currency":"JPY"}}`, "unknown_field", ""},
		{"capture with a card", at + "/capture", `{"medium":{"pan":"` + httpPlanted + `"}}`, "unknown_field", ""},
		{"space for a body", at + "/capture", ` `, "malformed_json", ""},
		{"other merchant", at + "/capture", `{"merchant":"VEND00000000001"}`, "other_merchant", "merchant"},
		{"no such payment", "/v1/payments/pay_000000000099/capture", ``, "payment_not_found", ""},
		{"no number", "/v1/payments/" + httpPlanted + "/capture", ``, "payment_not_found", ""},
		{"number zero", "/v1/payments/pay_000000000000/reverse", ``, "payment_not_found", ""},
		{"no such verb", at + "/void", ``, "not_found", ""},
	} {
		httpCheckProblem(t, c.name, f.post("k", c.path, c.body), c.code, c.field)
	}
	if strings.Contains(f.log.String(), httpPlanted) {
		t.Error("a path stands in the log")
	}
}

func TestHTTP_BadRequests(t *testing.T) {
	f := newHTTPFixture(t, nil)
	sale := httpSale("purchase", "1", httpCard)
	for _, c := range []struct {
		name, method, path, body, code, field string
		headers                               []string
	}{
		{"no key", "POST", "/v1/payments", sale, "idempotency_key_missing", "Idempotency-Key", nil},
		{"long key", "POST", "/v1/payments", sale, "idempotency_key_invalid", "Idempotency-Key", []string{"Idempotency-Key", strings.Repeat("k", 256)}},
		{"key é", "POST", "/v1/payments", sale, "idempotency_key_invalid", "Idempotency-Key", []string{"Idempotency-Key", "é"}},
		{"no API key", "GET", "/v1/payments", "", "unauthorized", "", []string{"Authorization", ""}},
		{"another scheme", "GET", "/v1/payments", "", "unauthorized", "", []string{"Authorization", "Basic c2s6"}},
		{"no such API key", "POST", "/v1/payments", sale, "unauthorized", "", []string{"Authorization", "Bearer " + httpPlanted}},
		{"form", "POST", "/v1/payments", sale, "unsupported_media_type", "Content-Type", []string{"Idempotency-Key", "k", "Content-Type", "application/x-www-form-urlencoded"}},
		{"JSON in name", "POST", "/v1/payments", sale, "unsupported_media_type", "Content-Type", []string{"Idempotency-Key", "k", "Content-Type", "application/json; charset=shift_jis"}},
		{"compressed", "POST", "/v1/payments", sale, "unsupported_encoding", "Content-Encoding", []string{"Idempotency-Key", "k", "Content-Encoding", "gzip"}},
		{"too large", "POST", "/v1/payments", strings.Repeat(" ", 64<<10+1), "body_too_large", "", []string{"Idempotency-Key", "k"}},
		{"headers too large", "GET", "/v1/payments", "", "headers_too_large", "", []string{"X-Large", strings.Repeat("x", 9<<10)}},
		{"only HTML", "GET", "/v1/payments", "", "not_acceptable", "Accept", []string{"Accept", "text/html"}},
		{"no such path", "GET", "/v1/" + httpPlanted, "", "not_found", "", nil},
		{"other case", "GET", "/V1/payments", "", "not_found", "", nil},
		{"trailing slash", "GET", "/v1/payments/", "", "not_found", "", nil},
		{"method", "DELETE", "/v1/payments", "", "method_not_allowed", "", nil},
		{"odd method", "BREW", "/v1/payments", "", "method_not_allowed", "", nil},
		{"no such payment", "GET", "/v1/payments/pay_000000000099", "", "payment_not_found", "", nil},
		{"unknown parameter", "GET", "/v1/payments?" + httpPlanted + "=1", "", "invalid_parameter", "", nil},
		{"parameter twice", "GET", "/v1/payments?limit=1&limit=2", "", "invalid_parameter", "limit", nil},
		{"limit 0", "GET", "/v1/payments?limit=0", "", "invalid_parameter", "limit", nil},
		{"limit 201", "GET", "/v1/payments?limit=201", "", "invalid_parameter", "limit", nil},
		{"cursor", "GET", "/v1/payments?cursor=" + httpPlanted, "", "invalid_parameter", "cursor", nil},
		{"cursor zero", "GET", "/v1/payments?cursor=AAAAAAAAAAA", "", "invalid_parameter", "cursor", nil},
		{"from", "GET", "/v1/payments?from=yesterday", "", "invalid_parameter", "from", nil},
		{"to", "GET", "/v1/payments?to=2026-11-22", "", "invalid_parameter", "to", nil},
		{"status", "GET", "/v1/payments?status=Approved", "", "invalid_parameter", "status", nil},
		{"kind", "GET", "/v1/payments?kind=sale", "", "invalid_parameter", "kind", nil},
		{"last4", "GET", "/v1/payments?last4=" + httpPlanted, "", "invalid_parameter", "last4", nil},
		{"terminal", "GET", "/v1/payments?terminal=AOI000001", "", "invalid_parameter", "terminal", nil},
		{"response code", "GET", "/v1/payments?response_code=0", "", "invalid_parameter", "response_code", nil},
	} {
		httpCheckProblem(t, c.name, f.do(c.method, c.path, c.body, c.headers...), c.code, c.field)
	}
	if a := f.do("DELETE", "/v1/payments", ""); !strings.Contains(a.header.Get("Allow"), "GET") || !strings.Contains(a.header.Get("Allow"), "POST") {
		t.Errorf("Allow: %q", a.header.Get("Allow"))
	}
	if a := f.do("GET", "/v1/payments", "", "Authorization", ""); a.header.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate")
	}
	if log := f.log.String(); strings.Contains(log, httpPlanted) || strings.Contains(log, httpCard) {
		t.Error("a secret stands in the log")
	}
}

// raw sends bytes as they are and reads one answer.
func (f *httpFixture) raw(send string) *httpAnswer {
	f.t.Helper()
	conn := httpMust[net.Conn](f.t)(net.Dial("tcp", strings.TrimPrefix(f.url, "http://")))
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write([]byte(send)); err != nil {
		f.t.Fatal(err)
	}
	return f.read(httpMust[*http.Response](f.t)(http.ReadResponse(bufio.NewReader(conn), nil)))
}

func TestHTTP_NoHTTP(t *testing.T) {
	f := newHTTPFixture(t, nil)
	httpCheckProblem(t, "no HTTP", f.raw("\x00\x60"+httpPlanted+"\r\n\r\n"), "bad_request", "")
	httpCheckProblem(t, "two lengths", f.raw("POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), "bad_request", "")
	httpCheckProblem(t, "two keys", f.raw("POST /v1/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+httpKeyAoi+
		"\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n\r\n"), "idempotency_key_invalid", "Idempotency-Key")
	if strings.Contains(f.log.String(), httpPlanted) {
		t.Error("a secret stands in the log")
	}
}

func TestHTTP_SlowRequest(t *testing.T) {
	f := newHTTPFixture(t, func(o *HTTPOptions) { o.ReadTimeout = 50 * time.Millisecond })
	httpCheckProblem(t, "slow", f.raw("POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"), "request_timeout", "")
}

func TestHTTP_RequestID(t *testing.T) {
	f := newHTTPFixture(t, nil)
	made := regexp.MustCompile(`^req_[a-z2-7]{26}$`)
	for given, kept := range map[string]bool{
		"order-17.a_b": true, "6f1c1e3e-0d0b-4a53-9a0b-3a9d0f1f7c55": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "with space": false, httpPlanted: false, "5105-1051-0510-5100": false, "card-5105105105105100": false, "a5105_1051_0510_5100": false, "a\"b": false,
	} {
		got := f.do("GET", "/livez", "", "X-Request-Id", given).header.Get("X-Request-Id")
		if kept && got != given || !kept && !made.MatchString(got) {
			t.Errorf("%q: got %q", given, got)
		}
	}
	if log := f.log.String(); !strings.Contains(log, `"request_id":"order-17.a_b"`) || strings.Contains(log, httpPlanted) {
		t.Error("the log does not hold the request IDs that were taken, and no others")
	}
}

func TestHTTP_PanicIsAnswered(t *testing.T) {
	f := newHTTPFixture(t, func(o *HTTPOptions) {
		o.Authenticate = func(key kessai.Secret) (kessai.MerchantID, bool) { panic("broke over " + key.Reveal()) }
	})
	httpCheckProblem(t, "panic", f.do("GET", "/v1/payments", "", "Authorization", "Bearer "+httpPlanted), "internal", "")
	log := f.log.String()
	if !strings.Contains(log, "a request handler panicked") || !strings.Contains(log, "http_problem_test.go") {
		t.Error("the log does not say where it panicked")
	}
	if strings.Contains(log, httpPlanted) {
		t.Error("a secret stands in the log")
	}
}

func TestHTTP_InFlightLimit(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var waits atomic.Bool
	f := newHTTPFixture(t, func(o *HTTPOptions) {
		o.MaxInFlight = 1
		next := o.Authenticate
		o.Authenticate = func(key kessai.Secret) (kessai.MerchantID, bool) {
			if waits.CompareAndSwap(true, false) {
				close(entered)
				<-leave
			}
			return next(key)
		}
	})
	waits.Store(true)
	done := make(chan *httpAnswer)
	go func() { done <- f.do("GET", "/v1/payments", "") }()
	<-entered
	a := f.do("GET", "/v1/payments", "")
	close(leave)
	httpCheckProblem(t, "second", a, "busy", "")
	if a.header.Get("Retry-After") == "" {
		t.Error("busy without Retry-After")
	}
	if first := <-done; first.status != http.StatusOK {
		t.Errorf("first: %d %s", first.status, first.raw)
	}
	if a := f.do("GET", "/v1/payments", ""); a.status != http.StatusOK {
		t.Errorf("after both: %d %s", a.status, a.raw)
	}
}

func TestHTTP_DrainsBeforeItEnds(t *testing.T) {
	f := newHTTPFixture(t, nil)
	sale := f.made("00", "a", "/v1/payments", httpSale("purchase", "1", httpCard))
	if a := f.do("GET", "/readyz", ""); a.status != 200 || a.text("status") != "ready" {
		t.Errorf("before: %d %s", a.status, a.raw)
	}
	f.server.Drain()
	if a := f.do("GET", "/readyz", ""); a.status != 503 || !strings.Contains(string(a.raw), "shutting down") {
		t.Errorf("readyz: %d %s", a.status, a.raw)
	}
	httpCheckProblem(t, "new work", f.post("b", "/v1/payments", httpSale("purchase", "1", httpCard)), "draining", "")
	if a := f.do("GET", "/v1/payments/"+sale.text("id"), ""); a.status != 200 {
		t.Errorf("looking: %d %s", a.status, a.raw)
	}
	if a := f.do("GET", "/livez", ""); a.status != 200 {
		t.Errorf("livez: %d", a.status)
	}
}

// What is in flight when the server is told to stop is still answered.
func TestHTTP_ShutdownWaitsForAnswers(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	f := newHTTPFixture(t, func(o *HTTPOptions) {
		next := o.Authenticate
		o.Authenticate = func(key kessai.Secret) (kessai.MerchantID, bool) {
			close(entered)
			<-leave
			return next(key)
		}
	})
	answer, ended := make(chan *httpAnswer, 1), make(chan error, 1)
	go func() { answer <- f.do("GET", "/v1/payments", "") }()
	<-entered
	go func() { ended <- f.server.Shutdown(context.Background()) }()
	for f.server.draining.Load() == false {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-ended:
		t.Fatalf("Shutdown ended before the answer: %v", err)
	default:
	}
	close(leave)
	if a := <-answer; a.status != http.StatusOK {
		t.Errorf("in flight: %d %s", a.status, a.raw)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A server that is told to stop before it has begun does not begin.
func TestHTTP_ShutdownBeforeServe(t *testing.T) {
	for range 20 {
		f := newHTTPFixture(t, nil) // nobody waits until it serves
		if err := f.server.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHTTP_NotReady(t *testing.T) {
	f := newHTTPFixture(t, func(o *HTTPOptions) {
		o.Ready = func() []Check { return []Check{{Name: "book", OK: true}, {Name: "cache", Detail: "900 s old"}} }
	})
	if a := f.do("GET", "/readyz", ""); a.status != 503 || !strings.Contains(string(a.raw), `{"name":"cache","ok":false,"detail":"900 s old"}`) {
		t.Errorf("%d %s", a.status, a.raw)
	}
}

// The errors of the engine, each as the problem that tells the caller whether
// anything was done.
func TestHTTP_EngineErrors(t *testing.T) {
	f := newHTTPFixture(t, nil)
	app := fiber.New(fiber.Config{ErrorHandler: f.server.protocolError})
	var failure error
	app.Get("/", func(c *fiber.Ctx) error { return f.server.refusal(c, failure) })
	for err, code := range map[error]string{
		ledger.ErrBusy: "busy", ledger.ErrClosed: "draining", ledger.ErrUnknown: "outcome_unknown",
		fmt.Errorf("disk: %w", ledger.ErrUnknown): "outcome_unknown", context.Canceled: "internal",
	} {
		failure = err
		r := httpMust[*http.Request](t)(http.NewRequest("GET", "/", nil))
		httpCheckProblem(t, code, f.read(httpMust[*http.Response](t)(app.Test(r, -1))), code, "")
	}
	if err := f.book.Close(); err != nil {
		t.Fatal(err)
	}
	httpCheckProblem(t, "closed book", f.post("k", "/v1/payments", httpSale("purchase", "1", httpCard)), "draining", "")
}

func TestHTTP_SecurityHeaders(t *testing.T) {
	f := newHTTPFixture(t, nil)
	for _, path := range []string{"/", "/docs", "/livez", "/metrics", "/openapi.yaml", "/v1/payments", "/nowhere"} {
		a := f.do("GET", path, "")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'",
			"X-Request-Id": "",
		} {
			if got := a.header.Get(name); got == "" || !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if a.header.Get("Server") != "" {
			t.Errorf("%s: Server is %q", path, a.header.Get("Server"))
		}
	}
	if a := f.do("HEAD", "/v1/payments", ""); a.status != 200 || len(a.raw) != 0 {
		t.Errorf("HEAD: %d %s", a.status, a.raw)
	}
}
