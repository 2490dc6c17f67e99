package iso8583_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kessai/pos/iso8583"

	moov "github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/specs"
)

func load(t testing.TB, name string) *iso8583.Dialect {
	t.Helper()
	all, err := iso8583.LoadDialects("../../configs/dialects", specs.ImportJSON)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Name() == name {
			return d
		}
	}
	t.Fatalf("no dialect %s among %d", name, len(all))
	return nil
}

func TestShippedDialect(t *testing.T) {
	d := load(t, "packed-currency")
	for mti, fields := range map[string][]field{"0200": purchase, "0400": reversal} {
		m := message(mti, fields)
		m.Unset(28) // not among its fields
		m.Unset(100)
		sameAsMoov(t, d, encoded(t, d, m))
	}
	frame := encoded(t, d, message("0200", []field{{35, "4242424242424242=2912"}, {49, "392"}}))
	if want := "0200" + "0000000020008000" + "21" + hex.EncodeToString([]byte("4242424242424242=2912")) + "0392"; hex.EncodeToString(frame) != want {
		t.Errorf("\n got %x\nwant %s", frame, want)
	}
}

// Whatever an answer may need, the shipped dialect defines.
func TestShippedDialectCanAnswer(t *testing.T) {
	d := load(t, "packed-currency")
	for _, f := range []int{3, 4, 7, 11, 12, 13, 32, 37, 38, 39, 41, 42, 49, 54, 70, 90} {
		if d.Describe(f) == "" {
			t.Errorf("field %d is not defined", f)
		}
	}
}

// byMoov is a dialect with fields that the table cannot express.
const byMoov = `{"name": "mixed", "fields": {
	"0": {"type": "String", "length": 4, "enc": "ASCII", "prefix": "ASCII.Fixed"},
	"1": {"type": "Bitmap", "length": 8, "enc": "Binary", "prefix": "Binary.Fixed"},
	"3": {"type": "Numeric", "length": 6, "enc": "EBCDIC", "prefix": "EBCDIC.Fixed", "padding": {"type": "Left", "pad": "0"}},
	"4": {"type": "String", "length": 12, "enc": "ASCII", "prefix": "ASCII.Fixed", "padding": {"type": "Left", "pad": "0"}},
	"11": {"type": "String", "length": 6, "enc": "BCD", "prefix": "BCD.Fixed"},
	"32": {"type": "String", "length": 11, "enc": "LBCD", "prefix": "Binary.L"},
	"41": {"type": "String", "length": 8, "enc": "EBCDIC", "prefix": "EBCDIC.Fixed"},
	"48": {"type": "String", "length": 20, "enc": "ASCII", "prefix": "ASCII.LL", "padding": {"type": "Right", "pad": " "}},
	"55": {"type": "Composite", "length": 999, "prefix": "BCD.LLL", "tag": {"enc": "BerTLVTag", "sort": "StringsByHex"},
		"subfields": {"9A": {"type": "Binary", "length": 3, "enc": "Binary", "prefix": "BerTLV"}}},
	"60": {"type": "Hex", "length": 10, "enc": "Binary", "prefix": "Binary.LL"}
}}`

func mixed(t testing.TB) *iso8583.Dialect {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mixed.json")
	if err := os.WriteFile(path, []byte(byMoov), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := iso8583.LoadDialect(path, specs.ImportJSON)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFieldsThroughMoov(t *testing.T) {
	d := mixed(t)
	fields := []field{{3, "000000"}, {4, "000000000450"}, {11, "000123"}, {32, "12345"}, {41, "AOI00001"},
		{48, "private"}, {55, "\x9a\x03\x26\x11\x22"}, {60, "\x01\x02"}}
	frame := encoded(t, d, message("0200", fields))
	want := hex.EncodeToString([]byte("0200")) + "3020000100810210" + "f0f0f0f0f0f0" + hex.EncodeToString([]byte("000000000450")) +
		"000123" + "05123450" + "c1d6c9f0f0f0f0f1" + hex.EncodeToString([]byte("20private             ")) + "0005" + "9a03261122" + "0002" + "0102"
	if got := hex.EncodeToString(frame); got != want {
		t.Fatalf("\n got %s\nwant %s", got, want)
	}
	sameAsMoov(t, d, frame)
	var m iso8583.Message
	if err := d.Decode(&m, frame); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		if got := string(m.Get(f.n)); got != f.value {
			t.Errorf("field %d: got %q, want %q", f.n, got, f.value)
		}
	}
	frame[12] = 0xc1 // a letter in the processing code, in EBCDIC
	err := d.Decode(&m, frame)
	if err == nil || m.Has(3) || strings.Contains(err.Error(), "A00000") {
		t.Errorf("a letter in field 3: %v", err)
	}
}

func FuzzMessageMixed(f *testing.F) {
	d := mixed(f)
	f.Add(encoded(f, d, message("0200", []field{{3, "000000"}, {4, "000000000450"}, {11, "000123"}, {41, "AOI00001"}, {48, "x"}})))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var m iso8583.Message
		if d.Decode(&m, frame) != nil {
			return
		}
		if err := moov.NewMessage(d.Spec()).Unpack(frame); err != nil && !m.Has(55) { // 55 is not taken apart here
			t.Fatal("read here, refused by moov")
		}
		var again iso8583.Message
		if err := d.Decode(&again, encoded(t, d, &m)); err != nil {
			t.Fatalf("what was read cannot be read again once written: %v", err)
		}
	})
}

// What moov's own specifications write is read here, and the reverse.
func TestMoovsOwnSpecifications(t *testing.T) {
	for name, spec := range map[string]*moov.MessageSpec{iso8583.ASCIIHexBitmap: moov.Spec87, iso8583.ASCII: specs.Spec87ASCII} {
		d := dialect(t, name)
		fields := purchase
		for _, lacks := range []int{3, 52} { // Spec87 can only read these
			fields = without(fields, lacks)
		}
		frame := encoded(t, d, message("0200", fields))
		judge := moov.NewMessage(spec)
		if err := judge.Unpack(frame); err != nil {
			t.Fatalf("%s: moov cannot read it: %v", name, err)
		}
		if again, err := judge.Pack(); err != nil || !bytes.Equal(again, frame) {
			t.Errorf("%s: moov writes it differently (%v)", name, err)
		}
	}
}

func without(fields []field, n int) (rest []field) {
	for _, f := range fields {
		if f.n != n {
			rest = append(rest, f)
		}
	}
	return rest
}

func TestDialectsRefused(t *testing.T) {
	const mti = `"0": {"type": "String", "length": 4, "enc": "ASCII", "prefix": "ASCII.Fixed"}`
	const bitmap = `"1": {"type": "Bitmap", "length": 8, "enc": "Binary", "prefix": "Binary.Fixed"}`
	for name, text := range map[string]string{
		"no JSON":           `x`,
		"no fields":         `{"fields": {}}`,
		"no MTI":            `{"fields": {` + bitmap + `}}`,
		"no bitmap":         `{"fields": {` + mti + `}}`,
		"bitmap of 4 bytes": `{"fields": {` + mti + `, ` + strings.Replace(bitmap, "8", "4", 1) + `}}`,
		"bitmap in EBCDIC":  `{"fields": {` + mti + `, ` + strings.Replace(bitmap, `"Binary"`, `"EBCDIC"`, 1) + `}}`,
		"MTI of 3 digits":   `{"fields": {` + strings.Replace(mti, "4", "3", 1) + `, ` + bitmap + `}}`,
		"MTI in EBCDIC":     `{"fields": {` + strings.Replace(mti, `"ASCII"`, `"EBCDIC"`, 1) + `, ` + bitmap + `}}`,
		"field 129":         `{"fields": {` + mti + `, ` + bitmap + `, ` + strings.Replace(mti, `"0"`, `"129"`, 1) + `}}`,
		"contradiction": `{"fields": {` + mti + `, ` + bitmap + `, "55": {"type": "Composite", "length": 9, "prefix": "ASCII.LL",
			"subfields": {"1": {"type": "String", "length": 1, "enc": "ASCII", "prefix": "ASCII.Fixed"}}}}}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "bad.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := iso8583.LoadDialects(dir, specs.ImportJSON); err == nil || !strings.Contains(err.Error(), "bad.json") && !strings.Contains(err.Error(), "bad") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, iso8583.BCD+".json"), []byte(byMoov), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := iso8583.LoadDialects(dir, specs.ImportJSON); err == nil {
		t.Error("a file takes the place of a built-in dialect")
	}
	if _, err := iso8583.LoadDialects(filepath.Join(dir, "none"), specs.ImportJSON); err == nil {
		t.Error("a folder that does not exist is read")
	}
}
