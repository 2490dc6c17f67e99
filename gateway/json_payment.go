package gateway

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"kessai"
	"kessai/authz/ledger"
)

// jsonPayment is a transaction as JSON callers see it. Amounts without a
// currency of their own are minor units in the currency of amount.
type jsonPayment struct {
	ID           string         `json:"id"`
	Kind         string         `json:"kind"`
	Status       string         `json:"status"`
	ResponseCode string         `json:"response_code"`
	ResponseText string         `json:"response_text"`
	ApprovalCode string         `json:"approval_code,omitzero"`
	RRN          string         `json:"rrn"`
	Merchant     string         `json:"merchant"`
	Terminal     string         `json:"terminal,omitzero"`
	STAN         string         `json:"stan,omitzero"`
	Transmitted  string         `json:"transmitted_at,omitzero"`
	Requested    *jsonAmount    `json:"requested,omitzero"`
	Amount       *jsonAmount    `json:"amount,omitzero"`
	CashBack     int64          `json:"cash_back,omitzero"`
	Reversed     int64          `json:"reversed"`
	Refunded     int64          `json:"refunded"`
	Held         int64          `json:"held"`
	Available    *int64         `json:"available,omitzero"`
	Medium       *jsonMasked    `json:"medium,omitzero"`
	PurseOrder   string         `json:"purse_order,omitzero"`
	Original     string         `json:"original,omitzero"`
	EndedBy      string         `json:"ended_by,omitzero"`
	Confirm      string         `json:"confirm,omitzero"`
	Number       string         `json:"number,omitzero"`
	Claim        *jsonClaim     `json:"claim,omitzero"`
	Reference    string         `json:"reference,omitzero"`
	Items        jsontext.Value `json:"items,omitzero"`
	CreatedAt    string         `json:"created_at"`
	ConfirmBy    string         `json:"confirm_by,omitzero"`
	HoldExpires  string         `json:"hold_expires_at,omitzero"`
}

// jsonMasked is a card as it may be shown.
type jsonMasked struct {
	PAN string `json:"pan"`
}

// jsonList is the answer to GET /v1/payments.
type jsonList struct {
	Payments   []jsonPayment `json:"payments"`
	NextCursor string        `json:"next_cursor,omitzero"`
}

// jsonPaymentOf shows a transaction. Note holds its item lines, nil for none.
func jsonPaymentOf(t *ledger.Tx, note []byte) jsonPayment {
	p := jsonPayment{
		ID: t.ID.String(), Kind: t.Kind.String(), Status: jsonStatus(t), RRN: t.ID.RRN(),
		ResponseCode: t.Code.String(), ResponseText: t.Code.Text(),
		Merchant: t.Merchant.String(), Terminal: t.Terminal.String(),
		CashBack: t.CashBack, Reversed: t.Reversed, Refunded: t.Refunded, Held: t.Held,
		Items: note, CreatedAt: jsonTime(t.Time),
	}
	if t.Code.IsApproval() {
		p.ApprovalCode = t.ID.ApprovalCode()
		if t.Kind == kessai.BalanceInquiry || t.Kind == kessai.PurseInquiry || t.Kind == kessai.PurseSettlement {
			p.Available = &t.Available
		}
	}
	if t.STAN != 0 || t.Wire == ledger.WireISO { // over JSON it may be left out
		p.STAN = t.STAN.String()
	}
	if t.Transmitted != 0 {
		p.Transmitted = time.Unix(t.Transmitted, 0).UTC().Format(time.RFC3339)
	}
	if t.Currency != 0 {
		p.Requested = &jsonAmount{t.Requested, t.Currency.String()}
		p.Amount = &jsonAmount{t.Amount, t.Currency.String()}
	}
	if t.Last4 != (kessai.Last4{}) {
		p.Medium = &jsonMasked{t.Last4.String()}
	}
	if t.Original != 0 {
		p.Original = t.Original.String()
	}
	if t.Ended != 0 {
		p.EndedBy = t.Ended.String()
	}
	if t.Deadline != 0 && t.Kind == kessai.PreAuthorization {
		p.HoldExpires = jsonTime(t.Deadline)
	}
	return p
}

// jsonTime writes Unix nanoseconds as RFC 3339 in UTC, to the millisecond.
func jsonTime(nanos int64) string {
	return time.Unix(0, nanos).UTC().Format("2006-01-02T15:04:05.000Z")
}

// jsonStatuses lists every status that a payment can have, in the order in which
// the API page explains them.
var jsonStatuses = []string{
	"approved", "declined", "authorized", "captured", "released", "expired", "reversed", "refunded",
	"waiting", "cancelled",
}

// jsonStatus says what has become of a transaction in the words of JSON callers,
// who ask about a payment and not about the book.
func jsonStatus(t *ledger.Tx) string {
	switch t.Status {
	case ledger.Declined:
		return "declined"
	case ledger.Pending:
		return "authorized"
	case ledger.Captured:
		return "captured"
	case ledger.Released:
		return "released"
	case ledger.Expired:
		return "expired"
	case ledger.Reversed:
		return "reversed"
	case ledger.Waiting:
		return "waiting"
	case ledger.Cancelled:
		return "cancelled"
	}
	if t.Refunded > 0 && t.Remaining() == 0 {
		return "refunded"
	}
	return "approved"
}
