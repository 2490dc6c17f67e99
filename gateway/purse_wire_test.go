package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/pos/iso8583"
	"kessai/pos/purse"
	"kessai/pos/sim"
)

func testPurses(t testing.TB) *purse.Master {
	t.Helper()
	m, err := purse.NewMaster([]byte("the master key of purses in tests"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// chip gives the medium of a card of the fixture.
func (f *httpFixture) chip(number string) *sim.Medium {
	f.t.Helper()
	id := f.hasher.Medium(httpMust[kessai.PAN](f.t)(kessai.ParsePAN(number)))
	return sim.NewMedium(testPurses(f.t).Key(id), purse.State{Medium: id, Currency: kessai.JPY})
}

func (f *httpFixture) said(m *sim.Medium) string {
	f.t.Helper()
	s := httpMust[purse.State](f.t)(m.Read())
	return `"purse":"` + s.Hex() + `"`
}

// purses asks for everything about e-money, whatever comes of it.
func (c *httpContract) purses(f *httpFixture) {
	chip := f.chip(httpCard)
	ask := func(kind, more string) *httpAnswer {
		return c.post(f, "/v1/payments", `{"kind":"`+kind+`","terminal":"AOI00001",`+more+f.said(chip)+`}`)
	}
	yen := func(v string) string { return `"amount":{"value":` + v + `,"currency":"JPY"},` }
	for _, a := range []*httpAnswer{ask("load", yen("900")), ask("purse_purchase", yen("300")), ask("unload", yen("100")), ask("purse_inquiry", "")} {
		if a.status != http.StatusCreated || a.text("response_code") != "00" && a.text("response_code") != "51" {
			c.t.Errorf("%d %s", a.status, a.raw)
		}
		if order := a.text("purse_order"); order != "" {
			o := httpMust[purse.Order](c.t)(purse.ParseOrderHex(order))
			if _, err := chip.Write(&o, sim.TearNone); err != nil {
				c.t.Error(err)
			}
		}
		at := "/v1/payments/" + a.text("id")
		f.do("GET", at, "")
		c.post(f, at+"/confirm", `{"terminal":"AOI00001",`+f.said(chip)+`}`)
	}
	c.post(f, "/v1/payments/pay_000000000001/confirm", `{`+f.said(chip)+`}`)
	c.post(f, "/v1/payments/pay_999999999999/confirm", `{`+f.said(chip)+`}`)
	c.post(f, "/v1/payments/pay_000000000001/confirm", `{"purse":"00"}`)
}

// TestV7_BadRecordsOverJSON: what is no record of a medium is refused with the
// member's name, and nothing of it is repeated.
func TestV7_BadRecordsOverJSON(t *testing.T) {
	f := newHTTPFixture(t, nil)
	chip := f.chip(httpCard)
	state := httpMust[purse.State](t)(chip.Read())
	order := purse.Order{Medium: state.Medium, Counter: 1, Balance: 1, Currency: kessai.JPY, Transaction: 1, Operation: purse.Load, Amount: 1}
	for name, c := range map[string]struct{ body, code string }{
		"missing":      {`{"kind":"load","terminal":"AOI00001","amount":{"value":5,"currency":"JPY"}}`, "missing_field"},
		"empty":        {`{"kind":"purse_inquiry","terminal":"AOI00001","purse":""}`, "invalid_field"},
		"short":        {`{"kind":"purse_inquiry","terminal":"AOI00001","purse":"` + state.Hex()[2:] + `"}`, "invalid_field"},
		"long":         {`{"kind":"purse_inquiry","terminal":"AOI00001","purse":"` + state.Hex() + `00"}`, "invalid_field"},
		"an order":     {`{"kind":"purse_inquiry","terminal":"AOI00001","purse":"` + order.Hex() + `"}`, "invalid_field"},
		"no digits":    {`{"kind":"purse_inquiry","terminal":"AOI00001","purse":"` + strings.Repeat("g", 144) + `"}`, "invalid_field"},
		"a number":     {`{"kind":"purse_inquiry","terminal":"AOI00001","purse":1}`, "wrong_type"},
		"null":         {`{"kind":"purse_inquiry","terminal":"AOI00001","purse":null}`, "wrong_type"},
		"with amount":  {`{"kind":"purse_inquiry","terminal":"AOI00001","amount":{"value":5,"currency":"JPY"},"purse":"` + state.Hex() + `"}`, "invalid_field"},
		"no amount":    {`{"kind":"unload","terminal":"AOI00001","purse":"` + state.Hex() + `"}`, "missing_field"},
		"a settlement": {`{"kind":"purse_settlement","terminal":"AOI00001","purse":"` + state.Hex() + `"}`, "invalid_field"},
	} {
		a := f.post("bad-"+name, "/v1/payments", c.body)
		if a.text("code") != c.code || strings.Contains(string(a.raw), state.Hex()[:20]) || strings.Contains(string(a.raw), "ggg") {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.raw, c.code)
		}
	}
	if strings.Contains(f.log.String(), state.Hex()[:20]) {
		t.Error("the log shows a record")
	}
	if n := f.book.Stats().Transactions; n != 0 {
		t.Errorf("%d transactions were recorded", n)
	}
}

// TestV7_BadRecordsOverISO: the same in DE48.
func TestV7_BadRecordsOverISO(t *testing.T) {
	w := newISOShop(t)
	mapper := newISOMapper(w.hasher, kessai.AcquirerID{})
	id := w.hasher.Medium(panOf(t, suzukiCard))
	state := purse.State{Medium: id, Counter: 1, Currency: kessai.JPY}
	testPurses(t).Key(id).SignState(&state)
	sale := sim.Sale{Terminal: "AOI00001", Amount: 5, Currency: kessai.JPY, STAN: 1, Time: time.Now()}
	read := func(field string) (authz.Request, isoFault) {
		m := sale.Load(nil)
		if field != "" {
			m.SetString(48, field)
		}
		var r authz.Request
		f := mapper.request(&r, m, time.Now())
		return r, f
	}
	element := func(text string) string {
		return string(iso8583.AppendPrivate(nil, iso8583.PrivateState, []byte(text)))
	}
	for name, field := range map[string]string{
		"missing":   "",
		"other":     "XX003abc",
		"no length": "MS",
		"twice":     element(state.Hex()) + element(state.Hex()),
		"cut":       element(state.Hex())[:100],
		"short":     element(state.Hex()[2:]),
		"no digits": element(strings.Repeat("x", 144)),
	} {
		if r, f := read(field); f.code != kessai.FormatError || f.field != 48 || r.Purse != nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	r, f := read("XX003abc" + element(strings.ToUpper(state.Hex())))
	if f.code != 0 || r.Kind != kessai.Load || r.Purse == nil || *r.Purse != state || r.Medium != id {
		t.Errorf("a good one: %+v, %+v", r, f)
	}
	for processing, want := range map[string]kessai.Kind{
		"400060": kessai.Load, "406000": kessai.Unload, "006000": kessai.PursePurchase, "316000": kessai.PurseInquiry,
		"406060": 0, "206000": 0, "400000": 0, "000060": 0, "310060": 0,
	} {
		if got := isoKind(iso8583.MTI([]byte("0200")), []byte(processing)); got != want {
			t.Errorf("0200 %s is a %s, want %s", processing, got, want)
		}
	}
	if got := isoKind(iso8583.MTI([]byte("0100")), []byte("006000")); got != 0 {
		t.Errorf("a pre-authorization from a purse is a %s", got)
	}
}
