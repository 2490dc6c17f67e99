package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/gofiber/fiber/v2"

	"kessai"
)

// httpContract holds what goes over the wire against openapi.yaml.
type httpContract struct {
	t      *testing.T
	next   http.RoundTripper
	doc    *openapi3.T
	router routers.Router
	seen   map[string]bool // operation and status
	keys   int             // idempotency keys used so far
}

func newHTTPContract(t *testing.T) *httpContract {
	t.Helper()
	doc := httpMust[*openapi3.T](t)(openapi3.NewLoader().LoadFromData(openAPI))
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, mediaType := range []string{"text/html", "application/yaml", mimeEvents, mimeJSONLines, mimeNDJSON} {
		openapi3filter.RegisterBodyDecoder(mediaType, func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
			b, err := io.ReadAll(body)
			if mediaType == "application/yaml" {
				return map[string]any{"length": len(b)}, err
			}
			return string(b), err
		})
	}
	return &httpContract{
		t: t, doc: doc, router: httpMust[routers.Router](t)(gorillamux.NewRouter(doc)),
		seen: make(map[string]bool),
	}
}

// RoundTrip sends a request and checks the answer. A request that is answered
// with success must be one that the document allows.
func (c *httpContract) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			c.t.Errorf("%s %s is answered with %d and is not in the document", r.Method, r.URL.Path, resp.StatusCode)
		}
		return resp, nil
	}
	r.Body = io.NopCloser(bytes.NewReader(sent))
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true,
	}}
	if resp.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			c.t.Errorf("%s %s was served, and the document does not allow it: %v", r.Method, r.URL, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header,
		Body: io.NopCloser(bytes.NewReader(body)), Options: in.Options,
	}
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		c.t.Errorf("%s %s: the answer %d is not as the document has it: %v", r.Method, r.URL, resp.StatusCode, err)
	}
	c.seen[route.Operation.OperationID+" "+strconv.Itoa(resp.StatusCode)] = true
	return resp, nil
}

// post sends a POST under a new idempotency key.
func (c *httpContract) post(f *httpFixture, path, body string, headers ...string) *httpAnswer {
	c.t.Helper()
	c.keys++
	return f.post(fmt.Sprint("contract-", c.keys), path, body, headers...)
}

// payments asks for everything that can be asked for, whatever comes of it.
func (c *httpContract) payments(f *httpFixture) {
	for _, kind := range []string{"purchase", "refund", "pre_authorization"} {
		for _, card := range []string{httpCard, httpPoor, httpStolen, httpLost, httpExpired, "4242424242424241", "42"} {
			a := c.post(f, "/v1/payments", httpSale(kind, "600", card, `"stan":"7"`, httpItems(2, `{"code":"4901234567894","name":"珈琲","quantity":3,"price":100}`)))
			at := "/v1/payments/" + a.text("id")
			f.do("GET", at, "")
			c.post(f, at+"/increment", `{"terminal":"AOI00001","stan":"000009","transmitted_at":"2026-11-22T03:39:12.5+09:00","amount":{"value":10,"currency":"JPY"}}`)
			c.post(f, at+"/capture", `{"amount":{"value":50,"currency":"JPY"}}`)
			c.post(f, at+"/refund", `{"merchant":"AOI000000000001","amount":{"value":20,"currency":"JPY"}}`)
			c.post(f, at+"/reverse", `{"replacement_amount":{"value":0,"currency":"JPY"}}`)
			c.post(f, at+"/release", ``)
			f.do("GET", at, "")
		}
	}
	vend := []string{"Authorization", "Bearer " + httpKeyVend}
	partial := c.post(f, "/v1/payments", strings.Replace(httpSale("purchase", "100000000", httpCard), "AOI00001", "VEND0001", 1), vend...)
	if partial.text("response_code") != "10" {
		c.t.Errorf("partial approval: %s", partial.raw)
	}
	c.post(f, "/v1/payments", httpSale("cash_back", "900", httpPoor, `"cash_back":400`))
	c.post(f, "/v1/payments", httpSale("balance_inquiry", "", httpCard))
	c.post(f, "/v1/payments", httpSale("balance_inquiry", "0", httpPoor))
	c.post(f, "/v1/payments", httpSale("verification", "", httpCard))
	c.post(f, "/v1/payments", httpSale("purchase", "1", httpCard), vend...)
	c.post(f, "/v1/payments", httpSale("purchase", "1", httpCard, `"merchant":"AOI000000000001"`), vend...)
	hold := c.post(f, "/v1/payments", httpSale("pre_authorization", "300", httpCard))
	c.post(f, "/v1/payments/"+hold.text("id")+"/release", `{"terminal":"AOI00001"}`)
}

// misuse asks in every way that is refused.
func (c *httpContract) misuse(f *httpFixture) {
	for _, b := range httpBadBodies {
		c.post(f, "/v1/payments", b.body)
	}
	f.post("contract-1", "/v1/payments", httpSale("purchase", "601", httpCard))
	for _, path := range []string{"/v1/payments", "/v1/payments/pay_000000000001", "/v1/payments/pay_000000000000"} {
		f.do("GET", path, "", "Authorization", "")
		f.do("GET", path, "", "Accept", "image/png")
		f.do("GET", path, "", "X-Large", strings.Repeat("x", 9<<10))
		f.do("GET", path, "", "Authorization", "Bearer "+httpKeyVend)
	}
	for _, path := range []string{"/v1/payments", "/v1/payments/pay_000000000001/capture"} {
		f.do("POST", path, "{}")
		f.do("POST", path, "{}", "Authorization", "")
		c.post(f, path, "{}", "Content-Type", "text/plain")
		c.post(f, path, "{}", "Accept", "image/png")
		c.post(f, path, strings.Repeat(" ", 65<<10))
	}
}

func TestHTTP_AnswersAsDocumented(t *testing.T) {
	c := newHTTPContract(t)
	f := newHTTPFixture(t, func(o *HTTPOptions) { withAdmin(o); withCodes(o) })
	c.next, f.client.Transport = f.client.Transport, c
	c.confirmations(f)
	c.payments(f)
	c.misuse(f)
	c.dialogues(f)
	c.purses(f)
	c.admin(f)
	for _, query := range []string{"", "?limit=2", "?status=declined&kind=purchase&last4=4242&limit=200", "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", "?limit=x", "?terminal=AOI00001&response_code=51"} {
		f.do("GET", "/v1/payments"+query, "")
	}
	for _, path := range []string{"/", "/docs", "/livez", "/readyz", "/metrics", "/openapi.yaml", "/nowhere"} {
		f.do("GET", path, "", "Authorization", "")
	}
	f.server.Drain()
	c.post(f, "/v1/payments", httpSale("purchase", "600", httpCard))
	f.do("GET", "/readyz", "")
	for path, item := range c.doc.Paths.Map() {
		for _, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if status < "400" && !c.seen[op.OperationID+" "+status] {
					t.Errorf("%s: %s was never answered with %s", path, op.OperationID, status)
				}
			}
		}
	}
}

// Bodies that the server refuses for their form are refused by the document too.
func TestHTTP_DocumentRefusesBadForms(t *testing.T) {
	c := newHTTPContract(t)
	for _, b := range httpBadBodies {
		if b.code != "unknown_field" && b.code != "wrong_type" || b.name == "nested deep" {
			continue
		}
		if b.name == "whole fraction" || b.name == "exponent" {
			continue // 450.0 is an integer to JSON Schema; here it is a float, and money is never one
		}
		r := httpMust[*http.Request](t)(http.NewRequest("POST", "/v1/payments", strings.NewReader(b.body)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k")
		route, params, err := c.router.FindRoute(r)
		if err != nil {
			t.Fatal(err)
		}
		in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
		if openapi3filter.ValidateRequest(context.Background(), in) == nil {
			t.Errorf("%s: the document allows it", b.name)
		}
	}
}

func TestHTTP_EveryRouteIsDocumented(t *testing.T) {
	c := newHTTPContract(t)
	f := newHTTPFixture(t, nil)
	served, documented := make(map[string]bool), make(map[string]bool)
	for _, r := range f.server.App().GetRoutes(true) {
		if r.Method != fiber.MethodHead {
			served[r.Method+" "+strings.ReplaceAll(r.Path, ":id", "{id}")] = true
		}
	}
	for path, item := range c.doc.Paths.Map() {
		for method := range item.Operations() {
			documented[method+" "+path] = true
		}
	}
	for route := range served {
		if !documented[route] {
			t.Errorf("%s is served and not documented", route)
		}
	}
	for route := range documented {
		if !served[route] {
			t.Errorf("%s is documented and not served", route)
		}
	}
}

// Every list of names in the document is the one that the program has.
func TestHTTP_DocumentKnowsEveryName(t *testing.T) {
	c := newHTTPContract(t)
	schema := func(name string) *openapi3.Schema { return c.doc.Components.Schemas[name].Value }
	listed := func(name string) map[string]string {
		m := make(map[string]string)
		for _, one := range schema(name).AnyOf {
			m[fmt.Sprint(one.Value.Const)] = one.Value.Title + one.Value.Description
		}
		return m
	}
	problems := listed("ProblemCode")
	for code, kind := range problemKinds {
		if !strings.HasPrefix(problems[string(code)], strconv.Itoa(kind.status)) {
			t.Errorf("problem %s has status %d; the document says %q", code, kind.status, problems[string(code)])
		}
	}
	if len(problems) != len(problemKinds) {
		t.Errorf("%d problem codes are documented; there are %d", len(problems), len(problemKinds))
	}
	codes := listed("ResponseCode")
	for _, code := range kessai.ResponseCodes() {
		if codes[code.String()] != code.Text() {
			t.Errorf("response code %s is %q; the document says %q", code, code.Text(), codes[code.String()])
		}
	}
	if len(codes) != len(kessai.ResponseCodes()) {
		t.Errorf("%d response codes are documented; there are %d", len(codes), len(kessai.ResponseCodes()))
	}
	var kinds, creatable []string
	for _, k := range kessai.Kinds() {
		if k.OfCustomer() && k != kessai.Cancellation {
			continue // no merchant sees it
		}
		kinds = append(kinds, k.String())
		if !k.FollowsUp() && k != kessai.PurseSettlement && k != kessai.Cancellation {
			creatable = append(creatable, k.String())
		}
	}
	var documented []string
	for _, k := range schema("NewKind").Enum {
		documented = append(documented, fmt.Sprint(k))
	}
	if strings.Join(creatable, ", ") != jsonCreatable || !slices.Equal(creatable, documented) {
		t.Errorf("new kinds: %v, %q, documented %v", creatable, jsonCreatable, documented)
	}
	for name, want := range map[string][]string{"Kind": kinds, "Status": jsonStatuses} {
		if got := slices.Sorted(maps.Keys(listed(name))); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: documented %v; there are %v", name, got, want)
		}
	}
	for name := range jsonNames {
		if !bytes.Contains(openAPI, []byte("\n        "+name+":")) {
			t.Errorf("the member %s is not documented", name)
		}
	}
}

func TestHTTP_ApprovalCodeInTheExampleIsReal(t *testing.T) {
	if !bytes.Contains(openAPI, []byte(`approval_code: "`+kessai.TxID(42).ApprovalCode()+`"`)) {
		t.Error("the example's approval code is not the one of pay_000000000042")
	}
}
