package iso8583

import (
	"errors"

	"github.com/moov-io/iso8583/encoding"
)

// packedTrack2 tells moov how track 2 is packed: two characters in a byte,
// left-justified like every other packed field of variable length, the
// separator = as D. moov's
// own encodings know either the digits or the separator, not both.
var packedTrack2 encoding.Encoder = track2Encoder{}

type track2Encoder struct{}

var errTrack2 = errors.New("track 2 holds characters that are not allowed, or ends too early")

func (track2Encoder) Encode(data []byte) ([]byte, error) {
	if !classZ.holds(data) {
		return nil, errTrack2
	}
	e := entry{enc: packedZ}
	return e.appendPacked(nil, data, 0), nil
}

func (track2Encoder) Decode(data []byte, length int) ([]byte, int, error) {
	size := (length + 1) / 2
	if length < 0 || len(data) < size {
		return nil, 0, errTrack2
	}
	v, ok := unpackLeft(nil, data[:size], length, '=')
	if !ok {
		return nil, 0, errTrack2
	}
	return v, size, nil
}
