package sim

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"kessai"
	"kessai/pos/card"
	"kessai/pos/tether"
)

// readerLine is a line between a phone and a reader. Neither end waits for the other
// to read: a line whose other end does not take what is sent is given up.
type readerLine struct {
	line io.ReadWriter
	out  chan []byte
	over chan struct{} // is closed when the line is given up

	once sync.Once
	why  error
}

// maxUnsent is how many frames may wait to be sent.
const maxUnsent = 16

// errStuck says that the other end does not read.
var errStuck = errors.New("the other end of the line takes nothing")

// end gives the line up; only the first reason counts.
func (l *readerLine) end(why error) {
	l.once.Do(func() {
		if !errors.Is(why, io.EOF) && !errors.Is(why, io.ErrClosedPipe) {
			l.why = why
		}
		close(l.over)
		if c, ok := l.line.(io.Closer); ok {
			_ = c.Close() // nobody who reads or writes is left waiting
		}
	})
}

// write sends what is to be sent.
func (l *readerLine) write() {
	for {
		select {
		case b := <-l.out:
			if _, err := l.line.Write(b); err != nil {
				l.end(err)
				return
			}
		case <-l.over:
			return
		}
	}
}

// send has a frame sent.
func (l *readerLine) send(kind tether.Type, body []byte) {
	b, err := tether.AppendFrame(nil, kind, body)
	if err != nil {
		l.end(err)
		return
	}
	select {
	case l.out <- b:
	default:
		l.end(errStuck)
	}
}

// say sends a frame to the phone, where one is plugged in. The caller holds the lock.
func (r *Reader) say(kind tether.Type, body []byte) {
	if r.line != nil {
		r.line.send(kind, body)
	}
}

// hear does what the phone says, until the line ends.
func (r *Reader) hear(l *readerLine) error {
	for frames := tether.NewScanner(l.line); ; {
		f, err := frames.Next()
		if errors.Is(err, tether.ErrFrame) {
			l.send(tether.ReaderError, []byte{byte(tether.FaultFrame)})
			continue
		}
		if err != nil {
			return err
		}
		r.mu.Lock()
		if r.line == l {
			r.heard(f)
		}
		r.mu.Unlock()
	}
}

// heard does what one frame says. The caller holds the lock.
func (r *Reader) heard(f tether.Frame) {
	switch f.Type {
	case tether.PhoneHello:
		r.hello()
	case tether.PhoneEnrol:
		if r.busy() && r.now != phaseCode && r.now != phaseEnrols {
			r.refuse(tether.FaultBusy)
			return
		}
		r.enrol = nil
		r.enter(phaseCode, codeTime)
	case tether.PhoneEnrolled:
		r.enrolled(f.Body)
	case tether.PhoneOffer:
		r.offered(f.Body)
	case tether.PhoneAskPIN:
		r.askPIN()
	case tether.PhoneEnd:
		r.ended(f.Body)
	default:
		r.refuse(tether.FaultType)
	}
}

// refuse says that something is not done. What is going on goes on.
func (r *Reader) refuse(code tether.Fault) {
	r.say(tether.ReaderError, []byte{byte(code)})
}

// wireStates are the phases as the phone is told them.
var wireStates = [numPhases]tether.State{
	phaseCode: tether.StateCode, phaseEnrols: tether.StateCode, phaseCard: tether.StateCard,
	phaseCardSent: tether.StateSent, phasePIN: tether.StatePIN, phasePINSent: tether.StatePINSent,
}

// hello says who the reader is.
func (r *Reader) hello() {
	if b, err := r.who().Encode(); err == nil {
		r.say(tether.ReaderHello, b)
	}
}

func (r *Reader) who() *tether.Hello {
	return &tether.Hello{
		Reader: r.ID(), Key: r.PublicKey(), Name: r.o.Name, State: wireStates[r.now], Enrolled: r.keep.gateway != nil,
		Can: tether.CanStripe | tether.CanChip | tether.CanP256 | tether.CanHybrid | tether.CanPIN,
	}
}

// enrolment is one that waits for the gateway.
type enrolment struct {
	key  []byte // made from the code
	said *tether.Enrol
}

// The digits of a code, and of a PIN.
const (
	enrolDigits = 24
	minPIN      = card.MinPIN
	maxPIN      = card.MaxPIN
)

// sendEnrolment asks the gateway, by the phone, to take this reader: whoever knows the
// code of the invitation is the customer.
func (r *Reader) sendEnrolment() {
	key, err := tether.EnrolKey(string(r.typed))
	if err == nil {
		var said *tether.Enrol
		if said, err = tether.NewEnrol(r.keep.key, r.o.Name, key); err == nil {
			var body []byte
			if body, err = said.Encode(); err == nil {
				r.enrol = &enrolment{key: key, said: said}
				r.enter(phaseEnrols, enrolTime)
				r.say(tether.ReaderEnrol, body)
				return
			}
		}
	}
	r.fail(tether.FaultInside, "Not enrolled", "")
}

// enrolled takes the gateway's key, where the gateway shows that it knows the code.
func (r *Reader) enrolled(body []byte) {
	if r.now != phaseEnrols {
		r.refuse(tether.FaultState)
		return
	}
	answer, err := tether.DecodeEnrolled(body)
	if err != nil || !answer.Check(r.enrol.said, r.enrol.key) {
		r.fail(tether.FaultEnrol, "Not enrolled", "Not the gateway")
		return
	}
	if err := r.keep.trust(r.o.State, answer.Gateway); err != nil {
		r.fail(tether.FaultInside, "Not enrolled", "Cannot keep it")
		return
	}
	r.end("Enrolled", "")
	r.hello()
}

// readerPayment is the payment that there is room for.
type readerPayment struct {
	body         []byte // of the frame that began it
	text         []byte // the offer itself, to which everything is bound
	offer        *tether.Offer
	shop, amount string
}

// destroy overwrites the key of the payment, and all that it was made from.
func (p *readerPayment) destroy() {
	clear(p.body)
	clear(p.text)
	clear(p.offer.PublicKey)
}

// offered takes the key of a payment, after a look at whose it is.
func (r *Reader) offered(body []byte) {
	switch {
	case r.keep.gateway == nil:
		r.refuse(tether.FaultStranger)
		return
	case r.busy() && (r.sale == nil || !bytes.Equal(r.sale.body, body)):
		r.refuse(tether.FaultBusy) // there is room for one key
		return
	}
	signed, err := tether.DecodeSigned(body)
	if err != nil {
		r.refuse(tether.FaultFrame)
		return
	}
	if !tether.CheckOffer(r.keep.gateway, signed.Message, signed.Signature) {
		r.refuse(tether.FaultOffer)
		return
	}
	offer, err := tether.DecodeOffer(signed.Message)
	if err != nil || offer.Reader != r.ID() {
		r.refuse(tether.FaultOffer)
		return
	}
	r.sale = &readerPayment{
		body: body, text: signed.Message, offer: offer,
		shop: offer.Shop, amount: offer.Amount.String(),
	}
	r.enter(phaseCard, time.Duration(offer.CardFor)*time.Second)
	if r.card != nil {
		r.sealCard()
	}
}

// askPIN asks for the PIN of the card in the slot; again where the phone comes back.
func (r *Reader) askPIN() {
	switch r.now {
	case phaseCardSent, phasePINSent:
		r.enter(phasePIN, time.Duration(r.sale.offer.PINFor)*time.Second)
	case phasePIN: // whoever types it goes on
	default:
		r.refuse(tether.FaultState)
	}
}

// ended shows what came of a payment.
func (r *Reader) ended(body []byte) {
	end, err := tether.DecodeEnd(body)
	if err != nil {
		r.refuse(tether.FaultFrame)
		return
	}
	if r.sale != nil || r.busy() {
		first, second := r.undone(), readerWords[end.Code]
		switch {
		case r.now == phaseEnrols: // whatever the code: only the gateway could say more, and says nothing
			second = "Check the code"
		case end.Settled:
			first, second = "Paid", "Thank you"
		}
		r.end(first, second)
	}
	r.say(tether.ReaderEnded, nil)
}

// readerWords say why a payment did not come about, in 20 columns.
var readerWords = map[kessai.ResponseCode]string{
	kessai.PickUpCard: "Card not valid", kessai.InvalidCardNumber: "Card not valid",
	kessai.LostCard: "Card not valid", kessai.StolenCard: "Card not valid",
	kessai.ExpiredCard: "Card has expired", kessai.NotPermittedToCard: "Card not allowed",
	kessai.CustomerCancellation: "Cancelled", kessai.InsufficientFunds: "Not enough money",
	kessai.WrongProof: "Wrong PIN", kessai.TriesExceeded: "Too many wrong PINs",
	kessai.AmountLimit: "Over the limit", kessai.CountLimit: "Over the limit",
	kessai.SecurityViolation: "Security fault", kessai.TooLate: "The time is over",
}

// sealCard reads the card in the slot and seals what it says for the gateway.
func (r *Reader) sealCard() {
	kind, data, err := r.card.read(r.sale.offer.Amount)
	defer clear(data)
	if err == nil {
		var sealed []byte
		if sealed, err = tether.SealCard(r.sale.text, kind, data); err == nil {
			r.enter(phaseCardSent, judgeTime)
			r.sendSealed(tether.ReaderCard, tether.StepCard, sealed)
			return
		}
	}
	r.fail(tether.FaultCard, "Not paid", "Cannot read the card")
}

// sealPIN seals what was typed, for the card in the slot.
func (r *Reader) sealPIN() {
	sealed, err := tether.SealPIN(r.sale.text, r.card.PAN, kessai.Secret(r.typed))
	if err != nil {
		r.fail(tether.FaultInside, "Not paid", "")
		return
	}
	r.enter(phasePINSent, judgeTime)
	r.sendSealed(tether.ReaderPIN, tether.StepPIN, sealed)
}

func (r *Reader) sendSealed(t tether.Type, step tether.Step, sealed []byte) {
	s := tether.Signed{Message: sealed, Signature: tether.SignSealed(r.keep.key, step, r.sale.text, sealed)}
	if body, err := s.Encode(); err == nil {
		r.say(t, body)
	}
}
