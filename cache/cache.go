// Package cache knows what is valid: media and terminals, as an immutable
// snapshot that is read without allocating and swapped atomically.
//
// What it is for: judging a request from memory alone (system V, steps V-1 to
// V-13), so that nobody waits for a database. What it is not for: deciding
// (authz), or storing anything (merchants keeps the registry that a snapshot is
// loaded from, and is asked for what a smaller [Mode] leaves out). Start reading
// with [Snapshot].
package cache

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"kessai"
)

// Mode says what a snapshot keeps in memory (system V). Merchants are kept in
// every mode. What is left out has to be looked up in the registry.
type Mode uint8

// The modes.
const (
	Both          Mode = iota // media and terminals
	MediaOnly                 // no terminals
	TerminalsOnly             // no media
	Filter                    // terminals, and a filter of the media that are not valid
)

var modeNames = [...]string{"both", "media-only", "terminals-only", "filter"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// ParseMode reads the name that [Mode.String] gives.
func ParseMode(name string) (Mode, bool) {
	i := slices.Index(modeNames[:], name)
	return Mode(max(i, 0)), i >= 0
}

func (m Mode) hasMedia() bool     { return m == Both || m == MediaOnly }
func (m Mode) hasTerminals() bool { return m != MediaOnly }

// MediumStatus says whether a medium may be used. The zero value means that the
// medium is not known.
type MediumStatus uint8

// The states of a medium.
const (
	MediumUnknown MediumStatus = iota
	MediumActive
	MediumLost
	MediumStolen
	MediumWithdrawn // by the issuer
	MediumIssued    // and not active yet
	MediumRetained  // by a terminal, after it was lost, stolen or withdrawn
)

// TerminalStatus says whether a terminal may ask. The zero value means that it
// is not registered.
type TerminalStatus uint8

// The states of a terminal. Whether its merchant is blocked, [Snapshot.HasMerchant]
// tells.
const (
	TerminalUnknown TerminalStatus = iota
	TerminalRegistered
	TerminalSuspended
	TerminalWithdrawn
)

// Limits bounds what a medium or a terminal may do. Amounts are in minor units
// of the account's currency; zero means no limit.
type Limits struct {
	Single   int64  // one transaction
	DayTotal int64  // all transactions of one business day
	DayCount uint32 // how many in one business day
}

// Medium is all that a decision needs to know about one medium.
type Medium struct {
	Status  MediumStatus
	Expiry  uint16         // last valid month as YYMM, for example 2912; 0: does not expire
	Allowed kessai.KindSet // kinds of transaction it may be used for
	Account uint32         // the customer's account in the book
	Limits  Limits
}

// Terminal is all that a decision needs to know about one terminal.
type Terminal struct {
	Status   TerminalStatus
	Partial  bool // it can handle the approval of a part of the amount
	Merchant kessai.MerchantID
	Currency kessai.Currency
	Account  uint32 // the merchant's account in the book
	User     uint32 // the account of the one customer whose media it serves; 0: it serves all
	Allowed  kessai.KindSet
	Limits   Limits
}

// Snapshot is the state of the registry at one moment. It never changes once it
// is made, so it is read without a lock.
type Snapshot struct {
	mode      Mode
	media     *table // in mode filter: what became invalid since the filter was built
	filter    *filter
	terminals *terminals
	merchants *merchants
	changed   *merchants // which merchants changed since the snapshot was built
	loaded    time.Time
	version   uint64
}

// Mode says what the snapshot keeps.
func (s *Snapshot) Mode() Mode { return s.mode }

// Medium gives the facts about a medium; the zero Medium, whose status is
// MediumUnknown, where the registry has none. Where known is false, memory cannot
// tell, and the registry has to be asked.
func (s *Snapshot) Medium(id kessai.MediumID) (m Medium, known bool) {
	known = s.ReadMedium(&m, &id)
	return m, known
}

// ReadMedium is [Snapshot.Medium] for those who judge: it puts the facts where they
// are to be, and nothing there where memory cannot tell.
func (s *Snapshot) ReadMedium(m *Medium, id *kessai.MediumID) (known bool) {
	if !s.mode.hasMedia() {
		return false
	}
	s.media.read(m, id)
	return true
}

// Terminal gives the facts about a terminal; the zero Terminal, whose status is
// TerminalUnknown, where the registry has none. Where known is false, memory
// cannot tell, and the registry has to be asked.
func (s *Snapshot) Terminal(id kessai.TerminalID) (t Terminal, known bool) {
	known, _ = s.ReadTerminal(&t, id)
	return t, known
}

// ReadTerminal is to [Snapshot.Terminal] what [Snapshot.ReadMedium] is to
// [Snapshot.Medium]. Where active is true, [Snapshot.HasMerchant] would be true for
// the terminal's merchant; where it is false, that has to be asked.
func (s *Snapshot) ReadTerminal(t *Terminal, id kessai.TerminalID) (known, active bool) {
	if !s.mode.hasTerminals() {
		return false, false
	}
	*t = *s.terminals.find(id)
	active = t.Status&merchantActive != 0 && (s.changed == nil || !s.changed.has(t.Merchant))
	t.Status &^= merchantActive
	return true, active
}

// Suspect reports, in mode filter, whether the medium may be one that is not
// valid, which the registry has to confirm: of valid media, some 0.4 % are
// suspect too. One that is not suspect was valid when the filter was built, or is
// not registered, or has expired since: before anything is carried out, the
// registry is asked about every medium. In the other modes nothing is suspect.
func (s *Snapshot) Suspect(id kessai.MediumID) bool {
	return s.mode == Filter && (s.filter.has(&id) || s.media.status(&id) != MediumUnknown)
}

// Expect says that terminal and medium are about to be looked up; either may be
// zero. What they stand in is fetched from memory meanwhile, both at once and
// beside whatever else is done until then: the other requests of a batch, or the
// hashing of the card number, for a terminal. It changes nothing but the time.
func (s *Snapshot) Expect(t kessai.TerminalID, m kessai.MediumID) {
	if !t.IsZero() {
		s.terminals.expect(t)
	}
	if !m.IsZero() {
		s.media.expect(&m)
	}
}

// HasMerchant reports whether the merchant is registered, and not blocked.
func (s *Snapshot) HasMerchant(id kessai.MerchantID) bool { return s.merchants.has(id) }

// Sizes gives the number of media and of terminals in memory: of media, in mode
// filter, those that are not valid.
func (s *Snapshot) Sizes() (media, terminals int) {
	return s.media.len() + s.filter.len(), s.terminals.len()
}

// Bytes gives the memory that the snapshot takes. Snapshots that were made of one
// another share most of theirs.
func (s *Snapshot) Bytes() int {
	return s.media.bytes() + s.filter.bytes() + s.terminals.bytes() + s.merchants.bytes() + s.changed.bytes()
}

// Loaded gives the time at which the registry was read, or last looked at and
// found unchanged.
func (s *Snapshot) Loaded() time.Time { return s.loaded }

// Confirmed gives the same facts, known to stand in the registry at the time
// given. They are shared, not copied.
func (s *Snapshot) Confirmed(at time.Time) *Snapshot {
	c := *s
	c.loaded = at
	return &c
}

// Version is the registry's change counter at the time of loading.
func (s *Snapshot) Version() uint64 { return s.version }

// Cache holds the snapshot that is in force. The zero value holds an empty one.
type Cache struct{ p atomic.Pointer[Snapshot] }

var empty Snapshot

// Load gives the snapshot in force; never nil.
func (c *Cache) Load() *Snapshot {
	if s := c.p.Load(); s != nil {
		return s
	}
	return &empty
}

// Swap puts a new snapshot in force: every later Load gives it.
func (c *Cache) Swap(s *Snapshot) { c.p.Store(s) }
