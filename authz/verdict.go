package authz

import "kessai"

// Judge gives the verdict on who asks and with what, as [Engine.Authorize] comes to
// it before the book has its say. Nothing is recorded. It comes after [Engine.Expect].
func (e *Engine) Judge(r *Request) kessai.ResponseCode {
	var f Facts
	e.learn(r, &f)
	return Decide(r, &f)
}

// Expect says that a request of a terminal with a medium is about to be judged; either
// may be zero. What is known of them is on the way from memory while others are being
// judged, or the card number is hashed, for a terminal.
func (e *Engine) Expect(t kessai.TerminalID, m kessai.MediumID) { e.valid.Load().Expect(t, m) }

// JudgeEarly gives the verdict with which a dialogue is opened, from memory alone
// (system V, steps V-3 and V-8), and opens none. It is false where memory cannot
// give it.
func (e *Engine) JudgeEarly(r *Request) (kessai.ResponseCode, bool) {
	code, _, sure := e.early(r)
	return code, sure
}

func (e *Engine) early(r *Request) (code kessai.ResponseCode, who unknown, sure bool) {
	e.Expect(r.Terminal, r.Medium)
	var f Facts
	who = e.recall(r, &f, nil)
	code, sure = decideOpening(r, &f, who)
	if code.IsApproval() && !who.medium.IsZero() && e.valid.Load().Suspect(r.Medium) {
		sure = false
	}
	return code, who, sure
}
