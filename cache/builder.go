package cache

import (
	"time"

	"kessai"
)

// Builder gathers what the registry says; [Builder.Snapshot] ends it.
type Builder struct {
	mode      Mode
	media     *tableBuilder
	filter    *filterBuilder
	terminals *terminals
	merchants *merchants
}

// NewBuilder starts a snapshot of about the given sizes. The better they are
// known, the less memory it takes. In mode filter, the media that have expired by
// now count as not valid.
func NewBuilder(mode Mode, media, terminals int) *Builder {
	b := &Builder{mode: mode, merchants: new(merchants)}
	if mode.hasMedia() {
		b.media = newTableBuilder(media)
	}
	if mode == Filter {
		b.media, b.filter = newTableBuilder(0), newFilterBuilder(time.Now())
	}
	if mode.hasTerminals() {
		b.terminals = newTerminals(terminals)
	}
	return b
}

// AddMedium adds one medium; of two with the same ID, the later counts. It may
// be called from many goroutines at once, which do best to add media whose IDs
// begin with different bytes.
func (b *Builder) AddMedium(id kessai.MediumID, m Medium) {
	switch {
	case b.mode == Filter:
		b.filter.add(&id, &m)
	case b.media != nil:
		b.media.add(&id, &m)
	}
}

// Done says that all media were added whose IDs begin with the byte given. It
// need not be called, but bounds the memory that building a filter takes: see
// [filterBuilder]. It may be called from many goroutines at once.
func (b *Builder) Done(first byte) {
	if b.filter != nil {
		b.filter.end(first)
	}
}

// AddTerminal adds one terminal; of two with the same ID, the later counts.
func (b *Builder) AddTerminal(id kessai.TerminalID, t Terminal) {
	if b.terminals != nil {
		b.terminals.add(id, t)
	}
}

// AddMerchant makes a merchant known that is not blocked.
func (b *Builder) AddMerchant(id kessai.MerchantID) { b.merchants.put(id, true) }

// Snapshot ends the building. The builder must not be used afterwards.
func (b *Builder) Snapshot(loaded time.Time, version uint64) *Snapshot {
	s := &Snapshot{mode: b.mode, terminals: b.terminals, merchants: b.merchants, loaded: loaded, version: version}
	if b.media != nil {
		s.media = b.media.table()
	}
	b.terminals.end(b.merchants)
	if b.filter != nil {
		s.filter = b.filter.filter()
	}
	*b = Builder{}
	return s
}
