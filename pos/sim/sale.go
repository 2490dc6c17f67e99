package sim

import (
	"fmt"
	"time"

	"kessai"
	"kessai/pos/iso8583"
)

// Sale is what a terminal knows when it asks. Its methods make the messages of
// docs/ISO8583.md; a zero field of the sale is left out of them.
type Sale struct {
	Terminal string     // DE41
	Merchant string     // DE42
	Acquirer string     // DE32
	PAN      kessai.PAN // DE2
	Expiry   string     // DE14, YYMM
	Amount   int64      // DE4, minor units
	Currency kessai.Currency
	Dialogue string      // DE48, element DI: the dialogue that the message belongs to
	STAN     kessai.STAN // DE11
	Time     time.Time   // DE7 in UTC; DE12 and DE13 in its own location
}

// Original names an earlier transaction: by its retrieval reference number, or,
// where that is empty, by what its request said.
type Original struct {
	RRN          string // DE37 of the answer
	ApprovalCode string // DE38 of the answer; goes with the RRN where it is needed
	MTI          iso8583.MTI
	STAN         string // DE11 of the request
	Transmitted  string // DE7 of the request
	Acquirer     string // DE32 of the request
}

// ByRequest names a transaction by its request (DE90). It works when no answer
// ever came.
func ByRequest(request *iso8583.Message) Original {
	mti := request.MTI
	mti[3] &^= 1 // a repeat goes by the name of its first sending
	return Original{MTI: mti, STAN: string(request.Get(11)), Transmitted: string(request.Get(7)), Acquirer: string(request.Get(32))}
}

// ByReply names a transaction by its answer (DE37, DE38).
func ByReply(reply *iso8583.Message) Original {
	return Original{RRN: string(reply.Get(37)), ApprovalCode: string(reply.Get(38))}
}

func (o Original) set(m *iso8583.Message) {
	if o.RRN == "" {
		m.SetString(90, fmt.Sprintf("%s%6s%10s%011s%011d", o.MTI, o.STAN, o.Transmitted, o.Acquirer, 0))
		return
	}
	m.SetString(37, o.RRN)
	if o.ApprovalCode != "" {
		m.SetString(38, o.ApprovalCode)
	}
}

// Purchase asks for a sale: 0200, processing code 00.
func (s Sale) Purchase() *iso8583.Message { return s.financial("0200", "000000", true) }

// CashBack asks for a sale of Amount, of which cash is handed over in notes and
// coins: 0200, processing code 09.
func (s Sale) CashBack(cash int64) *iso8583.Message {
	m := s.financial("0200", "090000", true)
	m.SetString(54, fmt.Sprintf("0040%03dD%012d", s.Currency, cash))
	return m
}

// Refund gives money back: 0200, processing code 20. The original may be zero.
func (s Sale) Refund(o Original) *iso8583.Message {
	m := s.financial("0200", "200000", true)
	if o != (Original{}) {
		o.set(m)
	}
	return m
}

// Balance asks what the customer can spend: 0100, processing code 31.
func (s Sale) Balance() *iso8583.Message { return s.financial("0100", "310000", false) }

// Verify asks whether the card is good: 0100, processing code 00, amount zero.
func (s Sale) Verify() *iso8583.Message {
	s.Amount = 0
	return s.financial("0100", "000000", true)
}

// Open opens a dialogue: 0100, processing code 33. [Dialogue] reads its number from
// the answer.
func (s Sale) Open() *iso8583.Message { return s.financial("0100", "330000", false) }

// Kept tells that the terminal has kept the card, as an answer with the code had
// told it to (04, 41 or 43): 0120, processing code 33.
func (s Sale) Kept(code string) *iso8583.Message {
	m := s.financial("0120", "330000", false)
	m.SetString(39, code)
	return m
}

// Dialogue gives the number of the dialogue that an answer opens; empty where it
// opens none.
func Dialogue(reply *iso8583.Message) string {
	number, _, _ := iso8583.Private(reply.Get(48), iso8583.PrivateDialogue)
	return string(number)
}

// PreAuth asks for a hold: 0100, processing code 00.
func (s Sale) PreAuth() *iso8583.Message { return s.financial("0100", "000000", true) }

// Increment adds Amount to a hold: a pre-authorization that names it.
func (s Sale) Increment(hold Original) *iso8583.Message { return s.follow("0100", hold) }

// Complete posts Amount of a hold and ends it: 0220.
func (s Sale) Complete(hold Original) *iso8583.Message { return s.follow("0220", hold) }

// Release ends a hold without money: a completion of amount zero.
func (s Sale) Release(hold Original) *iso8583.Message {
	s.Amount = 0
	return s.follow("0220", hold)
}

// Reverse undoes a transaction, whose amount Amount is, so that only remaining
// stands; zero undoes all of it: 0400.
func (s Sale) Reverse(o Original, remaining int64) *iso8583.Message {
	m := s.follow("0400", o)
	if remaining != 0 {
		m.SetString(95, fmt.Sprintf("%012d%012dD%08dD%08d", remaining, 0, 0, 0))
	}
	return m
}

// The network management information codes, DE70.
const (
	signOn  = "001"
	signOff = "002"
	echo    = "301"
)

// SignOn tells the gateway that the terminal begins to work: 0800, 001.
func (s Sale) SignOn() *iso8583.Message { return s.network(signOn) }

// SignOff tells the gateway that the terminal stops: 0800, 002.
func (s Sale) SignOff() *iso8583.Message { return s.network(signOff) }

// Echo asks whether the gateway is there: 0800, 301.
func (s Sale) Echo() *iso8583.Message { return s.network(echo) }

// Repeat gives the message as it is sent again: 0201 for 0200, otherwise the same.
func Repeat(m *iso8583.Message) *iso8583.Message {
	r := &iso8583.Message{MTI: m.MTI, SecondaryBitmap: m.SecondaryBitmap}
	r.MTI[3] |= 1
	for f := range m.Fields {
		r.Set(f, m.Get(f))
	}
	return r
}

func (s Sale) network(code string) *iso8583.Message {
	m := s.begin("0800")
	m.SetString(70, code)
	return m
}

func (s Sale) follow(mti string, o Original) *iso8583.Message {
	m := s.financial(mti, "000000", true)
	o.set(m)
	return m
}

// financial begins a message about money. Where amount is false, the message
// carries neither amount nor currency.
func (s Sale) financial(mti, processing string, amount bool) *iso8583.Message {
	m := s.begin(mti)
	m.SetString(3, processing)
	m.SetString(12, s.Time.Format("150405"))
	m.SetString(13, s.Time.Format("0102"))
	if amount {
		m.SetString(4, fmt.Sprintf("%012d", s.Amount))
	}
	if amount && s.Currency != 0 {
		m.SetString(49, fmt.Sprintf("%03d", s.Currency))
	}
	optional := [...]struct {
		field int
		value string
	}{{2, s.PAN.Reveal()}, {14, s.Expiry}, {32, s.Acquirer}, {42, s.Merchant}}
	for _, o := range optional {
		if o.value != "" {
			m.SetString(o.field, o.value)
		}
	}
	if s.Dialogue != "" {
		m.Set(48, iso8583.AppendPrivate(nil, iso8583.PrivateDialogue, []byte(s.Dialogue)))
	}
	return m
}

func (s Sale) begin(mti string) *iso8583.Message {
	m := &iso8583.Message{MTI: iso8583.MTI([]byte(mti))}
	m.SetString(7, s.Time.UTC().Format("0102150405"))
	m.SetString(11, s.STAN.String())
	if s.Terminal != "" {
		m.SetString(41, fmt.Sprintf("%-8s", s.Terminal))
	}
	return m
}
