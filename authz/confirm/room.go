package confirm

import (
	"errors"
	"slices"
	"sync"
	"time"

	"kessai"
)

// Options bounds a room. Zero stands for the default.
type Options struct {
	Max         int           // payments that wait at once. Default 100,000
	PerAccount  int           // how often one account is asked within Window. Default 3
	Window      time.Duration // Default 5 min
	PerTerminal int           // payments of one terminal that wait for somebody to claim them. Default 16
	Watchers    int           // how many may wait for one payment. Default 16
	Phones      int           // of one account that are open. Default 20
}

func (o *Options) defaults() {
	for _, d := range [...]struct {
		n   *int
		def int
	}{{&o.Max, 100_000}, {&o.PerAccount, 3}, {&o.PerTerminal, 16}, {&o.Watchers, 16}, {&o.Phones, 20}} {
		if *d.n <= 0 {
			*d.n = d.def
		}
	}
	if o.Window <= 0 {
		o.Window = 5 * time.Minute
	}
}

// Why there is no place in the room.
var (
	ErrFull     = errors.New("as many payments wait for their customers as are allowed: try again later")
	ErrOpen     = errors.New("the customer is being asked about another payment of this terminal")
	ErrTooMany  = errors.New("the customer was asked too often in the last minutes")
	ErrClaims   = errors.New("too many payments of this terminal wait for somebody to claim them")
	ErrWatchers = errors.New("too many wait for this payment")
	ErrPhones   = errors.New("too many phones of this customer are open")
)

// Name is one of the names of an attempt; zero is none.
type Name = [16]byte

// Who says whose place it is.
type Who struct {
	Account  uint32 // zero: whoever claims the payment
	Terminal kessai.TerminalID
	Names    [2]Name // of the attempt: its repeat shares the place
}

// Place is the place of one payment. Its fields are the room's.
type Place[T any] struct {
	who   Who
	id    kessai.TxID // zero: not in the book yet
	users int         // requests that are on their way to the book with it
	asked time.Time   // when it was counted; zero: it was not
	bare  bool        // nobody reserved it, or not yet: there are only those who wait
	wait  []waiter[T]
}

type waiter[T any] struct {
	number uint64
	tell   func(T)
}

// pair is an account at a terminal, where one question at most is open.
type pair struct {
	account  uint32
	terminal kessai.TerminalID
}

// person is what the room knows of an account.
type person struct {
	asked  []time.Time // when it was asked, as far as that counts
	open   []kessai.TxID
	phones []*Phone
}

// Room is the waiting room. It may be used from many goroutines at once. T is
// what those who wait are told.
type Room[T any] struct {
	o Options

	mu       sync.Mutex
	places   map[kessai.TxID]*Place[T] // of the payments that are in the book
	pairs    map[pair]*Place[T]
	claims   map[kessai.TerminalID]int // places of nobody yet
	people   map[uint32]*person
	recent   []recent // of people's asked, the oldest first
	taken    int      // places, those of payments that are not in the book yet among them
	watching int
	last     uint64
}

type recent struct {
	account uint32
	at      time.Time
}

// New makes an empty room.
func New[T any](o Options) *Room[T] {
	o.defaults()
	return &Room[T]{
		o: o, places: make(map[kessai.TxID]*Place[T]), pairs: make(map[pair]*Place[T]),
		claims: make(map[kessai.TerminalID]int), people: make(map[uint32]*person),
	}
}

// Reserve gives a payment that is about to be put into the book a place, or
// [ErrFull], [ErrOpen], [ErrTooMany] or [ErrClaims]. Every place that is given is
// either taken or dropped. A repeat of an attempt that has a place shares it.
func (r *Room[T]) Reserve(who Who, now time.Time) (*Place[T], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	at := pair{who.Account, who.Terminal}
	if p := r.pairs[at]; p != nil {
		if !p.who.same(&who) {
			return nil, ErrOpen
		}
		p.users++
		return p, nil
	}
	switch {
	case r.taken >= r.o.Max:
		return nil, ErrFull
	case who.Account == 0 && r.claims[who.Terminal] >= r.o.PerTerminal:
		return nil, ErrClaims
	case who.Account != 0 && len(r.person(who.Account).asked) >= r.o.PerAccount:
		return nil, ErrTooMany
	}
	p := &Place[T]{who: who, users: 1}
	r.enter(p, now)
	return p, nil
}

func (w *Who) same(other *Who) bool {
	for _, n := range w.Names {
		if n != (Name{}) && slices.Contains(other.Names[:], n) {
			return true
		}
	}
	return false
}

// enter counts a place; the caller holds the lock.
func (r *Room[T]) enter(p *Place[T], now time.Time) {
	r.taken++
	if p.who.Account == 0 {
		r.claims[p.who.Terminal]++
		return
	}
	r.pairs[pair{p.who.Account, p.who.Terminal}] = p
	p.asked = now
	one := r.person(p.who.Account)
	one.asked = append(one.asked, now)
}

func (r *Room[T]) person(account uint32) *person {
	one := r.people[account]
	if one == nil {
		one = new(person)
		r.people[account] = one
	}
	return one
}

// forget drops what was asked too long ago to count; the caller holds the lock.
// Each question is looked at once. One from after now was asked before the clock
// was put back.
func (r *Room[T]) forget(now time.Time) {
	n := 0
	for n < len(r.recent) && now.Sub(r.recent[n].at).Abs() >= r.o.Window {
		account := r.recent[n].account
		if one := r.people[account]; one != nil {
			if i := slices.Index(one.asked, r.recent[n].at); i >= 0 {
				one.asked = slices.Delete(one.asked, i, i+1)
			}
			r.tidy(account, one)
		}
		n++
	}
	r.recent = r.recent[n:] // append makes room again, and leaves these behind
}

// tidy forgets an account of whom nothing is known any more.
func (r *Room[T]) tidy(account uint32, one *person) {
	if len(one.asked) == 0 && len(one.open) == 0 && len(one.phones) == 0 {
		delete(r.people, account)
	}
}

// Take says that the payment of a place is in the book and waits there. It may
// have ended meanwhile: whoever takes a place looks at the book afterwards, and
// calls [Room.End] where it has. It is true for the first who takes the place.
func (r *Room[T]) Take(p *Place[T], id kessai.TxID) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.users--
	if p.id != 0 {
		return false
	}
	if other := r.places[id]; other != nil && !other.bare {
		if p.users == 0 { // a repeat is no question
			r.unask(p)
			r.leave(p)
		}
		return false
	}
	r.sit(p, id)
	return true
}

// Restore gives a payment a place that waits in the book already, whatever the
// bounds say.
func (r *Room[T]) Restore(who Who, id kessai.TxID, asked time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.places[id]; p == nil || p.bare {
		p = &Place[T]{who: who}
		r.enter(p, asked)
		r.sit(p, id)
	}
}

// sit makes a place that of a payment in the book; the caller holds the lock.
func (r *Room[T]) sit(p *Place[T], id kessai.TxID) {
	if bare := r.places[id]; bare != nil { // somebody waited already
		p.wait = append(p.wait, bare.wait...)
	}
	p.id = id
	r.places[id] = p
	if p.who.Account != 0 {
		one := r.person(p.who.Account)
		one.open = append(one.open, id)
		r.recent = append(r.recent, recent{p.who.Account, p.asked})
	}
}

// Drop gives a place back whose payment does not wait. Asked says that the
// customer hears of it all the same, so that it counts as a question.
func (r *Room[T]) Drop(p *Place[T], asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.users--; p.users > 0 || p.id != 0 {
		return
	}
	if !asked {
		r.unask(p)
	} else if !p.asked.IsZero() {
		r.recent = append(r.recent, recent{p.who.Account, p.asked})
	}
	r.leave(p)
}

// unask takes back that an account was asked; the caller holds the lock.
func (r *Room[T]) unask(p *Place[T]) {
	if one := r.people[p.who.Account]; one != nil && !p.asked.IsZero() {
		if i := slices.Index(one.asked, p.asked); i >= 0 {
			one.asked = slices.Delete(one.asked, i, i+1)
		}
	}
}

// leave ends a place; the caller holds the lock.
func (r *Room[T]) leave(p *Place[T]) {
	r.taken--
	if p.who.Account == 0 {
		if r.claims[p.who.Terminal]--; r.claims[p.who.Terminal] == 0 {
			delete(r.claims, p.who.Terminal)
		}
		return
	}
	at := pair{p.who.Account, p.who.Terminal}
	if r.pairs[at] == p {
		delete(r.pairs, at)
	}
	one := r.people[p.who.Account]
	if one == nil { // it was asked too long ago to be remembered
		return
	}
	if i := slices.Index(one.open, p.id); i >= 0 {
		one.open = slices.Delete(one.open, i, i+1)
	}
	r.tidy(p.who.Account, one)
}
