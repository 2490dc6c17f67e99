package gateway

import (
	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/receipt"
)

// receiptOf makes the receipt of a payment that a customer was asked about, as it
// stands now (system P, step P-12). Check is the address at which anybody can hold
// the receipt against the book; it may be empty.
func (h *HTTP) receiptOf(t *ledger.Tx, check string) (*receipt.Receipt, error) {
	s, err := h.o.Engine.Sale(t)
	if err != nil {
		return nil, err
	}
	r := &receipt.Receipt{Sale: *s, Outcome: receiptOutcome(t), RRN: t.ID.RRN(), CheckURL: check}
	switch t.Asks {
	case kessai.AsksNobody:
		r.Medium = t.Last4.String()
	case kessai.AsksReader:
		r.Medium = receipt.CardReader
	default:
		r.Medium = receipt.Phone
	}
	if t.Agreed != 0 || t.Asks == kessai.AsksNobody && t.Code.IsApproval() {
		r.ApprovalCode = t.ID.ApprovalCode()
	}
	switch {
	case t.Status == ledger.Captured: // a machine may have handed out less than it held
		done, ok := h.o.Book.Find(ledger.Ref{ID: t.Ended})
		if ok && done.Amount != t.Amount {
			r.Moved = kessai.Amount{Value: done.Amount, Currency: t.Currency}
			r.MovedForeign = kessai.Amount{Value: done.Foreign.Amount, Currency: done.Foreign.Currency}
		}
	case t.Status == ledger.Posted && t.Remaining() > 0 && t.Remaining() < t.Amount:
		r.Moved = kessai.Amount{Value: t.Remaining(), Currency: t.Currency}
	}
	return r, nil
}

// receiptOutcome says what came of a payment in the words of a receipt.
func receiptOutcome(t *ledger.Tx) receipt.Outcome {
	switch t.Status {
	case ledger.Waiting:
		return receipt.Waiting
	case ledger.Pending:
		return receipt.Held
	case ledger.Captured:
		return receipt.Approved
	case ledger.Released:
		return receipt.Released
	case ledger.Expired:
		return receipt.Expired
	case ledger.Cancelled:
		return receipt.Cancelled
	case ledger.Reversed:
		return receipt.Reversed
	case ledger.Posted:
		if t.Refunded > 0 && t.Remaining() == 0 {
			return receipt.Refunded
		}
		return receipt.Approved
	}
	return receipt.Declined
}
