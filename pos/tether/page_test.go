package tether_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"kessai/pos/tether"
)

// TestPageSaysTheSame holds docs/READER.md to the code: its examples are those of the
// vectors, and its tables have the numbers of this package.
func TestPageSaysTheSame(t *testing.T) {
	b, err := os.ReadFile("../../docs/READER.md")
	if err != nil {
		t.Fatal(err)
	}
	page, v := string(b), readVectors(t)
	want := map[string][]byte{
		"K": v.Enrolment.Key, "ENROL": v.Enrolment.Enrol, "ENROLLED": v.Enrolment.Enrolled, "offer": v.Offers[0].Encoding, "offer signature": v.Offers[0].Signature,
		"card": v.Sealed[0].Plain[:40], "PIN key": v.Sealed[1].Exported, "PIN block": v.Sealed[1].Plain, "X9.24-3": v.PINBlocks[0].Block,
	}
	for _, f := range v.Frames {
		if want[f.Name] == nil {
			want[f.Name] = f.Frame
		}
	}
	examples := regexp.MustCompile("(?s)```hex ([^\n]+)\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(examples) != 13 {
		t.Errorf("the page has %d examples", len(examples))
	}
	for _, m := range examples {
		var dump strings.Builder
		for line := range strings.Lines(m[2]) {
			code, _, _ := strings.Cut(line, "#")
			dump.WriteString(strings.Join(strings.Fields(code), ""))
		}
		if got := dump.String(); got != hex.EncodeToString(want[m[1]]) {
			t.Errorf("the example %q is\n%s, the vector\n%x", m[1], got, want[m[1]])
		}
	}
	says := func(text string, a ...any) {
		if text = fmt.Sprintf(text, a...); !strings.Contains(page, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
	says("at most %d bytes. Its signature", tether.MaxOffer)
	says("length of the body, 0 to %d", tether.MaxBody)
	says("The message is always %d bytes long", tether.CardSize)
	says("length of the data, 1 to %d", tether.MaxCardData)
	says("Export(%q, 16)", tether.PINKeyContext)
	for step, message := range map[tether.Step]int{tether.StepCard: tether.CardSize, tether.StepPIN: tether.PINSize} {
		says("| %d bytes | %d bytes | %d bytes |", message, tether.SuiteP256.SealedSize(step), tether.SuiteHybrid.SealedSize(step))
	}
	for n := uint8(1); n < 255; n++ {
		known := !strings.HasPrefix(tether.Fault(n).String(), "fault(")
		if row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %02X \| .* \| is over \|$`, n)).MatchString(page); row != tether.Fault(n).Ends() {
			t.Errorf("fault %02X: the page says that it ends a payment: %v", n, row)
		}
		if row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %02X \| .* \| (is over|goes on|there is none) \|$`, n)).MatchString(page); row != known {
			t.Errorf("fault %02X: the page knows it: %v", n, row)
		}
	}
	for kind, name := range map[tether.Type]string{tether.PhoneHello: "HELLO", tether.PhoneEnrol: "ENROL", tether.PhoneEnrolled: "ENROLLED", tether.PhoneOffer: "OFFER",
		tether.PhoneAskPIN: "ASKPIN", tether.PhoneEnd: "END", tether.ReaderHello: "HELLO", tether.ReaderEnrol: "ENROL", tether.ReaderCard: "CARD",
		tether.ReaderPIN: "PIN", tether.ReaderEnded: "ENDED", tether.ReaderError: "ERROR"} {
		says("| %02X | %s |", byte(kind), name)
	}
	for bit, what := range map[tether.Capabilities]string{tether.CanStripe: "magnetic stripes", tether.CanChip: "chips with contacts", tether.CanContactless: "chips\nwithout",
		tether.CanP256: "suite `p256`", tether.CanHybrid: "suite `mlkem768-x25519`", tether.CanPIN: "PINs"} {
		says("%04X %s", uint16(bit), what)
	}
}
