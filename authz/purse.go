package authz

import (
	"errors"

	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/purse"
)

// PurseOptions says how e-money is served.
type PurseOptions struct {
	Master *purse.Master // the key that media's keys are derived from; nil: e-money is not served
	Most   int64         // minor units that may be on one medium; zero: kessai.MaxAmount
}

// decidePurse judges what is asked about the value on a medium, apart from who
// asks and from what the medium says.
func decidePurse(r *Request) kessai.ResponseCode {
	writes := r.Kind != kessai.PurseInquiry && r.Kind != kessai.PurseSettlement
	switch {
	case r.Purse == nil:
		return kessai.FormatError
	case writes && r.Amount.Value == 0, r.Kind == kessai.PurseInquiry && r.Amount.Value != 0:
		return kessai.InvalidAmount
	}
	return kessai.Approved
}

// onPurse adds to an operation what the medium says of the value on it (system V,
// step V-7), whatever the operation is: it may end what is pending there. Whether
// it can be true is for the book to decide, except for what takes the medium's key.
func (e *Engine) onPurse(op *ledger.Op, r *Request) {
	s, master := r.Purse, e.o.Purse.Master
	if master == nil {
		if r.Kind.OnPurse() && op.Verdict.IsApproval() {
			op.Verdict = kessai.InvalidTransaction
		}
		return
	}
	op.Purse = &ledger.Purse{
		Most: e.o.Purse.Most, Counter: s.Counter, Balance: s.Balance, Currency: s.Currency, Last: s.Last,
	}
	if r.Kind == kessai.PurseSettlement && op.Medium.IsZero() {
		op.Medium = s.Medium
	}
	switch {
	case !master.Key(s.Medium).VerifyState(s):
		op.Purse.Refusal = ledger.PurseMAC
		return
	case op.Medium != s.Medium && !op.Medium.IsZero():
		op.Purse.Refusal = ledger.PurseMedium
		return
	}
	op.Purse.Account = e.book.PurseAccount(s.Medium)
	if op.Purse.Account != 0 || r.Kind != kessai.Load || !op.Verdict.IsApproval() {
		return
	}
	var err error
	if op.Purse.Account, err = e.openPurse(op, s); err != nil {
		op.Verdict = kessai.SystemMalfunction // nothing was done, and it leaves no name
	}
}

// openPurse opens the account of a medium that is loaded for the first time, in
// the currency of the customer's account. Opening it again does no harm. Where
// the currencies differ there is none, and the book refuses the load.
func (e *Engine) openPurse(op *ledger.Op, s *purse.State) (ledger.AccountID, error) {
	customer, ok := e.book.Account(op.Customer)
	if !ok || customer.Currency != op.Currency || s.Currency != op.Currency {
		return 0, nil
	}
	ids, err := e.book.OpenAccounts([]ledger.AccountSpec{{
		Name: ledger.PurseName(s.Medium), Kind: ledger.EMoneyAccount, Currency: op.Currency,
	}})
	if err != nil {
		return 0, err
	}
	if len(ids) != 1 {
		return 0, errors.New("no account was opened")
	}
	return ids[0], nil
}

// order makes what a medium is to write for a transaction. It follows from the
// transaction alone, so that a repeat gets the very same.
func (e *Engine) order(t *ledger.Tx) *purse.Order {
	operation, ok := purse.OperationOf(t.Kind)
	if !ok || t.Code != kessai.Approved || e.o.Purse.Master == nil {
		return nil
	}
	o := &purse.Order{
		Medium: t.Medium, Counter: t.Counter, Balance: t.Available, Currency: t.Currency,
		Transaction: t.ID, Operation: operation, Amount: t.Amount,
	}
	e.o.Purse.Master.Key(t.Medium).SignOrder(o)
	return o
}
