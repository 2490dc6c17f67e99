package reader

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestRun: every way opens what it sealed, and the result can be printed, written and
// bounded. A key of RSA-2048 alone takes hundreds of times what a whole payment takes.
func TestRun(t *testing.T) {
	r, err := Run(t.Context(), Options{Rounds: 1, Slot: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range order {
		if m := r.Ways[name]; m == nil || m.Payments == 0 || m.Sales <= 0 || m.IssueOpen < m.Sales {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if r.Ratios["p256"] < 5 {
		t.Errorf("HPKE with P-256 does %.1f times as many payments as RSA-2048; something is wrong with one of them", r.Ratios["p256"])
	}
	var table, text bytes.Buffer
	if err := r.WriteTable(&table); err != nil || strings.Count(table.String(), "\n") != 3+len(order) {
		t.Errorf("%v\n%s", err, table.Bytes())
	}
	var back Result
	if _, err := r.WriteTo(&text); err != nil || json.Unmarshal(text.Bytes(), &back) != nil || back.Ways["p256"].Sales != r.Ways["p256"].Sales {
		t.Errorf("%v\n%s", err, text.Bytes())
	}
	for text, want := range map[string]string{
		"p256.payments_per_s>=1":               "",
		"ratios.p256 >= 1":                     "",
		"rsa2048.issue_open_per_s<=1000000":    "",
		"p256.issue_open_per_s>=1000000000000": "it was",
	} {
		b, err := ParseBound(text)
		if err != nil {
			t.Error(err)
		} else if got := b.Check(r); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q", text, got)
		}
	}
	for _, text := range []string{"", "p256>=1", "p99<1ms", "p256.payments_per_s>=", "p256.payments_per_s>=NaN", "p256.payments_per_s=1"} {
		if _, err := ParseBound(text); err == nil {
			t.Errorf("%q is taken for a bound", text)
		}
	}
}

// TestRSAComparesWhatItDecrypted: the way beside which ours is measured does refuse.
func TestRSAComparesWhatItDecrypted(t *testing.T) {
	p := new(rsaPayment)
	if err := p.issue(); err != nil {
		t.Fatal(err)
	}
	_ = p.seal()
	if err := p.card(); err != nil {
		t.Error(err)
	}
	p.cardSealed.Add(p.cardSealed, p.key.N) // decrypts to the same
	if err := p.card(); err != errContent {
		t.Errorf("a changed card: %v, want it refused", err)
	}
}
