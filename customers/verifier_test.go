package customers_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"kessai/customers"
)

// The verifier of RFC 7677's example: user "user", password "pencil". PostgreSQL
// writes the same for that salt.
const pencil = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

// derived is the verifier of a password, as SCRAM-SHA-256 says.
func derived(t testing.TB, password string, salt []byte, iterations int) customers.Verifier {
	t.Helper()
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	v, err := customers.NewVerifier(iterations, salt, sha256.Sum256(mac("Client Key")), [32]byte(mac("Server Key")))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifierOfTheStandard(t *testing.T) {
	v, err := customers.ParseVerifier(pencil)
	if err != nil {
		t.Fatal(err)
	}
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	if !v.Equal(derived(t, "pencil", salt, 4096)) || v.Equal(derived(t, "pencils", salt, 4096)) {
		t.Error("it is not that of the password")
	}
	if v.Reveal() != pencil || v.Iterations() != 4096 || !bytes.Equal(v.Salt(), salt) || v.IsZero() {
		t.Error("its parts are not those that were read")
	}
}

func TestBadVerifiers(t *testing.T) {
	part := strings.NewReplacer
	for name, text := range map[string]string{
		"empty":               "",
		"a password":          "pencil",
		"another scheme":      part("256", "1").Replace(pencil),
		"small letters":       strings.ToLower(pencil),
		"too few iterations":  part("4096", "4095").Replace(pencil),
		"too many":            part("4096", "10000001").Replace(pencil),
		"overflowing":         part("4096", "4294971392").Replace(pencil),
		"leading zero":        part("4096", "04096").Replace(pencil),
		"sign":                part("4096", "+4096").Replace(pencil),
		"no salt":             part("W22ZaJ0SNY7soEsUEjb6gQ==", "").Replace(pencil),
		"short salt":          part("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaA==").Replace(pencil),
		"long salt":           part("W22ZaJ0SNY7soEsUEjb6gQ==", base64.StdEncoding.EncodeToString(make([]byte, 33))).Replace(pencil),
		"padding":             part("gQ==", "gQ").Replace(pencil),
		"other bits":          part("gQ==", "gR==").Replace(pencil), // decodes to the same
		"line break":          part("gQ==", "gQ\n==").Replace(pencil),
		"URL's alphabet":      part("sT4qY", "sT_qY").Replace(pencil),
		"short stored key":    part("WG5d8oPm", "WG5d").Replace(pencil),
		"long server key":     pencil[:len(pencil)-1] + "AAA=",
		"one key":             pencil[:strings.LastIndex(pencil, ":")],
		"something behind it": pencil + "\n",
		"something before it": " " + pencil,
		"three keys":          pencil + ":" + pencil[len(pencil)-44:],
	} {
		v, err := customers.ParseVerifier(text)
		if !errors.Is(err, customers.ErrVerifier) || !v.IsZero() || err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := customers.NewVerifier(0, make([]byte, 16), [32]byte{}, [32]byte{}); err == nil {
		t.Error("no iterations are taken")
	}
}

// However it is printed, nothing of it is to be seen.
func TestVerifierDoesNotPrint(t *testing.T) {
	v, err := customers.ParseVerifier(pencil)
	if err != nil {
		t.Fatal(err)
	}
	c := suzuki
	c.Verifier = v
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("set", "verifier", v, "customer", c)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("set", "verifier", v, "customer", c)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", v, c, &c)
	}
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	stored, server := v.StoredKey(), v.ServerKey()
	for name, secret := range map[string]string{
		"salt": "W22ZaJ0S", "stored key": "WG5d8oPm", "server key": "wfPLwcE6",
		"stored key in hex": fmt.Sprintf("%x", stored[:4]), "server key in hex": fmt.Sprintf("%x", server[:4]),
		"stored key in bytes": fmt.Sprint(stored[:3])[1:8],
	} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is printed: %s", name, out.String())
		}
	}
	if !strings.Contains(out.String(), "****") || fmt.Sprint(customers.Verifier{}) != "" {
		t.Errorf("printed: %s", out.String())
	}
}

func FuzzParseVerifier(f *testing.F) {
	f.Add(pencil)
	f.Add("SCRAM-SHA-256$:$:")
	f.Add("SCRAM-SHA-256$100000:AAAAAAAAAAA=$" + strings.Repeat("A", 43) + "=:" + strings.Repeat("B", 43) + "=")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := customers.ParseVerifier(text)
		switch {
		case err != nil && (!v.IsZero() || !errors.Is(err, customers.ErrVerifier)):
			t.Fatalf("refused with %v", err)
		case err == nil && (v.Reveal() != text || v.IsZero()):
			t.Fatal("it is written otherwise than it was read")
		}
	})
}

func TestContactFields(t *testing.T) {
	for _, s := range []string{"+493023125001", "+12025550142", "+1234567", "+123456789012345"} {
		if err := customers.ValidatePhone(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", "+", "493023125001", "00493023125001", "+0123456789", "+123456", "+1234567890123456", "+49 30 23125001", "+49-30", "+٤٩٣٠٢٣١٢٥", "+493023125001\n"} {
		if customers.ValidatePhone(s) == nil {
			t.Errorf("%q is taken for a phone number", s)
		}
	}
	for _, s := range []string{"a@b.jp", "suzuki+kessai@mail.example.com", "o'neill_1.x@ex-ample.co.jp", strings.Repeat("a", 64) + "@example.com"} {
		if err := customers.ValidateEmail(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "@", "a@", "@b.jp", "a@b", "a@b.", "a@.jp", "a@b..jp", "a@-b.jp", "a@b-.jp", ".a@b.jp", "a.@b.jp", "a..b@c.jp", "a b@c.jp",
		"a@b@c.jp", "Suzuki <a@b.jp>", "a@b.jp\r\nBcc: c@d.jp", "鈴木@example.jp", "a@例え.jp", "<script>@b.jp", `"a"@b.jp`,
		strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("b", 64) + ".jp", "a@" + strings.Repeat("b.", 50) + "jp",
	} {
		if customers.ValidateEmail(s) == nil {
			t.Errorf("%q is taken for an address", s)
		}
	}
	for _, b := range []customers.Bank{
		{}, {Code: "9999", Branch: "001", Account: "1234567"}, {Code: "DEUTDEFF", Account: "DE02120300000000202051"},
		{Code: strings.Repeat("9", 11), Branch: strings.Repeat("9", 11), Account: strings.Repeat("9", 34)},
	} {
		if err := b.Validate(); err != nil {
			t.Errorf("%+v: %v", b, err)
		}
	}
	for _, b := range []customers.Bank{
		{Code: "9999"}, {Account: "1234567"}, {Branch: "001"}, {Code: "9999", Account: "12 34"}, {Code: "99-99", Account: "1"},
		{Code: strings.Repeat("9", 12), Account: "1"}, {Code: "9", Branch: strings.Repeat("9", 12), Account: "1"},
		{Code: "9", Account: strings.Repeat("9", 35)}, {Code: "9", Account: "１２"},
	} {
		if b.Validate() == nil {
			t.Errorf("%+v is taken", b)
		}
	}
}
