package ledger

import (
	"container/heap"
	"fmt"

	"kessai"
)

// state is what the blocks say, in memory. It knows no clock and no disk: the
// same entries always make the same state. Accounts and transactions are the
// truth; everything else is derived from them (see derive).
type state struct {
	accounts table[Account]
	txs      table[Tx]

	byName map[string]AccountID
	keys   map[Key]named
	tombs  map[Key]kessai.TxID // attempts that were reversed before they came
	holds  holdHeap
	open   uint64 // holds that are pending; the heap may hold ended ones too

	day   int32 // the business day of the newest block; never goes back
	usage map[subject]usage

	block uint64 // the newest block's number, time and hash
	time  int64
	hash  [32]byte
}

// named is what an attempt's key stands for.
type named struct {
	id     kessai.TxID
	digest [16]byte
}

// subject names a medium or a terminal whose running limits are counted.
type subject [16]byte

type usage struct {
	total int64
	count uint32
}

func mediumSubject(id kessai.MediumID) subject { return subject(id) }

func terminalSubject(id kessai.TerminalID) (s subject) {
	copy(s[:], "terminal")
	copy(s[8:], id[:])
	return s
}

func newState() *state {
	return &state{
		byName: make(map[string]AccountID),
		keys:   make(map[Key]named),
		tombs:  make(map[Key]kessai.TxID),
		usage:  make(map[subject]usage),
	}
}

// derive rebuilds everything that follows from accounts and transactions.
func (s *state) derive() {
	s.accounts.each(func(a *Account) { s.byName[a.Name] = a.ID })
	s.txs.each(func(t *Tx) { s.index(t) })
}

// index makes one transaction findable and counted.
func (s *state) index(t *Tx) {
	for _, n := range t.Names {
		if n.Key != (Key{}) {
			s.keys[n.Key] = named{t.ID, n.Digest}
		}
	}
	if t.OriginalKey != (Key{}) {
		s.tombs[t.OriginalKey] = t.ID
	}
	if t.Status == Pending {
		s.open++
		heap.Push(&s.holds, hold{t.Deadline, t.ID})
	}
	if t.Day == s.day && t.Counted != 0 && t.Code.IsApproval() {
		s.count(t, t.Amount-t.Reversed, t.Status != Reversed)
	}
}

// count adds to the running totals of the transaction's subjects.
func (s *state) count(t *Tx, amount int64, once bool) {
	add := func(who subject) {
		u := s.usage[who]
		u.total += amount
		if once && t.Kind != kessai.Increment {
			u.count++
		}
		s.usage[who] = u
	}
	if t.Counted&CountedMedium != 0 {
		add(mediumSubject(t.Medium))
	}
	if t.Counted&CountedTerminal != 0 {
		add(terminalSubject(t.Terminal))
	}
}

// uncount takes back what a reversal undid, if it was counted today.
func (s *state) uncount(t *Tx, amount int64) {
	if t.Day != s.day || t.Counted == 0 {
		return
	}
	take := func(who subject) {
		u := s.usage[who]
		u.total -= amount
		if t.Status == Reversed && t.Kind != kessai.Increment {
			u.count--
		}
		s.usage[who] = u
	}
	if t.Counted&CountedMedium != 0 {
		take(mediumSubject(t.Medium))
	}
	if t.Counted&CountedTerminal != 0 {
		take(terminalSubject(t.Terminal))
	}
}

// begin starts a block: time and business day never go back.
func (s *state) begin(now int64, day int32) {
	s.time = max(s.time, now)
	if day > s.day {
		s.day = day
		clear(s.usage)
	}
}

// find gives a copy of the transaction that ref points to.
func (s *state) find(ref Ref) (Tx, bool) {
	id := ref.ID
	if id == 0 {
		id = s.keys[ref.Key].id
	}
	if t := s.txs.get(uint64(id)); t != nil {
		return *t, true
	}
	return Tx{}, false
}

// due gives the next pending hold whose deadline has passed, if there is one,
// and the next deadline (zero: there is none).
func (s *state) due(now int64) (id kessai.TxID, next int64) {
	for len(s.holds) > 0 {
		h := s.holds[0]
		t := s.txs.get(uint64(h.id))
		if t == nil || t.Status != Pending || t.Deadline != h.deadline {
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
func (s *state) sums() (map[kessai.Currency]int64, error) {
	sums := make(map[kessai.Currency]int64)
	var err error
	s.accounts.each(func(a *Account) {
		sums[a.Currency] += a.Balance
		if a.Held < 0 {
			err = fmt.Errorf("account %d holds %d of %d", a.ID, a.Held, a.Balance)
		}
	})
	for c, sum := range sums {
		if sum != 0 {
			err = fmt.Errorf("the accounts in %s add up to %d instead of 0", c, sum)
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
