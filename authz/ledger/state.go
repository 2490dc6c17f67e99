package ledger

import (
	"cmp"
	"container/heap"
	"fmt"

	"kessai"
)

// state is what the blocks say, in memory. It knows no clock and no disk: the
// same entries always make the same state. Accounts and transactions are the
// truth; everything else is derived from them (see derive).
type state struct {
	accounts table[accountRow]
	labels   table[label] // what never changes of the accounts, and is rarely asked for
	txs      table[Tx]
	files    *pageStore // where their pages are saved; nil: nowhere, all stays in memory

	byName  hashIndex                // accounts
	names   hashIndex                // of attempts
	tombs   hashIndex                // attempts that were reversed before they came, by the reversal
	pending map[kessai.TxID]int64    // the deadlines of the holds that are open; zero: none
	holds   holdHeap                 // the same in order; may have ended ones and stale deadlines too
	waiting map[kessai.TxID]struct{} // those among them that wait for their customers
	ended   []kessai.TxID            // the waiting payments that ended in the block that is being made
	tries   map[AccountID]tries      // wrong proofs of the day
	pins    pins                     // wrong PINs of the cards that have any

	day   int32 // the business day of the newest block; never goes back
	usage [usageShards]map[subject]usage

	float map[kessai.Currency]int64 // what is on all media
	told  PurseStats                // since the book was opened

	bulk *bulk // while many blocks are read back; nil: not

	block uint64 // the newest block's number, time and hash
	time  int64
	hash  [32]byte
}

// subject names a medium or a terminal whose running limits are counted.
type subject [16]byte

type usage struct {
	total int64
	count uint32
}

// usageShards is the number of maps that running totals are in, so that several
// workers can fill them, and so that none grows long enough to be waited for.
const usageShards = 64

func (s subject) shard() int { return int(s[0]^s[7]^s[15]) % usageShards }

func mediumSubject(id kessai.MediumID) subject { return subject(id) }

func terminalSubject(id kessai.TerminalID) (s subject) {
	copy(s[:], "terminal")
	copy(s[8:], id[:])
	return s
}

func newState() *state {
	s := &state{
		pending: make(map[kessai.TxID]int64), waiting: make(map[kessai.TxID]struct{}), tries: make(map[AccountID]tries),
		float: make(map[kessai.Currency]int64),
	}
	for i := range s.usage {
		s.usage[i] = make(map[subject]usage)
	}
	return s
}

// close gives back what a state holds. Nobody may change it any more.
func (s *state) close() error {
	s.names.free()
	s.byName.free()
	s.tombs.free()
	return s.files.close()
}

// lost says why a page could not be read back, if one could not be. What was
// decided since must not be answered.
func (s *state) lost() error { return cmp.Or(s.txs.err, s.labels.err) }

// index makes one transaction findable and counted.
func (s *state) index(t *Tx) {
	for i := range t.Names {
		if k := t.Names[i].Key; k != (Key{}) {
			s.name(k, t.ID)
		}
	}
	if t.OriginalKey != (Key{}) {
		s.tombs.add(t.OriginalKey.hash(), uint64(t.ID))
	}
	if t.Status == Pending || t.Status == Waiting {
		s.await(hold{t.Deadline, t.ID})
	}
	if t.Status == Waiting {
		s.waiting[t.ID] = struct{}{}
	}
	if t.Counted != 0 && t.Code.IsApproval() {
		s.count(t, t.counts(), 1)
	}
}

// name makes an attempt findable.
func (s *state) name(k Key, id kessai.TxID) {
	if s.bulk != nil {
		s.bulk.names.add(k.hash(), uint64(id))
		return
	}
	s.names.add(k.hash(), uint64(id))
}

// named reports whether a key is one of the transaction's names.
func (t *Tx) named(k Key) bool { return t.Names[0].Key == k || t.Names[1].Key == k }

// attempt gives the newest transaction that has a name; nil where none has. There
// may be two: what was forgotten, so that its name was used again, is remembered
// again when the blocks are read back.
func (s *state) attempt(k Key) (newest *Tx) {
	if k == (Key{}) {
		return nil
	}
	p := s.names.probe(k.hash())
	for id := p.next(); id != 0; id = p.next() {
		if t := s.txs.get(id); t != nil && t.named(k) && (newest == nil || t.ID > newest.ID) {
			newest = t
		}
	}
	return newest
}

// undoneFirst reports whether an attempt was reversed before it came.
func (s *state) undoneFirst(k Key) bool {
	if k == (Key{}) {
		return false
	}
	p := s.tombs.probe(k.hash())
	for id := p.next(); id != 0; id = p.next() {
		if t := s.txs.get(id); t != nil && t.OriginalKey == k {
			return true
		}
	}
	return false
}

// count adds to the running totals of the transaction's subjects. An increment
// adds to the amount, but is no transaction more.
func (s *state) count(t *Tx, amount int64, times int32) {
	if t.Kind == kessai.Increment {
		times = 0
	}
	c := counted{who: t.Counted, medium: t.Medium, terminal: t.Terminal}
	c.each(func(who subject) {
		if s.bulk != nil {
			s.bulk.totals.add(use{who, amount, times})
			return
		}
		s.use(use{who, amount, times})
	})
}

// use adds to one running total.
func (s *state) use(x use) {
	all := s.usage[x.who.shard()]
	u := all[x.who]
	u.total += x.amount
	u.count += uint32(x.times)
	all[x.who] = u
}

// uncount takes back what a reversal undid, or what ended without having stood, if
// it was counted today.
func (s *state) uncount(t *Tx, amount int64) {
	if t.Agreed != 0 {
		s.uncountCard(t, amount)
	}
	if t.Day != s.day || t.Counted == 0 {
		return
	}
	times := int32(0)
	if t.Status == Reversed || t.Told != 0 {
		times = -1
	}
	s.count(t, -amount, times)
}

// begin starts a block: time and business day never go back.
func (s *state) begin(now int64, day int32) {
	s.time = max(s.time, now)
	s.ended = s.ended[:0]
	if day > s.day {
		s.day = day
		s.tries = make(map[AccountID]tries)
		if s.bulk != nil {
			s.bulk.totals.forget()
		}
		for i := range s.usage {
			s.usage[i] = make(map[subject]usage) // clearing a big one takes longer
		}
	}
}

// find gives a copy of the transaction that ref points to.
func (s *state) find(ref Ref) (Tx, bool) {
	t := s.txs.get(uint64(ref.ID))
	if ref.ID == 0 {
		t = s.attempt(ref.Key)
	}
	if t == nil {
		return Tx{}, false
	}
	return *t, true
}

// await remembers the deadline of a hold that is open. Zero is none: it waits
// until somebody ends it.
func (s *state) await(h hold) {
	s.pending[h.id] = h.deadline
	if h.deadline == 0 {
		return
	}
	heap.Push(&s.holds, h)
	if len(s.holds) < 2*len(s.pending)+1_000 {
		return
	}
	// Most of the heap has ended long before its time.
	s.holds = s.holds[:0]
	for id, deadline := range s.pending {
		if deadline != 0 {
			s.holds = append(s.holds, hold{deadline, id})
		}
	}
	heap.Init(&s.holds)
}

// due gives the next pending hold whose deadline has passed, if there is one,
// and the next deadline (zero: there is none).
func (s *state) due(now int64) (id kessai.TxID, next int64) {
	for len(s.holds) > 0 {
		h := s.holds[0]
		if deadline, open := s.pending[h.id]; !open || deadline != h.deadline {
			heap.Pop(&s.holds)
			continue
		}
		if h.deadline <= now {
			return h.id, h.deadline
		}
		return 0, h.deadline
	}
	return 0, 0
}

// sums adds up all accounts of each currency. Double entry makes every sum zero.
// What is on media must be what was followed of it.
func (s *state) sums() (map[kessai.Currency]int64, error) {
	sums, float := make(map[kessai.Currency]int64), make(map[kessai.Currency]int64)
	var err error
	id := 0
	s.accounts.each(func(a *accountRow) {
		id++
		sums[a.currency()] += a.balance
		if a.kind() == EMoneyAccount {
			float[a.currency()] += a.balance
		}
		if a.held < 0 {
			err = fmt.Errorf("account %d holds %d of %d", id, a.held, a.balance)
		}
	})
	for c, sum := range sums {
		if sum != 0 {
			err = fmt.Errorf("the accounts in %s add up to %d instead of 0", c, sum)
		}
		if float[c] != s.float[c] {
			err = fmt.Errorf("the media carry %d %s, and %d were followed", float[c], c, s.float[c])
		}
	}
	return sums, err
}

// hold is a deadline in the heap. An extended hold is pushed again; the stale
// deadline is passed over when it comes up.
type hold struct {
	deadline int64
	id       kessai.TxID
}

type holdHeap []hold

func (h holdHeap) Len() int           { return len(h) }
func (h holdHeap) Less(i, j int) bool { return h[i].deadline < h[j].deadline }
func (h holdHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *holdHeap) Push(x any)        { *h = append(*h, x.(hold)) }
func (h *holdHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
