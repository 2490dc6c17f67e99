package iso8583_test

import (
	"bytes"
	"testing"

	"kessai/pos/iso8583"

	moov "github.com/moov-io/iso8583"
)

func BenchmarkDecode(b *testing.B) {
	for _, d := range iso8583.BuiltIn() {
		b.Run(d.Name(), func(b *testing.B) {
			text := encoded(b, d, message("0200", purchase))
			var m iso8583.Message
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(&m, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMoovDecode reads the same messages with the library whose
// specifications the dialects are compiled from.
func BenchmarkMoovDecode(b *testing.B) {
	for _, d := range iso8583.BuiltIn() {
		b.Run(d.Name(), func(b *testing.B) {
			text := encoded(b, d, message("0200", purchase))
			b.ReportAllocs()
			for b.Loop() {
				if err := moov.NewMessage(d.Spec()).Unpack(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, d := range iso8583.BuiltIn() {
		b.Run(d.Name(), func(b *testing.B) {
			var m iso8583.Message
			var out []byte
			var err error
			reply(&m, message("0200", purchase))
			b.ReportAllocs()
			for b.Loop() {
				if out, err = d.Append(out[:0], &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFill fills a message with the fields of an answer.
func BenchmarkFill(b *testing.B) {
	var m iso8583.Message
	request := message("0200", purchase)
	b.ReportAllocs()
	for b.Loop() {
		reply(&m, request)
	}
}

func BenchmarkFrameRead(b *testing.B) {
	for _, f := range plainFramings() {
		b.Run(f.Length.String(), func(b *testing.B) {
			stream, err := f.Append(nil, tpdu, encoded(b, iso8583.BuiltIn()[0], message("0200", purchase)))
			if err != nil {
				b.Fatal(err)
			}
			frames := iso8583.NewFrameReader(&endless{stream: stream}, f, 4096)
			buf := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := frames.Next(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFrameWrite(b *testing.B) {
	for _, f := range plainFramings() {
		b.Run(f.Length.String(), func(b *testing.B) {
			body := encoded(b, iso8583.BuiltIn()[0], message("0200", purchase))
			var out []byte
			var err error
			b.ReportAllocs()
			for b.Loop() {
				if out, err = f.Append(out[:0], tpdu, body); err != nil {
					b.Fatal(err)
				}
			}
			if !bytes.HasSuffix(out, body) {
				b.Error("the frame does not end with its message")
			}
		})
	}
}

func plainFramings() []iso8583.Framing {
	return []iso8583.Framing{{Length: iso8583.Binary2}, {Length: iso8583.ASCII4}, {Length: iso8583.BCD2}}
}

// endless is a connection on which the same frames come again and again.
type endless struct {
	stream []byte
	at     int
}

func (e *endless) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k := copy(b[n:], e.stream[e.at:])
		n, e.at = n+k, (e.at+k)%len(e.stream)
	}
	return n, nil
}
