package tether

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"kessai"
)

// State is what a reader is doing. The numbers go over the wire.
type State uint8

// The states of a reader.
const (
	StateIdle    State = iota // nothing
	StateCode                 // the enrolment code is typed
	StateCard                 // shop and amount are shown, the card is waited for
	StateSent                 // the card was sent
	StatePIN                  // the PIN is typed
	StatePINSent              // the PIN was sent
	numStates
)

func (s State) String() string {
	return [...]string{"idle", "code", "card", "card sent", "pin", "pin sent", "unknown"}[min(s, numStates)]
}

// Capabilities are bits that say what a reader can do.
type Capabilities uint16

// What a reader can do.
const (
	CanStripe      Capabilities = 1 << iota // reads magnetic stripes
	CanChip                                 // reads chips with contacts
	CanContactless                          // reads chips without contacts
	CanP256                                 // [SuiteP256]
	CanHybrid                               // [SuiteHybrid]
	CanPIN                                  // has a PIN pad
)

// Fault is why a reader does not do what it was asked, or stopped doing it. The
// numbers go over the wire.
type Fault uint8

// The faults. From FaultInside on, the reader has given up what it was doing: it has
// destroyed the key that it had, and is idle.
const (
	FaultFrame     Fault = 1 // a frame was dropped, or its body is not as its type has it
	FaultType      Fault = 2 // a type of frame that it does not know
	FaultBusy      Fault = 3 // it has another offer
	FaultState     Fault = 4 // this does not fit what it is doing
	FaultStranger  Fault = 5 // it is not enrolled
	FaultOffer     Fault = 6 // the offer is not for it, not the gateway's, or not to be read
	FaultEnrol     Fault = 7 // the enrolment failed: what came back was not from one who knows the code
	FaultInside    Fault = 8 // something in the reader itself
	FaultCancelled Fault = 9 // the customer pressed cancel on the reader
	FaultTimeout   Fault = 10
	FaultRemoved   Fault = 11 // the card was taken out too early
	FaultCard      Fault = 12 // the card cannot be read
	numFaults      Fault = 13
)

var faultNames = [...]string{"", "bad frame", "unknown type", "busy", "wrong state", "not enrolled", "bad offer", "enrolment failed",
	"fault inside", "cancelled", "too late", "card removed", "card unreadable"}

func (f Fault) String() string {
	if f > 0 && f < numFaults {
		return faultNames[f]
	}
	return fmt.Sprintf("fault(%d)", uint8(f))
}

// Ends reports whether the reader has given up the payment.
func (f Fault) Ends() bool { return f >= FaultInside && f < numFaults }

// ParseFault reads the body of a [ReaderError] frame.
func ParseFault(body []byte) (Fault, error) {
	if len(body) != 1 || body[0] == 0 {
		return 0, ErrBody
	}
	return Fault(body[0]), nil
}

// Hello is what a reader says of itself: the body of a [ReaderHello] frame.
type Hello struct {
	Reader   kessai.ReaderID // follows from the key
	Key      ed25519.PublicKey
	Name     string // 1 to 32 bytes
	State    State
	Enrolled bool
	Can      Capabilities
}

// Encode gives the one encoding of the body.
func (h *Hello) Encode() ([]byte, error) {
	if err := (&Enrol{Key: h.Key, Name: h.Name}).check(); err != nil || h.Reader != kessai.ReaderIDOf(h.Key) || h.State >= numStates {
		return nil, ErrBody
	}
	b := append(append([]byte(nil), h.Reader[:]...), h.Key...)
	b = appendField(b, h.Name)
	b = append(b, byte(h.State), bit(h.Enrolled))
	return binary.BigEndian.AppendUint16(b, uint16(h.Can)), nil
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// DecodeHello reads what [Hello.Encode] gives, and refuses anything else.
func DecodeHello(body []byte) (*Hello, error) {
	r := reader{b: body}
	h := &Hello{Reader: kessai.ReaderID(r.take(8)), Key: append(ed25519.PublicKey(nil), r.take(32)...), Name: string(r.field())}
	h.State, h.Enrolled, h.Can = State(r.byte()), r.bool(), Capabilities(r.uint16())
	if !r.done() {
		return nil, ErrBody
	}
	if _, err := h.Encode(); err != nil {
		return nil, err
	}
	return h, nil
}

// Signed is an offer or a sealed message with its signature: the body of a
// [PhoneOffer], [ReaderCard] or [ReaderPIN] frame.
type Signed struct {
	Message   []byte
	Signature []byte // 64 bytes
}

// Encode gives the one encoding of the body.
func (s *Signed) Encode() ([]byte, error) {
	if len(s.Message) == 0 || len(s.Signature) != ed25519.SignatureSize || len(s.Message) > MaxBody-4-ed25519.SignatureSize {
		return nil, ErrBody
	}
	return appendField(appendField(nil, s.Message), s.Signature), nil
}

// DecodeSigned reads what [Signed.Encode] gives, and refuses anything else.
func DecodeSigned(body []byte) (*Signed, error) {
	r := reader{b: body}
	s := &Signed{Message: r.field(), Signature: r.field()}
	if len(body) > MaxBody || !r.done() || len(s.Message) == 0 || len(s.Signature) != ed25519.SignatureSize {
		return nil, ErrBody
	}
	return s, nil
}

// End is how a payment ended: the body of a [PhoneEnd] frame. It is the phone's word,
// for the display only.
type End struct {
	Code    kessai.ResponseCode // 0 to 99
	Settled bool
}

// Encode gives the one encoding of the body: two digits, and 1 where it is settled.
func (e *End) Encode() ([]byte, error) {
	if e.Code > 99 {
		return nil, ErrBody
	}
	return append(kessai.AppendDigits(nil, uint64(e.Code), 2), bit(e.Settled)), nil
}

// DecodeEnd reads what [End.Encode] gives, and refuses anything else.
func DecodeEnd(body []byte) (*End, error) {
	if len(body) != 3 || body[0] < '0' || body[0] > '9' || body[1] < '0' || body[1] > '9' || body[2] > 1 {
		return nil, ErrBody
	}
	return &End{kessai.ResponseCode((body[0]-'0')*10 + body[1] - '0'), body[2] == 1}, nil
}
