package sim

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"kessai"
	"kessai/pos/tether"
)

// Reader is a simulated card reader that hangs on a customer's phone: a card slot, a
// pad, a display of four lines, and a memory for the key of one payment
// (docs/READER.md; system R). It seals what it reads for the gateway alone: the phone
// that passes it on learns nothing.
//
// It may be used from many goroutines at once. It cannot be printed.
type Reader struct {
	o ReaderOptions

	mu      sync.Mutex
	keep    readerState
	now     phase
	line    *readerLine    // what is plugged in; nil: nothing
	card    *ReaderCard    // in the slot
	typed   []byte         // digits of a PIN or of a code; wiped as soon as they are used
	enrol   *enrolment     // while it waits for the gateway's answer
	sale    *readerPayment // the one that there is room for
	result  [2]string      // of the last one
	timer   *time.Timer    // for the end of the phase
	turn    int            // of the timer: one that comes late does nothing
	views   uint64
	changed chan struct{}
}

// ReaderOptions says what a reader is like.
type ReaderOptions struct {
	Name  string // for people, at most 32 bytes. Default: what the file says, or "Simulated reader"
	State string // file that keeps its name, its key and whom it is enrolled with; empty: memory alone
}

// phase is what a reader is doing.
type phase uint8

const (
	phaseIdle     phase = iota
	phaseCode           // its owner types the code of an enrolment
	phaseEnrols         // the gateway is asked to take it
	phaseCard           // it waits for a card
	phaseCardSent       // the gateway looks at the card
	phasePIN            // it waits for the PIN
	phasePINSent        // the gateway looks at the PIN
	phaseOver           // it shows what came of it
	numPhases
)

var phaseNames = [numPhases]string{"idle", "code", "enrols", "card", "card_sent", "pin", "pin_sent", "over"}

// The times that no offer sets.
const (
	codeTime   = 5 * time.Minute  // to type an enrolment's code
	enrolTime  = time.Minute      // for the gateway to take the reader
	judgeTime  = time.Minute      // for the gateway to say something of a card or a PIN
	resultTime = 20 * time.Second // that a result is shown
)

// Display is what a reader shows: four lines of at most 20 columns.
type Display [4]string

// ReaderView is what there is to see of a reader.
type ReaderView struct {
	N       uint64 // goes up with each change
	Phase   string // idle, code, enrols, card, card_sent, pin, pin_sent or over
	Display Display
	Card    bool            // there is one in the slot
	Plugged bool            // a phone is at the other end of the line
	Key     bool            // the key of a payment is in its memory
	Changed <-chan struct{} // is closed when it is no longer so
}

// The keys of the pad beside the digits '0' to '9'.
const (
	KeyClear  = '<'
	KeyCancel = 'X'
	KeyOK     = 'E'
)

// ErrReplaced says that another line was plugged in.
var ErrReplaced = errors.New("another line was plugged into the reader")

// NewReader makes a reader, or switches on the one whose state is in the file.
func NewReader(o ReaderOptions) (*Reader, error) {
	r := &Reader{o: o, changed: make(chan struct{})}
	if err := r.keep.load(o.State); err != nil {
		return nil, err
	}
	r.o.Name = cmp.Or(o.Name, r.keep.name, "Simulated reader")
	if _, err := r.who().Encode(); err != nil {
		return nil, fmt.Errorf("a reader's name has 1 to %d bytes of UTF-8 without control characters", tether.MaxName)
	}
	if r.keep.name != r.o.Name { // it is new, or is called something else
		r.keep.name = r.o.Name
		return r, r.keep.save(o.State)
	}
	return r, nil
}

// Format makes every verb of fmt print the reader's ID and no more.
func (r *Reader) Format(f fmt.State, _ rune) { fmt.Fprint(f, "reader "+r.ID().String()) }

// ID names the reader.
func (r *Reader) ID() kessai.ReaderID { return kessai.ReaderIDOf(r.PublicKey()) }

// PublicKey gives the public half of the key that it signs with.
func (r *Reader) PublicKey() ed25519.PublicKey { return r.keep.key.Public().(ed25519.PublicKey) }

// Enrolled reports whether the reader knows a gateway.
func (r *Reader) Enrolled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keep.gateway != nil
}

// Trust enrols the reader where it is made: it takes a gateway's key without a code.
func (r *Reader) Trust(gateway ed25519.PublicKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.show()
	return r.keep.trust(r.o.State, gateway)
}

// View gives what there is to see.
func (r *Reader) View() ReaderView {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ReaderView{
		N: r.views, Phase: phaseNames[r.now], Display: r.display(), Card: r.card != nil,
		Plugged: r.line != nil, Key: r.sale != nil, Changed: r.changed,
	}
}

// Display gives what it shows.
func (r *Reader) Display() Display { return r.View().Display }

// Await waits until what there is to see is as wanted.
func (r *Reader) Await(ctx context.Context, wanted func(ReaderView) bool) (ReaderView, error) {
	for {
		v := r.View()
		if wanted(v) {
			return v, nil
		}
		select {
		case <-v.Changed:
		case <-ctx.Done():
			return v, fmt.Errorf("the reader is at %s and shows %q: %w", v.Phase, v.Display, ctx.Err())
		}
	}
}

// AwaitPhase waits until the reader does something, such as "pin".
func (r *Reader) AwaitPhase(ctx context.Context, phase string) error {
	_, err := r.Await(ctx, func(v ReaderView) bool { return v.Phase == phase })
	return err
}

// show tells those who look that something changed. The caller holds the lock.
func (r *Reader) show() {
	r.views++
	close(r.changed)
	r.changed = make(chan struct{})
}

// enter begins a phase that ends by itself after a time; 0: it does not. The caller
// holds the lock.
func (r *Reader) enter(p phase, most time.Duration) {
	r.now = p
	r.turn++
	clear(r.typed)
	r.typed = r.typed[:0]
	if r.timer != nil {
		r.timer.Stop()
	}
	if turn := r.turn; most > 0 {
		r.timer = time.AfterFunc(most, func() { r.late(turn) })
	}
	r.show()
}

// late ends a phase whose time is over.
func (r *Reader) late(turn int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if turn != r.turn {
		return
	}
	if r.now == phaseOver {
		r.enter(phaseIdle, 0)
		return
	}
	r.fail(tether.FaultTimeout, r.undone(), "The time is over")
}

// undone says what did not come about.
func (r *Reader) undone() string {
	if r.sale == nil {
		return "Not enrolled"
	}
	return "Not paid"
}

// end destroys the key and shows what came of it. The caller holds the lock.
func (r *Reader) end(first, second string) {
	if r.sale != nil {
		r.sale.destroy()
	}
	if r.enrol != nil {
		clear(r.enrol.key)
	}
	r.sale, r.enrol, r.result = nil, nil, [2]string{first, second}
	r.enter(phaseOver, resultTime)
}

// fail ends what is going on, and tells the phone why.
func (r *Reader) fail(code tether.Fault, first, second string) {
	r.say(tether.ReaderError, []byte{byte(code)})
	r.end(first, second)
}

// busy reports whether something is going on that a customer can give up.
func (r *Reader) busy() bool { return r.now != phaseIdle && r.now != phaseOver }

// Insert puts a card into the slot; false: there is one already.
func (r *Reader) Insert(c ReaderCard) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.card != nil {
		return false
	}
	r.card = &c
	r.show()
	if r.now == phaseCard {
		r.sealCard()
	}
	return true
}

// Remove pulls the card out. That gives up a payment for which it was read.
func (r *Reader) Remove() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.card == nil {
		return
	}
	r.card = nil
	r.show()
	switch r.now {
	case phaseCardSent, phasePIN, phasePINSent:
		r.fail(tether.FaultRemoved, "Not paid", "The card was removed")
	case phaseOver:
		r.enter(phaseIdle, 0)
	}
}

// Press presses a key of the pad. One that is not needed now does nothing.
func (r *Reader) Press(key byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := maxTyped(r.now)
	switch {
	case r.now == phaseOver:
		r.enter(phaseIdle, 0)
	case key == KeyCancel && r.busy():
		r.fail(tether.FaultCancelled, r.undone(), "Cancelled")
	case most == 0:
	case key == KeyClear && len(r.typed) > 0:
		r.typed[len(r.typed)-1] = 0
		r.typed = r.typed[:len(r.typed)-1]
		r.show()
	case '0' <= key && key <= '9' && len(r.typed) < most:
		if r.typed == nil {
			r.typed = make([]byte, 0, enrolDigits) // one place, so that what is wiped is all there was
		}
		r.typed = append(r.typed, key)
		r.show()
	case key == KeyOK && r.now == phaseCode && len(r.typed) == enrolDigits:
		r.sendEnrolment()
	case key == KeyOK && r.now == phasePIN && len(r.typed) >= minPIN:
		r.sealPIN()
	}
}

// Type presses a key for each byte of a text, such as "1234E".
func (r *Reader) Type(keys string) {
	for i := range len(keys) {
		r.Press(keys[i])
	}
}

// maxTyped is how many digits may be typed in a phase.
func maxTyped(p phase) int {
	switch p {
	case phaseCode:
		return enrolDigits
	case phasePIN:
		return maxPIN
	}
	return 0
}

// display gives the four lines. The caller holds the lock.
func (r *Reader) display() (d Display) {
	if r.sale != nil {
		d[0], d[1] = r.sale.shop, r.sale.amount
	}
	switch r.now {
	case phaseIdle:
		d = Display{"KESSAI", r.o.Name, "Ready", ""}
		if r.keep.gateway == nil {
			d[2] = "Not enrolled"
		}
	case phaseCode:
		d = Display{"Type the code", "", "", "then press OK"}
		d[1], d[2] = inFours(r.typed)
	case phaseEnrols:
		d = Display{"Enrolling", "Please wait"}
	case phaseCard:
		d[2], d[3] = "Insert your card", "or press Cancel"
	case phaseCardSent, phasePINSent:
		d[2] = "Please wait"
	case phasePIN:
		d[2], d[3] = "PIN: "+strings.Repeat("*", len(r.typed)), "then press OK"
	case phaseOver:
		d = Display{"KESSAI", r.result[0], r.result[1]}
		if r.card != nil {
			d[3] = "Take your card"
		}
	}
	for i := range d {
		d[i] = fit(d[i])
	}
	return d
}

// inFours shows a code of 24 digits on two lines.
func inFours(digits []byte) (first, second string) {
	var lines [2][]string
	for i := 0; i < len(digits); i += 4 {
		at := i / (enrolDigits / 2)
		lines[at] = append(lines[at], string(digits[i:min(i+4, len(digits))]))
	}
	return strings.Join(lines[0], " "), strings.Join(lines[1], " ")
}

// fit cuts a text to 20 columns, two for each character of East Asian writing.
func fit(s string) string {
	columns := 0
	for i, c := range s {
		columns++
		if c >= 0x1100 {
			columns++
		}
		if columns > 20 {
			return s[:i]
		}
	}
	return s
}

// Serve speaks with the phone at the other end of a line until the line breaks, and
// gives why; nil where it ended, [ErrReplaced] where another one was plugged in. A
// payment that has begun outlives the line: the phone comes back.
func (r *Reader) Serve(line io.ReadWriter) error {
	l := &readerLine{line: line, out: make(chan []byte, maxUnsent), over: make(chan struct{})}
	r.mu.Lock()
	if r.line != nil {
		r.line.end(ErrReplaced)
	}
	r.line = l
	r.show()
	r.mu.Unlock()

	var writing sync.WaitGroup
	writing.Go(l.write)
	l.end(r.hear(l))
	writing.Wait()

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line == l {
		r.line = nil
		r.show()
	}
	return l.why
}
