package sim

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"kessai"
	"kessai/pos/tether"
)

// The table of states in docs/READER.md: what the reader says to each message in each
// state, and what it does then.
func TestReaderStates(t *testing.T) {
	const code, hello, ended = "code", "says 81", "says 86"
	fault := func(f tether.Fault) string { return fmt.Sprintf("fault %02x", uint8(f)) }
	busy, state, unknown := fault(tether.FaultBusy), fault(tether.FaultState), fault(tether.FaultType)
	// What it says, and its phase after that; nothing where it stays as it is.
	type does struct{ says, phase string }
	same, later := does{hello, ""}, does{"says 84", "card_sent"}
	for phase, table := range map[string][8]does{
		//           HELLO ENROL       ENROLLED                            the offer  another      ASKPIN       END           7F
		"idle":      {same, {"", code}, {state, ""}, {"", "card"}, {"", "card"}, {state, ""}, {ended, ""}, {unknown, ""}},
		"code":      {same, {"", code}, {state, ""}, {busy, ""}, {busy, ""}, {state, ""}, {ended, "over"}, {unknown, ""}},
		"enrols":    {same, {"", code}, {fault(tether.FaultEnrol), "over"}, {busy, ""}, {busy, ""}, {state, ""}, {ended, "over"}, {unknown, ""}},
		"card":      {same, {busy, ""}, {state, ""}, {"", "card"}, {busy, ""}, {state, ""}, {ended, "over"}, {unknown, ""}},
		"card_sent": {same, {busy, ""}, {state, ""}, later, {busy, ""}, {"", "pin"}, {ended, "over"}, {unknown, ""}},
		"pin":       {same, {busy, ""}, {state, ""}, later, {busy, ""}, {"", "pin"}, {ended, "over"}, {unknown, ""}},
		"pin_sent":  {same, {busy, ""}, {state, ""}, later, {busy, ""}, {"", "pin"}, {ended, "over"}, {unknown, ""}},
		"over":      {same, {"", code}, {state, ""}, {"", "card"}, {"", "card"}, {state, ""}, {ended, ""}, {unknown, ""}},
	} {
		for i, want := range table {
			t.Run(fmt.Sprintf("%s %d", phase, i), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := plugged(t)
					o, _ := e.offer(tether.SuiteP256)
					body, _ := e.signed(o)
					o, _ = e.offer(tether.SuiteP256)
					other, _ := e.signed(o)
					end, _ := (&tether.End{Code: kessai.TooLate}).Encode()
					e.reach(phase, body)
					said := []tether.Frame{
						{Type: tether.PhoneHello}, {Type: tether.PhoneEnrol}, {Type: tether.PhoneEnrolled, Body: make([]byte, 73)},
						{Type: tether.PhoneOffer, Body: body}, {Type: tether.PhoneOffer, Body: other},
						{Type: tether.PhoneAskPIN}, {Type: tether.PhoneEnd, Body: end}, {Type: 0x7f},
					}[i]
					e.say(said.Type, said.Body)
					synctest.Wait()
					got := ""
					if want.says != "" {
						f, err := e.frames.Next()
						if err != nil {
							t.Fatal(err)
						}
						if got = fmt.Sprintf("says %02x", byte(f.Type)); f.Type == tether.ReaderError {
							got = fmt.Sprintf("fault %02x", f.Body)
						}
						synctest.Wait()
					}
					v := e.r.View()
					if want.phase == "" {
						want.phase = phase
					}
					if got != want.says || v.Phase != want.phase {
						t.Errorf("at %s, message %d: it %s and is at %s; want %q and %s", phase, i, got, v.Phase, want.says, want.phase)
					}
					if key := strings.Contains("card card_sent pin pin_sent", v.Phase); v.Key != key {
						t.Errorf("at %s it has a key: %v", v.Phase, v.Key)
					}
					// A frame that nobody was to hear would be here.
					e.say(tether.PhoneHello, nil)
					e.hear(tether.ReaderHello)
				})
			})
		}
	}
}

// reach brings the reader to a phase.
func (e *end) reach(phase string, offer []byte) {
	e.t.Helper()
	synctest.Wait()
	switch phase {
	case "idle":
	case "code", "enrols":
		e.say(tether.PhoneEnrol, nil)
		synctest.Wait()
		if phase == "enrols" {
			e.r.Type(strings.Repeat("7", 24) + "E")
			e.hear(tether.ReaderEnrol)
		}
	default:
		e.say(tether.PhoneOffer, offer)
		synctest.Wait()
		if phase == "over" {
			e.r.Press(KeyCancel)
			e.fault(tether.FaultCancelled)
		} else if phase != "card" {
			e.r.Insert(stripe)
			e.hear(tether.ReaderCard)
		}
		if strings.HasPrefix(phase, "pin") {
			e.say(tether.PhoneAskPIN, nil)
			synctest.Wait()
		}
		if phase == "pin_sent" {
			e.r.Type("1234E")
			e.hear(tether.ReaderPIN)
		}
	}
	if v := e.r.View(); v.Phase != phase {
		e.t.Fatalf("the reader is at %s, want %s", v.Phase, phase)
	}
}
