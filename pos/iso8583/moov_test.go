package iso8583_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"kessai/pos/iso8583"

	moov "github.com/moov-io/iso8583"
	moovfield "github.com/moov-io/iso8583/field"
)

// sameAsMoov holds what Decode makes of a frame against what moov makes of it.
func sameAsMoov(t *testing.T, d *iso8583.Dialect, frame []byte) {
	t.Helper()
	var m iso8583.Message
	err := d.Decode(&m, frame)
	judge := moov.NewMessage(d.Spec())
	moovErr := judge.Unpack(frame)
	switch {
	case err == nil && moovErr != nil:
		t.Fatalf("read here, refused by moov")
	case err == nil:
		if diff := compare(&m, judge); diff != "" {
			t.Fatal(diff)
		}
		again := encoded(t, d, &m)
		var back iso8583.Message
		if err := d.Decode(&back, again); err != nil {
			t.Fatalf("what was read cannot be read again once written: %v", err)
		}
		if diff := compare(&back, judge); diff != "" {
			t.Fatalf("after writing: %s", diff)
		}
	case moovErr == nil && !isLax(judge, frame, err):
		t.Fatalf("read by moov, refused here without a listed reason: %v", err)
	}
}

// compare says where two readings of a message differ; never what they hold.
func compare(m *iso8583.Message, judge *moov.Message) string {
	if mti, _ := judge.GetMTI(); mti != m.MTI.String() {
		return "the MTI differs"
	}
	fields := judge.GetFields()
	n := 0
	for f := range m.Fields {
		n++
		want, err := judge.GetBytes(f)
		if err != nil || fields[f] == nil {
			return fmt.Sprintf("field %d is not in moov's reading", f)
		}
		if s := fields[f].Spec(); s.Pad != nil && strings.HasSuffix(s.Pref.Inspect(), ".Fixed") {
			want = s.Pad.Pad(bytes.Clone(want), s.Length)
		}
		if !bytes.Equal(m.Get(f), want) {
			return fmt.Sprintf("field %d differs", f)
		}
	}
	if n != len(fields)-2 {
		return fmt.Sprintf("%d fields here, %d in moov's reading", n, len(fields)-2)
	}
	return ""
}

// isLax reports whether a message that moov reads is one that the package
// comment says is refused here.
func isLax(judge *moov.Message, frame []byte, err error) bool {
	fe, _ := errors.AsType[*iso8583.FieldError](err)
	if fe.Reason == iso8583.Undefined {
		return fe.Field == 65 // a third bitmap
	}
	if fe.Reason == iso8583.BadContent && fe.Field != 1 {
		if v, _ := judge.GetBytes(fe.Field); !ofClass(fe.Field, v) {
			return true
		}
	}
	// Whatever else moov is lax about, it writes in the one right way itself.
	again, packErr := judge.Pack()
	return packErr != nil || !bytes.Equal(again, frame)
}

// ofClass reports whether a value has only characters that its field allows.
// It is written anew here, from the standard, to judge the table in class.go.
func ofClass(f int, v []byte) bool {
	for i, c := range v {
		digit := c >= '0' && c <= '9'
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == ' '
		var ok bool
		switch {
		case f <= 27, f == 32, f == 33, f == 53, f >= 66 && f <= 90, f == 99, f == 100:
			ok = digit
		case f >= 28 && f <= 31, f == 97:
			ok = digit && i > 0 || i == 0 && (c == 'C' || c == 'D')
		case f == 35:
			ok = digit || c == '=' || c == 'D'
		case f >= 37 && f <= 40, f >= 49 && f <= 51, f == 54, f >= 91 && f <= 95:
			ok = digit || letter
		case f == 34, f == 36, f >= 41 && f <= 45, f == 98, f >= 101 && f <= 104:
			ok = c >= ' ' && c <= '~'
		default:
			ok = true
		}
		if !ok {
			return false
		}
	}
	return true
}

func fuzzMessage(f *testing.F, name string) {
	d := dialect(f, name)
	f.Add(encoded(f, d, message("0200", purchase)))
	f.Add(encoded(f, d, message("0400", reversal)))
	f.Add(encoded(f, d, message("0800", []field{{7, "1122033912"}, {11, "000001"}, {41, "AOI00001"}, {70, "301"}})))
	f.Fuzz(func(t *testing.T, frame []byte) { sameAsMoov(t, d, frame) })
}

func FuzzMessageASCII(f *testing.F)             { fuzzMessage(f, iso8583.ASCII) }
func FuzzMessageASCIIHexBitmap(f *testing.F)    { fuzzMessage(f, iso8583.ASCIIHexBitmap) }
func FuzzMessageASCIIBinaryBitmap(f *testing.F) { fuzzMessage(f, iso8583.ASCIIBinaryBitmap) }
func FuzzMessageBCD(f *testing.F)               { fuzzMessage(f, iso8583.BCD) }

// FuzzWrite gives both sides the same fields and holds what they write against
// each other. Its input is a row of field number, length, value.
func FuzzWrite(f *testing.F) {
	for _, fields := range [][]field{purchase, reversal, {{2, ""}, {3, "1"}, {41, "T"}}} {
		var in []byte
		for _, x := range fields {
			in = append(append(in, byte(x.n), byte(len(x.value))), x.value...)
		}
		for i := range iso8583.BuiltIn() {
			f.Add(uint8(i), in)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, in []byte) {
		all := iso8583.BuiltIn()
		writeBoth(t, all[int(which)%len(all)], in)
	})
}

func writeBoth(t *testing.T, d *iso8583.Dialect, in []byte) {
	m := &iso8583.Message{MTI: iso8583.MTI([]byte("0200"))}
	judge := moov.NewMessage(d.Spec())
	judge.MTI("0200")
	for len(in) >= 2 {
		n, size := int(in[0]), min(int(in[1]), len(in)-2)
		value := in[2 : 2+size]
		in = in[2+size:]
		if d.Spec().Fields[n] == nil || n < 2 {
			continue
		}
		if judge.BinaryField(n, bytes.Clone(value)) != nil {
			return // moov refuses it at once, but keeps an empty field
		}
		m.Set(n, value)
	}
	got, err := d.Append(nil, m)
	want, moovErr := judge.Pack()
	switch {
	case err == nil && moovErr != nil:
		t.Fatal("written here, refused by moov")
	case err == nil && !bytes.Equal(got, want):
		t.Fatalf("written differently:\n here %x\n moov %x", got, want)
	case err != nil && moovErr == nil:
		fe, _ := errors.AsType[*iso8583.FieldError](err)
		_, numeric := d.Spec().Fields[fe.Field].(*moovfield.Numeric)
		if !numeric && ofClass(fe.Field, m.Get(fe.Field)) && (fe.Field < 28 || fe.Field > 31) && fe.Field != 97 {
			t.Fatalf("written by moov, refused here: %v", err)
		}
	}
}
