package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"kessai/authz/rates"
	"kessai/configs"
	"kessai/gateway"
	"kessai/pos/sim"
)

// The customer whose account is in euro buys a coffee with the sample rates. Shop,
// phone and receipt name both amounts (system P, step P-6).
func TestP_BuyInAnotherCurrency(t *testing.T) {
	demo := startDemo(t)
	base := "http://" + demo.HTTP
	ctx := context.Background()
	phone, err := sim.NewPhone(base, "4567890123", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := phone.SignIn(ctx, samplePasswords[phone.Customer]); err != nil {
		t.Fatal(err)
	}
	aoi := shop{base, sampleKeys["AOI000000000001"]}
	status, asked := aoi.ask(t, "POST", "/v1/payments", strings.Replace(coffee, "1234567890", phone.Customer, 1))
	if status != http.StatusAccepted {
		t.Fatalf("asking: %d %v", status, asked)
	}
	waiting, err := phone.Sales(ctx)
	if err != nil || len(waiting) != 1 || waiting[0].Sale.Foreign == nil {
		t.Fatalf("what waits: %+v, %v", waiting, err)
	}
	table, err := rates.Read(bytes.NewReader(configs.Rates))
	if err != nil {
		t.Fatal(err)
	}
	shown := waiting[0].Sale
	want, _, _, err := table.Convert(shown.Total, shown.Foreign.Total.Currency)
	if err != nil {
		t.Fatal(err)
	}
	if shown.Total.Value != 450 || shown.Foreign.Total != want || shown.Foreign.Date != table.Date || shown.Foreign.Rate == "" {
		t.Fatalf("the phone shows %+v and %+v, want 450 JPY, %+v and the rate of %s", shown.Total, *shown.Foreign, want, table.Date)
	}
	if out, err := phone.Approve(ctx, &waiting[0], samplePasswords[phone.Customer]); err != nil || out.Outcome != "approved" {
		t.Fatalf("agreeing: %+v, %v", out, err)
	}
	id := fmt.Sprint(asked["id"])
	if _, paid := aoi.ask(t, "GET", "/v1/payments/"+id+"?wait=60s", ""); paid["status"] != "approved" {
		t.Fatalf("the shop hears %v", paid)
	}
	receipt := aoi.get(t, "/v1/payments/"+id+"/receipt?columns=32", "text/plain")
	for _, part := range []string{"450", "EUR", table.Date} {
		if !strings.Contains(receipt, part) {
			t.Errorf("the receipt lacks %s:\n%s", part, receipt)
		}
	}
}

// get gives what the gateway answers in a form.
func (s shop) get(t *testing.T, path, form string) string {
	t.Helper()
	r, err := http.NewRequest("GET", s.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Accept", form)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("GET %s answers %d %q, %v", path, a.StatusCode, text, err)
	}
	return string(text)
}

// The shop floor of the demo shows what configs/demo.yaml has, and no gateway but
// the demo has one: it gives away keys and passwords.
func TestFloorIsOfTheDemoAlone(t *testing.T) {
	demo := startDemo(t)
	var floor gateway.FloorOptions
	if err := json.Unmarshal([]byte(shop{base: "http://" + demo.HTTP}.get(t, "/demo/floor.json", "application/json")), &floor); err != nil {
		t.Fatal(err)
	}
	if len(floor.Shops) != 2 || len(floor.Shops[0].Items) < 10 || !floor.Shops[1].Vending || len(floor.Customers) != 3 || floor.RatesOf == "" || floor.Reader == nil || len(floor.Reader.Cards) < 2 {
		t.Errorf("the shop floor is %+v", floor)
	}
	g := startLive(t)
	for _, path := range []string{"/demo", "/demo/", "/demo/floor.json", "/demo/qr.svg?text=x", "/demo/reader/state", "/demo/reader/link"} {
		a, err := http.Get("http://" + g.HTTP + path)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != http.StatusNotFound {
			t.Errorf("a gateway in use answers %s with %d", path, a.StatusCode)
		}
	}
}
