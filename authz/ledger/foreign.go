package ledger

import (
	"fmt"
	"math/bits"

	"kessai"
)

// Foreign is the customer's side of a payment, where their account has another
// currency than the shop's. The zero value is none.
//
// Such a payment goes through two accounts that may go below zero: what the
// customer pays goes to exchange/<their currency>, and the shop gets its own from
// exchange/<its currency>. So the accounts of each currency still add up to zero,
// and what the exchange accounts hold is what there is to be changed.
type Foreign struct {
	Currency kessai.Currency
	Amount   int64 // minor units
}

// exchangeName names the account through which foreign payments in a currency go.
func exchangeName(c kessai.Currency) string { return "exchange/" + c.String() }

func (s *state) exchangeAccount(c kessai.Currency) AccountID { return s.accountNumber(exchangeName(c)) }

// share gives the part of whole that part/of of it is, rounded half up.
func share(whole, part, of int64) int64 {
	switch {
	case part <= 0 || whole <= 0 || of <= 0:
		return 0
	case part >= of:
		return whole
	}
	hi, lo := bits.Mul64(uint64(whole), uint64(part))
	lo, carry := bits.Add64(lo, uint64(of)/2, 0)
	q, _ := bits.Div64(hi+carry, lo, uint64(of)) // fits: it is no more than whole
	return int64(q)
}

// side gives what an amount of a payment is on the customer's side.
func (t *Tx) side(amount int64) int64 {
	if t.Foreign == (Foreign{}) {
		return amount
	}
	return share(t.Foreign.Amount, amount, t.Amount)
}

// part gives the customer's side of one step, from one amount of a payment to
// another. It depends on nothing but where the step begins and ends, so what is
// given back in parts adds up to the whole.
func (t *Tx) part(from, to int64) Foreign {
	if t.Foreign == (Foreign{}) {
		return Foreign{}
	}
	return Foreign{t.Foreign.Currency, t.side(to) - t.side(from)}
}

// back gives the customer's side of giving an amount back, and again of taking it
// once more.
func (t *Tx) back(amount int64) Foreign {
	gone := t.Reversed + t.Refunded
	return t.part(gone, gone+amount)
}

func (t *Tx) again(amount int64) Foreign {
	gone := t.Reversed + t.Refunded
	return t.part(gone-amount, gone)
}

// pay posts what a customer pays, which is covered, and giveBack what they get
// back. t says who and in which currency; theirs is the customer's side of the
// amount.
func (s *state) pay(t *Tx, theirs Foreign, amount int64) error {
	if theirs.Currency == 0 {
		return s.post(t.Customer, t.Shop, amount)
	}
	if err := s.postIfAny(t.Customer, s.exchangeAccount(theirs.Currency), theirs.Amount); err != nil {
		return err
	}
	return s.post(s.exchangeAccount(t.Currency), t.Shop, amount)
}

func (s *state) giveBack(t *Tx, theirs Foreign, amount int64) error {
	if theirs.Currency == 0 {
		return s.move(t.Shop, t.Customer, amount)
	}
	if err := s.postIfAny(s.exchangeAccount(theirs.Currency), t.Customer, theirs.Amount); err != nil {
		return err
	}
	return s.post(t.Shop, s.exchangeAccount(t.Currency), amount)
}

// postIfAny posts an amount that may have been rounded to nothing.
func (s *state) postIfAny(debit, credit AccountID, amount int64) error {
	if amount == 0 {
		return nil
	}
	return s.post(debit, credit, amount)
}

// canPay reports whether pay could be carried out, and moves something.
func (s *state) canPay(t *Tx, theirs Foreign, amount int64) bool {
	if theirs.Currency == 0 {
		return s.canMove(t.Customer, t.Shop, amount)
	}
	return s.canMoveAny(t.Customer, s.exchangeAccount(theirs.Currency), theirs.Amount) &&
		s.canMove(s.exchangeAccount(t.Currency), t.Shop, amount)
}

// canGiveBack does the same for giveBack.
func (s *state) canGiveBack(t *Tx, theirs Foreign, amount int64) bool {
	if theirs.Currency == 0 {
		return s.canMove(t.Shop, t.Customer, amount)
	}
	return s.canMoveAny(s.exchangeAccount(theirs.Currency), t.Customer, theirs.Amount) &&
		s.canMove(t.Shop, s.exchangeAccount(t.Currency), amount)
}

func (s *state) canMoveAny(debit, credit AccountID, amount int64) bool {
	return amount == 0 || s.canMove(debit, credit, amount)
}

// canTake reports whether an amount can be credited to an account.
func (s *state) canTake(id AccountID, amount int64) bool {
	_, err := kessai.Add(s.accounts.get(uint64(id)).balance, amount)
	return err == nil
}

// openExchange opens the accounts that a foreign payment goes through, where they
// are needed for the first time.
func (t *batch) openExchange(s *state, op *Op) error {
	theirs, ours := op.Foreign.Currency, op.Currency
	switch {
	case !op.Verdict.IsApproval():
		return nil
	case op.Kind == kessai.Claim:
		o, ok := s.find(op.Original)
		if ours = o.Currency; !ok || o.Status != Waiting || o.Customer != 0 {
			return nil
		}
	case op.Asks == kessai.AsksNobody:
		return nil
	}
	a := s.accounts.get(uint64(op.Customer))
	if a == nil || a.kind() != CustomerAccount || a.currency() != theirs || theirs == ours || !ours.Known() {
		return nil // it will be declined
	}
	for _, c := range [...]kessai.Currency{theirs, ours} {
		if s.exchangeAccount(c) != 0 {
			continue
		}
		spec := AccountSpec{Name: exchangeName(c), Kind: ClearingAccount, Currency: c}
		if err := s.openAccount(spec); err != nil {
			return err
		}
		t.body = appendAccount(t.body, &spec)
		t.count++
	}
	return nil
}

// checkSide refuses a step whose customer's side is not what it should be.
func (t *Tx) checkSide(want Foreign) error {
	if t.Foreign != want {
		return fmt.Errorf("the customer's side of transaction %d is %d, not %d", t.ID, t.Foreign.Amount, want.Amount)
	}
	return nil
}
