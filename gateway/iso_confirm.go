package gateway

import (
	"bytes"
	"strconv"

	"kessai"
	"kessai/authz"
	"kessai/pos/iso8583"
	"kessai/pos/sale"
)

// How a terminal has the customer confirm, in the element CF of DE48.
const (
	isoConfirmWaits  = "P" // the customer's phone is asked; the answer comes when they have decided
	isoConfirmNumber = "N" // the same, but the first answer is 09 at once, with the number to compare
	isoConfirmReader = "R" // the customer pays with a card in the reader on their phone; the answer comes when that has ended
	isoConfirmClaim  = "Q" // whoever claims it with a phone; the first answer is 09 at once, with what the QR code says
)

// confirm reads who is to confirm a payment, and what is sold.
func (t *isoMapper) confirm(r *authz.Request, m *iso8583.Message) isoFault {
	var element [4][]byte
	var given [4]bool
	for i, tag := range [...]string{iso8583.PrivateConfirm, iso8583.PrivateCustomer, iso8583.PrivateReference, iso8583.PrivateItems} {
		var err error
		if element[i], given[i], err = iso8583.Private(m.Get(48), tag); err != nil {
			return badField(48, whyPrivate)
		}
	}
	switch {
	case r.Kind == kessai.Reversal: // it may repeat what its original said
		return isoFault{}
	case !given[0] && (given[1] || given[2] || given[3]):
		return badField(48, "has a customer (CU), a reference (TI) or items (IT), and nothing that the customer is to confirm (CF)")
	case !given[0]:
		return isoFault{}
	}
	c := &authz.Confirm{Customer: string(element[1]), Reference: string(element[2])}
	switch string(element[0]) {
	case isoConfirmWaits, isoConfirmNumber:
		c.Asks = kessai.AsksPhone
	case isoConfirmReader:
		c.Asks = kessai.AsksReader
	case isoConfirmClaim:
		c.Asks = kessai.AsksClaim
	default:
		return badField(48, "has a way to confirm (CF) that is none of P, N, R and Q")
	}
	switch {
	case r.Kind != kessai.Purchase && r.Kind != kessai.PreAuthorization:
		return badField(48, "asks for a customer's word (CF) on what none is asked about: no purchase and no pre-authorization, or of no amount")
	case m.Has(2) || m.Has(35) || r.Dialogue != nil || r.Purse != nil:
		return badField(48, "asks for a customer's word (CF) beside a card, a dialogue or a medium's state: give one of them")
	case (c.Asks == kessai.AsksClaim) == (len(element[1]) > 0):
		return badField(48, "names no customer (CU) to ask, or names one where whoever claims the payment is asked")
	case !isCustomer(c.Customer):
		return badField(48, "has a customer (CU) that is neither an ID of 1 to 40 printable characters nor a phone number of + and 7 to 15 digits")
	}
	var f isoFault
	if c.Items, f = isoItems(element[3]); f.code == 0 {
		r.Confirm = c
	}
	return f
}

// isoItems reads the lines of a sale: one after another with ^ between them, and in
// each code, quantity, price and name with | between them. What stands at the end
// may be left out.
func isoItems(b []byte) (items []sale.Item, f isoFault) {
	if len(b) == 0 {
		return nil, f
	}
	if n := bytes.Count(b, []byte("^")); n >= sale.MaxItems {
		return nil, badField(48, "has more than 100 lines (IT)")
	}
	for line := range bytes.SplitSeq(b, []byte("^")) {
		parts := bytes.Split(line, []byte("|"))
		if len(parts) < 2 || len(parts) > 4 {
			return nil, badField(48, "has a line (IT) that is not code|quantity|price|name")
		}
		it := sale.Item{Code: string(parts[0]), Tax: sale.TaxUnknown}
		var ok bool
		if it.Quantity, ok = isoNumber(parts[1], 6); !ok || it.Quantity < 1 {
			return nil, badField(48, "has a line (IT) whose quantity is not 1 to 999999")
		}
		if len(parts) > 2 && len(parts[2]) > 0 {
			if it.Price, ok = isoNumber(parts[2], 12); !ok {
				return nil, badField(48, "has a line (IT) whose price is no number of at most twelve digits")
			}
		}
		if len(parts) > 3 {
			it.Name = string(parts[3])
		}
		items = append(items, it)
	}
	return items, f
}

// isoNumber reads a number of at most so many digits, which may be negative.
func isoNumber(b []byte, digits int) (v int64, ok bool) {
	plain := bytes.TrimPrefix(b, []byte("-"))
	if len(plain) == 0 || len(plain) > digits || !isDigits(string(plain)) {
		return 0, false
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	return v, err == nil
}

// confirming gives what an answer's DE48 says of a payment that a customer is asked
// about: nil for nothing.
func (s *ISO) confirming(reply *authz.Reply) (private []byte) {
	if reply == nil {
		return nil
	}
	if reply.Refusal != nil {
		return iso8583.AppendPrivate(nil, iso8583.PrivateText, []byte(reply.Refusal.Why))
	}
	if reply.Code != kessai.RequestInProgress {
		return nil
	}
	if n := s.o.Codes.number(&reply.Tx); n != "" {
		private = iso8583.AppendPrivate(private, iso8583.PrivateNumber, []byte(n))
	}
	if _, url := s.o.Codes.claim(&reply.Tx); url != "" {
		private = iso8583.AppendPrivate(private, iso8583.PrivateQR, []byte(url))
	}
	return private
}
