package phones

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"kessai"
)

func TestCodes(t *testing.T) {
	k, err := NewKeys(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := NewKeys(bytes.Repeat([]byte{8}, 32))
	numbers := make(map[string]bool)
	for _, id := range []kessai.TxID{1, 42, 43, 999_999_999_999} {
		claim, receipt := k.ClaimCode(id), k.ReceiptCode(id)
		if len(claim) != 24 || strings.ContainsAny(claim, "ILOU") {
			t.Errorf("claim code %q", claim)
		}
		if got, ok := k.ParseClaim(strings.ToLower(claim)); got != id || !ok {
			t.Errorf("claim %q is read as %v, %v", claim, got, ok)
		}
		if got, ok := k.ParseReceipt(receipt); got != id || !ok {
			t.Errorf("receipt %q is read as %v, %v", receipt, got, ok)
		}
		if _, ok := other.ParseClaim(claim); ok {
			t.Error("another gateway's claim is taken")
		}
		if _, ok := other.ParseReceipt(receipt); ok {
			t.Error("another gateway's receipt is taken")
		}
		// No other character will do at any place.
		for i := range claim {
			for _, c := range "0123456789ABCDEFGHJKMNPQRSTVWXYZ\n =-" {
				if s := claim[:i] + string(c) + claim[i+1:]; s != claim {
					if _, ok := k.ParseClaim(s); ok {
						t.Fatalf("%q is taken for %q", s, claim)
					}
				}
			}
		}
		for i := range receipt {
			for _, c := range "0123456789ABCDEFGHJKMNPQRSTVWXYZ\n =-" {
				if s := receipt[:i] + string(c) + receipt[i+1:]; s != receipt {
					if _, ok := k.ParseReceipt(s); ok {
						t.Fatalf("%q is taken for %q", s, receipt)
					}
				}
			}
		}
	}
	for _, bad := range []string{"", "x", strings.Repeat("0", 24), strings.Repeat("Z", 24), strings.Repeat("0", 25), "000000000042", "000000000042-"} {
		if _, ok := k.ParseClaim(bad); ok {
			t.Errorf("claim %q is taken", bad)
		}
		if _, ok := k.ParseReceipt(bad); ok {
			t.Errorf("receipt %q is taken", bad)
		}
	}
	for id := kessai.TxID(1); id < 2000; id++ {
		n := k.Number(id)
		if len(n) != 2 || n < "10" || n > "99" {
			t.Fatalf("number %q", n)
		}
		numbers[n] = true
	}
	if len(numbers) != 90 {
		t.Errorf("%d different numbers", len(numbers))
	}
	if _, err := NewKeys(make([]byte, 31)); err == nil {
		t.Error("a short key is taken")
	}
}

func TestSealing(t *testing.T) {
	k, _ := NewKeys(bytes.Repeat([]byte{7}, 32))
	secret := []byte("stored key and proof")
	sealed := k.seal(42, secret)
	if got, err := k.open(42, sealed); err != nil || !bytes.Equal(got, secret) {
		t.Fatal(got, err)
	}
	if bytes.Equal(sealed, k.seal(42, secret)) {
		t.Error("the same twice")
	}
	if _, err := k.open(43, sealed); !errors.Is(err, errSealed) {
		t.Error("opened for another payment")
	}
	for bit := range 8 * len(sealed) {
		if _, err := k.open(42, flipped(sealed, bit)); err == nil {
			t.Fatalf("bit %d makes no difference", bit)
		}
	}
	if _, err := k.open(42, sealed[:5]); !errors.Is(err, errSealed) {
		t.Error(err)
	}
}
