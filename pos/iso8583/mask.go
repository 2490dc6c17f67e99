package iso8583

import (
	"fmt"
	"log/slog"
	"strconv"

	"kessai"

	"github.com/go-json-experiment/json/jsontext"
)

// shown are the fields that may be seen by anyone who sees a log. It is a list
// of what is allowed, not of what is hidden: a field that nobody thought of
// stays hidden. Balances (54) and expiry dates (14) are the customer's business.
var shown = func() (t [maxField + 1]bool) {
	for _, f := range []int{3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 23, 24, 25, 26,
		32, 33, 37, 38, 39, 40, 41, 42, 43, 49, 50, 51, 66, 70, 71, 72, 90, 95, 99, 100} {
		t[f] = true
	}
	return t
}()

// AppendMasked appends the message as a JSON object that holds no secret: the
// names are those of [Dialect.AppendJSON], a card number shows its last four
// digits, and any field outside a short list shows only its length.
func (m *Message) AppendMasked(dst []byte) []byte {
	dst = appendMTI(dst, m.MTI)
	for f := range m.Fields {
		v := m.vals[f]
		dst = appendName(dst, f)
		switch {
		case shown[f]:
			dst, _ = jsontext.AppendQuote(dst, v) // the error only says that it was no UTF-8
		case f == 2:
			dst, _ = jsontext.AppendQuote(dst, maskedPAN(v))
		default:
			dst = append(dst, `"(`...)
			dst = strconv.AppendInt(dst, int64(len(v)), 10)
			dst = append(dst, ` bytes)"`...)
		}
	}
	return append(dst, '}')
}

// maskedPAN shows the last four digits of what can be a card number. Of
// anything shorter, four digits would be too large a part.
func maskedPAN(v []byte) string {
	if len(v) < 12 {
		return "****"
	}
	return kessai.Last4(v[len(v)-4:]).String()
}

// Format makes every verb of fmt print the message masked.
func (m Message) Format(f fmt.State, _ rune) { _, _ = f.Write(m.AppendMasked(nil)) }

// LogValue makes slog print the message masked.
func (m Message) LogValue() slog.Value { return slog.StringValue(string(m.AppendMasked(nil))) }

// MarshalJSON makes encoders print the message masked.
func (m Message) MarshalJSON() ([]byte, error) { return m.AppendMasked(nil), nil }
