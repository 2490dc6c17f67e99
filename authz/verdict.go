package authz

import "kessai"

// Judge gives the verdict on who asks and with what, as [Engine.Authorize] comes to
// it before the book has its say. Nothing is recorded. It comes after [Engine.Expect].
func (e *Engine) Judge(r *Request) kessai.ResponseCode {
	f := e.judge(r)
	return Decide(r, &f)
}

// Expect says that a request is about to be judged, so that what is known of its
// terminal and medium is on the way from memory while others are being judged.
func (e *Engine) Expect(r *Request) { e.valid.Load().Expect(r.Terminal, r.Medium) }

// JudgeEarly gives the verdict with which a dialogue is opened, from memory alone
// (system V, steps V-3 and V-8), and opens none. It is false where memory cannot
// give it.
func (e *Engine) JudgeEarly(r *Request) (kessai.ResponseCode, bool) {
	code, _, sure := e.early(r)
	return code, sure
}

func (e *Engine) early(r *Request) (code kessai.ResponseCode, who unknown, sure bool) {
	e.Expect(r)
	var f Facts
	who = e.recall(r, &f, nil)
	code, sure = decideOpening(r, &f, who)
	if code.IsApproval() && !who.medium.IsZero() && e.valid.Load().Suspect(r.Medium) {
		sure = false
	}
	return code, who, sure
}
