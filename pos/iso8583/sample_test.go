package iso8583_test

import (
	"testing"

	"kessai/pos/iso8583"
)

// field is one field of a sample message.
type field struct {
	n     int
	value string
}

// purchase is a sale as a terminal sends it.
var purchase = []field{{2, "4242424242424242"}, {3, "000000"}, {4, "000000000450"}, {7, "1122033912"}, {11, "000123"},
	{12, "123912"}, {13, "1122"}, {14, "2912"}, {22, "051"}, {35, "4242424242424242=29121010000000000000"},
	{41, "AOI00001"}, {42, "AOI000000000001"}, {49, "392"}, {52, "\x01\x02\x03\x04\x05\x06\x07\x08"}}

// reversal uses the second bitmap.
var reversal = []field{{3, "000000"}, {4, "000000000450"}, {7, "1122034012"}, {11, "000124"}, {28, "D00000010"},
	{41, "AOI00001"}, {42, "AOI000000000001"}, {48, "private"}, {49, "392"}, {54, "0002392C000000000450"},
	{90, "020000012311220339120000000000000000000000"}, {95, "000000000200000000000000D00000000C00000000"},
	{100, "12345"}, {128, "\xff\x00\xff\x00\xff\x00\xff\x00"}}

func message(mti string, fields []field) *iso8583.Message {
	m := &iso8583.Message{MTI: iso8583.MTI([]byte(mti))}
	for _, f := range fields {
		m.SetString(f.n, f.value)
	}
	return m
}

// encoded gives a message as the dialect writes it.
func encoded(t testing.TB, d *iso8583.Dialect, m *iso8583.Message) []byte {
	t.Helper()
	b, err := d.Append(nil, m)
	if err != nil {
		t.Fatalf("%s: %v", d.Name(), err)
	}
	return b
}

func dialect(t testing.TB, name string) *iso8583.Dialect {
	t.Helper()
	d, ok := iso8583.ByName(name)
	if !ok {
		t.Fatalf("no dialect %s", name)
	}
	return d
}
