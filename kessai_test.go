package kessai_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"kessai"
)

func TestIDs(t *testing.T) {
	merchant, err := kessai.ParseMerchantID("AOI000000000001")
	if err != nil || merchant.String() != "AOI000000000001" || merchant.IsZero() {
		t.Errorf("merchant: %q, %v", merchant, err)
	}
	padded, err := kessai.ParseMerchantID("AOI 1          ")
	if plain, err2 := kessai.ParseMerchantID([]byte("AOI 1")); padded != plain || errors.Join(err, err2) != nil || plain.String() != "AOI 1" {
		t.Errorf("padding changes a merchant: %q, %q", padded, plain)
	}
	terminal, err := kessai.ParseTerminalID("AOI00001")
	if err != nil || terminal.String() != "AOI00001" || terminal.IsZero() {
		t.Errorf("terminal: %q, %v", terminal, err)
	}
	acquirer, err := kessai.ParseAcquirerID("00000123456")
	if err != nil || acquirer.String() != "00000123456" {
		t.Errorf("acquirer: %q, %v", acquirer, err)
	}
	refused := map[string]func(string) error{
		"merchant": func(s string) error { _, err := kessai.ParseMerchantID(s); return err },
		"terminal": func(s string) error { _, err := kessai.ParseTerminalID(s); return err },
		"acquirer": func(s string) error { _, err := kessai.ParseAcquirerID(s); return err },
	}
	for what, parse := range refused {
		for _, bad := range []string{"", " ", "        ", " A", "A\x00", "A\n", "A\x7f", "Ä", strings.Repeat("1", 16)} {
			if err := parse(bad); !errors.Is(err, kessai.ErrID) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s %q: %v", what, bad, err)
			}
		}
	}
	if refused["terminal"]("AOI000001") == nil || refused["acquirer"]("123456789012") == nil || refused["acquirer"]("12A") == nil {
		t.Error("an ID that is too long, or has letters for digits, is taken")
	}
}

func TestTxIDRoundTrip(t *testing.T) {
	for _, id := range []kessai.TxID{1, 42, 999_999, 1_000_000, 999_999_999_999} {
		for _, text := range []string{id.String(), id.RRN()} {
			if got, ok := kessai.ParseTxID(text); !ok || got != id {
				t.Errorf("ParseTxID(%q) = %d, %v; want %d", text, got, ok, id)
			}
		}
	}
	if got := kessai.TxID(42).String(); got != "pay_000000000042" {
		t.Errorf("42 is written %q", got)
	}
	for _, bad := range []string{"", "0", "42", "000000000000", "pay_000000000000", "pay_42", "Pay_000000000042", "pay_pay_00000042", "0000000000042", "00000000004x", "-00000000042"} {
		if got, ok := kessai.ParseTxID(bad); ok {
			t.Errorf("ParseTxID(%q) = %d", bad, got)
		}
	}
}

// Two transactions have the same approval code only if they are a million apart.
func TestApprovalCodeIsAPermutation(t *testing.T) {
	var seen [1_000_000]bool
	for id := range kessai.TxID(1_000_000) {
		code := id.ApprovalCode()
		n, ok := kessai.ParseSTAN(code)
		if !ok || len(code) != 6 {
			t.Fatalf("the code of %d is %q", id, code)
		}
		if seen[n] {
			t.Fatalf("%d has the code %s of an earlier one", id, code)
		}
		seen[n] = true
	}
	if a, b := kessai.TxID(7).ApprovalCode(), kessai.TxID(1_000_007).ApprovalCode(); a != b {
		t.Errorf("codes %s and %s a million apart", a, b)
	}
}

func TestSTAN(t *testing.T) {
	for text, want := range map[string]kessai.STAN{"0": 0, "000123": 123, "999999": 999999} {
		if got, ok := kessai.ParseSTAN(text); !ok || got != want || got.String() != fmt.Sprintf("%06d", want) {
			t.Errorf("ParseSTAN(%q) = %d, %v", text, got, ok)
		}
	}
	for _, bad := range []string{"", "0000001", "12a", "-1", " 1"} {
		if got, ok := kessai.ParseSTAN(bad); ok {
			t.Errorf("ParseSTAN(%q) = %d", bad, got)
		}
	}
}

func TestKinds(t *testing.T) {
	all := kessai.Kinds()
	if len(all) != 20 || all[0] != kessai.Purchase || all[19] != kessai.Unlock || kessai.KindSetOf(all...) != kessai.AllKinds {
		t.Errorf("kinds: %v", all)
	}
	for i, k := range all {
		if uint8(k) != uint8(i+1) {
			t.Errorf("%v has number %d: numbers are in the book and must not move", k, k)
		}
		if got, ok := kessai.ParseKind(k.String()); !ok || got != k {
			t.Errorf("ParseKind(%q) = %v, %v", k, got, ok)
		}
		one := kessai.KindSetOf(k)
		for _, other := range all {
			if one.Has(other) != (k == other) {
				t.Errorf("the set of %v has %v: %v", k, other, one.Has(other))
			}
		}
	}
	for _, bad := range []string{"", "none", "Purchase", "kind(21)"} {
		if k, ok := kessai.ParseKind(bad); ok {
			t.Errorf("ParseKind(%q) = %v", bad, k)
		}
	}
	if kessai.AllKinds.Has(kessai.KindNone) || kessai.Kind(200).String() != "kind(200)" {
		t.Error("no kind is a kind")
	}
	for _, k := range all {
		want := k == kessai.Increment || k == kessai.Completion || k == kessai.Release || k == kessai.Reversal
		if k.FollowsUp() != want {
			t.Errorf("%v follows up: %v", k, k.FollowsUp())
		}
	}
}

func TestResponseCodes(t *testing.T) {
	var texts []string
	approvals := ""
	for _, c := range kessai.ResponseCodes() {
		texts = append(texts, c.String())
		if c.Text() == "" {
			t.Errorf("%s has no text", c)
		}
		if c.IsApproval() {
			approvals += c.String() + " "
		}
	}
	want := "00 03 04 05 09 10 12 13 14 17 25 30 41 43 51 54 55 57 58 61 63 65 68 75 85 94 96"
	if got := strings.Join(texts, " "); got != want || approvals != "00 10 85 " {
		t.Errorf("codes %s, approvals %s", got, approvals)
	}
}

func FuzzParseTxID(f *testing.F) {
	for _, s := range []string{"pay_000000000042", "000000000042", "", "pay_", "999999999999", "pay_00000000004é", "0000000000000042"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := kessai.ParseTxID(s)
		if ok != (id != 0) {
			t.Fatalf("%d, %v", id, ok)
		}
		if ok && s != id.String() && s != id.RRN() {
			t.Fatalf("%q is read as %d, which is written %s", s, id, id)
		}
	})
}
