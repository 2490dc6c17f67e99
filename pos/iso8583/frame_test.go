package iso8583_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"kessai/pos/iso8583"
)

// framings is every way of framing there is.
func framings() (all []iso8583.Framing) {
	for _, l := range []iso8583.LengthForm{iso8583.Binary2, iso8583.ASCII4, iso8583.BCD2} {
		for _, inclusive := range []bool{false, true} {
			for _, tpdu := range []bool{false, true} {
				all = append(all, iso8583.Framing{Length: l, Inclusive: inclusive, TPDU: tpdu})
			}
		}
	}
	return all
}

var tpdu = iso8583.TPDU{0x60, 0x00, 0x01, 0x12, 0x34}

func TestFrameBytes(t *testing.T) {
	tests := []struct {
		framing iso8583.Framing
		want    string
	}{
		{iso8583.Framing{}, "000c"},
		{iso8583.Framing{Inclusive: true}, "000e"},
		{iso8583.Framing{TPDU: true}, "0011" + "6000011234"},
		{iso8583.Framing{Length: iso8583.ASCII4}, "30303132"},
		{iso8583.Framing{Length: iso8583.ASCII4, Inclusive: true, TPDU: true}, "30303231" + "6000011234"},
		{iso8583.Framing{Length: iso8583.BCD2}, "0012"},
		{iso8583.Framing{Length: iso8583.BCD2, Inclusive: true}, "0014"},
	}
	for _, test := range tests {
		got, err := test.framing.Append([]byte("before"), tpdu, []byte("twelve bytes"))
		if want := hex.EncodeToString([]byte("before")) + test.want + hex.EncodeToString([]byte("twelve bytes")); err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%+v: got %x %v, want %s", test.framing, got, err, want)
		}
	}
}

func TestFramesRoundTrip(t *testing.T) {
	d := dialect(t, iso8583.ASCII)
	for _, f := range framings() {
		var stream []byte
		var bodies []string
		for _, body := range []string{"x", strings.Repeat("y", 250), strings.Repeat("z", 4999)} {
			var err error
			if stream, err = f.Append(stream, tpdu, []byte(body)); err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, body)
		}
		m := message("0200", purchase)
		stream, err := f.AppendMessage(stream, tpdu, d, m)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(encoded(t, d, m)))
		for _, r := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream))} {
			in := iso8583.NewFrameReader(r, f, 5000)
			for i, want := range bodies {
				frame, err := in.Next(make([]byte, 0, 300))
				if err != nil || string(frame.Body) != want || f.TPDU && frame.TPDU != tpdu {
					t.Fatalf("%+v: frame %d: %d bytes, TPDU %x, %v", f, i, len(frame.Body), frame.TPDU, err)
				}
			}
			if _, err := in.Next(nil); err != io.EOF {
				t.Errorf("%+v: at the end: %v", f, err)
			}
		}
	}
}

func TestTPDUSwapped(t *testing.T) {
	if got, want := tpdu.Swapped(), (iso8583.TPDU{0x60, 0x12, 0x34, 0x00, 0x01}); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestFramesRefused(t *testing.T) {
	ascii, bcd := iso8583.Framing{Length: iso8583.ASCII4}, iso8583.Framing{Length: iso8583.BCD2}
	tests := []struct {
		name    string
		framing iso8583.Framing
		stream  string
		want    error
	}{
		{"zero length", iso8583.Framing{}, "\x00\x00", iso8583.ErrFrameEmpty},
		{"only itself", iso8583.Framing{Inclusive: true}, "\x00\x02", iso8583.ErrFrameEmpty},
		{"less than itself", iso8583.Framing{Inclusive: true}, "\x00\x01", iso8583.ErrFrameEmpty},
		{"only the TPDU", iso8583.Framing{TPDU: true}, "\x00\x05\x60\x00\x00\x00\x00", iso8583.ErrFrameEmpty},
		{"longer than allowed", iso8583.Framing{}, "\x00\x65", iso8583.ErrFrameTooBig},
		{"far longer", iso8583.Framing{}, "\xff\xff", iso8583.ErrFrameTooBig},
		{"letters", ascii, "00x1", iso8583.ErrFrameLength},
		{"a sign", ascii, "+001", iso8583.ErrFrameLength},
		{"half bytes", bcd, "\x00\x1a", iso8583.ErrFrameLength},
		{"another TPDU", iso8583.Framing{TPDU: true}, "\x00\x06\x68\x00\x00\x00\x00x", iso8583.ErrFrameTPDU},
		{"ends in the length", iso8583.Framing{}, "\x00", io.ErrUnexpectedEOF},
		{"ends in the TPDU", iso8583.Framing{TPDU: true}, "\x00\x06\x60", io.ErrUnexpectedEOF},
		{"ends in the message", iso8583.Framing{}, "\x00\x05abcd", io.ErrUnexpectedEOF},
		{"ends before the message", iso8583.Framing{}, "\x00\x05", io.ErrUnexpectedEOF},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := iso8583.NewFrameReader(strings.NewReader(test.stream), test.framing, 100)
			if _, err := r.Next(nil); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestFrameTooLongToWrite(t *testing.T) {
	for _, f := range framings() {
		b, err := f.Append([]byte("kept"), tpdu, make([]byte, 70_000))
		if !errors.Is(err, iso8583.ErrFrameTooBig) || string(b) != "kept" {
			t.Errorf("%+v: got %d bytes, %v", f, len(b), err)
		}
	}
}

func TestParseLengthForm(t *testing.T) {
	for _, f := range framings() {
		if got, err := iso8583.ParseLengthForm(f.Length.String()); err != nil || got != f.Length {
			t.Errorf("%s: got %s, %v", f.Length, got, err)
		}
	}
	if _, err := iso8583.ParseLengthForm("binary4"); err == nil {
		t.Error("an unknown form is read")
	}
}

// FuzzFrame feeds any bytes as a stream; every frame that is read must come out
// the same when it is written again, and when it is split off what is there.
func FuzzFrame(f *testing.F) {
	for i, framing := range framings() {
		b, _ := framing.Append(nil, tpdu, []byte("twelve bytes"))
		b, _ = framing.Append(b, tpdu, []byte("more"))
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, which uint8, stream []byte) {
		const limit = 200
		all := framings()
		framing := all[int(which)%len(all)]
		r := iso8583.NewFrameReader(bytes.NewReader(stream), framing, limit)
		rest := stream
		for {
			frame, err := r.Next(nil)
			if err == io.EOF && len(rest) > 0 {
				t.Fatalf("the end is clean with %d bytes left", len(rest))
			}
			if err != nil {
				ended := err == io.EOF || err == io.ErrUnexpectedEOF
				// Of a header that is cut short, splitting sees already that it is none.
				if _, size, serr := framing.Split(rest, limit); size != 0 || (serr == nil) != ended && serr != iso8583.ErrFrameTPDU {
					t.Fatalf("the reader says %v, splitting %d bytes and %v", err, size, serr)
				}
				return
			}
			whole, size, serr := framing.Split(rest, limit)
			if serr != nil || size == 0 || whole.TPDU != frame.TPDU || !bytes.Equal(whole.Body, frame.Body) {
				t.Fatalf("split off the whole stream it is another frame (%d bytes, %v)", size, serr)
			}
			if part, size, serr := framing.Split(rest[:size-1], limit); serr != nil || size != 0 || part.Body != nil {
				t.Fatalf("a frame that lacks a byte is split off (%d bytes, %v)", size, serr)
			}
			if len(frame.Body) == 0 || len(frame.Body) > limit || cap(frame.Body) > limit {
				t.Fatalf("a frame of %d bytes", len(frame.Body))
			}
			again, err := framing.Append(nil, frame.TPDU, frame.Body)
			if err != nil || !bytes.HasPrefix(rest, again) {
				t.Fatalf("written differently (%v)", err)
			}
			rest = rest[len(again):]
		}
	})
}
