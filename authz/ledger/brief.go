package ledger

import (
	"encoding/binary"

	"kessai"
)

// brief is what must be known of a page of transactions that is not in memory:
// the names of its attempts, by hash; what is pending; and what it adds to the
// running totals of its day. On opening only the briefs are read, which are an
// eighth of the pages.
type brief struct {
	oldest, newest int64 // when its first and last transactions were made, Unix nanoseconds
	names, tombs   []hashed
	pending        []hold
	counts         []counted
	tries          []tried       // wrong proofs, and unlocks
	waiting        []kessai.TxID // those of pending that wait for their customers
}

// hashed is the hash of a name, and whose it is.
type hashed struct {
	hash uint64
	id   kessai.TxID
}

// counted is what one transaction adds to the running totals of a day.
type counted struct {
	day      int32
	who      Counted
	medium   kessai.MediumID
	terminal kessai.TerminalID
	amount   int64
	times    int32 // 1 if it counts as one of its subject's transactions
}

// note adds one transaction to the brief, as it counts on a day and after it.
func (b *brief) note(t *Tx, day int32) {
	for i := range t.Names {
		if k := t.Names[i].Key; k != (Key{}) {
			b.names = append(b.names, hashed{k.hash(), t.ID})
		}
	}
	if t.OriginalKey != (Key{}) {
		b.tombs = append(b.tombs, hashed{t.OriginalKey.hash(), t.ID})
	}
	if t.Status == Pending || t.Status == Waiting {
		b.pending = append(b.pending, hold{t.Deadline, t.ID})
	}
	if t.Status == Waiting {
		b.waiting = append(b.waiting, t.ID)
	}
	if t.Kind.OfCustomer() && t.Day >= day && t.triesProof() {
		b.tries = append(b.tries, tried{t.ID, t.Day, t.Customer, whatTried(t)})
	}
	if t.Counted != 0 && t.Day >= day && t.Code.IsApproval() && t.Told == 0 {
		c := counted{day: t.Day, who: t.Counted, medium: t.Medium, terminal: t.Terminal, amount: t.counts()}
		if t.Status != Reversed && t.Kind != kessai.Increment {
			c.times = 1
		}
		b.counts = append(b.counts, c)
	}
}

// each gives the subjects against whose limits a transaction counts.
func (c *counted) each(f func(subject)) {
	if c.who&CountedMedium != 0 {
		f(mediumSubject(c.medium))
	}
	if c.who&CountedTerminal != 0 {
		f(terminalSubject(c.terminal))
	}
}

func (b *brief) append(dst []byte, first kessai.TxID) []byte {
	dst = binary.AppendVarint(dst, b.oldest)
	dst = binary.AppendVarint(dst, b.newest-b.oldest)
	for _, list := range [...][]hashed{b.names, b.tombs} {
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for _, n := range list {
			dst = append(dst, byte(n.id-first))
			dst = binary.BigEndian.AppendUint64(dst, n.hash)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.pending)))
	for _, h := range b.pending {
		dst = binary.AppendVarint(append(dst, byte(h.id-first)), h.deadline)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.counts)))
	for i := range b.counts {
		c := &b.counts[i]
		flags := byte(c.who)<<1 | byte(c.times)
		dst = binary.AppendVarint(append(dst, flags), int64(c.day))
		dst = binary.AppendVarint(dst, c.amount)
		if c.who&CountedMedium != 0 {
			dst = append(dst, c.medium[:]...)
		}
		if c.who&CountedTerminal != 0 {
			dst = append(dst, c.terminal[:]...)
		}
	}
	if len(b.tries)+len(b.waiting) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.tries)))
	for _, x := range b.tries {
		dst = binary.AppendVarint(append(dst, byte(x.id-first), x.what), int64(x.day))
		dst = binary.AppendUvarint(dst, uint64(x.account))
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.waiting)))
	for _, id := range b.waiting {
		dst = append(dst, byte(id-first))
	}
	return dst
}

// brief reads what brief.append wrote into b, whose slices it reuses.
func (d *decoder) brief(b *brief, first kessai.TxID) {
	b.oldest = d.varint()
	b.newest = b.oldest + d.varint()
	b.names, b.tombs = d.hashed(b.names[:0], first), d.hashed(b.tombs[:0], first)
	b.pending, b.counts = b.pending[:0], b.counts[:0]
	for range d.length() {
		id := first + kessai.TxID(d.byte())
		b.pending = append(b.pending, hold{d.varint(), id})
	}
	for range d.length() {
		flags := d.byte()
		c := counted{who: Counted(flags >> 1), times: int32(flags & 1), day: int32(d.varint()), amount: d.varint()}
		if c.who&CountedMedium != 0 {
			d.copy(c.medium[:])
		}
		if c.who&CountedTerminal != 0 {
			d.copy(c.terminal[:])
		}
		b.counts = append(b.counts, c)
	}
	b.tries, b.waiting = b.tries[:0], b.waiting[:0]
	if len(d.b) == 0 {
		return
	}
	for range d.length() {
		id, what := first+kessai.TxID(d.byte()), d.byte()
		b.tries = append(b.tries, tried{id, int32(d.varint()), AccountID(d.uvarint()), what})
	}
	for range d.length() {
		b.waiting = append(b.waiting, first+kessai.TxID(d.byte()))
	}
	if len(d.b) > 0 {
		d.fail()
	}
}

func (d *decoder) hashed(list []hashed, first kessai.TxID) []hashed {
	for range d.length() {
		var hash [8]byte
		id := first + kessai.TxID(d.byte())
		d.copy(hash[:])
		list = append(list, hashed{binary.BigEndian.Uint64(hash[:]), id})
	}
	return list
}

// length reads the length of a list in a brief: no more than two for each row.
func (d *decoder) length() uint64 {
	n := d.uvarint()
	if n > 2*pageSize {
		d.fail()
		return 0
	}
	return n
}
