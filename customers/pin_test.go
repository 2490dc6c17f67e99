package customers_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"kessai"
	"kessai/customers"
)

func pinKey(t testing.TB, fill byte) *customers.PINKey {
	t.Helper()
	k, err := customers.NewPINKey(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A verifier fits its medium, its PIN and its key, and nothing else.
func TestR13_VerifiersFitOnePIN(t *testing.T) {
	k, id, pin := pinKey(t, 7), kessai.MediumID{1, 2, 3}, []byte("0042")
	v := k.Verifier(id, pin)
	key, err := hkdf.Key(sha256.New, bytes.Repeat([]byte{7}, 32), nil, "kessai card pin", 32)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(append(id[:], pin...))
	if !bytes.Equal(v[:], mac.Sum(nil)[:16]) {
		t.Error("the verifier is not as it is documented")
	}
	if !k.Check(v, id, pin) || k.Check(v, kessai.MediumID{1, 2, 4}, pin) || pinKey(t, 8).Check(v, id, pin) {
		t.Error("the verifier fits another medium or key, or not its own")
	}
	for n := range 10_000 {
		if other := fmt.Sprintf("%04d", n); k.Check(v, id, []byte(other)) != (other == "0042") {
			t.Errorf("PIN %s", other)
		}
	}
	for _, other := range []string{"", "004", "00420", "0042\x00", "42"} {
		if k.Check(v, id, []byte(other)) {
			t.Errorf("%q fits", other)
		}
	}
	if k.Check(customers.PINVerifier{}, id, pin) {
		t.Error("a PIN fits where there is none")
	}
	if _, err := customers.NewPINKey(make([]byte, 31)); err == nil {
		t.Error("a key of 31 bytes is taken")
	}
}

func TestCheckPIN(t *testing.T) {
	for pin, want := range map[string]bool{
		"1234": true, "000000000000": true, "": false, "123": false, "1234567890123": false, "12 4": false, "12a4": false, "-123": false,
	} {
		if (customers.CheckPIN(pin) == nil) != want || (customers.CheckPIN([]byte(pin)) == nil) != want {
			t.Errorf("%q: %v", pin, customers.CheckPIN(pin))
		}
	}
}

// However it is printed, verifier and key show as ****.
func TestPINVerifiersCannotBePrinted(t *testing.T) {
	k := pinKey(t, 7)
	m := customers.Medium{PIN: k.Verifier(kessai.MediumID{1}, []byte("1234"))}
	var b bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&b, nil))
	log.Info("x", "pin", m.PIN, "key", k, "keys", *k, "medium", m)
	js, err := json.Marshal(map[string]any{"m": m, "k": k, "v": *k})
	fmt.Fprintf(&b, "%v %+v %#v %x %s %d %v %x %+v %s", m, m, m, m.PIN, m.PIN, m.PIN, k, *k, *k, js)
	if err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, secret := range [][]byte{m.PIN[:], m.PIN[:4]} {
		for _, form := range []string{fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint(secret), "[]"), string(secret), strings.ReplaceAll(strings.Trim(fmt.Sprint(secret), "[]"), " ", ",")} {
			if strings.Contains(text, form) {
				t.Errorf("printed: %s", text)
			}
		}
	}
	if !strings.Contains(text, "****") {
		t.Errorf("nothing is masked: %s", text)
	}
	if fmt.Sprint(customers.PINVerifier{}) != "" {
		t.Error("that there is no PIN shows as one")
	}
}
