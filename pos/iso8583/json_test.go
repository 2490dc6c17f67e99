package iso8583_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"kessai/pos/iso8583"
)

func TestJSONRoundTrip(t *testing.T) {
	for _, d := range iso8583.BuiltIn() {
		for mti, fields := range map[string][]field{"0200": purchase, "0400": reversal} {
			frame := encoded(t, d, message(mti, fields))
			text, err := iso8583.DecodeHex(d, hex.EncodeToString(frame), true)
			if err != nil {
				t.Fatalf("%s: %v", d.Name(), err)
			}
			again, err := iso8583.EncodeJSON(d, text)
			if err != nil || !bytes.Equal(again, frame) {
				t.Errorf("%s: %v; comes back as\n%x, want\n%x", d.Name(), err, again, frame)
			}
		}
	}
}

const maskedPurchase = `{"mti":"0200","2":"****4242","3":"000000","4":"000000000450","7":"1122033912","11":"000123",` +
	`"12":"123912","13":"1122","14":"(4 bytes)","22":"051","35":"(37 bytes)","41":"AOI00001","42":"AOI000000000001",` +
	`"49":"392","52":"(8 bytes)"}`

func TestMasked(t *testing.T) {
	m := message("0200", purchase)
	if got := string(m.AppendMasked(nil)); got != maskedPurchase {
		t.Errorf("\n got %s\nwant %s", got, maskedPurchase)
	}
	short := message("0200", []field{{2, "42424242424"}})
	if got := string(short.AppendMasked(nil)); got != `{"mti":"0200","2":"****"}` {
		t.Errorf("a short number shows as %s", got)
	}
}

// However a message is printed, it is masked.
func TestPrintedMessagesAreMasked(t *testing.T) {
	m := message("0200", purchase)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("message", "pointer", m, "value", *m)
	slog.New(slog.NewTextHandler(&log, nil)).Info("message", "pointer", m, "value", *m)
	enc, err := json.Marshal(map[string]any{"pointer": m, "value": *m})
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(enc)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(verb, m) + fmt.Sprintf(verb, *m)
	}
	for _, secret := range []string{"4242424242424242", hex.EncodeToString([]byte("4242424242424242")), "2912", "\x01\x02\x03\x04", "01020304"} {
		if strings.Contains(all, secret) {
			t.Errorf("a secret of %d characters is printed", len(secret))
		}
	}
	if !strings.Contains(all, "****4242") {
		t.Error("nothing is printed")
	}
}

func TestDecodeHex(t *testing.T) {
	d := dialect(t, iso8583.ASCII)
	frame := hex.EncodeToString(encoded(t, d, message("0200", purchase)))
	spaced := frame[:8] + " \n\t" + strings.ToUpper(frame[8:]) + "\n"
	if got, err := iso8583.DecodeHex(d, spaced, false); err != nil || string(got) != maskedPurchase {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{"0", "xx", "30 3"} {
		if got, err := iso8583.DecodeHex(d, bad, false); err == nil {
			t.Errorf("%q is read as %s", bad, got)
		}
	}
	got, err := iso8583.DecodeHex(d, frame[:len(frame)-2], false)
	wantError(t, err, 52, iso8583.Truncated)
	if want := maskedPurchase[:strings.Index(maskedPurchase, `,"52"`)] + "}"; string(got) != want {
		t.Errorf("got %s, want what could be read: %s", got, want)
	}
}

func TestEncodeJSONRefuses(t *testing.T) {
	const secret = "4242424242424242"
	for _, text := range []string{
		``, `[]`, `"mti"`, `{`, `{"mti":"0200"`, `{"mti":"0200"} x`, `{"mti":"0200"}{}`,
		`{}`, `{"mti":"200"}`, `{"mti":"02x0"}`, `{"mti":200}`, `{"MTI":"0200"}`,
		`{"mti":"0200","2":"` + secret + `","2":"` + secret + `"}`,
		`{"mti":"0200","mti":"0200"}`,
		`{"mti":"0200","2":` + secret + `}`, `{"mti":"0200","2":null}`, `{"mti":"0200","2":["` + secret + `"]}`,
		`{"mti":"0200","` + secret + `":"1"}`, `{"mti":"0200","02":"` + secret + `"}`, `{"mti":"0200","+2":"1"}`,
		`{"mti":"0200","0":"0200"}`, `{"mti":"0200","1":"00"}`, `{"mti":"0200","65":"0"}`, `{"mti":"0200","129":"0"}`,
		`{"mti":"0200","2":"` + secret + `x"}`, `{"mti":"0200","52":"` + secret + `x"}`, `{"mti":"0200","52":"01"}`,
		`{"mti":"0200","2":"` + secret, `{"mti":"0200","2":"` + "\xff" + secret + `"}`,
	} {
		for _, d := range iso8583.BuiltIn() {
			b, err := iso8583.EncodeJSON(d, []byte(text))
			if err == nil {
				t.Errorf("%s: %q is written as %x", d.Name(), text, b)
			} else if strings.Contains(err.Error(), "4242") {
				t.Errorf("%s: the error repeats what was sent", d.Name())
			}
		}
	}
}

// FuzzJSON holds the two forms against each other: what can be read and
// written must come back as it was.
func FuzzJSON(f *testing.F) {
	f.Add(uint8(0), []byte(maskedPurchase))
	for i, d := range iso8583.BuiltIn() {
		f.Add(uint8(i), d.AppendJSON(nil, message("0200", purchase)))
		f.Add(uint8(i), d.AppendJSON(nil, message("0400", reversal)))
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		all := iso8583.BuiltIn()
		d := all[int(which)%len(all)]
		frame, err := iso8583.EncodeJSON(d, text)
		if err != nil {
			return
		}
		plain, err := iso8583.DecodeHex(d, hex.EncodeToString(frame), true)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if again, err := iso8583.EncodeJSON(d, plain); err != nil || !bytes.Equal(again, frame) {
			t.Fatalf("comes back differently (%v)", err)
		}
	})
}
