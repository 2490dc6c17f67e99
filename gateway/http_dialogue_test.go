package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kessai/authz"
	"kessai/cache"
)

func httpAtTerminal(terminal, card string) string {
	return `{"terminal":"` + terminal + `","medium":{"pan":"` + card + `","expiry":"9912"}}`
}

const httpTransaction = `{"kind":"purchase","terminal":"AOI00001","amount":{"value":450,"currency":"JPY"}}`

// dialogues asks for everything that is about dialogues and cards that were kept.
func (c *httpContract) dialogues(f *httpFixture) {
	open := func() *httpAnswer { return f.do("POST", "/v1/dialogues", httpAtTerminal("AOI00001", httpCard)) }
	at := func(a *httpAnswer) string { return a.header.Get("Location") }
	c.post(f, at(open())+"/transaction", httpTransaction)
	c.post(f, at(open())+"/transaction", httpSale("purchase", "1", httpPoor))
	c.post(f, at(open())+"/transaction", httpSale("balance_inquiry", "", httpCard))
	gone := at(open())
	f.do("DELETE", gone, "")
	f.do("DELETE", gone, "")
	f.do("DELETE", gone, "", "Authorization", "")
	f.do("DELETE", gone, "", "Accept", "image/png")
	for _, path := range []string{"/v1/dialogues", "/v1/retained"} {
		for _, card := range []string{httpCard, httpStolen, httpExpired, "4242424242424241", "4012888888881881"} {
			f.do("POST", path, httpAtTerminal("AOI00001", card))
			f.do("POST", path, httpAtTerminal("NOBODY01", card))
		}
		f.do("POST", path, httpAtTerminal("AOI00001", httpCard), "Authorization", "")
		f.do("POST", path, httpAtTerminal("AOI00001", httpCard), "Authorization", "Bearer "+httpKeyVend)
		f.do("POST", path, httpAtTerminal("AOI00001", httpCard), "Accept", "image/png")
		f.do("POST", path, httpAtTerminal("AOI00001", httpCard), "Content-Type", "text/plain")
		f.do("POST", path, strings.Repeat(" ", 65<<10))
		for _, body := range []string{"", "{}", "[]", `{"terminal":"AOI00001"}`, `{"terminal":1}`, `{"terminal":"AOI00001","medium":{"pan":"4242 4242"}}`,
			`{"merchant":"VEND00000000001","terminal":"AOI00001","medium":{"pan":"4242424242424242"}}`, `{"terminal":"AOI00001","terminal":"AOI00001"}`} {
			f.do("POST", path, body)
		}
	}
	for _, id := range []string{"x", strings.Repeat("0", 32), strings.Repeat("0", 400), strings.Repeat("g", 32), "%2e%2e"} {
		c.post(f, "/v1/dialogues/"+id+"/transaction", httpTransaction)
		f.do("DELETE", "/v1/dialogues/"+id, "")
	}
	f.do("POST", at(open())+"/transaction", httpTransaction) // without a key
}

// TestV6_HTTP_DialogueTransaction: the second step makes a payment like any other,
// once, and its repeat is given the same bytes when the dialogue is gone.
func TestV6_HTTP_DialogueTransaction(t *testing.T) {
	f := newHTTPFixture(t, nil)
	opened := f.do("POST", "/v1/dialogues", httpAtTerminal("AOI00001", httpCard))
	until, err := time.Parse(time.RFC3339, opened.text("expires_at"))
	if opened.status != http.StatusCreated || opened.text("response_code") != "85" || err != nil || time.Until(until) > 31*time.Second {
		t.Fatalf("%d %s", opened.status, opened.raw)
	}
	path := "/v1/dialogues/" + opened.text("id") + "/transaction"
	if opened.header.Get("Location")+"/transaction" != path {
		t.Errorf("Location %q", opened.header.Get("Location"))
	}
	made := f.made("00", "k1", path, httpTransaction)
	medium, _ := made.body["medium"].(map[string]any)
	if medium["pan"] != "****4242" || made.value("amount") != 450 {
		t.Errorf("%s", made.raw)
	}
	again := f.made("00", "k1", path, httpTransaction)
	if string(again.raw) != string(made.raw) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeat is %s", again.raw)
	}
	if a := f.post("k1", path, strings.Replace(httpTransaction, "450", "451", 1)); a.text("code") != "attempt_reused" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if a := f.post("k2", path, httpTransaction); a.status != http.StatusNotFound || a.text("code") != "dialogue_not_found" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if n := f.book.Stats().Transactions; n != 1 {
		t.Errorf("%d transactions are in the book", n)
	}
	if strings.Contains(f.log.String(), httpCard) {
		t.Error("the log holds a card number")
	}
}

// TestV4_HTTP_NothingIsOpenedForStrangers, and nothing is noted where there is no
// registry to note it.
func TestV4_HTTP_NothingIsOpenedForStrangers(t *testing.T) {
	f := newHTTPFixture(t, func(o *HTTPOptions) {
		o.Engine = authz.New(o.Book, new(cache.Cache), authz.Options{MaxAge: time.Minute})
	})
	if a := f.do("POST", "/v1/dialogues", httpAtTerminal("AOI00001", httpCard)); a.status != http.StatusOK || a.text("response_code") != "03" || a.text("id") != "" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if a := f.do("POST", "/v1/retained", httpAtTerminal("AOI00001", httpCard)); a.text("code") != "registry_stale" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	f.server.Drain()
	if a := f.do("POST", "/v1/dialogues", httpAtTerminal("AOI00001", httpCard)); a.text("code") != "draining" {
		t.Errorf("%d %s", a.status, a.raw)
	}
}
