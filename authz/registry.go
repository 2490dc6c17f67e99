package authz

import (
	"errors"
	"time"

	"kessai"
	"kessai/cache"
)

// Registry is the central database, which knows every medium and every terminal.
// It is asked for what memory leaves out in its mode. Its functions may be called
// from many goroutines at once. They are not told when to give up: a look-up is a
// read in this process.
type Registry struct {
	Medium   func(kessai.MediumID) (cache.Medium, error)     // the zero facts where there is none
	Terminal func(kessai.TerminalID) (cache.Terminal, error) // the zero facts where there is none
	Version  func() uint64                                   // grows with each change

	// Retain notes that a terminal has kept a medium; false where the medium is
	// not one to be kept.
	Retain func(id kessai.MediumID, by kessai.TerminalID, at time.Time) (kept bool, err error)
}

var errNoRegistry = errors.New("memory does not know in its mode, and there is no registry to ask")

// told is what the registry said about one medium and one terminal. A nil told
// is as good as one that holds nothing.
type told struct {
	version       uint64 // of the registry, before it was asked
	terminalID    kessai.TerminalID
	mediumID      kessai.MediumID
	terminalFacts cache.Terminal
	mediumFacts   cache.Medium
}

// terminal gives what the registry said of a terminal, or else the ID of whom to
// ask about.
func (t *told) terminal(id kessai.TerminalID) (facts cache.Terminal, ask kessai.TerminalID) {
	if t != nil && t.terminalID == id {
		return t.terminalFacts, ask
	}
	return facts, id
}

// medium is the same for a medium.
func (t *told) medium(id kessai.MediumID) (facts cache.Medium, ask kessai.MediumID) {
	if t != nil && t.mediumID == id {
		return t.mediumFacts, ask
	}
	return facts, id
}

// nothing reports whether nothing was told.
func (t *told) nothing() bool { return t.terminalID.IsZero() && t.mediumID.IsZero() }

// ask asks the registry, and adds what it says to t.
func (g *Registry) ask(t *told, who unknown) (err error) {
	if g.Medium == nil || g.Terminal == nil || g.Version == nil {
		return errNoRegistry
	}
	if t.nothing() {
		t.version = g.Version()
	}
	if !who.terminal.IsZero() {
		if t.terminalFacts, err = g.Terminal(who.terminal); err != nil {
			return err
		}
		t.terminalID = who.terminal
	}
	if !who.medium.IsZero() {
		if t.mediumFacts, err = g.Medium(who.medium); err != nil {
			return err
		}
		t.mediumID = who.medium
	}
	return nil
}

// Waits reports whether judging a request may take as long as the registry does,
// because memory holds only a part in its mode.
func (e *Engine) Waits() bool { return e.valid.Load().Mode() != cache.Both }

// maxAsked bounds how often the registry is asked the same for one request,
// because it changed while it was asked.
const maxAsked = 3

// inquire judges where memory alone does not do: within a dialogue, or in a mode
// in which the registry has to be asked. It returns when nothing is unknown any
// more. What memory knows is read anew after each answer of the registry, and an
// answer from before a change is not used, so that all the facts are those of
// now: however long the registry took, a medium that was reported stolen
// meanwhile is refused.
func (e *Engine) inquire(r *Request, f *Facts) {
	t := e.talks.resume(r, f)
	for asked := 0; ; {
		who := e.recall(r, f, &t)
		if f.NoDialogue || r.BadPAN {
			who.medium = kessai.MediumID{} // it makes no difference any more
		}
		switch {
		case who != unknown{}:
			if err := e.o.Registry.ask(&t, who); err != nil {
				f.Unread = true
				return
			}
		case t.nothing() || t.version == e.o.Registry.Version():
			return
		default:
			if asked++; asked >= maxAsked {
				return
			}
			t = told{}
		}
	}
}
