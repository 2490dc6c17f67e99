package gateway

import (
	"bytes"

	"kessai"
	"kessai/authz"
	"kessai/pos/iso8583"
)

// original reads which earlier transaction is meant: by DE90 (original data
// elements), or by DE37 (RRN). DE90 comes first where both are there, because
// DE37 may be the terminal's own number. In a pre-authorization and a refund,
// which need no original, DE37 counts only together with DE38 (approval code).
func (t *isoMapper) original(r *authz.Request, m *iso8583.Message) isoFault {
	byNumber := len(m.Get(37)) > 0
	switch r.Kind {
	case kessai.PreAuthorization, kessai.Refund, kessai.PurseSettlement:
		byNumber = byNumber && !spaces(m.Get(38))
	case kessai.Completion, kessai.Reversal:
	default:
		return isoFault{}
	}
	named := true
	switch {
	case !blank(m.Get(90)):
		if !t.originalData(&r.Original.Attempt, m.Get(90), r) {
			return badField(90, "is not MTI, STAN, date and time, and acquirer of an earlier message")
		}
	case byNumber:
		if f := originalNumber(&r.Original.ID, m); f.code != 0 {
			return f
		}
	case r.Kind == kessai.PreAuthorization, r.Kind == kessai.Refund, r.Kind == kessai.PurseSettlement:
		named = false
	default:
		return badField(90, "is missing, and so is 37: one of them must name the original")
	}
	if r.Kind == kessai.PreAuthorization && named {
		r.Kind = kessai.Increment
	}
	return isoFault{}
}

// originalData reads DE90: MTI (4), STAN (6), transmission date and time (10),
// acquirer (11), forwarding institution (11).
func (t *isoMapper) originalData(a *authz.Attempt, b []byte, r *authz.Request) (ok bool) {
	if len(b) != 42 {
		return false
	}
	if a.MTI = [4]byte(b); !isoServed(a.MTI) {
		return false
	}
	if a.STAN, ok = kessai.ParseSTAN(b[4:10]); !ok {
		return false
	}
	if a.Transmitted, ok = nearestYear(b[10:20], r.Received); !ok {
		return false
	}
	a.Acquirer, ok = t.acquirer(b[20:31])
	return ok
}

// originalNumber reads DE37 as the RRN that the gateway gave to the original,
// and checks DE38, if it is there, against it.
func originalNumber(id *kessai.TxID, m *iso8583.Message) isoFault {
	rrn := m.Get(37)
	var ok bool
	if *id, ok = kessai.ParseTxID(string(rrn)); !ok || len(rrn) != 12 {
		return badField(37, "is no RRN that the gateway gave")
	}
	if code := m.Get(38); !spaces(code) && string(code) != id.ApprovalCode() {
		return badField(38, "does not belong to the RRN in field 37")
	}
	return isoFault{}
}

// blank reports whether a field says nothing: it is missing, empty, or nothing
// but zeros or spaces.
func blank(b []byte) bool { return len(bytes.Trim(b, "0 ")) == 0 }

// spaces reports whether DE38 says nothing. 000000 is an approval code like any
// other.
func spaces(b []byte) bool { return len(bytes.Trim(b, " ")) == 0 }

// amounts reads amount and currency, and what they make of the kind.
func (t *isoMapper) amounts(r *authz.Request, m *iso8583.Message) isoFault {
	f := isoAmount(r, m)
	if f.code != 0 {
		return f
	}
	switch r.Kind {
	case kessai.Reversal, kessai.BalanceInquiry, kessai.PurseInquiry, kessai.PurseSettlement:
	case kessai.Purchase, kessai.PreAuthorization:
		if r.Amount.Value == 0 {
			r.Kind = kessai.Verification
		}
	default:
		if f := missing(m, 4); f.code != 0 {
			return f
		}
		if r.Kind == kessai.Completion && r.Amount.Value == 0 {
			r.Kind = kessai.Release
		}
	}
	if r.Amount.Value != 0 && r.Amount.Currency == 0 {
		return badField(49, "is missing")
	}
	if r.Kind == kessai.CashBack {
		return cashBack(r, m)
	}
	return isoFault{}
}

// isoAmount reads DE4 and DE49; of a reversal DE95, whose first twelve digits
// are the actual amount: what is to stand of the original.
func isoAmount(r *authz.Request, m *iso8583.Message) isoFault {
	if m.Has(49) {
		var ok bool
		if r.Amount.Currency, ok = kessai.ParseCurrency(string(m.Get(49))); !ok {
			return badField(49, "is no currency of ISO 4217")
		}
	}
	field, digits := 4, m.Get(4)
	if r.Kind == kessai.Reversal {
		field, digits = 95, m.Get(95)
		if blank(digits) {
			return isoFault{}
		}
		digits = digits[:min(12, len(digits))]
	}
	if len(digits) == 0 && !m.Has(field) {
		return isoFault{}
	}
	v, ok := amountDigits(digits)
	if !ok {
		return badField(field, "is no amount of twelve digits")
	}
	r.Amount.Value = v
	return isoFault{}
}

// amountDigits reads exactly twelve digits.
func amountDigits(b []byte) (v int64, ok bool) {
	if len(b) != 12 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	return v, true
}

// cashBack reads the cash part from DE54: groups of account type (2), amount
// type (2), currency (3), sign (1) and amount (12), of which one has type 40.
func cashBack(r *authz.Request, m *iso8583.Message) isoFault {
	const size = 20
	b := m.Get(54)
	if len(b) == 0 {
		return badField(54, "is missing")
	}
	if len(b)%size != 0 {
		return badField(54, "is not made of groups of twenty")
	}
	found := false
	for ; len(b) > 0; b = b[size:] {
		if string(b[2:4]) != "40" {
			continue
		}
		currency, known := kessai.ParseCurrency(string(b[4:7]))
		v, ok := amountDigits(b[8:size])
		switch {
		case found:
			return badField(54, "names the cash part twice")
		case !known || currency != r.Amount.Currency:
			return badField(54, "is in another currency than field 49")
		case !ok || b[7] != 'C' && b[7] != 'D':
			return badField(54, "has no sign (C or D) and twelve digits")
		}
		r.CashBack, found = v, true
	}
	if !found {
		return badField(54, "has no amount of type 40 (cash part)")
	}
	return isoFault{}
}

// card reads the card from DE2 and DE14, or from track 2 (DE35). A follow-up and
// the transaction of a dialogue may leave it out. A number that is no card number is for the engine to
// decline, so that it is recorded.
func (t *isoMapper) card(r *authz.Request, m *iso8583.Message) isoFault {
	number, expiry := m.Get(2), m.Get(14)
	if m.Has(35) {
		var ok bool
		if number, expiry, ok = track2(m.Get(35), number, expiry); !ok {
			return badField(35, "is no track 2, or differs from fields 2 and 14")
		}
	}
	if len(expiry) > 0 {
		v, ok := yymm(expiry)
		if !ok {
			return badField(14, "is no month (YYMM)")
		}
		r.Expiry = v
	}
	if len(number) == 0 {
		if mediumOf(r) || r.Confirm != nil || r.Kind.FollowsUp() || r.Original != (authz.Original{}) || r.Dialogue != nil {
			return isoFault{}
		}
		return badField(2, "is missing, and so is 35: one of them must carry the card")
	}
	pan, err := kessai.ParsePAN(number)
	if pan.IsZero() {
		return badField(2, "is not made of digits")
	}
	r.Medium, r.Last4, r.BadPAN = t.hasher.Medium(pan), pan.Last4(), err != nil
	t.expect(kessai.TerminalID{}, r.Medium)
	return isoFault{}
}

// track2 reads the number and the expiry from track 2 (ISO/IEC 7813: number,
// separator, YYMM or another separator, and what does not matter here). It is
// false where track 2 says something else than the fields beside it.
func track2(b, number, expiry []byte) (n, e []byte, ok bool) {
	at := bytes.IndexAny(b, "=D")
	if at < 1 {
		return nil, nil, false
	}
	n, rest := b[:at], b[at+1:]
	if len(rest) > 0 && rest[0] != '=' && rest[0] != 'D' {
		if len(rest) < 4 {
			return nil, nil, false
		}
		e = rest[:4]
	}
	if len(number) > 0 && !bytes.Equal(n, number) || len(expiry) > 0 && len(e) > 0 && !bytes.Equal(e, expiry) {
		return nil, nil, false
	}
	if len(e) == 0 {
		e = expiry
	}
	return n, e, true
}

// yymm reads a month of the form YYMM.
func yymm(b []byte) (v uint16, ok bool) {
	if len(b) != 4 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint16(c-'0')
	}
	return v, v%100 >= 1 && v%100 <= 12
}
