package gateway

import (
	"net/http"
	"strings"
	"testing"

	"kessai"
	"kessai/customers/phones"
	"kessai/pos/receipt"
)

// TestPhone_History: all payments of the customer, each once, the newest first, page
// by page.
func TestPhone_History(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p, sato := f.in("suzuki"), f.in("sato")
	var want []string
	for range 45 {
		id := f.asked("suzuki")
		p.call("POST", "/phone/v1/sales/"+id+"/cancel", `{}`)
		want = append([]string{id}, want...)
	}
	f.asked("sato")
	f.made("00", "card", "/v1/payments", httpSale("purchase", "450", httpCard)) // with a card: none of the phone's
	var got, sizes []string
	for cursor := ""; ; {
		a := p.call("GET", "/phone/v1/history?cursor="+cursor, nil)
		list, _ := a.body["sales"].([]any)
		for _, s := range list {
			got = append(got, s.(map[string]any)["sale"].(map[string]any)["id"].(string))
		}
		sizes = append(sizes, strings.Repeat("x", len(list)))
		if cursor = a.text("next_cursor"); cursor == "" {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") || len(sizes) != 3 {
		t.Errorf("in %d pages:\n%v, want\n%v", len(sizes), got, want)
	}
	f.expect("a cursor that nobody gave", p.call("GET", "/phone/v1/history?cursor=x", nil), 400, "invalid_parameter")
	if a := sato.call("GET", "/phone/v1/history", nil); len(a.body["sales"].([]any)) != 1 {
		t.Errorf("Sato sees %s", a.raw)
	}
}

// TestPhone_Receipts: for the customer and for whoever holds one; its address cannot
// be guessed, and it does not say who paid.
func TestPhone_Receipts(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p := f.in("suzuki")
	id := f.asked("suzuki")
	f.expect("approving", p.approve(id), 200, "approved")
	number, _ := kessai.ParseTxID(id)
	code := f.keys.ReceiptCode(number)
	for _, path := range []string{"/phone/v1/receipts/" + id, "/r/" + code, "/r/" + strings.ToLower(code)} {
		texts := make(map[string]bool)
		for _, lang := range receipt.Languages() {
			for columns, width := range map[string]int{"32": 32, "42": 42} {
				a := p.call("GET", path+"?lang="+string(lang)+"&columns="+columns, nil)
				if a.status != 200 || a.header.Get("Content-Type") != "text/plain; charset=utf-8" || a.header.Get("Cache-Control") != "no-store" || !strings.Contains(string(a.raw), "450") {
					t.Fatalf("%s: %d %s", path, a.status, a.raw)
				}
				if strings.Contains(string(a.raw), "suzuki") {
					t.Errorf("%s says who paid: %s", path, a.raw)
				}
				for line := range strings.Lines(string(a.raw)) {
					if n := len(strings.TrimRight(line, "\n")); lang == receipt.English && n > width && !strings.ContainsRune(line, '█') && strings.IndexFunc(line, func(r rune) bool { return r > '~' }) < 0 {
						t.Errorf("%s in %d columns has the line %q", path, width, line)
					}
				}
				texts[string(a.raw)] = true
			}
			a := p.call("GET", path+"?lang="+string(lang), nil)
			csp := a.header.Get("Content-Security-Policy")
			if a.status != 200 || a.header.Get("Content-Type") != "text/html; charset=utf-8" || csp != receipt.ContentSecurityPolicy() || strings.Contains(string(a.raw), "suzuki") ||
				!strings.Contains(string(a.raw), "/r/"+code) && !strings.Contains(string(a.raw), "<svg") {
				t.Errorf("%s: %d %v %.200s", path, a.status, a.header, a.raw)
			}
		}
		if len(texts) != 2*len(receipt.Languages()) {
			t.Errorf("%s has %d texts", path, len(texts))
		}
		f.expect("columns", p.call("GET", path+"?columns=80", nil), 400, "invalid_parameter")
	}
	other := f.asked("suzuki")
	next, _ := kessai.ParseTxID(other)
	for _, guess := range []string{
		next.RRN() + code[12:], code[:len(code)-1] + "0", code[:12], code[:13], number.RRN(), "x", strings.Repeat("A", 1000), code + "0",
		id + code[12:], f.keys.ClaimCode(number), "%00", code[:12] + "-" + strings.Repeat("0", 16),
	} {
		if code == guess { // one in 32 ends with a zero anyway
			continue
		}
		f.expect("guessing "+guess[:min(20, len(guess))], p.call("GET", "/r/"+guess, nil), 404, "payment_not_found")
	}
	if a := f.do("GET", "/r/"+f.keys.ReceiptCode(next), "", "Authorization", ""); a.status != 200 {
		t.Errorf("one that waits: %d %s", a.status, a.raw)
	}
}

// claimed has a machine show a payment to whoever claims it.
func (f *phoneFixture) claimed(key, value string) (id, code string) {
	f.t.Helper()
	a := f.post(key, "/v1/payments", `{"kind":"pre_authorization","terminal":"VEND0001","confirm":"claim","amount":{"value":`+value+`,"currency":"JPY"}}`, "Authorization", "Bearer "+httpKeyVend)
	claim, _ := a.body["claim"].(map[string]any)
	if a.status != 202 || claim["url"] != "http://localhost:8080/phone#claim="+claim["code"].(string) {
		f.t.Fatalf("%d %s", a.status, a.raw)
	}
	return a.text("id"), claim["code"].(string)
}

func (f *phoneFixture) machine(id string) *httpAnswer {
	return f.do("GET", "/v1/payments/"+id, "", "Authorization", "Bearer "+httpKeyVend)
}

// TestPhone_Claim: whoever scans the code first is the customer; nobody else learns
// anything of it.
func TestPhone_Claim(t *testing.T) {
	f := newPhoneFixture(t, nil)
	p, sato := f.in("suzuki"), f.in("sato")
	claim := func(p *testPhone, code string) *httpAnswer {
		return p.call("POST", "/phone/v1/claims", map[string]any{"code": code})
	}
	id, code := f.claimed("one", "170")
	for _, wrong := range []string{"X", code[:23], code[:23] + map[bool]string{true: "1", false: "0"}[code[23] == '0'], strings.Repeat("0", 24), code + "0", id, strings.Repeat("Z", 5000), strings.Repeat("\n", 24), code[:20] + "\n\n\n\n"} {
		f.expect("a wrong code", claim(p, wrong), 404, "claim_refused")
	}
	f.expect("before it is claimed", p.call("GET", "/phone/v1/sales/"+id, nil), 404, "payment_not_found")
	for _, again := range []string{code, strings.ToLower(code)} {
		a := claim(p, again)
		shown, _ := a.body["sale"].(map[string]any)
		if a.status != 200 || shown["status"] != "waiting" || shown["number"] != f.machine(id).text("number") {
			t.Fatalf("claiming: %d %s; the machine has %s", a.status, a.raw, f.machine(id).raw)
		}
	}
	f.expect("somebody else", claim(sato, code), 404, "claim_refused")
	f.expect("agreeing", p.approve(id), 200, "approved")
	if a := f.machine(id); a.text("status") != "authorized" || a.number("held") != 170 || a.body["claim"] != nil {
		t.Errorf("the machine hears %s", a.raw)
	}
	if a := claim(p, code); a.status != 200 {
		t.Errorf("claiming what is one's own already: %d %s", a.status, a.raw)
	}
	f.expect("somebody else, later", claim(sato, code), 404, "claim_refused")

	id, code = f.claimed("two", "170")
	if a := f.post("two-cancel", "/v1/payments/"+id+"/cancel", `{}`, "Authorization", "Bearer "+httpKeyVend); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	f.expect("after its end", claim(p, code), 404, "claim_refused")

	id, code = f.claimed("three", "600") // Sato has 500
	a := claim(sato, code)
	shown, _ := a.body["sale"].(map[string]any)
	told, _ := shown["told"].(map[string]any)
	if a.status != 200 || shown["status"] != "cancelled" || told["code"] != "51" {
		t.Errorf("not covered: %d %s", a.status, a.raw)
	}
	if a := f.machine(id); a.text("response_code") != "51" || a.text("status") != "cancelled" {
		t.Errorf("the machine hears %s", a.raw)
	}
	f.expect("what a till asks a customer about", claim(sato, f.codeOf(f.asked("suzuki"))), 404, "claim_refused")
	nobody := f.phone("suzuki", "")
	f.expect("nobody", claim(nobody, code), 401, "signed_out")
}

func (f *phoneFixture) codeOf(id string) string {
	number, _ := kessai.ParseTxID(id)
	return f.keys.ClaimCode(number)
}

// TestPhone_Push: a phone says where it can be woken; only at push services that are
// allowed.
func TestPhone_Push(t *testing.T) {
	var pusher *phones.Pusher
	f := newPhoneFixture(t, func(s *phoneSetup) { s.push = &pusher })
	p := f.in("suzuki")
	if a := f.do("GET", "/phone/v1/config", ""); a.text("vapid_key") != pusher.PublicKey() || a.number("iterations") != 4096 || a.body["passkeys"] != true {
		t.Errorf("%s", a.raw)
	}
	keys := `"keys":{"p256dh":"` + pusher.PublicKey() + `","auth":"` + raw64(make([]byte, 16)) + `"}`
	put := func(body string) *httpAnswer { return p.call("PUT", "/phone/v1/push", body) }
	for _, endpoint := range []string{
		"https://push.example.com/x", "http://fcm.googleapis.com/x", "https://fcm.googleapis.com:8443/x", "https://10.0.0.1/x", "https://127.0.0.1/", "https://[::1]/",
		"https://localhost/", "https://fcm.googleapis.com@10.0.0.1/", "https://fcm.googleapis.com.example.com/", "file:///etc/passwd", "x", "https://" + strings.Repeat("a", 2000),
	} {
		f.expect(endpoint[:min(40, len(endpoint))], put(`{"endpoint":"`+endpoint+`",`+keys+`}`), 422, "push_refused")
	}
	f.expect("keys that are none", put(`{"endpoint":"https://fcm.googleapis.com/x","keys":{"p256dh":"AAAA","auth":"AAAA"}}`), 422, "push_refused")
	if a := put(`{"endpoint":"https://fcm.googleapis.com/fcm/send/SECRET",` + keys + `}`); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if a := p.session(); a.body["push"] != true || strings.Contains(string(a.raw), "SECRET") {
		t.Errorf("%s", a.raw)
	}
	if a := p.call("DELETE", "/phone/v1/push", `{}`); a.status != http.StatusNoContent || p.session().body["push"] != false {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if strings.Contains(f.log.String(), "SECRET") || strings.Contains(f.log.String(), "10.0.0.1") {
		t.Error("an address of a push service is in the log")
	}
	f = newPhoneFixture(t, nil)
	p = f.in("suzuki")
	f.expect("without push", put(`{"endpoint":"https://fcm.googleapis.com/x",`+keys+`}`), 422, "push_refused")
	if a := p.call("DELETE", "/phone/v1/push", `{}`); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.raw)
	}
}
