// Package cache knows what is valid: media and terminals, as an immutable
// snapshot that is read without allocating and swapped atomically.
//
// What it is for: judging a request from memory alone (system V, steps V-1 to
// V-5), so that nobody waits for a database. What it is not for: deciding
// (authz), or storing anything (merchants keeps the registry that a snapshot is
// loaded from). Start reading with [Snapshot].
package cache

import (
	"sync/atomic"
	"time"

	"kessai"
)

// MediumStatus says whether a medium may be used. The zero value means that the
// medium is not known.
type MediumStatus uint8

// The states of a medium.
const (
	MediumUnknown MediumStatus = iota
	MediumActive
	MediumLost
	MediumStolen
	MediumBlocked // withdrawn by the issuer
)

// TerminalStatus says whether a terminal may ask. The zero value means that it
// is not registered.
type TerminalStatus uint8

// The states of a terminal, with the state of its merchant folded in.
const (
	TerminalUnknown TerminalStatus = iota
	TerminalActive
	TerminalBlocked
	MerchantBlocked
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
	Account  uint32 // the merchant's account in the book
	Currency kessai.Currency
	Allowed  kessai.KindSet
	Limits   Limits
}

// Snapshot is the state of the registry at one moment. It never changes once it
// is made, so it is read without a lock.
type Snapshot struct {
	media     *table
	size      int // number of media
	terminals terminals
	merchants map[kessai.MerchantID]struct{}
	loaded    time.Time
	version   uint64
}

// Medium gives what is known about a medium; the zero Medium, whose status is
// MediumUnknown, where nothing is.
func (s *Snapshot) Medium(id kessai.MediumID) Medium { return s.media.find(id) }

// Terminal gives what is known about a terminal; the zero Terminal, whose
// status is TerminalUnknown, where nothing is.
func (s *Snapshot) Terminal(id kessai.TerminalID) Terminal { return s.terminals.find(id) }

// HasMerchant reports whether the merchant is registered, and not blocked.
func (s *Snapshot) HasMerchant(id kessai.MerchantID) bool { _, ok := s.merchants[id]; return ok }

// Sizes gives the number of media and of terminals.
func (s *Snapshot) Sizes() (media, terminals int) { return s.size, s.terminals.count }

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

// Builder gathers what the registry says; [Builder.Snapshot] ends it.
type Builder struct {
	s     Snapshot
	media *tableBuilder
}

// NewBuilder starts a snapshot of about the given sizes. The better they are
// known, the less memory it takes.
func NewBuilder(media, terminals int) *Builder {
	return &Builder{
		s: Snapshot{
			terminals: newTerminals(terminals),
			merchants: make(map[kessai.MerchantID]struct{}),
		},
		media: newTableBuilder(media),
	}
}

// AddMedium adds one medium; of two with the same ID, the later counts. It may
// be called from many goroutines at once, which do best to add media whose IDs
// begin with different bytes.
func (b *Builder) AddMedium(id kessai.MediumID, m Medium) { b.media.add(id, m) }

// AddTerminal adds one terminal; of two with the same ID, the later counts.
func (b *Builder) AddTerminal(id kessai.TerminalID, t Terminal) { b.s.terminals.add(id, t) }

// AddMerchant makes a merchant known that is not blocked.
func (b *Builder) AddMerchant(id kessai.MerchantID) { b.s.merchants[id] = struct{}{} }

// Snapshot ends the building. The builder must not be used afterwards.
func (b *Builder) Snapshot(loaded time.Time, version uint64) *Snapshot {
	s := b.s
	s.media, s.size, s.loaded, s.version = b.media.t, b.media.size(), loaded, version
	*b = Builder{}
	return &s
}

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
