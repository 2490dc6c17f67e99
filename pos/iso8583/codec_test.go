package iso8583_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kessai/pos/iso8583"

	"github.com/google/go-cmp/cmp"
)

func TestRoundTripInEveryDialect(t *testing.T) {
	for _, d := range iso8583.BuiltIn() {
		for mti, fields := range map[string][]field{"0200": purchase, "0400": reversal} {
			frame := encoded(t, d, message(mti, fields))
			var m iso8583.Message
			if err := d.Decode(&m, frame); err != nil {
				t.Fatalf("%s %s: %v", d.Name(), mti, err)
			}
			if m.MTI.String() != mti {
				t.Errorf("%s: MTI %s, want %s", d.Name(), m.MTI, mti)
			}
			var got []field
			for f := range m.Fields {
				got = append(got, field{f, string(m.Get(f))})
			}
			if diff := cmp.Diff(fields, got, cmp.AllowUnexported(field{})); diff != "" {
				t.Errorf("%s %s: %s", d.Name(), mti, diff)
			}
			if again := encoded(t, d, &m); string(again) != string(frame) {
				t.Errorf("%s %s: written differently the second time", d.Name(), mti)
			}
		}
	}
}

// The bytes of one message in each dialect, written out by hand.
func TestBytesOnTheWire(t *testing.T) {
	m := message("0800", []field{{7, "1122033912"}, {11, "000001"}, {41, "AOI00001"}, {70, "301"}})
	text := func(s string) string { return hex.EncodeToString([]byte(s)) }
	tests := map[string]string{
		iso8583.ASCII:             text("0800" + "02200000008000000400000000000000" + "1122033912" + "000001" + "AOI00001" + "301"),
		iso8583.ASCIIHexBitmap:    text("0800" + "82200000008000000400000000000000" + "1122033912" + "000001" + "AOI00001" + "301"),
		iso8583.ASCIIBinaryBitmap: text("0800") + "82200000008000000400000000000000" + text("1122033912"+"000001"+"AOI00001"+"301"),
		iso8583.BCD:               "0800" + "82200000008000000400000000000000" + "1122033912" + "000001" + text("AOI00001") + "0301",
	}
	for name, want := range tests {
		if got := hex.EncodeToString(encoded(t, dialect(t, name), m)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

// An odd number of digits is right-justified where the length is fixed, and
// left-justified where it is not. Some terminals fill with F.
func TestPackedOddLengths(t *testing.T) {
	d := dialect(t, iso8583.BCD)
	frame := encoded(t, d, message("0200", []field{{2, "378282246310005"}, {35, "378282246310005=2912"}, {22, "051"}}))
	want := "0200" + "4000040020000000" + "15" + "3782822463100050" + "0051" + "20" + "378282246310005d2912"
	if got := hex.EncodeToString(frame); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	frame, err := hex.DecodeString("0200" + "4000000020000000" + "15" + "378282246310005f" + "21" + "4242424242424242d2912f")
	if err != nil {
		t.Fatal(err)
	}
	var m iso8583.Message
	if err := d.Decode(&m, frame); err != nil || string(m.Get(2)) != "378282246310005" || string(m.Get(35)) != "4242424242424242=2912" {
		t.Errorf("packed track 2 comes back as %d characters, %v", len(m.Get(35)), err)
	}
}

func TestEmptySecondaryBitmap(t *testing.T) {
	fields := []field{{3, "000000"}, {11, "000001"}}
	for _, d := range iso8583.BuiltIn() {
		m := message("0200", fields)
		plain := encoded(t, d, m)
		m.SecondaryBitmap = true
		frame := encoded(t, d, m)
		if string(plain) == string(frame) {
			t.Errorf("%s: the first bit is not written", d.Name())
		}
		var got, reply iso8583.Message
		if err := d.Decode(&got, frame); err != nil || !got.SecondaryBitmap {
			t.Fatalf("%s: %v, secondary bitmap %t", d.Name(), err, got.SecondaryBitmap)
		}
		if !reply.ReplyTo(&got) || !reply.SecondaryBitmap || reply.MTI.String() != "0210" {
			t.Errorf("%s: reply is %s, secondary bitmap %t", d.Name(), reply.MTI, reply.SecondaryBitmap)
		}
		if err := d.Decode(&got, plain); err != nil || got.SecondaryBitmap {
			t.Errorf("%s: %v, secondary bitmap %t where there is none", d.Name(), err, got.SecondaryBitmap)
		}
	}
}

// Whoever answers 30 needs MTI, STAN and terminal of a message with a bad field.
func TestOneBadFieldLeavesTheOthers(t *testing.T) {
	for _, d := range iso8583.BuiltIn() {
		if d.Name() == iso8583.BCD {
			continue // see TestBadHalfByte
		}
		frame := encoded(t, d, message("0200", purchase))
		frame = []byte(strings.Replace(string(frame), "000000000450", "0000000004x0", 1))
		var m iso8583.Message
		err := d.Decode(&m, frame)
		wantError(t, err, 4, iso8583.BadContent)
		if m.Has(4) || m.Get(4) != nil {
			t.Errorf("%s: the bad field can be read", d.Name())
		}
		if m.MTI.String() != "0200" || string(m.Get(11)) != "000123" || string(m.Get(41)) != "AOI00001" {
			t.Errorf("%s: MTI %s, STAN %q, terminal %q", d.Name(), m.MTI, m.Get(11), m.Get(41))
		}
	}
}

func TestBadHalfByte(t *testing.T) {
	d := dialect(t, iso8583.BCD)
	frame := encoded(t, d, message("0200", purchase))
	at := strings.Index(string(frame), "\x00\x00\x00\x00\x04\x50")
	frame[at+5] = 0x5f
	var m iso8583.Message
	wantError(t, d.Decode(&m, frame), 4, iso8583.BadContent)
	if string(m.Get(11)) != "000123" || string(m.Get(41)) != "AOI00001" {
		t.Errorf("STAN %q, terminal %q", m.Get(11), m.Get(41))
	}
}

func TestRefused(t *testing.T) {
	const head = "0200" + "4000000000000000" + "0000000000000000" // DE2 in iso87-ascii
	tests := []struct {
		name, dialect, frame string
		field                int
		reason               iso8583.Reason
	}{
		{"nothing", iso8583.ASCII, "", 0, iso8583.Truncated},
		{"MTI cut", iso8583.ASCII, "020", 0, iso8583.Truncated},
		{"MTI not digits", iso8583.ASCII, "02A0" + head[4:], 0, iso8583.BadContent},
		{"MTI not decimal", iso8583.BCD, "\x02\xf0\x00\x00\x00\x00\x00\x00\x00\x00", 0, iso8583.BadContent},
		{"bitmap cut", iso8583.ASCII, "0200400000000000000000000000000000", 1, iso8583.Truncated},
		{"bitmap not hexadecimal", iso8583.ASCII, "0200400000000000000X0000000000000000", 1, iso8583.BadContent},
		{"second bitmap cut", iso8583.ASCIIHexBitmap, "0200C000000000000000000000", 1, iso8583.Truncated},
		{"second bitmap cut, raw", iso8583.ASCIIBinaryBitmap, "0200\xc0\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1, iso8583.Truncated},
		{"third bitmap", iso8583.ASCIIHexBitmap, "0200" + "8000000000000000" + "8000000000000000" + "0000000000000000", 65, iso8583.Undefined},
		{"length with a sign", iso8583.ASCII, head + "+512345", 2, iso8583.BadLength},
		{"length too long", iso8583.ASCII, head + "2012345678901234567890", 2, iso8583.BadLength},
		{"length cut", iso8583.ASCII, head + "1", 2, iso8583.Truncated},
		{"value cut", iso8583.ASCII, head + "161234", 2, iso8583.Truncated},
		{"trailing byte", iso8583.ASCII, head + "0212x", 2, iso8583.Trailing},
		{"letters in a card number", iso8583.ASCII, head + "0212"[:2] + "4x", 2, iso8583.BadContent},
		{"length not decimal", iso8583.BCD, "\x02\x00\x40\x00\x00\x00\x00\x00\x00\x00\x1f", 2, iso8583.BadLength},
		{"half byte left over behind", iso8583.BCD, "\x02\x00\x40\x00\x00\x00\x00\x00\x00\x00\x03\x12\x39", 2, iso8583.BadContent},
		{"half byte left over before", iso8583.BCD, "\x02\x00\x00\x00\x04\x00\x00\x00\x00\x00\x90\x51", 22, iso8583.BadContent},
		{"half byte of a length left over", iso8583.BCD, "\x02\x00\x00\x00\x00\x00\x00\x01\x00\x00\x90\x01x", 48, iso8583.BadLength},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var m iso8583.Message
			wantError(t, dialect(t, test.dialect).Decode(&m, []byte(test.frame)), test.field, test.reason)
		})
	}
}

func TestCannotBeWritten(t *testing.T) {
	tests := []struct {
		name   string
		field  field
		reason iso8583.Reason
	}{
		{"no such field", field{1, "x"}, iso8583.Undefined},
		{"third bitmap", field{65, "x"}, iso8583.Undefined},
		{"beyond two bitmaps", field{129, "x"}, iso8583.Undefined},
		{"too long", field{2, "12345678901234567890"}, iso8583.BadLength},
		{"too short", field{7, "112203391"}, iso8583.BadLength},
		{"letters in a number", field{11, "00012x"}, iso8583.BadContent},
		{"not ASCII", field{41, "AOI0000\xe9"}, iso8583.BadContent},
		{"fee without a sign", field{28, "000000010"}, iso8583.BadContent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, d := range iso8583.BuiltIn() {
				b, err := d.Append([]byte("kept"), message("0200", []field{{3, "000000"}, test.field}))
				wantError(t, err, test.field.n, test.reason)
				if string(b) != "kept" {
					t.Errorf("%s: %d bytes come back with the error", d.Name(), len(b))
				}
			}
		})
	}
}

func TestPadding(t *testing.T) {
	d := dialect(t, iso8583.ASCII)
	frame := encoded(t, d, message("0200", []field{{3, "0"}, {4, "450"}, {41, "T1"}, {42, "SHOP"}}))
	if want := "000000" + "000000000450" + "T1      " + "SHOP           "; !strings.HasSuffix(string(frame), want) {
		t.Errorf("got %q, want it to end in %q", frame, want)
	}
}

func TestMessageUnsetAndReset(t *testing.T) {
	m := message("0200", purchase)
	pan := m.Get(2)
	m.Unset(4)
	m.Unset(4)
	if m.Has(4) || m.Get(4) != nil || !m.Has(3) || m.Has(0) || m.Has(500) || m.Get(-1) != nil {
		t.Error("wrong fields are there after Unset")
	}
	m.Reset()
	if n := len(slices.Collect(m.Fields)); n != 0 || m.MTI.Valid() {
		t.Errorf("%d fields are there after Reset", n)
	}
	if strings.ContainsAny(string(pan), "123456789") {
		t.Error("Reset leaves a card number in memory")
	}
}

func TestReplyMTI(t *testing.T) {
	for in, want := range map[string]string{"0100": "0110", "0101": "0110", "0200": "0210", "0201": "0210", "0120": "0130",
		"0121": "0130", "0220": "0230", "0221": "0230", "0400": "0410", "0401": "0410", "0420": "0430", "0421": "0430",
		"0800": "0810", "0820": "0830", "0202": "0212", "0500": "0510", "0600": "0610", "1200": "1210",
		"0210": "", "0430": "", "0240": "", "0900": "", "0000": "", "0206": "", "02x0": ""} {
		got, ok := iso8583.MTI([]byte(in)).Reply()
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: got %s %t, want %q", in, got, ok, want)
		}
	}
}

func wantError(t *testing.T, err error, field int, reason iso8583.Reason) {
	t.Helper()
	fe, ok := errors.AsType[*iso8583.FieldError](err)
	if !ok || fe.Field != field || fe.Reason != reason {
		t.Errorf("got error %v, want field %d: %s", err, field, reason)
	}
}

func ExampleDialect_Decode() {
	d, _ := iso8583.ByName(iso8583.ASCII)
	var m iso8583.Message
	err := d.Decode(&m, []byte("0800"+"02200000008000000400000000000000"+"1122033912"+"000001"+"AOI00001"+"301"))
	fmt.Printf("%s %s %s %v\n", m.MTI, m.Get(11), m.Get(41), err)
	// Output: 0800 000001 AOI00001 <nil>
}
