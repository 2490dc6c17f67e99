package cache

import (
	"time"

	"kessai"
)

// Changes are what a [Snapshot.With] changes. Of two changes of the same thing,
// the later counts.
type Changes struct {
	Media     []MediumChange
	Terminals []TerminalChange
	Merchants []MerchantChange
}

// MediumChange gives a medium its facts; the zero Medium makes it unknown.
type MediumChange struct {
	ID    kessai.MediumID
	Facts Medium
}

// TerminalChange gives a terminal its facts; the zero Terminal makes it unknown.
type TerminalChange struct {
	ID    kessai.TerminalID
	Facts Terminal
}

// MerchantChange makes a merchant known, or not.
type MerchantChange struct {
	ID     kessai.MerchantID
	Active bool // registered, and not blocked
}

// With gives the same facts with changes, as of the version and the time given.
// What did not change is shared, not copied, so that a change costs microseconds
// however large the snapshot is. The snapshot itself stays as it is, for those
// who are reading it.
func (s *Snapshot) With(c Changes, version uint64, at time.Time) *Snapshot {
	n := *s
	n.version, n.loaded = version, at
	switch {
	case s.mode.hasMedia():
		n.media = s.media.with(c.Media)
	case s.mode == Filter:
		n.media = s.media.with(sinceFilter(c.Media, at))
	}
	n.merchants, n.changed = s.merchants.with(c.Merchants), s.changed.and(c.Merchants)
	if s.mode.hasTerminals() {
		n.terminals = s.terminals.with(c.Terminals, n.merchants)
	}
	return &n
}

// sinceFilter gives the changes to the set of those that became invalid since the
// filter was built.
func sinceFilter(changes []MediumChange, at time.Time) []MediumChange {
	month, set := monthOf(at), make([]MediumChange, len(changes))
	for i, c := range changes {
		set[i].ID = c.ID
		if !c.Facts.validIn(month) {
			set[i].Facts.Status = MediumWithdrawn // any: it is the registry that tells which
		}
	}
	return set
}

// Worn reports whether it is time to build the snapshot anew from the registry,
// though the registry did not change: it was changed so often that it takes more
// memory than it needs, or a month is over in which media of a filter expired.
// Until then it is worse, but not wrong.
func (s *Snapshot) Worn(at time.Time) bool {
	return s.media.worn() || s.filter.worn(at, s.media.len())
}
