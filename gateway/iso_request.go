package gateway

import (
	"bytes"
	"strings"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/iso8583"
)

// isoFault says why a message is refused by the wire itself. The zero value
// means that nothing is wrong. Why is a fixed text and holds nothing of the
// message.
type isoFault struct {
	code  kessai.ResponseCode
	field int
	why   string
}

func badField(field int, why string) isoFault {
	return isoFault{kessai.FormatError, field, why}
}

// missing reports the first of the fields that is not there.
func missing(m *iso8583.Message, fields ...int) isoFault {
	for _, f := range fields {
		if len(m.Get(f)) == 0 {
			return badField(f, "is missing")
		}
	}
	return isoFault{}
}

// isoMapper turns messages into requests. docs/ISO8583.md says the same for
// those who write terminals.
type isoMapper struct {
	hasher *kessai.MediumHasher
	own    string // the gateway's acquirer ID without leading zeros

	expect func(kessai.TerminalID, kessai.MediumID) // see [authz.Engine.Expect]
}

func newISOMapper(h *kessai.MediumHasher, own kessai.AcquirerID) isoMapper {
	return isoMapper{h, strings.TrimLeft(own.String(), "0"), func(kessai.TerminalID, kessai.MediumID) {}}
}

// request reads a financial message. It judges form only: what may be asked is
// for the engine.
func (t *isoMapper) request(r *authz.Request, m *iso8583.Message, now time.Time) isoFault {
	*r = authz.Request{Wire: ledger.WireISO, Received: now}
	if !isoServed(m.MTI) {
		return isoFault{code: kessai.InvalidTransaction}
	}
	if f := missing(m, 3, 7, 11, 41); f.code != 0 {
		return f
	}
	if r.Kind = isoKind(m.MTI, m.Get(3)); r.Kind == kessai.KindNone {
		return isoFault{code: kessai.InvalidTransaction}
	}
	for _, step := range isoSteps {
		if f := step(t, r, m); f.code != 0 {
			return f
		}
	}
	return isoFault{}
}

// isoSteps are the parts of reading a financial message. The original comes
// before the amounts, because it takes both to tell the kind.
var isoSteps = [...]func(*isoMapper, *authz.Request, *iso8583.Message) isoFault{
	(*isoMapper).source, (*isoMapper).original, (*isoMapper).amounts, (*isoMapper).private, (*isoMapper).card,
}

// isoServed reports whether the message type is one of those that carry
// transactions: version 1987, from an acquirer, perhaps a repeat.
func isoServed(t iso8583.MTI) bool {
	if t[3] > '1' {
		return false
	}
	switch string(t[:3]) {
	case "010", "012", "020", "022", "040", "042":
		return true
	}
	return false
}

// isoKind tells the kind by message type and processing code. What the amount
// and the original make of it comes later.
func isoKind(t iso8583.MTI, processing []byte) kessai.Kind {
	if t[1] == '4' { // a reversal repeats the processing code of its original
		return kessai.Reversal
	}
	if len(processing) != 6 {
		return kessai.KindNone
	}
	if isoOnPurse(processing) {
		return isoPurseKind(t, processing)
	}
	switch string(t[1:3]) + string(processing[:2]) {
	case "1000":
		return kessai.PreAuthorization
	case "2000":
		return kessai.Purchase
	case "2009":
		return kessai.CashBack
	case "2020":
		return kessai.Refund
	case "1031", "2031":
		return kessai.BalanceInquiry
	case "1200", "2200":
		return kessai.Completion
	}
	return kessai.KindNone
}

// source reads who asks, and what makes the message unique.
func (t *isoMapper) source(r *authz.Request, m *iso8583.Message) (f isoFault) {
	var err error
	if r.Terminal, err = kessai.ParseTerminalID(m.Get(41)); err != nil {
		return badField(41, "is no terminal ID")
	}
	t.expect(r.Terminal, kessai.MediumID{})
	if m.Has(42) {
		if r.Merchant, err = kessai.ParseMerchantID(m.Get(42)); err != nil {
			return badField(42, "is no merchant ID")
		}
	}
	if m.Has(32) {
		var ok bool
		if r.Attempt.Acquirer, ok = t.acquirer(m.Get(32)); !ok {
			return badField(32, "is no acquirer ID")
		}
	}
	var ok bool
	if r.Attempt.STAN, ok = kessai.ParseSTAN(m.Get(11)); !ok {
		return badField(11, "is no number of six digits")
	}
	if r.Attempt.Transmitted, ok = nearestYear(m.Get(7), r.Received); !ok {
		return badField(7, "is no date and time (MMDDhhmmss)")
	}
	r.Attempt.MTI = m.MTI
	return f
}

// acquirer reads an acquirer ID without leading zeros, because DE90 fills with
// zeros what DE32 does not. The gateway's own ID becomes the zero ID, as does a
// missing one, so that both name the same attempt.
func (t *isoMapper) acquirer(digits []byte) (id kessai.AcquirerID, ok bool) {
	digits = bytes.TrimLeft(digits, "0")
	if len(digits) == 0 || string(digits) == t.own {
		return id, true
	}
	id, err := kessai.ParseAcquirerID(digits)
	return id, err == nil
}

// nearestYear reads a date and time without a year (MMDDhhmmss, UTC) as the one
// nearest to now. It is false where there is no such date within a year.
func nearestYear(b []byte, now time.Time) (best time.Time, ok bool) {
	if len(b) != 10 {
		return best, false
	}
	var n [5]int
	for i := range n {
		hi, lo := b[2*i]-'0', b[2*i+1]-'0'
		if hi > 9 || lo > 9 {
			return best, false
		}
		n[i] = int(hi)*10 + int(lo)
	}
	if n[2] > 23 || n[3] > 59 || n[4] > 59 {
		return best, false
	}
	now = now.UTC()
	// Within four months there is no doubt about the year.
	if months := n[0] - int(now.Month()); months >= -4 && months <= 4 {
		at := time.Date(now.Year(), time.Month(n[0]), n[1], n[2], n[3], n[4], 0, time.UTC)
		if int(at.Month()) == n[0] && at.Day() == n[1] {
			return at, true
		}
	}
	for year := now.Year() - 1; year <= now.Year()+1; year++ {
		at := time.Date(year, time.Month(n[0]), n[1], n[2], n[3], n[4], 0, time.UTC)
		if int(at.Month()) != n[0] || at.Day() != n[1] {
			continue // 31 April, or 29 February of a common year
		}
		if !ok || at.Sub(now).Abs() < best.Sub(now).Abs() {
			best, ok = at, true
		}
	}
	return best, ok
}
