package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"kessai/pos/sim"
)

// shop asks over the JSON API, as the sample merchant's own programs do.
type shop struct {
	base, key string
}

// ask sends a request and gives status and answer.
func (s shop) ask(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequest(method, s.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	if method == "POST" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", rand.Text())
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s %s answers %d %q", method, path, a.StatusCode, text)
	}
	return a.StatusCode, answer
}

const coffee = `{"kind":"purchase","merchant":"AOI000000000001","terminal":"AOI00001","amount":{"value":450,"currency":"JPY"},
	"confirm":"phone","customer":"1234567890","items":[{"name":"Coffee","quantity":1,"price":450}]}`

// A whole purchase with the real gateway: the shop asks, the phone agrees, and all
// of them see the same (system P, steps P-4 to P-12).
func TestP_BuyWithAPhone(t *testing.T) {
	gateway := startDemo(t)
	base := "http://" + gateway.HTTP
	aoi := shop{base, "sk_test_aoi"}

	if status, answer := aoi.ask(t, "POST", "/v1/payments", coffee); status != 201 || answer["response_code"] != "05" {
		t.Fatalf("a customer without a phone: %d %v", status, answer)
	}
	phone, err := sim.NewPhone(base, "1234567890", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	var refused *sim.Problem
	if err := phone.SignIn(ctx, "another"); !errors.As(err, &refused) || refused.Code != "sign_in_refused" {
		t.Fatalf("signing in with a wrong password: %v", err)
	}
	if err := phone.SignIn(ctx, "aoi-1234"); err != nil {
		t.Fatal(err)
	}

	status, asked := aoi.ask(t, "POST", "/v1/payments", coffee)
	if status != 202 || asked["status"] != "waiting" || asked["response_code"] != "09" {
		t.Fatalf("asking: %d %v", status, asked)
	}
	id := fmt.Sprint(asked["id"])
	waiting, err := phone.Sales(ctx)
	if err != nil || len(waiting) != 1 || waiting[0].Sale.ID.String() != id || waiting[0].Number != asked["number"] {
		t.Fatalf("what waits: %+v, %v; the shop has %v", waiting, err, asked)
	}
	if out, err := phone.Approve(ctx, &waiting[0], "wrong"); err != nil || out.Outcome != "wrong" || out.Sale.TriesLeft != 2 {
		t.Fatalf("a wrong password: %+v, %v", out, err)
	}
	out, err := phone.Approve(ctx, &waiting[0], "aoi-1234")
	if err != nil || out.Outcome != "approved" {
		t.Fatalf("the right password: %+v, %v", out, err)
	}
	status, decided := aoi.ask(t, "GET", "/v1/payments/"+id+"?wait=60s", "")
	if status != 200 || decided["status"] != "approved" || decided["response_code"] != "00" || decided["approval_code"] != out.Sale.ApprovalCode {
		t.Fatalf("the shop hears %d %v, the phone %+v", status, decided, out)
	}
	if again, err := phone.Approve(ctx, &waiting[0], "aoi-1234"); err != nil || again.Outcome != "ended" {
		t.Fatalf("agreeing twice: %+v, %v", again, err)
	}

	_, asked = aoi.ask(t, "POST", "/v1/payments", coffee)
	id = fmt.Sprint(asked["id"])
	if out, err := phone.Cancel(ctx, id); err != nil || out.Outcome != "cancelled" {
		t.Fatalf("cancelling: %+v, %v", out, err)
	}
	if _, decided = aoi.ask(t, "GET", "/v1/payments/"+id+"?wait=60s", ""); decided["status"] != "cancelled" || decided["response_code"] != "17" {
		t.Fatalf("the shop hears %v", decided)
	}
}

// Wrong passwords count on when the gateway is killed: the lock is the book's. The
// operator opens it.
func TestP_LockedAcrossAKill(t *testing.T) {
	g := startLive(t)
	ctx := t.Context()
	const customer = "1234567890"
	ask := func() (*sim.Phone, *sim.PhoneSale) {
		t.Helper()
		aoi := shop{"http://" + g.HTTP, "sk_test_aoi"}
		phone, err := sim.NewPhone(aoi.base, customer, nil)
		if err == nil {
			err = phone.SignIn(ctx, samplePasswords[customer])
		}
		if err != nil {
			t.Fatal(err)
		}
		waiting, err := phone.Sales(ctx)
		if err == nil && len(waiting) == 0 {
			if status, answer := aoi.ask(t, "POST", "/v1/payments", coffee); status != 202 {
				t.Fatalf("%d %v", status, answer)
			}
			waiting, err = phone.Sales(ctx)
		}
		if err != nil || len(waiting) != 1 {
			t.Fatalf("%+v, %v", waiting, err)
		}
		return phone, &waiting[0]
	}
	expect := func(phone *sim.Phone, s *sim.PhoneSale, password string, want ...string) {
		t.Helper()
		for _, word := range want {
			if out, err := phone.Approve(ctx, s, password); err != nil || out.Outcome != word {
				t.Fatalf("%+v, %v; want %s", out, err, word)
			}
		}
	}
	phone, s := ask()
	expect(phone, s, "another", "wrong", "wrong", "cancelled")
	phone, s = ask()
	expect(phone, s, "another", "wrong")
	if err := g.kill(); err != nil {
		t.Fatal(err)
	}
	g.start(t)
	again, now := ask()
	if now.Sale.ID != s.Sale.ID || now.TriesLeft != 2 || now.Digest != s.Digest || now.Number != s.Number {
		t.Fatalf("after the restart: %+v, before %+v", now, s)
	}
	expect(again, now, "another", "wrong")
	expect(again, now, samplePasswords[customer], "locked")
	if out, err := exec.Command("kessai", "customer", "unlock", "--data", g.data, customer).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	expect(again, now, samplePasswords[customer], "approved")
	if said := g.said(); strings.Contains(said, samplePasswords[customer]) || strings.Contains(said, s.Digest) {
		t.Errorf("the log has what it must not:\n%s", said)
	}
}
