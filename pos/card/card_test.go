package card_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"kessai"
	"kessai/pos/card"
)

func pan(t testing.TB, s string) kessai.PAN {
	t.Helper()
	p, err := kessai.ParsePAN(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTrack2(t *testing.T) {
	const visa = "4242424242424242"
	for _, c := range []struct {
		why, data string // beginning with 0x: in nibbles
		pan       string // empty: refused
		expiry    uint16
	}{
		{"as it is", visa + "=31122010000000000", visa, 3112},
		{"with sentinels", ";" + visa + "=31122010000000000?", visa, 3112},
		{"with sentinels and their check character", ";" + visa + "=31122010000000000?7", visa, 3112},
		{"with a check character that is a sentinel", ";" + visa + "=31122010000000000??", visa, 3112},
		{"without service code", visa + "=3112=", visa, 3112},
		{"shortest", "400000000002=0001=", "400000000002", 1},
		{"longest", "6304000000000000000=31122011234567890", "6304000000000000000", 3112},
		{"in nibbles", "0x4242424242424242d3112201000000000f", visa, 3112},
		{"in nibbles, 14 digits, none left over", "0x30569309025904d311220100000000", "30569309025904", 3112},
		{"in nibbles, 15 digits", "0x378282246310005d3112201000000000", "378282246310005", 3112},
		{"in nibbles without service code", "0x4242424242424242d3112d", visa, 3112},

		{"nothing", "", "", 0},
		{"start sentinel without end", ";" + visa + "=31122010000000000", "", 0},
		{"end sentinel without start", visa + "=31122010000000000?", "", 0},
		{"two check characters", ";" + visa + "=31122010000000000?77", "", 0},
		{"sentinels alone", ";?", "", 0},
		{"a start sentinel alone", ";", "", 0},
		{"wrong check digit", "4242424242424241=3112201", "", 0},
		{"eleven digits", "40000000000=3112201", "", 0},
		{"twenty digits", "63040000000000000000=3112201", "", 0},
		{"no separator", visa + "3112201", "", 0},
		{"no month", visa + "==201", "", 0},
		{"month 0", visa + "=3100201", "", 0},
		{"month 13", visa + "=3113201", "", 0},
		{"month cut off", visa + "=311", "", 0},
		{"service code cut off", visa + "=311220", "", 0},
		{"no service code, nothing in its place", visa + "=3112", "", 0},
		{"letters behind", visa + "=3112201A", "", 0},
		{"a separator too many", visa + "=3112201=", "", 0},
		{"one character too many", "6304000000000000000=311220112345678901", "", 0},
		{"track 1", "B" + visa + "^SUZUKI/I^3112201", "", 0},
		{"a space", visa + " =3112201", "", 0},
		{"fill within", "0x4242424242424242d3112f201000000f", "", 0},
		{"fill twice", "0x4242424242424242d3112201ff", "", 0},
		{"a nibble that is none", "0x4242424242424242d3112a0100", "", 0},
	} {
		data := []byte(c.data)
		if h, ok := strings.CutPrefix(c.data, "0x"); ok {
			data = unhex(t, h)
		}
		before := bytes.Clone(data)
		got, err := card.ParseTrack2(data)
		if !bytes.Equal(data, before) {
			t.Errorf("%s: the data was changed", c.why)
		}
		if c.pan == "" {
			if err != card.ErrCard || got != (card.Card{}) {
				t.Errorf("%s: %v, want it refused", c.why, err)
			}
			continue
		}
		if err != nil || got.PAN != pan(t, c.pan) || got.Expiry != c.expiry || got.EMV != nil {
			t.Errorf("%s: expiry %d, %v", c.why, got.Expiry, err)
		}
	}
}

// chip is a whole chip's data, tag by tag.
var chip = map[string]string{
	"5a": "4111111111111111", "5f24": "311231", "5f34": "01", "9f26": "1122334455667788", "9f27": "80", "9f10": "06010a03a0a800", "9f36": "0042",
	"9f37": "01020304", "82": "1980", "95": "0000008000", "9a": "261122", "9c": "00", "9f02": "000000001280", "9f03": "000000000000", "5f2a": "0392", "9f1a": "0392",
}

var order = []string{"5a", "57", "5f24", "5f34", "9f26", "9f27", "9f10", "9f36", "9f37", "82", "95", "9a", "9c", "9f02", "9f03", "5f2a", "9f1a"}

// tlv writes the chip's data with some tags changed; an empty value takes one out.
func tlv(t testing.TB, changed map[string]string) (b []byte) {
	t.Helper()
	for _, tag := range order {
		v, ok := changed[tag]
		if !ok {
			v = chip[tag]
		}
		if v != "" {
			value := unhex(t, v)
			b = append(append(append(b, unhex(t, tag)...), byte(len(value))), value...)
		}
	}
	return b
}

func TestEMV(t *testing.T) {
	want := card.EMV{
		Cryptogram: [8]byte{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}, Information: 0x80, IssuerData: unhex(t, "06010a03a0a800"), Counter: 0x42,
		Unpredictable: [4]byte{1, 2, 3, 4}, Profile: [2]byte{0x19, 0x80}, Results: [5]byte{0, 0, 0, 0x80, 0}, Date: [3]byte{0x26, 0x11, 0x22},
		Amount: 1280, Currency: kessai.JPY, Country: 392,
	}
	for why, changed := range map[string]map[string]string{
		"as it is":                    {},
		"by track 2":                  {"5a": "", "5f24": "", "57": "4111111111111111d3112201000000000f"},
		"by both":                     {"57": "4111111111111111d3112201000000000f"},
		"with fill":                   {"5a": "4111111111111111ff"},
		"last of February":            {"9a": "240229"},
		"no number in sequence":       {"5f34": ""},
		"no cash":                     {"9f03": ""},
		"no issuer's data":            {"9f10": ""},
		"month by track 2, no 5f24":   {"57": "4111111111111111d3112201000000000f", "5f24": ""},
		"5f24 in the middle of month": {"5f24": "311215"},
	} {
		got, err := card.ParseEMV(tlv(t, changed))
		if err != nil || got.EMV == nil || got.PAN != pan(t, "4111111111111111") || got.Expiry != 3112 {
			t.Errorf("%s: %v", why, err)
			continue
		}
		if why == "as it is" && (got.Sequence != 1 || asText(got.EMV) != asText(&want)) {
			t.Errorf("got %s, want %s", asText(got.EMV), asText(&want))
		}
	}
	for why, changed := range map[string]map[string]string{
		"no number at all":      {"5a": ""},
		"two numbers":           {"57": "4242424242424242d3112201000000000f"},
		"two months":            {"57": "4111111111111111d3111201000000000f"},
		"no month":              {"5f24": ""},
		"wrong check digit":     {"5a": "4111111111111112"},
		"letters in the number": {"5a": "41111111111111a1"},
		"fill in the number":    {"5a": "411111f111111111"},
		"no day":                {"5f24": "310231"},
		"sequence in letters":   {"5f34": "0a"},
		"amount in letters":     {"9f02": "00000000128a"},
		"amount cut off":        {"9f02": "0000001280"},
		"amount too long":       {"9f02": "00000000001280"},
		"no cryptogram":         {"9f26": ""},
		"cryptogram cut off":    {"9f26": "11223344556677"},
		"no amount":             {"9f02": ""},
		"no currency":           {"5f2a": ""},
		"currency of 4 digits":  {"5f2a": "1392"},
		"country of 4 digits":   {"9f1a": "1392"},
		"no unpredictable":      {"9f37": ""},
		"type in letters":       {"9c": "0a"},
		"day that is none":      {"9a": "261131"},
		"issuer's data too long": {
			"9f10": strings.Repeat("00", 33)},
	} {
		if got, err := card.ParseEMV(tlv(t, changed)); err != card.ErrCard || got.EMV != nil || !got.PAN.IsZero() {
			t.Errorf("%s: %v, want it refused", why, err)
		}
	}
}

// asText writes what an EMV holds. It cannot be printed as it is.
func asText(e *card.EMV) string {
	type plain card.EMV
	return fmt.Sprintf("%+v", plain(*e))
}

func TestEMVObjects(t *testing.T) {
	whole := tlv(t, nil)
	for why, more := range map[string]string{
		"a tag of one byte":             "50 04 56495341",
		"a tag of two bytes":            "9f12 04 56495341",
		"a tag of three bytes":          "df8101 01 00",
		"an unknown tag twice":          "50 01 00 50 01 00",
		"nothing in an unknown tag":     "50 00",
		"a length of two bytes":         "50 81 80 " + strings.Repeat("00", 128),
		"a length of three bytes":       "50 82 0100 " + strings.Repeat("00", 256),
		"an unknown constructed object": "77 02 5a00",
	} {
		for _, b := range [][]byte{append(bytes.Clone(whole), unhex(t, more)...), append(unhex(t, more), whole...)} {
			if _, err := card.ParseEMV(b); err != nil {
				t.Errorf("%s: %v", why, err)
			}
		}
	}
	for why, more := range map[string]string{
		"a tag that is known, twice": "9c 01 00",
		"filled up with 00":          "00",
		"a tag of four bytes":        "df818101 01 00",
		"a tag cut off":              "9f",
		"no length":                  "50",
		"a value cut off":            "50 02 00",
		"a length cut off":           "50 81",
		"a length not the shortest":  "50 81 01 00",
		"a long length not shortest": "50 82 0001 00",
		"a length of four bytes":     "50 83 000001 00",
		"a length without end":       "50 80 00 0000",
	} {
		if _, err := card.ParseEMV(append(bytes.Clone(whole), unhex(t, more)...)); err != card.ErrCard {
			t.Errorf("%s: %v, want it refused", why, err)
		}
	}
	for n := range whole {
		if _, err := card.ParseEMV(whole[:n]); err != card.ErrCard {
			t.Errorf("the first %d bytes: %v, want them refused", n, err)
		}
	}
}

func TestEncoders(t *testing.T) {
	for _, number := range []string{"400000000002", "30569309025904", "4242424242424242", "6304000000000000000"} {
		b, err := card.AppendTrack2([]byte("x"), pan(t, number), 3112, "201", "12345")
		if err != nil || string(b) != "x"+number+"=311220112345" {
			t.Errorf("%d digits: %v", len(number), err)
		}
		c := card.Card{PAN: pan(t, number), Expiry: 3112, Sequence: 7, EMV: &card.EMV{Amount: kessai.MaxAmount, Currency: kessai.EUR, Country: 276,
			Date: [3]byte{0x26, 0x11, 0x22}, IssuerData: []byte{1}}}
		b, err = card.AppendEMV(nil, &c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := card.ParseEMV(b)
		if err != nil || got.PAN != c.PAN || got.Expiry != c.Expiry || got.Sequence != c.Sequence || asText(got.EMV) != asText(c.EMV) {
			t.Errorf("%d digits: %v, the chip's data is another", len(number), err)
		}
	}
	for why, f := range map[string]func() ([]byte, error){
		"no number":      func() ([]byte, error) { return card.AppendTrack2(nil, kessai.PAN{}, 3112, "201", "") },
		"no month":       func() ([]byte, error) { return card.AppendTrack2(nil, pan(t, "400000000002"), 0, "201", "") },
		"five digits":    func() ([]byte, error) { return card.AppendTrack2(nil, pan(t, "400000000002"), 12345, "", "") },
		"two for a code": func() ([]byte, error) { return card.AppendTrack2(nil, pan(t, "400000000002"), 3112, "20", "") },
		"letters":        func() ([]byte, error) { return card.AppendTrack2(nil, pan(t, "400000000002"), 3112, "201", "x") },
		"no chip": func() ([]byte, error) {
			return card.AppendEMV(nil, &card.Card{PAN: pan(t, "400000000002"), Expiry: 3112})
		},
		"a negative amount": func() ([]byte, error) {
			return card.AppendEMV(nil, &card.Card{PAN: pan(t, "400000000002"), Expiry: 3112, EMV: &card.EMV{Amount: -1, Date: [3]byte{0x26, 1, 1}}})
		},
	} {
		if b, err := f(); err != card.ErrCard || len(b) != 0 {
			t.Errorf("%s: %v, want it refused", why, err)
		}
	}
}

// TestNothingPrints: however a card or a PIN is printed, there is nothing of it.
func TestNothingPrints(t *testing.T) {
	c, err := card.ParseEMV(tlv(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	block, err := card.PINBlock([16]byte{1}, c.PAN, "83719", [8]byte{})
	if err != nil {
		t.Fatal(err)
	}
	pin, err := card.OpenPINBlock([16]byte{1}, c.PAN, block)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{c, &c, c.EMV, *c.EMV, pin, &pin} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("seen", "it", v)
		if b, err := json.Marshal(v); err != nil {
			t.Error(err)
		} else {
			out.Write(b)
		}
	}
	fmt.Fprint(&out, struct{ C card.Card }{c}, []card.PIN{pin})
	for _, secret := range []string{"4111", "1111", "3112", "83719", "1122334455667788", "[8]byte", "0x11", "56 51 55", "1280"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("what was printed has %q", secret)
		}
	}
	if pin.Wipe(); len(pin.Digits()) != 0 || pin != (card.PIN{}) {
		t.Error("the PIN is still there")
	}
}

func TestPINBlock(t *testing.T) {
	key, number := [16]byte{1, 2, 3}, pan(t, "4242424242424242")
	for n := card.MinPIN; n <= card.MaxPIN; n++ {
		want := "987654321098"[:n]
		a, err := card.PINBlock(key, number, kessai.Secret(want), [8]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := card.PINBlock(key, number, kessai.Secret(want), [8]byte{2})
		if a == b {
			t.Error("two blocks of one PIN are the same")
		}
		for _, block := range [][16]byte{a, b} {
			if pin, err := card.OpenPINBlock(key, number, block); err != nil || string(pin.Digits()) != want {
				t.Errorf("%d digits: %v", n, err)
			}
		}
		if pin, err := card.OpenPINBlock([16]byte{1, 2, 4}, number, a); err != card.ErrPIN || len(pin.Digits()) != 0 {
			t.Errorf("%d digits: opened with another key", n)
		}
		if pin, err := card.OpenPINBlock(key, pan(t, "4111111111111111"), a); err == nil && string(pin.Digits()) == want {
			t.Errorf("%d digits: opened for another card", n)
		}
	}
	for _, bad := range []kessai.Secret{"", "123", "1234567890123", "12a4", "12 4", "１２３４"} {
		if _, err := card.PINBlock(key, number, bad, [8]byte{}); err != card.ErrPIN {
			t.Errorf("%d bytes: %v, want it refused", len(bad), err)
		}
	}
	if _, err := card.PINBlock(key, kessai.PAN{}, "1234", [8]byte{}); err != card.ErrPIN {
		t.Errorf("no card: %v, want it refused", err)
	}
	if _, err := card.OpenPINBlock(key, kessai.PAN{}, [16]byte{}); err != card.ErrPIN {
		t.Errorf("no card: %v, want it refused", err)
	}
}

func FuzzParseTrack2(f *testing.F) {
	f.Add([]byte(";4242424242424242=31122010000000000?"))
	f.Add([]byte("400000000002=0001="))
	f.Add([]byte{0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0xd3, 0x11, 0x22, 0x01, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := card.ParseTrack2(b)
		if err != nil {
			if !errors.Is(err, card.ErrCard) || c != (card.Card{}) {
				t.Fatal("an error that says something, or a card beside it")
			}
			return
		}
		if _, err := card.AppendTrack2(nil, c.PAN, c.Expiry, "", ""); err != nil {
			t.Fatal("a card that cannot be written")
		}
	})
}

func FuzzParseEMV(f *testing.F) {
	f.Add(tlv(f, nil))
	f.Add(tlv(f, map[string]string{"5a": "", "5f24": "", "57": "4111111111111111d3112201000000000f"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := card.ParseEMV(b)
		if err != nil {
			return
		}
		again, err := card.AppendEMV(nil, &c)
		if err != nil {
			t.Fatal("a card that cannot be written")
		}
		back, err := card.ParseEMV(again)
		if err != nil || back.PAN != c.PAN || back.Expiry != c.Expiry || back.Sequence != c.Sequence || asText(back.EMV) != asText(c.EMV) {
			t.Fatal("read and written again it is another")
		}
	})
}

func FuzzOpenPINBlock(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), []byte("0123456789abcdef"), "4242424242424242")
	f.Fuzz(func(t *testing.T, key, block []byte, number string) {
		p, err := kessai.ParsePAN(number)
		if err != nil || len(key) != 16 || len(block) != 16 {
			return
		}
		pin, err := card.OpenPINBlock([16]byte(key), p, [16]byte(block))
		if ok := card.ValidPIN(pin.Digits()); ok != (err == nil) {
			t.Fatal("a PIN that is none, or none where there is no error")
		}
	})
}
