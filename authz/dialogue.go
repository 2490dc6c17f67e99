package authz

import (
	"container/list"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"kessai"
)

// A dialogue is the two-step form of a transaction (system V): the terminal says
// which medium it has ([Engine.Open]), hears at once whether the two are good,
// and then says what the transaction is (a [Request] with [InDialogue]). What
// memory does not know is looked up in the registry meanwhile.
//
// Nothing of a dialogue is kept on disk. It ends with its transaction, with a
// negative answer, with its time, when its connection closes, and when its
// terminal opens another.

// DialogueID is the number of a dialogue: random, so that nobody can guess one.
type DialogueID [16]byte

func (id DialogueID) String() string { return hex.EncodeToString(id[:]) }

// ParseDialogueID reads what [DialogueID.String] gives.
func ParseDialogueID(text []byte) (id DialogueID, ok bool) {
	if len(text) != 2*len(id) {
		return id, false
	}
	_, err := hex.Decode(id[:], text)
	return id, err == nil
}

// Party is who holds a dialogue: one connection, or a merchant by its API key.
// Nobody else can use it.
type Party struct {
	connection uint64
	merchant   kessai.MerchantID
}

var connections atomic.Uint64

// NewConnection gives a party that no other connection is.
func NewConnection() Party { return Party{connection: connections.Add(1)} }

// ByKey is the merchant whose API key was shown.
func ByKey(m kessai.MerchantID) Party { return Party{merchant: m} }

// InDialogue says that a request is the transaction of a dialogue. The medium may
// then be left out.
type InDialogue struct {
	ID DialogueID
	By Party

	sent kessai.MediumID // the medium as the request named it
	held *dialogue       // while the request has it
	dead bool            // it is not recorded: see refuse
}

// refuse gives the verdict on a request whose dialogue is not there. The book is
// not to record it, or anyone could fill it with numbers out of the air; but if
// the same request came before, it has the stored answer.
func (in *InDialogue) refuse(code kessai.ResponseCode) kessai.ResponseCode {
	if code != kessai.NoSuchRecord {
		return code
	}
	in.dead = true
	return kessai.SystemMalfunction
}

// DialogueOptions bounds dialogues. Zero stands for the default.
type DialogueOptions struct {
	Timeout   time.Duration // from opening to transaction. Default 30 s
	MaxOpen   int           // at once. Default 65,536
	MaxBeside int           // look-ups in the registry beside them. Default 256

	Opened func()       // told of each that is opened; may be nil
	Ended  func(Ending) // told of each that ends; may be nil
}

// Ending says how a dialogue ended.
type Ending string

// The ways in which a dialogue ends.
const (
	EndedBySettling Ending = "transaction" // it had its transaction, or a negative answer to it
	EndedByTime     Ending = "timeout"
	EndedByHangUp   Ending = "connection" // its connection closed
	EndedByAnother  Ending = "another"    // its terminal opened another one
	EndedByClose    Ending = "closed"     // it was told to
)

// dialogue is one that is open, or whose transaction is under way. The table's
// lock guards what can change.
type dialogue struct {
	id       DialogueID
	by       Party
	terminal kessai.TerminalID
	medium   kessai.MediumID
	last4    kessai.Last4
	expiry   uint16
	until    time.Time
	age      *list.Element // its place in the table's queue

	beside *beside // the look-up that runs beside it; nil: none

	attempt attempt // what has taken it
	users   int     // how many requests have it: the attempt and its repeats
}

// attempt says which request has taken a dialogue, so that its repeat, which may
// come while it waits for the registry, is told from another.
type attempt struct {
	Attempt
	key    string
	digest [16]byte
	body   [16]byte
}

func attemptOf(r *Request) attempt {
	a := attempt{r.Attempt, r.IdempotencyKey, r.digest(), r.BodyDigest}
	a.MTI[3] &^= 1
	return a
}

// dialogues are those that are open. A terminal has one at most, all live equally
// long, and so a queue in the order of their opening is all that it takes to find
// those whose time is over: no goroutine and no timer.
type dialogues struct {
	o     DialogueOptions
	slots chan struct{} // holds a token for each look-up that runs beside

	mu         sync.Mutex
	byID       map[DialogueID]*dialogue
	byTerminal map[kessai.TerminalID]*dialogue
	byParty    map[Party]map[*dialogue]struct{}
	queue      list.List // of *dialogue, the oldest first
}

func newDialogues(o DialogueOptions) *dialogues {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxOpen == 0 {
		o.MaxOpen = 65_536
	}
	if o.MaxBeside == 0 {
		o.MaxBeside = 256
	}
	if o.Opened == nil {
		o.Opened = func() {}
	}
	if o.Ended == nil {
		o.Ended = func(Ending) {}
	}
	return &dialogues{
		o: o, slots: make(chan struct{}, o.MaxBeside),
		byID:       make(map[DialogueID]*dialogue),
		byTerminal: make(map[kessai.TerminalID]*dialogue),
		byParty:    make(map[Party]map[*dialogue]struct{}),
	}
}

// ErrDialogues says that as many dialogues are open as may be.
var ErrDialogues = errors.New("as many dialogues are open as are allowed: try again when some have ended")

// open puts a dialogue into the table, and begins the look-up beside it if there
// is one; the terminal's earlier dialogue ends.
func (t *dialogues) open(r *Request, by Party, look func() *beside) (*dialogue, error) {
	d := &dialogue{
		by: by, terminal: r.Terminal, medium: r.Medium, last4: r.Last4, expiry: r.Expiry,
		until: r.Received.Add(t.o.Timeout),
	}
	_, _ = rand.Read(d.id[:]) // never fails
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(r.Received)
	if before := t.byTerminal[d.terminal]; before != nil {
		t.remove(before, EndedByAnother)
	}
	if len(t.byID) >= t.o.MaxOpen {
		return nil, ErrDialogues
	}
	d.beside = look()
	t.byID[d.id], t.byTerminal[d.terminal] = d, d
	if t.byParty[by] == nil {
		t.byParty[by] = make(map[*dialogue]struct{})
	}
	t.byParty[by][d] = struct{}{}
	d.age = t.queue.PushBack(d)
	t.o.Opened()
	return d, nil
}

// expire ends those whose time is over; the caller holds the lock. Each is
// visited once in its life.
func (t *dialogues) expire(now time.Time) {
	for first := t.queue.Front(); first != nil; first = t.queue.Front() {
		d := first.Value.(*dialogue)
		if now.Before(d.until) {
			return
		}
		t.remove(d, EndedByTime)
	}
}

// remove ends a dialogue; the caller holds the lock. Ending it again does nothing.
func (t *dialogues) remove(d *dialogue, how Ending) {
	if t.byID[d.id] != d {
		return
	}
	delete(t.byID, d.id)
	if t.byTerminal[d.terminal] == d {
		delete(t.byTerminal, d.terminal)
	}
	if delete(t.byParty[d.by], d); len(t.byParty[d.by]) == 0 {
		delete(t.byParty, d.by)
	}
	t.queue.Remove(d.age)
	t.o.Ended(how)
}

// take gives a request the dialogue that it names: nil where there is none that
// is open to it, because it is somebody else's, or another request has it.
func (t *dialogues) take(in *InDialogue, terminal kessai.TerminalID, a attempt, now time.Time) *dialogue {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	d := t.byID[in.ID]
	if d == nil || d.by != in.By || d.terminal != terminal || d.users > 0 && d.attempt != a {
		return nil
	}
	d.attempt = a
	d.users++
	return d
}

// resume goes on with the dialogue that a request names, if it names one: it
// fills in the medium, and gives what the registry said beside the dialogue, for
// which it waits. A dialogue that is not there is among the facts.
func (t *dialogues) resume(r *Request, f *Facts) (said told) {
	in := r.Dialogue
	if in == nil {
		return said
	}
	in.sent = r.Medium
	d := t.take(in, r.Terminal, attemptOf(r), r.Received)
	if d == nil {
		f.NoDialogue = true
		return said
	}
	in.held = d
	if !r.Medium.IsZero() && r.Medium != d.medium {
		f.NoDialogue = true
		return said
	}
	r.Medium, r.Last4 = d.medium, d.last4
	if r.Expiry == 0 {
		r.Expiry = d.expiry
	}
	if d.beside != nil {
		said = d.beside.wait()
	}
	return said
}

// settle ends the dialogues of requests that have got their answers. Where
// nothing was done (96, or no answer at all), a dialogue stays as it was, so that
// the same request can be sent again.
func (t *dialogues) settle(asks []Ask) {
	for i := range asks {
		in := asks[i].Request.Dialogue
		if in == nil {
			continue
		}
		reply := &asks[i].Reply
		undone := asks[i].Err != nil || reply.Code == kessai.SystemMalfunction && !in.dead
		if in.dead && reply.Code == kessai.SystemMalfunction {
			reply.Code = kessai.NoSuchRecord
		}
		if in.held != nil {
			t.release(in.held, !undone)
			in.held = nil
		}
	}
}

func (t *dialogues) release(d *dialogue, spent bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.users--; spent {
		t.remove(d, EndedBySettling)
	}
}

// Close ends a dialogue before its transaction; false where the party has none
// of that number.
func (e *Engine) Close(id DialogueID, by Party, now time.Time) bool {
	t := e.talks
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	d := t.byID[id]
	if d == nil || d.by != by {
		return false
	}
	t.remove(d, EndedByClose)
	return true
}

// HangUp ends every dialogue of a connection that has closed.
func (e *Engine) HangUp(by Party) {
	t := e.talks
	t.mu.Lock()
	defer t.mu.Unlock()
	for d := range t.byParty[by] {
		t.remove(d, EndedByHangUp)
	}
}

// Dialogues gives the number of dialogues that are open, or were when one was
// last opened or used.
func (e *Engine) Dialogues() int {
	e.talks.mu.Lock()
	defer e.talks.mu.Unlock()
	return len(e.talks.byID)
}
