package authz

import (
	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
)

// Stage is a part of the way from request to reply that has a time budget.
type Stage uint8

// The stages. Decode and encode are the wire's, the others the engine's.
const (
	StageDecode Stage = iota
	StageJudge
	StageDecide
	StageCommit
	StageEncode
	NumStages
)

func (s Stage) String() string {
	return [...]string{"decode", "judge", "decide", "commit", "encode"}[s%NumStages]
}

// Facts is what is known about those who take part in a request.
type Facts struct {
	Terminal      cache.Terminal
	Medium        cache.Medium
	KnownMerchant bool // the merchant that the request names is registered, and not blocked
	Stale         bool // the cache is too old to approve anything on its word
	Unread        bool // the registry had to be asked, and could not be read
	Confirmed     bool // the hold that is to be raised was confirmed by its customer, as it is
	NoDialogue    bool // the request names a dialogue that is not open, or not open to it
}

// judge looks up who asks and with what (system V, step V-3), and fills in what
// the request left to the registry, to its original or to its dialogue: the
// merchant of the terminal, the medium of the hold that is to be raised, the
// medium that the dialogue is about.
func (e *Engine) judge(r *Request) (f Facts) {
	e.learn(r, &f)
	return f
}

// learn is judge for facts that are nobody's yet.
func (e *Engine) learn(r *Request, f *Facts) {
	if r.Dialogue == nil && e.recall(r, f, nil) == (unknown{}) {
		return
	}
	e.inquire(r, f)
}

// unknown are those whom memory cannot tell anything about in its mode; zero
// IDs are nobody.
type unknown struct {
	terminal kessai.TerminalID
	medium   kessai.MediumID
}

// recall judges from memory, and from what the registry said where it was asked
// (nil: nothing). It says who is still to be asked about.
func (e *Engine) recall(r *Request, f *Facts, told *told) (who unknown) {
	s := e.valid.Load()
	known, active := s.ReadTerminal(&f.Terminal, r.Terminal)
	if !known {
		f.Terminal, who.terminal = told.terminal(r.Terminal)
	}
	if r.Merchant.IsZero() {
		r.Merchant = f.Terminal.Merchant
	}
	f.KnownMerchant = active && r.Merchant == f.Terminal.Merchant || s.HasMerchant(r.Merchant)
	f.Stale = e.stale(s, r.Received)
	medium := r.Medium
	if r.Kind == kessai.Increment && (medium.IsZero() || r.Terminal.IsZero()) && who.terminal.IsZero() {
		hold, _ := e.book.Find(r.original(e.o.Acquirer))
		medium, f.Confirmed = hold.Medium, hold.Asks != kessai.AsksNobody
		if r.Terminal.IsZero() {
			r.Terminal = hold.Terminal
			if known, _ = s.ReadTerminal(&f.Terminal, r.Terminal); !known {
				f.Terminal, who.terminal = told.terminal(r.Terminal)
			}
		}
	}
	if !s.ReadMedium(&f.Medium, &medium) {
		f.Medium, who.medium = told.medium(medium)
	}
	return who
}

// stranger reports whether nobody vouches for who asks: neither the registry nor
// an API key. Nothing is recorded for strangers, or anyone who reaches the
// listener could fill the book.
func (f *Facts) stranger(r *Request) bool {
	return f.Terminal.Status == cache.TerminalUnknown && r.IdempotencyKey == ""
}

// op turns a judged request into what the book is asked to do.
func (e *Engine) op(op *ledger.Op, r *Request, f *Facts, code kessai.ResponseCode) {
	currency := r.Amount.Currency
	if currency == 0 {
		currency = f.Terminal.Currency
	}
	if f.NoDialogue {
		code = r.Dialogue.refuse(code)
	}
	*op = ledger.Op{
		Kind: r.Kind, Verdict: code, Names: r.names(e.o.Acquirer), Wire: r.Wire,
		Merchant: r.Merchant, Terminal: r.Terminal, Medium: r.Medium, Last4: r.Last4,
		STAN: r.Attempt.STAN, Transmitted: r.Attempt.Transmitted,
		Customer: ledger.AccountID(f.Medium.Account), Shop: ledger.AccountID(f.Terminal.Account),
		Currency: currency, Amount: r.Amount.Value, CashBack: r.CashBack, Partial: f.Terminal.Partial,
		Original: r.original(e.o.Acquirer), HoldFor: e.o.HoldFor,
		MediumLimit:   ledger.Limit{MaxTotal: f.Medium.Limits.DayTotal, MaxCount: f.Medium.Limits.DayCount},
		TerminalLimit: ledger.Limit{MaxTotal: f.Terminal.Limits.DayTotal, MaxCount: f.Terminal.Limits.DayCount},
		Note:          r.Note,
	}
	if r.Purse != nil {
		e.onPurse(op, r)
	}
	if r.Confirm != nil {
		e.onPhone(op, r)
	}
}
