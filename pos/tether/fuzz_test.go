package tether_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"

	"kessai/pos/tether"
)

func FuzzDecodeOffer(f *testing.F) {
	v := readVectors(f)
	for _, o := range v.Offers {
		f.Add([]byte(o.Encoding))
	}
	for _, o := range v.RefusedOffers {
		f.Add([]byte(o.Encoding))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := tether.DecodeOffer(b)
		if err != nil {
			if !errors.Is(err, tether.ErrOffer) || o != nil {
				t.Fatalf("%v, and an offer beside it", err)
			}
			return
		}
		if again, err := o.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("written again it is another: %v", err)
		}
	})
}

// FuzzBodies reads a body as that of every type: whatever is taken has one form.
func FuzzBodies(f *testing.F) {
	v := readVectors(f)
	for _, c := range v.Frames {
		f.Add([]byte(c.Body))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		type encoder interface{ Encode() ([]byte, error) }
		for _, decode := range []func([]byte) (encoder, error){
			func(b []byte) (encoder, error) { return tether.DecodeSigned(b) },
			func(b []byte) (encoder, error) { return tether.DecodeEnd(b) },
			func(b []byte) (encoder, error) { return tether.DecodeHello(b) },
			func(b []byte) (encoder, error) { return tether.DecodeEnrol(b) },
			func(b []byte) (encoder, error) { return tether.DecodeEnrolled(b) },
		} {
			e, err := decode(b)
			if err != nil {
				continue
			}
			if again, err := e.Encode(); len(b) <= tether.MaxBody && (err != nil || !bytes.Equal(again, b)) {
				t.Fatalf("%T written again is another: %v", e, err)
			}
		}
		_, _, _ = tether.UnpadCard(b)
		_, _ = tether.ParseCard(b)
		_, _ = tether.ParseFault(b)
	})
}

// FuzzScanner: whichever way a line comes in, the frames are the same, and a frame
// behind whatever was there is found once the line has been silent.
func FuzzScanner(f *testing.F) {
	for _, c := range readVectors(f).Lines {
		f.Add([]byte(c.Stream))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := scanAll(t, bytes.NewReader(b))
		if got := scanAll(t, iotest.OneByteReader(bytes.NewReader(b))); !bytes.Equal(got, whole) {
			t.Fatalf("by bytes %x, whole %x", got, whole)
		}
		if got := scanAll(t, bytes.NewReader(whole)); !bytes.Equal(got, whole) {
			t.Fatalf("scanned again %x, first %x", got, whole)
		}
	})
}
