package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
)

func TestHTTP_EveryKind(t *testing.T) {
	f := newHTTPFixture(t, nil)
	sale := f.made("00", "1", "/v1/payments", httpSale("purchase", "450", httpCard,
		`"merchant":"AOI000000000001"`, `"stan":"000123"`, `"transmitted_at":"2026-11-22T12:39:12+09:00"`,
		`"items":[{"code":"4901234567894","name":"Blend coffee","quantity":1,"price":500},{"name":"Coupon","quantity":1,"price":-50}]`))
	if sale.text("status") != "approved" || sale.value("amount") != 450 || sale.value("requested") != 450 ||
		sale.text("transmitted_at") != "2026-11-22T03:39:12Z" || sale.text("stan") != "000123" || len(sale.text("approval_code")) != 6 ||
		"pay_"+sale.text("rrn") != sale.text("id") || sale.text("merchant") != "AOI000000000001" || sale.text("terminal") != "AOI00001" {
		t.Errorf("purchase: %s", sale.raw)
	}
	if m, _ := sale.body["medium"].(map[string]any); m["pan"] != "****4242" {
		t.Errorf("the medium is shown as %v", sale.body["medium"])
	}
	if items, _ := sale.body["items"].([]any); len(items) != 2 {
		t.Errorf("items: %v", sale.body["items"])
	}
	if cash := f.made("00", "2", "/v1/payments", httpSale("cash_back", "1450", httpCard, `"cash_back":1000`)); cash.number("cash_back") != 1000 {
		t.Errorf("cash back: %s", cash.raw)
	}
	f.made("00", "3", "/v1/payments", httpSale("refund", "100", httpCard))
	f.made("85", "4", "/v1/payments", httpSale("verification", "", httpCard))
	balance := f.made("00", "5", "/v1/payments", httpSale("balance_inquiry", "", httpCard))
	if balance.number("available") != 1_235_000-450-1450+100 {
		t.Errorf("balance: %s", balance.raw)
	}

	part := f.made("00", "6", "/v1/payments/"+sale.text("id")+"/refund", `{"amount":{"value":150,"currency":"JPY"}}`)
	if part.text("original") != sale.text("id") || part.text("kind") != "refund" {
		t.Errorf("refund: %s", part.raw)
	}
	f.made("13", "7", "/v1/payments/"+sale.text("id")+"/refund", `{"amount":{"value":301,"currency":"JPY"}}`)
	if rest := f.made("00", "8", "/v1/payments/"+sale.text("id")+"/refund", ""); rest.value("amount") != 300 {
		t.Errorf("refund of the rest: %s", rest.raw)
	}
	if now := f.do("GET", "/v1/payments/"+sale.text("id"), ""); now.text("status") != "refunded" || now.number("refunded") != 450 {
		t.Errorf("after both refunds: %s", now.raw)
	}
}

func TestHTTP_HoldAndReversal(t *testing.T) {
	f := newHTTPFixture(t, nil)
	hold := f.made("00", "1", "/v1/payments", httpSale("pre_authorization", "2000", httpCard))
	at := "/v1/payments/" + hold.text("id")
	if hold.text("status") != "authorized" || hold.number("held") != 2000 || hold.text("hold_expires_at") == "" {
		t.Errorf("hold: %s", hold.raw)
	}
	f.made("00", "2", at+"/increment", `{"amount":{"value":500,"currency":"JPY"}}`)
	if now := f.do("GET", at, ""); now.number("held") != 2500 {
		t.Errorf("after the increment: %s", now.raw)
	}
	capture := f.made("00", "3", at+"/capture", `{}`)
	if capture.value("amount") != 2500 || capture.text("kind") != "completion" {
		t.Errorf("capture: %s", capture.raw)
	}
	if now := f.do("GET", at, ""); now.text("status") != "captured" || now.text("ended_by") != capture.text("id") {
		t.Errorf("after the capture: %s", now.raw)
	}
	f.made("12", "4", at+"/release", "")

	other := f.made("00", "5", "/v1/payments", httpSale("pre_authorization", "700", httpCard))
	f.made("00", "6", "/v1/payments/"+other.text("id")+"/release", "")
	if now := f.do("GET", "/v1/payments/"+other.text("id"), ""); now.text("status") != "released" || now.number("held") != 0 {
		t.Errorf("after the release: %s", now.raw)
	}

	sale := f.made("00", "7", "/v1/payments", httpSale("purchase", "900", httpCard))
	undo := f.made("00", "8", "/v1/payments/"+sale.text("id")+"/reverse", `{"replacement_amount":{"value":400,"currency":"JPY"}}`)
	if undo.value("amount") != 500 || undo.value("requested") != 400 {
		t.Errorf("partial reversal: %s", undo.raw)
	}
	f.made("00", "9", "/v1/payments/"+sale.text("id")+"/reverse", "")
	if now := f.do("GET", "/v1/payments/"+sale.text("id"), ""); now.text("status") != "reversed" || now.number("reversed") != 900 {
		t.Errorf("after both reversals: %s", now.raw)
	}
}

func TestHTTP_Declines(t *testing.T) {
	f := newHTTPFixture(t, nil)
	for i, c := range []struct{ code, card, value string }{
		{"51", httpPoor, "501"}, {"43", httpStolen, "1"}, {"41", httpLost, "1"}, {"54", httpExpired, "1"},
		{"14", "4242424242424241", "1"}, {"14", "4111111111111111", "1"}, {"14", "42", "1"},
	} {
		a := f.made(c.code, fmt.Sprint(i), "/v1/payments", httpSale("purchase", c.value, c.card))
		if a.text("status") != "declined" || a.value("amount") != 0 || a.text("approval_code") != "" {
			t.Errorf("code %s: %s", c.code, a.raw)
		}
		if now := f.do("GET", "/v1/payments/"+a.text("id"), ""); now.status != 200 || now.text("status") != "declined" {
			t.Errorf("code %s, looked at later: %d %s", c.code, now.status, now.raw)
		}
	}
}

func TestHTTP_RepeatGetsTheSameBytes(t *testing.T) {
	f := newHTTPFixture(t, nil)
	body := httpSale("purchase", "450", httpCard, `"items":[{"name":"Blend coffee","quantity":1,"price":450}]`)
	first := f.made("00", "k", "/v1/payments", body)
	if first.header.Get("Idempotency-Replayed") != "" {
		t.Error("the first answer says that it is a repeat")
	}
	f.made("00", "r", "/v1/payments/"+first.text("id")+"/reverse", "")
	for name, again := range map[string]string{
		"the same":           body,
		"other white space":  strings.ReplaceAll(body, ",", " ,\n "),
		"members reordered":  strings.Replace(strings.Replace(body, `"kind":"purchase",`, "", 1), `"medium"`, `"kind":"purchase","medium"`, 1),
		"written in escapes": strings.Replace(body, "Blend", `\u0042lend`, 1),
	} {
		a := f.made("00", "k", "/v1/payments", again)
		if string(a.raw) != string(first.raw) {
			t.Errorf("%s: got\n%s\nfirst\n%s", name, a.raw, first.raw)
		}
		if a.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: no Idempotency-Replayed", name)
		}
	}
	hold := f.made("00", "h", "/v1/payments", httpSale("pre_authorization", "2000", httpCard))
	capture := f.made("00", "c", "/v1/payments/"+hold.text("id")+"/capture", "")
	if a := f.made("00", "c", "/v1/payments/"+hold.text("id")+"/capture", ""); string(a.raw) != string(capture.raw) {
		t.Errorf("capture again: got\n%s\nfirst\n%s", a.raw, capture.raw)
	}
	if a := f.made("00", "h", "/v1/payments", httpSale("pre_authorization", "2000", httpCard)); string(a.raw) != string(hold.raw) {
		t.Errorf("hold again: got\n%s\nfirst\n%s", a.raw, hold.raw)
	}
}

func TestHTTP_KeyWithOtherContent(t *testing.T) {
	f := newHTTPFixture(t, nil)
	first := f.made("00", "k", "/v1/payments", httpSale("purchase", "450", httpCard))
	at := "/v1/payments/" + first.text("id")
	for name, send := range map[string]func() *httpAnswer{
		"amount": func() *httpAnswer { return f.post("k", "/v1/payments", httpSale("purchase", "451", httpCard)) },
		"card":   func() *httpAnswer { return f.post("k", "/v1/payments", httpSale("purchase", "450", httpPoor)) },
		"mistype": func() *httpAnswer {
			return f.post("k", "/v1/payments", httpSale("purchase", "450", "4242424242424241"))
		},
		"expiry": func() *httpAnswer {
			return f.post("k", "/v1/payments", strings.Replace(httpSale("purchase", "450", httpCard), "9912", "9911", 1))
		},
		"items": func() *httpAnswer {
			return f.post("k", "/v1/payments", httpSale("purchase", "450", httpCard, `"items":[{"name":"x","quantity":1,"price":450}]`))
		},
		"stan": func() *httpAnswer {
			return f.post("k", "/v1/payments", httpSale("purchase", "450", httpCard, `"stan":"1"`))
		},
		"path":     func() *httpAnswer { return f.post("k", at+"/refund", "") },
		"other id": func() *httpAnswer { return f.post("k", at+"/reverse", "") },
	} {
		if a := send(); a.status != 422 || a.text("code") != "attempt_reused" {
			t.Errorf("%s changed: got %d %s", name, a.status, a.raw)
		}
	}
	if a := f.made("00", "k", "/v1/payments", strings.ReplaceAll(httpSale("purchase", "450", httpCard), "AOI00001", "VEND0001"),
		"Authorization", "Bearer "+httpKeyVend); a.text("id") == first.text("id") {
		t.Error("two merchants share a key")
	}
}

func TestHTTP_TwinsAtOnce(t *testing.T) {
	f := newHTTPFixture(t, nil)
	body := httpSale("purchase", "450", httpCard)
	answers := make([]*httpAnswer, 16)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = f.post("twin", "/v1/payments", body) })
	}
	wg.Wait()
	fresh := 0
	for _, a := range answers {
		if a.status != 201 || string(a.raw) != string(answers[0].raw) {
			t.Errorf("got %d %s; want what the others got: %s", a.status, a.raw, answers[0].raw)
		}
		if a.header.Get("Idempotency-Replayed") == "" {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d of the twins were made; want 1", fresh)
	}
}

// The same sale sent over ISO 8583 and again over JSON with the same terminal,
// STAN and time is one sale, in either order.
func TestHTTP_SameAttemptAsOverISO(t *testing.T) {
	f := newHTTPFixture(t, nil)
	merchant, _ := kessai.ParseMerchantID("AOI000000000001")
	terminal, _ := kessai.ParseTerminalID("AOI00001")
	pan, _ := kessai.ParsePAN(httpCard)
	overISO := func(stan kessai.STAN) authz.Reply {
		return httpMust[authz.Reply](t)(f.engine.AuthorizeOne(context.Background(), &authz.Request{
			Kind: kessai.Purchase, Merchant: merchant, Terminal: terminal, Medium: f.hasher.Medium(pan), Last4: pan.Last4(),
			Amount: kessai.Amount{Value: 450, Currency: kessai.JPY}, Received: time.Now(),
			Attempt: authz.Attempt{MTI: [4]byte([]byte("0200")), STAN: stan, Transmitted: time.Date(2026, 11, 22, 3, 39, 12, 0, time.UTC)},
		}))
	}
	body := httpSale("purchase", "450", httpCard, `"stan":"000007"`, `"transmitted_at":"2026-11-22T03:39:12Z"`)
	first := overISO(7)
	if a := f.made("00", "k", "/v1/payments", body); a.text("id") != first.Tx.ID.String() || a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("JSON after ISO: %s", a.raw)
	}
	second := f.made("00", "l", "/v1/payments", strings.Replace(body, "000007", "8", 1))
	if r := overISO(8); r.Tx.ID.String() != second.text("id") || !r.Replayed {
		t.Errorf("ISO after JSON: %v, replayed %v; want %s", r.Tx.ID, r.Replayed, second.text("id"))
	}
	if a := f.post("m", "/v1/payments", strings.Replace(strings.Replace(body, "000007", "8", 1), "450", "451", 1)); a.text("code") != "attempt_reused" {
		t.Errorf("the attempt's name with other content: %d %s", a.status, a.raw)
	}
}

func TestHTTP_MerchantSeesOnlyItsOwn(t *testing.T) {
	f := newHTTPFixture(t, nil)
	sale := f.made("00", "k", "/v1/payments", httpSale("purchase", "450", httpCard))
	at := "/v1/payments/" + sale.text("id")
	other := []string{"Authorization", "Bearer " + httpKeyVend}
	if a := f.do("GET", at, "", other...); a.status != 404 || a.text("code") != "payment_not_found" {
		t.Errorf("GET: %d %s", a.status, a.raw)
	}
	for _, verb := range []string{"capture", "increment", "release", "refund", "reverse"} {
		if a := f.post("x", at+"/"+verb, "", other...); a.status != 404 || a.text("code") != "payment_not_found" {
			t.Errorf("%s: %d %s", verb, a.status, a.raw)
		}
	}
	if a := f.do("GET", "/v1/payments", "", other...); len(a.body["payments"].([]any)) != 0 {
		t.Errorf("list: %s", a.raw)
	}
	if a := f.post("y", "/v1/payments", httpSale("purchase", "1", httpCard, `"merchant":"AOI000000000001"`), other...); a.status != 403 || a.text("code") != "other_merchant" {
		t.Errorf("another merchant named: %d %s", a.status, a.raw)
	}
	// A terminal of another merchant is no way around it.
	f.made("03", "z", "/v1/payments", httpSale("purchase", "1", httpCard), other...)
}

func TestHTTP_List(t *testing.T) {
	f := newHTTPFixture(t, nil)
	var ids []string
	for i := range 7 {
		body := httpSale("purchase", "600", []string{httpCard, httpPoor}[i%2])
		a := f.post(fmt.Sprint("k", i), "/v1/payments", body)
		ids = append([]string{a.text("id")}, ids...)
	}
	list := func(query string) (got []string, next string) {
		t.Helper()
		a := f.do("GET", "/v1/payments"+query, "")
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, a.status, a.raw)
		}
		for _, p := range a.body["payments"].([]any) {
			got = append(got, p.(map[string]any)["id"].(string))
		}
		return got, a.text("next_cursor")
	}
	if got, next := list(""); fmt.Sprint(got) != fmt.Sprint(ids) || next != "" {
		t.Errorf("all: got %v, next %q; want %v", got, next, ids)
	}
	var paged []string
	for query := "?limit=3"; len(paged) <= len(ids); {
		got, next := list(query)
		paged = append(paged, got...)
		if next == "" {
			break
		}
		query = "?limit=3&cursor=" + next
	}
	if fmt.Sprint(paged) != fmt.Sprint(ids) {
		t.Errorf("in pages: got %v; want %v", paged, ids)
	}
	for query, want := range map[string]int{
		"?status=declined": 3, "?status=approved": 4, "?kind=refund": 0, "?kind=purchase": 7, "?last4=4444": 3,
		"?response_code=51": 3, "?response_code=00&last4=4242": 4, "?terminal=AOI00001": 7, "?terminal=AOI00002": 0,
		"?from=2000-01-01T00:00:00Z": 7, "?to=2000-01-01T00:00:00Z": 0, "?from=2000-01-01T00:00:00%2B09:00": 7,
	} {
		if got, _ := list(query); len(got) != want {
			t.Errorf("%s: got %d payments; want %d", query, len(got), want)
		}
	}
}
