package iso8583_test

import (
	"strings"
	"testing"

	"kessai/pos/iso8583"
)

// reply fills m with the answer to a purchase.
func reply(m, request *iso8583.Message) {
	m.ReplyTo(request)
	for _, f := range [...]int{3, 4, 7, 11, 41, 42, 49} {
		m.Set(f, request.Get(f))
	}
	m.SetString(12, "123912")
	m.SetString(13, "1122")
	m.SetString(37, "000000000042")
	m.SetString(38, "123456")
	m.SetString(39, "00")
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	for _, d := range iso8583.BuiltIn() {
		for _, framing := range framings() {
			stream, err := framing.AppendMessage(nil, tpdu, d, message("0200", purchase))
			if err != nil {
				t.Fatal(err)
			}
			source := new(strings.Reader)
			in := iso8583.NewFrameReader(source, framing, 4096)
			var request, answer iso8583.Message
			body, out := make([]byte, 4096), make([]byte, 0, 4096)
			text := string(stream)
			n := testing.AllocsPerRun(100, func() {
				source.Reset(text)
				frame, err := in.Next(body)
				if err != nil {
					t.Fatal(err)
				}
				if err := d.Decode(&request, frame.Body); err != nil {
					t.Fatal(err)
				}
				reply(&answer, &request)
				if out, err = framing.AppendMessage(out[:0], frame.TPDU.Swapped(), d, &answer); err != nil {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("%s %+v: %v allocations", d.Name(), framing, n)
			}
		}
	}
}
