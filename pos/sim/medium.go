package sim

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"kessai"
	"kessai/pos/purse"
)

// Tear is the moment at which a medium is pulled out of the terminal, or the
// power or the line fails.
type Tear uint8

// The moments, in the order in which they come.
const (
	TearNone      Tear = iota
	TearOrder          // the request was sent, and the order does not come
	TearReceived       // the medium has the order and has not looked at it
	TearHalf           // half of it is written
	TearWritten        // it is written, and the medium has not said so
	TearAnswered       // the medium has said so, and the confirmation is not sent
	TearConfirmed      // the confirmation was sent, and its answer does not come
	numTears
)

func (t Tear) String() string {
	return [numTears]string{
		"nothing", "order not received", "order not looked at", "half a slot written",
		"written and not answered", "answered and not confirmed", "confirmed and not answered",
	}[t%numTears]
}

// Tears lists all moments at which something can be torn.
func Tears() []Tear {
	all := make([]Tear, 0, numTears-1)
	for t := TearOrder; t < numTears; t++ {
		all = append(all, t)
	}
	return all
}

// The errors of a medium, apart from those of [purse.Key.Write].
var (
	ErrTorn = errors.New("the medium was pulled out")
	ErrDead = errors.New("the medium has no state that is whole")
)

// Medium is a simulated medium that carries e-money. What it keeps is in two
// slots, and a write goes to the older one: whenever the power fails, the newest
// slot that is whole is what it was or what it is to be. It may be used from many
// goroutines at once. It cannot be printed.
type Medium struct {
	mu      sync.Mutex
	key     purse.Key
	slots   [2][purse.StateSize]byte
	oneSlot bool
}

// NewMedium makes a medium with its key and its first state, as they come from
// kessai purse issue.
func NewMedium(key purse.Key, first purse.State) *Medium {
	m := &Medium{key: key}
	key.SignState(&first)
	first.Append(m.slots[0][:0])
	return m
}

// WithoutAntiTearing makes the medium keep its state in one slot only, and take
// whatever is there for whole. It is for tests that must find out.
func (m *Medium) WithoutAntiTearing() *Medium {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.oneSlot = true
	return m
}

// Format makes every verb of fmt print ****: a medium holds its key.
func (m *Medium) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// IssuedMedium reads a line of what kessai purse issue wrote.
func IssuedMedium(line []byte) (*Medium, error) {
	var r struct{ Key, State string }
	bad := errors.New("this is no record of kessai purse issue")
	if json.Unmarshal(line, &r) != nil {
		return nil, bad
	}
	b, err := hex.DecodeString(r.Key)
	if err != nil {
		return nil, bad
	}
	key, err := purse.ParseKey(b)
	if err != nil {
		return nil, bad
	}
	s, err := purse.ParseStateHex(r.State)
	if err != nil || !key.VerifyState(&s) {
		return nil, bad
	}
	return NewMedium(key, s), nil
}

// state gives the newest state that is whole, and the slot that may be written.
func (m *Medium) state() (newest purse.State, free int, err error) {
	err = ErrDead
	for i := range m.slots {
		s, bad := purse.ParseState(m.slots[i][:])
		if bad != nil || !m.oneSlot && !m.key.VerifyState(&s) {
			continue
		}
		if err != nil || s.Counter > newest.Counter {
			newest, free, err = s, 1-i, nil
		}
	}
	if m.oneSlot {
		free = 0
	}
	return newest, free, err
}

// put writes a slot, or only half of it.
func (m *Medium) put(slot int, s *purse.State, half bool) {
	var record [purse.StateSize]byte
	s.Append(record[:0])
	n := len(record)
	if half {
		n /= 2 // behind the balance, before the last transaction and the MAC
	}
	copy(m.slots[slot][:n], record[:n])
}

// Read gives the medium's state, with a counter that it has not said before.
func (m *Medium) Read() (purse.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, free, err := m.state()
	if err != nil {
		return purse.State{}, err
	}
	s = m.key.Read(s)
	m.put(free, &s, false)
	return s, nil
}

// Write has the medium write an order and gives its state after that. Where the
// order is none for it, nothing changes.
func (m *Medium) Write(o *purse.Order, tear Tear) (purse.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tear == TearReceived {
		return purse.State{}, ErrTorn
	}
	s, free, err := m.state()
	if err != nil {
		return purse.State{}, err
	}
	if s, err = m.key.Write(s, o); err != nil {
		return purse.State{}, err
	}
	if m.put(free, &s, tear == TearHalf); tear == TearHalf || tear == TearWritten {
		return purse.State{}, ErrTorn
	}
	return s, nil
}

// Peek gives what is on the medium without reading it as a terminal does, for
// whoever counts the money.
func (m *Medium) Peek() (balance int64, last kessai.TxID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, _, err := m.state()
	if err != nil {
		return 0, 0
	}
	return s.Balance, s.Last
}

// ID gives the medium's ID; zero where it has no state that is whole.
func (m *Medium) ID() kessai.MediumID {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, _, _ := m.state()
	return s.Medium
}
