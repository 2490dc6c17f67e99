package gateway

import (
	"errors"
	"log/slog"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/merchants"
)

// The kinds under which the two requests are counted that are none of the book's:
// nothing of them is recorded there.
const (
	kindDialogue = "dialogue" // opens a dialogue
	kindRetained = "retained" // a terminal says that it has kept a medium
)

// RefusedDialogues counts openings for which there was no room: as many dialogues
// were open as may be.
const RefusedDialogues Refusal = "dialogues"

// answeredBeside counts one answer to a request that is none of the book's kinds.
func (m *Metrics) answeredBeside(w ledger.Wire, kind string, c kessai.ResponseCode) {
	m.requests.WithLabelValues(w.String(), kind, codeNames[c%100]).Inc()
}

// Registry gives the registry as the engine asks it. What goes wrong is logged,
// because whoever asked only hears that nothing was done.
func Registry(r *merchants.Registry, m *Metrics, log *slog.Logger) authz.Registry {
	failed := func(what string, err error) {
		if err != nil {
			log.Error("the registry cannot be "+what, "error", err)
		}
	}
	return authz.Registry{
		Version: r.Version,
		Medium: func(id kessai.MediumID) (cache.Medium, error) {
			began := time.Now()
			facts, err := r.MediumFacts(id)
			m.LookedUp(LookUpMedium, facts.Status != cache.MediumUnknown, time.Since(began), err)
			failed("asked about a medium", err)
			return facts, err
		},
		Terminal: func(id kessai.TerminalID) (cache.Terminal, error) {
			began := time.Now()
			facts, err := r.TerminalFacts(id)
			m.LookedUp(LookUpTerminal, facts.Status != cache.TerminalUnknown, time.Since(began), err)
			failed("asked about a terminal", err)
			return facts, err
		},
		Retain: func(id kessai.MediumID, by kessai.TerminalID, at time.Time) (bool, error) {
			err := r.Retain(id, by, at)
			if errors.Is(err, merchants.ErrNotToRetain) {
				return false, nil
			}
			failed("told of a medium that was kept", err)
			if err == nil {
				m.Retained()
			}
			return err == nil, err
		},
	}
}
