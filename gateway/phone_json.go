package gateway

import (
	"bytes"
	"encoding/base64"
	"errors"
)

var errBase64 = errors.New("base64url has no ends of lines")

// b64 is bytes as browsers write them in JSON: base64url without padding (RFC 4648,
// section 5), and nothing that could also be written otherwise.
type b64 []byte

// MarshalText writes base64url.
func (b b64) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText reads base64url.
func (b *b64) UnmarshalText(text []byte) (err error) {
	if bytes.ContainsAny(text, "\r\n") { // the decoder passes over ends of lines
		return errBase64
	}
	*b, err = base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	return err
}
