package confirm

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kessai"
)

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tills = []kessai.TerminalID{{'A'}, {'B'}, {'C'}, {'D'}}
)

func at(account uint32, till int, name byte) Who {
	return Who{Account: account, Terminal: tills[till], Names: [2]Name{{name}}}
}

func reserve(t *testing.T, r *Room[int], who Who, now time.Time, want error) *Place[int] {
	t.Helper()
	p, err := r.Reserve(who, now)
	if err != want {
		t.Fatalf("%+v: %v, want %v", who, err, want)
	}
	return p
}

// TestBounds: one question for a customer at a terminal, three in five minutes, and
// as many as fit in all.
func TestBounds(t *testing.T) {
	r := New[int](Options{Max: 5, PerTerminal: 1})
	first := reserve(t, r, at(1, 0, 1), noon, nil)
	reserve(t, r, at(1, 0, 2), noon, ErrOpen)
	if again := reserve(t, r, at(1, 0, 1), noon, nil); again != first {
		t.Error("the repeat has a place of its own")
	}
	r.Drop(first, false)
	r.Take(first, 1)
	reserve(t, r, at(1, 1, 3), noon.Add(time.Minute), nil)
	dropped := reserve(t, r, at(1, 2, 4), noon.Add(time.Minute), nil)
	reserve(t, r, at(1, 3, 5), noon.Add(time.Minute), ErrTooMany)
	r.Drop(dropped, false) // it was not asked after all
	r.Take(reserve(t, r, at(1, 2, 6), noon.Add(2*time.Minute), nil), 2)
	r.End(1, 0)
	r.End(2, 0)
	reserve(t, r, at(1, 0, 7), noon.Add(4*time.Minute), ErrTooMany) // ended ones count all the same
	reserve(t, r, at(1, 0, 8), noon.Add(5*time.Minute), nil)
	reserve(t, r, at(0, 0, 9), noon, nil)
	reserve(t, r, at(0, 0, 10), noon, ErrClaims)
	reserve(t, r, at(0, 1, 11), noon, nil)
	reserve(t, r, at(0, 2, 12), noon, nil)
	reserve(t, r, at(0, 3, 13), noon, ErrFull)
	if n := r.Waiting(); n != 5 {
		t.Errorf("%d places are taken", n)
	}
}

// TestOnlyQuestionsAreRemembered: a merchant that repeats what was answered long ago
// fills no memory with it, and a clock that was put back locks nobody out.
func TestOnlyQuestionsAreRemembered(t *testing.T) {
	r := New[int](Options{})
	for i := range 1_000 {
		r.Drop(reserve(t, r, at(1, 0, byte(i)), noon, nil), false)
	}
	if len(r.recent)+len(r.people)+len(r.pairs) != 0 {
		t.Errorf("nobody was asked, and %d questions are kept", len(r.recent))
	}
	tomorrow := noon.Add(24 * time.Hour)
	for i := range 3 {
		r.Drop(reserve(t, r, at(2, i, 1), tomorrow, nil), true)
	}
	for i := range 3 { // the clock is put right
		r.Drop(reserve(t, r, at(1, i, 1), noon, nil), true)
	}
	reserve(t, r, at(1, 3, 2), noon.Add(time.Minute), ErrTooMany)
	reserve(t, r, at(1, 3, 3), noon.Add(5*time.Minute), nil)
}

// TestEverybodyHearsOnce: whoever waits hears once, whether they came before the
// payment had its place or after, and whoever left does not.
func TestEverybodyHearsOnce(t *testing.T) {
	r := New[int](Options{Watchers: 3})
	heard := make(map[string]int)
	wait := func(name string) Ticket {
		ticket, err := r.Wait(7, func(outcome int) { heard[name] += outcome })
		if err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	wait("early")
	p := reserve(t, r, at(1, 0, 1), noon, nil)
	phone, err := r.Subscribe(1)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Take(p, 7) {
		t.Error("the place was taken before")
	}
	wait("late")
	gone := wait("gone")
	if _, err := r.Wait(7, func(int) {}); err != ErrWatchers {
		t.Errorf("one more than may: %v", err)
	}
	if !r.Leave(gone) || r.Leave(gone) {
		t.Error("leaving twice")
	}
	if !r.End(7, 1) || r.End(7, 1) {
		t.Error("ending twice")
	}
	if heard["early"] != 1 || heard["late"] != 1 || heard["gone"] != 0 {
		t.Errorf("%v", heard)
	}
	if e := <-phone.Events; e != (Event{ID: 7, Ended: true}) {
		t.Errorf("the phone heard %+v", e)
	}
	r.Unsubscribe(phone)
	if r.Waiting() != 0 || r.Watching() != 0 || len(r.places) != 0 || len(r.pairs) != 0 {
		t.Errorf("something is left: %+v", r)
	}
	r.forget(noon.Add(time.Hour))
	if len(r.people) != 0 || len(r.recent) != 0 {
		t.Error("somebody is remembered for no reason")
	}
}

// TestSlowPhoneLooksAgain: words that it did not take are one word to look again.
func TestSlowPhoneLooksAgain(t *testing.T) {
	r := New[int](Options{Phones: 1})
	phone, _ := r.Subscribe(1)
	if _, err := r.Subscribe(1); err != ErrPhones {
		t.Errorf("one more phone than may: %v", err)
	}
	for range phoneRoom + 1 {
		r.Tell(1, Event{ID: 1})
	}
	if e := <-phone.Events; e != (Event{}) || len(phone.Events) != 0 {
		t.Errorf("%+v, and %d more", e, len(phone.Events))
	}
	r.Tell(2, Event{ID: 1}) // nobody is there
}

// TestClaim: a payment of nobody becomes somebody's, once.
func TestClaim(t *testing.T) {
	r := New[int](Options{})
	r.Take(reserve(t, r, at(0, 0, 1), noon, nil), 1)
	phone, _ := r.Subscribe(5)
	r.Claim(1, 5)
	r.Claim(1, 6)
	r.Claim(9, 5)
	if len(r.Open(5)) != 1 || len(r.Open(6)) != 0 || len(r.claims) != 0 {
		t.Errorf("%v, %v, %v", r.Open(5), r.Open(6), r.claims)
	}
	reserve(t, r, at(5, 0, 2), noon, ErrOpen)
	if e := <-phone.Events; e.ID != 1 || e.Ended {
		t.Errorf("%+v", e)
	}
	r.End(1, 0)
	reserve(t, r, at(5, 0, 2), noon, nil)
}

// TestRestoreGoesBeyondTheBounds: what the book has waits, however much it is.
func TestRestoreGoesBeyondTheBounds(t *testing.T) {
	r := New[int](Options{Max: 1})
	for id := range kessai.TxID(5) {
		r.Restore(at(1, int(id%4), byte(id)), id+1, noon)
		r.Restore(at(1, int(id%4), byte(id)), id+1, noon)
	}
	if r.Waiting() != 5 || len(r.Open(1)) != 5 || r.Asked(1, noon) != 5 {
		t.Errorf("%d wait, %v are open, %d questions count", r.Waiting(), r.Open(1), r.Asked(1, noon))
	}
	reserve(t, r, at(2, 0, 1), noon, ErrFull)
	for id := range kessai.TxID(5) {
		r.End(id+1, 0)
	}
	reserve(t, r, at(2, 0, 1), noon, nil)
}

// TestRoom_Model: whatever is done in whatever order, the room counts right and
// nobody hears twice or of what has not ended.
func TestRoom_Model(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := New[int](Options{Max: 6, PerTerminal: 2})
		type payment struct {
			place *Place[int]
			id    kessai.TxID
			heard int
			waits int
		}
		var reserved, seated []*payment
		var last kessai.TxID
		now := noon
		pick := func(from []*payment) (int, *payment) {
			i := rapid.IntRange(0, len(from)-1).Draw(t, "which")
			return i, from[i]
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1:
				last++
				who := at(uint32(rapid.IntRange(0, 3).Draw(t, "account")), rapid.IntRange(0, 3).Draw(t, "till"), byte(last))
				p, err := r.Reserve(who, now)
				if full := len(reserved)+len(seated) >= 6; full && err == nil {
					t.Fatal("there is more than may be")
				}
				if err == nil {
					reserved = append(reserved, &payment{place: p, id: last})
				}
			case 2:
				if len(reserved) > 0 {
					i, p := pick(reserved)
					reserved = append(reserved[:i:i], reserved[i+1:]...)
					if rapid.Bool().Draw(t, "dropped") {
						r.Drop(p.place, rapid.Bool().Draw(t, "asked"))
						continue
					}
					r.Take(p.place, p.id)
					seated = append(seated, p)
				}
			case 3:
				if len(seated) > 0 {
					_, p := pick(seated)
					p.waits++
					if _, err := r.Wait(p.id, func(int) { p.heard++ }); err != nil {
						t.Fatal(err)
					}
				}
			case 4:
				if len(seated) > 0 {
					i, p := pick(seated)
					seated = append(seated[:i:i], seated[i+1:]...)
					r.End(p.id, 1)
					r.End(p.id, 1)
					if p.heard != p.waits {
						t.Fatalf("%d wait, and %d heard", p.waits, p.heard)
					}
				}
			}
			if n := r.Waiting(); n != len(reserved)+len(seated) {
				t.Fatalf("%d places, want %d", n, len(reserved)+len(seated))
			}
			for _, p := range seated {
				if p.heard != 0 {
					t.Fatal("somebody heard of a payment that waits")
				}
			}
		}
	})
}

// TestManyAtOnce has the race detector look at everything.
func TestManyAtOnce(t *testing.T) {
	r := New[int](Options{PerAccount: 1 << 20})
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			id := kessai.TxID(i + 1)
			phone, err := r.Subscribe(uint32(i%7 + 1))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Unsubscribe(phone)
			p, err := r.Reserve(Who{Account: uint32(i%7 + 1), Terminal: kessai.TerminalID{byte(i)}}, noon)
			if err != nil {
				t.Error(err)
				return
			}
			done := make(chan int, 1)
			if _, err := r.Wait(id, func(n int) { done <- n }); err != nil {
				t.Error(err)
			}
			r.Take(p, id)
			go r.End(id, 3)
			if n := <-done; n != 3 {
				t.Error(n)
			}
		})
	}
	all.Wait()
	if r.Waiting() != 0 || r.Watching() != 0 {
		t.Errorf("%d wait, %d watch", r.Waiting(), r.Watching())
	}
}
