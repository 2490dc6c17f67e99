package confirm

import (
	"slices"
	"time"

	"kessai"
)

// Ticket is what who waits holds, to leave before the end.
type Ticket struct {
	id     kessai.TxID
	number uint64
}

// Wait has tell called once, when the payment has ended. It must not block, and is
// called by whoever ends the payment. [ErrWatchers] says that nobody else can wait.
//
// The payment may have ended before: whoever waits looks at the book afterwards,
// and calls [Room.End] where it has.
func (r *Room[T]) Wait(id kessai.TxID, tell func(T)) (Ticket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.places[id]
	if p == nil {
		p = &Place[T]{id: id, bare: true}
		r.places[id] = p
	}
	if len(p.wait) >= r.o.Watchers {
		return Ticket{}, ErrWatchers
	}
	r.last++
	r.watching++
	p.wait = append(p.wait, waiter[T]{r.last, tell})
	return Ticket{id, r.last}, nil
}

// Leave gives up waiting. It is false where tell was called, or is being called.
func (r *Room[T]) Leave(t Ticket) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.places[t.id]
	if p == nil {
		return false
	}
	i := slices.IndexFunc(p.wait, func(w waiter[T]) bool { return w.number == t.number })
	if i < 0 {
		return false
	}
	p.wait = slices.Delete(p.wait, i, i+1)
	r.watching--
	if p.bare && len(p.wait) == 0 {
		delete(r.places, t.id)
	}
	return true
}

// End tells everybody who waits for a payment, and the phones of the account, what
// became of it, and gives its place back. Ending it again does nothing. It is true
// where a place was given back.
func (r *Room[T]) End(id kessai.TxID, outcome T) (had bool) {
	r.mu.Lock()
	p := r.places[id]
	if p == nil {
		r.mu.Unlock()
		return false
	}
	delete(r.places, id)
	r.watching -= len(p.wait)
	if had = !p.bare; had {
		if account := p.who.Account; account != 0 {
			r.event(account, Event{ID: id, Ended: true})
		}
		r.leave(p)
	}
	wait := p.wait
	p.wait = nil
	r.mu.Unlock()
	for i := range wait {
		wait[i].tell(outcome)
	}
	return had
}

// Claim says whose payment it is that was nobody's.
func (r *Room[T]) Claim(id kessai.TxID, account uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.places[id]
	if p == nil || p.bare || p.who.Account != 0 || account == 0 {
		return
	}
	if r.claims[p.who.Terminal]--; r.claims[p.who.Terminal] == 0 {
		delete(r.claims, p.who.Terminal)
	}
	p.who.Account = account
	if at := (pair{account, p.who.Terminal}); r.pairs[at] == nil {
		r.pairs[at] = p
	}
	one := r.person(account)
	one.open = append(one.open, id)
	r.event(account, Event{ID: id})
}

// Open lists the payments that wait for one account, the oldest first.
func (r *Room[T]) Open(account uint32) []kessai.TxID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.people[account]; one != nil {
		return slices.Clone(one.open)
	}
	return nil
}

// Waiting gives the number of payments that have a place.
func (r *Room[T]) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

// Watching gives the number of those who wait.
func (r *Room[T]) Watching() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.watching
}

// Event is a word to a phone that is open: about a payment that waits or has
// ended. A zero ID says that words were lost: look at everything again.
type Event struct {
	ID    kessai.TxID
	Ended bool
}

// phoneRoom is how many events may lie before a phone that does not take them.
const phoneRoom = 8

// Phone is a phone that is open.
type Phone struct {
	Events  <-chan Event
	send    chan Event
	account uint32
}

// Subscribe opens a phone of an account, until it is closed; [ErrPhones] says that
// too many are open.
func (r *Room[T]) Subscribe(account uint32) (*Phone, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.person(account)
	if len(one.phones) >= r.o.Phones {
		return nil, ErrPhones
	}
	send := make(chan Event, phoneRoom)
	p := &Phone{Events: send, send: send, account: account}
	one.phones = append(one.phones, p)
	return p, nil
}

// Unsubscribe closes a phone. Closing it again does nothing.
func (r *Room[T]) Unsubscribe(p *Phone) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.people[p.account]
	if one == nil {
		return
	}
	if i := slices.Index(one.phones, p); i >= 0 {
		one.phones = slices.Delete(one.phones, i, i+1)
		r.tidy(p.account, one)
	}
}

// Tell tells the phones of an account that are open.
func (r *Room[T]) Tell(account uint32, e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event(account, e)
}

// event is Tell; the caller holds the lock. A phone that does not take what it is
// told is told to look again instead.
func (r *Room[T]) event(account uint32, e Event) {
	one := r.people[account]
	if one == nil {
		return
	}
	for _, p := range one.phones {
		select {
		case p.send <- e:
			continue
		default:
		}
		for len(p.send) > 0 {
			select {
			case <-p.send:
			default:
			}
		}
		p.send <- Event{}
	}
}

// Asked says how often an account was asked in the window that ends now.
func (r *Room[T]) Asked(account uint32, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	if one := r.people[account]; one != nil {
		return len(one.asked)
	}
	return 0
}
