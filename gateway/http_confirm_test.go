package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
)

func withCodes(o *HTTPOptions) { o.Codes = testCodes() }

// httpAsks is the body of a payment that Suzuki is asked about, with more members.
func httpAsks(kind, value string, more ...string) string {
	b := `{"kind":"` + kind + `","terminal":"AOI00001","amount":{"value":` + value + `,"currency":"JPY"}`
	for _, m := range append([]string{`"confirm":"phone","customer":"suzuki"`}, more...) {
		b += "," + m
	}
	return b + "}"
}

const oneCoffee = `"items":[{"code":"2000000000015","quantity":1}]`

func (f *httpFixture) asks(key, body string, headers ...string) *httpAnswer {
	f.t.Helper()
	a := f.post(key, "/v1/payments", body, headers...)
	if a.status != http.StatusAccepted || a.text("response_code") != "09" || a.text("status") != "waiting" {
		f.t.Fatalf("%d %s; want 202, code 09 and the status waiting", a.status, a.raw)
	}
	return a
}

func idOf(t testing.TB, a *httpAnswer) kessai.TxID {
	t.Helper()
	id, ok := kessai.ParseTxID(a.text("id"))
	if !ok {
		t.Fatalf("%s has no number", a.raw)
	}
	return id
}

// confirmations asks for everything that has to do with a customer's word.
func (c *httpContract) confirmations(f *httpFixture) {
	suzuki := customerOf(c.t, f.book, "suzuki")
	bought := c.post(f, "/v1/payments", httpAsks("purchase", "450", oneCoffee))
	at := "/v1/payments/" + bought.text("id")
	f.do("GET", at+"?wait=1s", "")
	f.do("GET", at+"/receipt", "")
	approves(c.t, f.engine, idOf(c.t, bought), suzuki)
	f.do("GET", at+"?wait=60s", "")
	f.do("GET", at+"/events", "")
	f.do("GET", at+"/receipt?columns=32&lang=ja", "")
	f.do("GET", at+"/receipt", "", "Accept", "text/html")
	f.do("GET", at+"/receipt", "", "Accept", "image/png")
	f.do("GET", at+"/events", "", "Accept", "application/json")
	f.do("GET", "/v1/payments/pay_000000000001/receipt", "")
	vend := []string{"Authorization", "Bearer " + httpKeyVend}
	claim := c.post(f, "/v1/payments", `{"kind":"pre_authorization","terminal":"VEND0001","confirm":"claim","amount":{"value":170,"currency":"JPY"}}`, vend...)
	c.post(f, "/v1/payments/"+claim.text("id")+"/cancel", `{}`, vend...)
	c.post(f, "/v1/payments/"+claim.text("id")+"/cancel", ``, vend...)
	f.do("GET", "/v1/payments?status=cancelled", "", vend...)
}

// TestHTTP_PhonePurchase: from 202 to the end, with every way to wait for it, and a
// repeat at every moment.
func TestHTTP_PhonePurchase(t *testing.T) {
	f := newHTTPFixture(t, withCodes)
	suzuki := customerOf(t, f.book, "suzuki")
	body := httpAsks("purchase", "900", `"items":[{"code":"2000000000015","quantity":1},{"name":"Cake","quantity":1,"price":450,"tax":1000}]`)
	a := f.asks("one", body)
	if a.text("number") != "01" || a.number("held") != 900 || a.text("confirm_by") == "" || a.text("approval_code") != "" ||
		!strings.Contains(string(a.raw), `"items":[{"code":"2000000000015","name":"Coffee","quantity":1,"price":450,"tax":1000},`) {
		t.Errorf("%s", a.raw)
	}
	if b := f.asks("one", body); b.text("id") != a.text("id") {
		t.Errorf("the repeat is %s", b.raw)
	}
	at := a.header.Get("Location")
	if b := f.do("GET", at+"?wait=1s", ""); b.status != 200 || b.text("response_code") != "09" {
		t.Errorf("after a second without a word: %s", b.raw)
	}
	events := f.do("GET", at, "").status // the payment is there
	if events != 200 {
		t.Fatal(events)
	}
	r := httpMust[*http.Request](t)(http.NewRequest("GET", f.url+at+"/events", nil))
	r.Header.Set("Authorization", "Bearer "+httpKeyAoi)
	stream := httpMust[*http.Response](t)(f.client.Do(r))
	defer stream.Body.Close()
	lines := bufio.NewScanner(stream.Body)
	payment := func() string {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return data
			}
		}
		t.Fatalf("the stream has ended: %v", lines.Err())
		return ""
	}
	if first := payment(); !strings.Contains(first, `"response_code":"09"`) {
		t.Errorf("first event: %s", first)
	}
	polled := make(chan *httpAnswer, 1)
	go func() { polled <- f.do("GET", at+"?wait=60s", "") }()
	until(t, "both wait", func() bool { return f.engine.PhoneStats().Watching == 2 })
	approves(t, f.engine, idOf(t, a), suzuki)
	for _, text := range []string{string((<-polled).raw), payment(), string(f.post("one", "/v1/payments", body).raw)} {
		if !strings.Contains(text, `"status":"approved","response_code":"00"`) || !strings.Contains(text, `"approval_code"`) {
			t.Errorf("when it was approved: %s", text)
		}
	}
	if rest, err := io.ReadAll(stream.Body); err != nil || strings.Contains(string(rest), "data:") {
		t.Errorf("behind the end of the stream: %q, %v", rest, err)
	}
	if b := f.post("cancel", at+"/cancel", ""); b.status != 201 || b.text("response_code") != "12" {
		t.Errorf("cancelled when it was approved: %d %s", b.status, b.raw)
	}
	text := f.do("GET", at+"/receipt?columns=32&lang=de", "")
	if !strings.Contains(string(text.raw), "https://pay.example.com/r/R00000") || strings.Contains(string(text.raw), "suzuki") {
		t.Errorf("the receipt:\n%s", text.raw)
	}
}

// TestHTTP_WaitingHasRoomOfItsOwn: whoever waits keeps nobody else from being
// served, and has a bound: half of the places for one shop.
func TestHTTP_WaitingHasRoomOfItsOwn(t *testing.T) {
	f := newHTTPFixture(t, func(o *HTTPOptions) { o.MaxInFlight, o.MaxWaiting = 1, 4 })
	at := f.asks("one", httpAsks("purchase", "450", oneCoffee)).header.Get("Location")
	ended := make(chan *httpAnswer, 2)
	for range 2 {
		go func() { ended <- f.do("GET", at+"?wait=60s", "") }()
	}
	until(t, "both wait", func() bool { return f.engine.PhoneStats().Watching == 2 })
	for _, path := range []string{"?wait=60s", "/events"} {
		if a := f.do("GET", at+path, ""); a.status != http.StatusServiceUnavailable || a.text("code") != "busy" {
			t.Errorf("one more for %s: %d %s", path, a.status, a.raw)
		}
	}
	if a := f.do("GET", at, ""); a.status != 200 {
		t.Errorf("meanwhile: %d %s", a.status, a.raw)
	}
	// The end of the server is not the end of the payment.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for range 2 {
		if a := <-ended; a.status != 200 || a.text("status") != "waiting" {
			t.Errorf("at the end: %d %s", a.status, a.raw)
		}
	}
}

// TestHTTP_BadSales: what cannot be shown to a customer is refused, says why, and
// leaves nothing in the book.
func TestHTTP_BadSales(t *testing.T) {
	f := newHTTPFixture(t, nil)
	now := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("20060102150405") + "-1" }
	many := strings.TrimSuffix(strings.Repeat(`{"name":"a","quantity":1,"price":1},`, 101), ",")
	for name, c := range map[string]struct{ body, code, field, why string }{
		"no items":           {httpAsks("purchase", "450"), "invalid_field", "items", "1 to 100"},
		"too many items":     {httpAsks("purchase", "101", `"items":[`+many+`]`), "invalid_field", "items", "1 to 100"},
		"another sum":        {httpAsks("purchase", "451", oneCoffee), "items_do_not_add_up", "items", "sum"},
		"line too large":     {httpAsks("purchase", "451", `"items":[`+strings.TrimSuffix(strings.Repeat(`{"name":"a","quantity":999999,"price":999999999999},`, 10), ",")+`]`), "invalid_field", "items[0]", "quantity times price"},
		"unknown currency":   {strings.Replace(httpAsks("purchase", "450", oneCoffee), "JPY", "XYZ", 1), "invalid_field", "amount.currency", "ISO 4217"},
		"negative amount":    {httpAsks("purchase", "-450", oneCoffee), "invalid_field", "amount.value", "from 1"},
		"amount too large":   {httpAsks("purchase", "1000000000000", oneCoffee), "invalid_field", "amount.value", "999999999999"},
		"amount overflows":   {httpAsks("purchase", "9223372036854775808", oneCoffee), "wrong_type", "amount.value", ""},
		"negative price":     {httpAsks("purchase", "450", `"items":[{"name":"a","quantity":1,"price":-450}]`), "items_do_not_add_up", "items", "sum"},
		"price too large":    {httpAsks("purchase", "450", `"items":[{"name":"a","quantity":1,"price":1000000000000}]`), "invalid_field", "items[0]", "price"},
		"no quantity":        {httpAsks("purchase", "450", `"items":[{"code":"2000000000015"}]`), "invalid_field", "items[0]", "quantity"},
		"unknown code":       {httpAsks("purchase", "450", `"items":[{"code":"2000000000022","quantity":1}]`), "invalid_field", "items[0].code", "no such item"},
		"hidden characters":  {httpAsks("purchase", "450", `"items":[{"name":"Cof\u202efee","quantity":1,"price":450}]`), "invalid_field", "items[0]", "U+202E"},
		"reference too old":  {httpAsks("purchase", "450", oneCoffee, `"reference":"`+now(-11*time.Minute)+`"`), "invalid_field", "reference", "It is 20"},
		"clock ahead":        {httpAsks("purchase", "450", oneCoffee, `"reference":"`+now(11*time.Minute)+`"`), "invalid_field", "reference", "clock"},
		"no reference":       {httpAsks("purchase", "450", oneCoffee, `"reference":"4711"`), "invalid_field", "reference", "YYYYMMDDhhmmss"},
		"reference and STAN": {httpAsks("purchase", "450", oneCoffee, `"stan":"1"`, `"reference":"`+now(0)+`"`), "invalid_field", "reference", "STAN"},
		"card as well":       {httpAsks("purchase", "450", oneCoffee, `"medium":{"pan":"4242424242424242"}`), "invalid_field", "confirm", "card"},
		"no customer":        {strings.Replace(httpAsks("purchase", "450", oneCoffee), `,"customer":"suzuki"`, "", 1), "missing_field", "customer", ""},
		"customer for claim": {strings.Replace(httpAsks("purchase", "450", oneCoffee), `"phone"`, `"claim"`, 1), "invalid_field", "customer", "claim"},
		"another way":        {strings.Replace(httpAsks("purchase", "450", oneCoffee), `"phone"`, `"letter"`, 1), "invalid_field", "confirm", "phone, reader or claim"},
		"a refund":           {httpAsks("refund", "450", oneCoffee), "invalid_field", "confirm", "purchase"},
		"customer alone":     {httpSale("purchase", "450", httpCard, `"customer":"suzuki"`), "missing_field", "confirm", ""},
	} {
		a := f.post(name, "/v1/payments", c.body)
		if a.status != http.StatusUnprocessableEntity || a.text("code") != c.code || a.text("field") != c.field || !strings.Contains(a.text("detail"), c.why) {
			t.Errorf("%s: %d %s; want %s about %s, with %q", name, a.status, a.raw, c.code, c.field, c.why)
		}
	}
	if n := f.book.Stats().Transactions; n != 0 {
		t.Errorf("%d transactions are in the book", n)
	}
	// The vending machine's merchant sells at its prices only.
	vend := []string{"Authorization", "Bearer " + httpKeyVend}
	for field, items := range map[string]string{
		"items[0].price": `{"code":"A1","quantity":1,"price":110}`, "items[0].code": `{"name":"Water","quantity":1,"price":120}`,
	} {
		body := strings.Replace(httpAsks("purchase", "110", `"items":[`+items+`]`), "AOI00001", "VEND0001", 1)
		if a := f.post(field, "/v1/payments", body, vend...); a.status != 422 || a.text("field") != field {
			t.Errorf("%d %s; want a refusal of %s", a.status, a.raw, field)
		}
	}
	// A reference names one sale.
	reference := `"reference":"` + now(0) + `"`
	first := f.asks("first", httpAsks("purchase", "450", oneCoffee, reference))
	if a := f.post("other", "/v1/payments", httpAsks("purchase", "900", `"items":[{"code":"2000000000015","quantity":2}]`, reference)); a.status != 422 || a.text("code") != "attempt_reused" {
		t.Errorf("the same reference for another sale: %d %s", a.status, a.raw)
	}
	if a := f.asks("again", httpAsks("purchase", "450", oneCoffee, reference)); a.text("id") != first.text("id") {
		t.Errorf("the same sale under the same reference: %s", a.raw)
	}
}

// TestHTTP_WhoIsNotAsked: unknown customers and those without a phone look the same,
// and nobody is asked twice at once.
func TestHTTP_WhoIsNotAsked(t *testing.T) {
	f := newHTTPFixture(t, nil)
	if _, err := f.book.OpenAccounts([]ledger.AccountSpec{{Name: "customer/third", Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 1000}}); err != nil {
		t.Fatal(err)
	}
	for i, who := range []string{"nobody", "third"} {
		a := f.made("05", who, "/v1/payments", strings.Replace(httpAsks("purchase", "450", oneCoffee), "suzuki", who, 1))
		if a.text("status") != "declined" || a.text("number") != "" || a.text("id") != kessai.TxID(i+1).String() {
			t.Errorf("%s: %s", who, a.raw)
		}
	}
	f.asks("first", httpAsks("purchase", "450", oneCoffee))
	f.made("65", "second", "/v1/payments", httpAsks("purchase", "450", oneCoffee))
	f.made("51", "poor", "/v1/payments", strings.Replace(httpAsks("purchase", "900", `"items":[{"code":"2000000000015","quantity":2}]`), "suzuki", "sato", 1))
	if s := f.engine.PhoneStats(); s.Waiting != 1 || s.Asked != 1 || s.Refused["open"] != 1 {
		t.Errorf("%+v", s)
	}
	if text := fmt.Sprint(f.engine.Sales(customerOf(t, f.book, "suzuki"))); !strings.Contains(text, "AOI") && len(text) < 3 {
		t.Errorf("Suzuki sees %s", text)
	}
}
