package gateway

import "encoding/base64"

// b64 is bytes as browsers write them in JSON: base64url without padding (RFC 4648,
// section 5), and nothing that could also be written otherwise.
type b64 []byte

// MarshalText writes base64url.
func (b b64) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText reads base64url.
func (b *b64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	return err
}
