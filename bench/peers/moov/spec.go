package moov

import (
	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
	"github.com/moov-io/iso8583/padding"
	"github.com/moov-io/iso8583/prefix"
)

// spec is the message as it is on the wire: ISO 8583:1987 in ASCII, with a bitmap
// of 32 hexadecimal digits, as moov's own Spec87ASCII has it and as the gateway's
// dialect iso87-ascii reads it. It has the fields that the service knows.
var spec = &iso8583.MessageSpec{
	Name: "ISO 8583:1987 ASCII",
	Fields: map[int]field.Field{
		0: fixed(4, "MTI"),
		1: field.NewBitmap(&field.Spec{Length: 16, Description: "Bitmap",
			Enc: encoding.BytesToASCIIHex, Pref: prefix.Hex.Fixed, DisableAutoExpand: true}),
		2:  variable(19, prefix.ASCII.LL, "Primary account number"),
		3:  fixed(6, "Processing code"),
		4:  fixed(12, "Amount"),
		7:  fixed(10, "Transmission date and time"),
		11: fixed(6, "Systems trace audit number"),
		12: fixed(6, "Local time"),
		13: fixed(4, "Local date"),
		14: fixed(4, "Expiry"),
		22: fixed(3, "Entry mode"),
		25: fixed(2, "Condition code"),
		32: variable(11, prefix.ASCII.LL, "Acquirer"),
		35: variable(37, prefix.ASCII.LL, "Track 2"),
		37: fixed(12, "Retrieval reference number"),
		38: fixed(6, "Approval code"),
		39: fixed(2, "Response code"),
		41: padded(8, "Terminal"),
		42: padded(15, "Merchant"),
		49: fixed(3, "Currency"),
		54: variable(120, prefix.ASCII.LLL, "Additional amounts"),
		90: fixed(42, "Original data elements"),
		95: fixed(42, "Replacement amounts"),
	},
}

func fixed(n int, name string) field.Field {
	return variable(n, prefix.ASCII.Fixed, name)
}

func variable(n int, length prefix.Prefixer, name string) field.Field {
	return field.NewString(&field.Spec{Length: n, Description: name, Enc: encoding.ASCII, Pref: length})
}

func padded(n int, name string) field.Field {
	return field.NewString(&field.Spec{Length: n, Description: name, Enc: encoding.ASCII,
		Pref: prefix.ASCII.Fixed, Pad: padding.Right(' ')})
}

// message is what the service reads of a request and writes into an answer.
type message struct {
	PAN        string `iso8583:"2"`
	Processing string `iso8583:"3"`
	Amount     string `iso8583:"4"`
	Sent       string `iso8583:"7"`
	STAN       string `iso8583:"11"`
	Time       string `iso8583:"12"`
	Date       string `iso8583:"13"`
	Expiry     string `iso8583:"14"`
	Acquirer   string `iso8583:"32"`
	RRN        string `iso8583:"37"`
	Approval   string `iso8583:"38"`
	Code       string `iso8583:"39"`
	Terminal   string `iso8583:"41"`
	Merchant   string `iso8583:"42"`
	Currency   string `iso8583:"49"`
	Amounts    string `iso8583:"54"`
}

// unpack reads a message and gives its MTI. Its error says nothing of moov's,
// which may repeat what was sent.
func unpack(body []byte, m *message) (mti string, ok bool) {
	in := iso8583.NewMessage(spec)
	if in.Unpack(body) != nil || in.Unmarshal(m) != nil {
		return "", false
	}
	mti, err := in.GetMTI()
	return mti, err == nil && len(mti) == 4
}

func pack(mti string, m *message) ([]byte, error) {
	out := iso8583.NewMessage(spec)
	out.MTI(mti)
	if err := out.Marshal(m); err != nil {
		return nil, err
	}
	return out.Pack()
}
