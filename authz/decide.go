package authz

import (
	"kessai"
	"kessai/cache"
)

// Decide judges a request by what is known. It is pure: no I/O, no clock, no
// randomness; the same request and facts always give the same code. Approved
// means only that nothing speaks against it here; the book has the last word.
func Decide(r *Request, f *Facts) kessai.ResponseCode {
	if f.Unread {
		return kessai.SystemMalfunction
	}
	if code := decideAsker(r, f); code != kessai.Approved {
		return code
	}
	if f.NoDialogue {
		return kessai.NoSuchRecord
	}
	if code := decideForm(r, f); code != kessai.Approved {
		return code
	}
	switch r.Kind {
	case kessai.Completion, kessai.Release, kessai.Reversal, kessai.PurseSettlement, kessai.Cancellation:
		return kessai.Approved // what was approved is carried out, whatever became of the card
	case kessai.Refund:
		if !r.standsAlone() {
			return kessai.Approved
		}
	}
	switch {
	case r.Confirm != nil:
		return decideConfirm(r, f)
	case f.Confirmed:
		return kessai.InvalidTransaction // they were not asked about more
	}
	return decideMedium(r, f)
}

// standsAlone reports whether the request stands alone: it names no original.
func (r *Request) standsAlone() bool { return r.Original.ID == 0 && r.Original.Attempt.IsZero() }

// givesBack reports whether the request only gives the customer back what was
// taken or held, or tells what a medium wrote. That is never refused to a merchant
// or terminal that was blocked meanwhile.
func (r *Request) givesBack() bool {
	return r.Kind == kessai.Reversal || r.Kind == kessai.Release || r.Kind == kessai.PurseSettlement || r.Kind == kessai.Cancellation
}

// decideAsker judges merchant and terminal.
func decideAsker(r *Request, f *Facts) kessai.ResponseCode {
	t := &f.Terminal
	if r.Terminal.IsZero() {
		// The merchant itself asks, known by its key: follow-ups only.
		if r.standsAlone() || !f.KnownMerchant && !r.givesBack() {
			return kessai.InvalidMerchant
		}
		return kessai.Approved
	}
	if code := decideIdentity(r, f); code != kessai.Approved {
		return code
	}
	switch {
	case r.givesBack():
	case !f.KnownMerchant:
		return kessai.InvalidMerchant
	case t.Status != cache.TerminalRegistered:
		return kessai.NotPermittedToTerminal
	case r.Kind != kessai.KindNone && !t.Allowed.Has(r.Kind):
		return kessai.NotPermittedToTerminal
	}
	return kessai.Approved
}

// decideIdentity judges whether the terminal is what it says that it is, whatever
// it may do.
func decideIdentity(r *Request, f *Facts) kessai.ResponseCode {
	t := &f.Terminal
	switch {
	case t.Status == cache.TerminalUnknown && !r.Merchant.IsZero() && !f.KnownMerchant:
		return kessai.InvalidMerchant
	case t.Status == cache.TerminalUnknown:
		return kessai.NotPermittedToTerminal
	case t.Merchant != r.Merchant:
		return kessai.InvalidMerchant
	}
	return kessai.Approved
}

// decideForm judges what is asked, apart from who asks.
func decideForm(r *Request, f *Facts) kessai.ResponseCode {
	switch {
	case r.Kind == kessai.KindNone:
		return kessai.InvalidTransaction
	case r.Kind.OnPurse():
		if code := decidePurse(r); code != kessai.Approved {
			return code
		}
	case r.Kind.FollowsUp() || r.Kind == kessai.Cancellation:
		if r.standsAlone() {
			return kessai.NoSuchRecord
		}
		if r.Kind == kessai.Increment && r.Amount.Value == 0 {
			return kessai.InvalidAmount
		}
	case r.Kind == kessai.BalanceInquiry || r.Kind == kessai.Verification:
		if r.Amount.Value != 0 {
			return kessai.InvalidAmount
		}
	case r.Amount.Value == 0 && (r.Kind != kessai.Refund || r.standsAlone()):
		return kessai.InvalidAmount
	}
	switch {
	case r.Amount.Value < 0 || r.Amount.Value > kessai.MaxAmount,
		r.CashBack < 0 || r.CashBack > r.Amount.Value,
		(r.Kind == kessai.CashBack) != (r.CashBack > 0):
		return kessai.InvalidAmount
	case !r.Terminal.IsZero() && r.Amount.Currency != f.Terminal.Currency && (r.Amount.Currency != 0 || r.Amount.Value != 0):
		return kessai.InvalidTransaction
	}
	return kessai.Approved
}

// decideMedium judges the card, and whether it may be used for this.
func decideMedium(r *Request, f *Facts) kessai.ResponseCode {
	m := &f.Medium
	if code := decideStanding(r, f); code != kessai.Approved {
		return code
	}
	switch {
	case !m.Allowed.Has(r.Kind):
		return kessai.NotPermittedToCard
	case f.Stale:
		return kessai.SystemMalfunction
	case r.Kind == kessai.BalanceInquiry || r.Kind == kessai.Verification:
		return kessai.Approved
	case over(r.Amount.Value, m.Limits.Single), over(r.Amount.Value, f.Terminal.Limits.Single):
		return kessai.AmountLimit
	}
	return kessai.Approved
}

// decideStanding judges whether the card is good, whatever it is used for.
func decideStanding(r *Request, f *Facts) kessai.ResponseCode {
	m := &f.Medium
	switch {
	case r.BadPAN:
		return kessai.InvalidCardNumber
	case r.Kind == kessai.Increment && r.Medium.IsZero() && m.Status == cache.MediumUnknown:
		return kessai.NoSuchRecord // the hold is not there, or its card is not known any more
	case m.Status == cache.MediumUnknown:
		return kessai.InvalidCardNumber
	case m.Status == cache.MediumStolen:
		return kessai.StolenCard
	case m.Status == cache.MediumLost:
		return kessai.LostCard
	case m.Status == cache.MediumWithdrawn, m.Status == cache.MediumRetained:
		return kessai.PickUpCard
	case m.Status != cache.MediumActive:
		return kessai.DoNotHonour
	case m.Expiry != 0 && m.Expiry < month(r), r.Expiry != 0 && r.Expiry != m.Expiry:
		return kessai.ExpiredCard
	case f.Terminal.User != 0 && f.Terminal.User != m.Account:
		return kessai.NotPermittedToTerminal // it serves one customer only
	}
	return kessai.Approved
}

// month gives the month of the request as YYMM, in UTC. A card is good to the
// end of its month.
func month(r *Request) uint16 {
	y, m, _ := r.Received.UTC().Date()
	return uint16(y%100*100 + int(m))
}

func over(amount, limit int64) bool { return limit > 0 && amount > limit }
