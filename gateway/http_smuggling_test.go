package gateway

import (
	"strings"
	"testing"
)

// TestHTTP_NothingIsSmuggled sends requests whose end a proxy might see elsewhere,
// each with a second request hidden behind: one refusal, and the connection ends.
func TestHTTP_NothingIsSmuggled(t *testing.T) {
	f := newHTTPFixture(t, nil)
	const hidden = "GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: hidden\r\n\r\n"
	for name, head := range map[string]string{
		"length and chunked":       "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"identity":                 "Transfer-Encoding: identity\r\n\r\n",
		"chunked twice":            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"space before the colon":   "Content-Length : 84\r\n\r\n",
		"chunked before the colon": "Transfer-Encoding : chunked\r\n\r\n",
	} {
		a := f.raw("POST /v1/payments HTTP/1.1\r\nHost: x\r\n" + head + hidden)
		httpCheckProblem(t, name, a, "bad_request", "")
		if strings.Contains(f.log.String(), "hidden") {
			t.Fatalf("%s: the hidden request was served", name)
		}
	}
}
