package authz

import (
	"time"

	"kessai"
	"kessai/cache"
)

// Opening is the answer to a terminal that wants to open a dialogue.
type Opening struct {
	Code     kessai.ResponseCode // NoReasonToDecline: it is open. Nothing is recorded, whatever it is
	Dialogue DialogueID          // zero where it is not open
	Until    time.Time           // when its time is over
	Full     bool                // with SystemMalfunction: there is no room for another one
}

// Open judges terminal and medium from memory alone and opens a dialogue (system
// V, steps V-2 to V-5, V-8): at once, and without asking the registry. What memory does
// not know is looked up from then on (V-9). It is false where memory cannot give
// the answer: then [Engine.OpenAsking] does.
//
// A positive answer goes out as early as the mode allows (V-13). A negative one
// names its reason, and the terminal's comes before the medium's in every mode:
// so it waits for whatever could come before.
func (e *Engine) Open(r *Request, by Party) (Opening, bool) {
	code, who, sure := e.early(r)
	if !sure {
		return Opening{}, false
	}
	return e.opened(r, by, code, who), true
}

// OpenAsking is [Engine.Open] with the registry asked for what memory does not
// know, for as long as that takes.
func (e *Engine) OpenAsking(r *Request, by Party) Opening {
	var f Facts
	e.inquire(r, &f)
	code, _ := decideOpening(r, &f, unknown{})
	return e.opened(r, by, code, unknown{})
}

func (e *Engine) opened(r *Request, by Party, code kessai.ResponseCode, who unknown) Opening {
	if !code.IsApproval() {
		return Opening{Code: code}
	}
	d, err := e.talks.open(r, by, func() *beside { return e.lookBeside(who) })
	if err != nil {
		return Opening{Code: kessai.SystemMalfunction, Full: true}
	}
	return Opening{Code: code, Dialogue: d.id, Until: d.until}
}

// decideOpening judges what is known of those who want to open a dialogue. It is
// false where those who are not known could change the answer.
func decideOpening(r *Request, f *Facts, who unknown) (code kessai.ResponseCode, sure bool) {
	all := who == unknown{}
	switch {
	case f.Unread:
		return kessai.SystemMalfunction, true
	case who.terminal.IsZero():
		if code := decideAsker(r, f); code != kessai.Approved {
			return code, true
		}
	}
	if who.medium.IsZero() || r.BadPAN {
		if code := decideStanding(r, f); code != kessai.Approved {
			return code, who.terminal.IsZero()
		}
	}
	if f.Stale {
		return kessai.SystemMalfunction, all
	}
	return kessai.NoReasonToDecline, true
}

// beside is a look-up in the registry that runs beside a dialogue, while its
// terminal is sending the transaction (system V, steps V-9 and V-10).
type beside struct {
	done chan struct{} // closed when it has ended
	said told
	err  error
}

// wait gives what the registry said; nothing where it could not be read, so that
// it is asked again.
func (b *beside) wait() told {
	<-b.done
	if b.err != nil {
		return told{}
	}
	return b.said
}

// lookBeside begins a look-up; nil where there is nothing to look up, or as many
// run as may: the transaction makes it then.
func (e *Engine) lookBeside(who unknown) *beside {
	if who == (unknown{}) {
		return nil
	}
	select {
	case e.talks.slots <- struct{}{}:
	default:
		return nil
	}
	b := &beside{done: make(chan struct{})}
	go func() {
		defer func() { <-e.talks.slots }()
		defer close(b.done)
		b.err = e.o.Registry.ask(&b.said, who)
	}()
	return b
}

// Retained notes that a terminal has kept a medium (system V, step V-12). It
// returns when that is on disk and in force.
func (e *Engine) Retained(r *Request) kessai.ResponseCode {
	var f Facts
	e.inquire(r, &f)
	if f.Unread || e.o.Registry.Retain == nil {
		return kessai.SystemMalfunction
	}
	if code := decideIdentity(r, &f); code != kessai.Approved {
		return code
	}
	if r.BadPAN || f.Medium.Status == cache.MediumUnknown {
		return kessai.InvalidCardNumber
	}
	switch kept, err := e.o.Registry.Retain(r.Medium, r.Terminal, r.Received); {
	case err != nil:
		return kessai.SystemMalfunction
	case !kept:
		return kessai.InvalidTransaction
	}
	return kessai.Approved
}
