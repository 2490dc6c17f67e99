package iso8583

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendJSON appends the message as a JSON object with every value in clear:
// card numbers, tracks and PIN blocks too. For what may be logged or shown, see
// [Message.AppendMasked]. The names are "mti" and the numbers of the fields, in
// ascending order; the values are strings, binary and structured ones in
// hexadecimal digits.
func (d *Dialect) AppendJSON(dst []byte, m *Message) []byte {
	dst = appendMTI(dst, m.MTI)
	for f := range m.Fields {
		dst = appendName(dst, f)
		if d.fields[f].hex {
			dst = append(dst, '"')
			at := len(dst)
			dst = hex.AppendEncode(dst, m.vals[f])
			upper(dst[at:])
			dst = append(dst, '"')
			continue
		}
		dst, _ = jsontext.AppendQuote(dst, m.vals[f]) // the error only says that it was no UTF-8
	}
	return append(dst, '}')
}

// appendMTI begins a JSON object with the message type.
func appendMTI(dst []byte, t MTI) []byte {
	dst = append(dst, `{"mti":`...)
	dst, _ = jsontext.AppendQuote(dst, t[:])
	return dst
}

func appendName(dst []byte, field int) []byte {
	dst = append(dst, `,"`...)
	dst = strconv.AppendInt(dst, int64(field), 10)
	return append(dst, `":`...)
}

// ParseJSON reads what [Dialect.AppendJSON] writes. Values may be shorter than
// their field where the dialect pads it. Unknown and repeated names and values
// that are no strings are refused. An error never holds a value.
func (d *Dialect) ParseJSON(m *Message, text []byte) error {
	m.Reset()
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	if dec.PeekKind() != '{' {
		return errors.New("a message in JSON must be one object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return jsonError(err)
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return jsonError(err)
		}
		key := name.String()
		value, err := dec.ReadToken()
		if err != nil {
			return jsonError(err)
		}
		if err := d.setJSON(m, key, value); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return jsonError(err)
	}
	if dec.PeekKind() != 0 || strings.TrimSpace(string(text[dec.InputOffset():])) != "" {
		return errors.New("a message in JSON must be one object, with nothing behind it")
	}
	if !m.MTI.Valid() {
		return errors.New(`"mti" is missing or does not have four digits`)
	}
	return nil
}

func (d *Dialect) setJSON(m *Message, name string, value jsontext.Token) error {
	if value.Kind() != '"' {
		return fmt.Errorf("the value of %s must be a string", shortName(name))
	}
	v := value.String()
	if name == "mti" {
		if len(v) == len(m.MTI) {
			m.MTI = MTI([]byte(v))
		}
		return nil
	}
	f, err := strconv.Atoi(name)
	if err != nil || strconv.Itoa(f) != name || f < 2 || f > maxField {
		return fmt.Errorf(`%s names no field: use "mti" and the numbers 2 to 128`, shortName(name))
	}
	if !d.fields[f].defined {
		return &FieldError{f, Undefined}
	}
	if !d.fields[f].hex {
		m.SetString(f, v)
		return nil
	}
	b, err := hex.DecodeString(v)
	if err != nil {
		return &FieldError{f, BadContent}
	}
	m.Set(f, b)
	return nil
}

// shortName repeats a name that is too short to be a secret put in the wrong place.
func shortName(name string) string {
	if len(name) > 3 {
		return "a name"
	}
	return strconv.Quote(name)
}

// jsonError says where the JSON text is wrong without repeating any of it.
func jsonError(err error) error {
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("the JSON text is wrong at byte %d", e.ByteOffset)
	}
	return errors.New("the JSON text ends too early")
}

// DecodeHex reads a message in hexadecimal digits, among which space is free,
// and gives it as JSON: masked, or with all values in clear. Where a field is
// bad, the fields that could be read are given together with the error.
func DecodeHex(d *Dialect, text string, unmasked bool) ([]byte, error) {
	frame, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("the message must be given in pairs of hexadecimal digits")
	}
	var m Message
	err = d.Decode(&m, frame)
	if unmasked {
		return d.AppendJSON(nil, &m), err
	}
	return m.AppendMasked(nil), err
}

// EncodeJSON reads a message in JSON and gives it as the dialect writes it.
func EncodeJSON(d *Dialect, text []byte) ([]byte, error) {
	var m Message
	if err := d.ParseJSON(&m, text); err != nil {
		return nil, err
	}
	return d.Append(nil, &m)
}
