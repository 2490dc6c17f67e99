//go:build !race

package gateway

import (
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/pos/iso8583"
)

// TestISO_StagesDoNotAllocate holds decode and encode to no allocation on the
// way of a purchase, in every dialect, the card by number or read from track 2.
func TestISO_StagesDoNotAllocate(t *testing.T) {
	w := newISOShop(t)
	for _, d := range iso8583.BuiltIn() {
		for name, track2 := range map[string]bool{"card": false, "track 2": true} {
			s := benchISO(t, w, d)
			text, err := d.Append(nil, benchSale(t, "AOI00001", track2))
			if err != nil {
				t.Fatal(err)
			}
			var in, out iso8583.Message
			var r authz.Request
			if err := d.Decode(&in, text); err != nil {
				t.Fatal(err)
			}
			now, wire, reply := time.Now(), make([]byte, 0, 1024), benchReply()
			for stage, do := range map[string]func(){
				"decoding": func() {
					if err := d.Decode(&in, text); err != nil {
						t.Fatal(err)
					}
				},
				"mapping": func() {
					if d.Decode(&in, text) != nil {
						t.Fatal("cannot be read")
					}
					if f := s.mapper.request(&r, &in, now); f.code != 0 || r.Kind != kessai.Purchase || r.Medium.IsZero() {
						t.Fatal(f)
					}
				},
				"encoding": func() {
					isoReply(&out, &in, reply.Code, &reply)
					if wire, err = s.o.Framing.AppendMessage(wire[:0], iso8583.TPDU{}, d, &out); err != nil {
						t.Fatal(err)
					}
				},
			} {
				if n := testing.AllocsPerRun(1_000, do); n != 0 {
					t.Errorf("%s, %s: %s allocates %v times, want 0", d.Name(), name, stage, n)
				}
			}
		}
	}
}
