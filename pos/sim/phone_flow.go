package sim

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"kessai"
	"kessai/pos/tether"
)

// ApproveWithReader agrees to a payment as it is shown, and takes it to its end with
// the attached reader: the gateway says which step it is at, the reader does it, and
// the phone passes on what is sealed. A payment that has begun goes on where it
// stands, also with a line or a phone that was lost in between.
//
// What the reader gives up (its owner pressed cancel, or the card was pulled out), the
// phone cancels.
func (p *Phone) ApproveWithReader(ctx context.Context, shown *PhoneSale) (ReaderStep, error) {
	l, err := p.plugged()
	if err != nil {
		return ReaderStep{}, err
	}
	id := shown.Sale.ID.String()
	s, err := p.BeginReader(ctx, shown, l.reader)
	if conflicts(err) {
		s, err = p.ReaderNow(ctx, id)
	}
	if err != nil {
		return s, err
	}
	if p.Agreed != nil && s.Step != "ended" {
		p.Agreed()
	}
	for offered := false; s.Step != "ended"; {
		step := s.Step
		next, err := p.readerStep(ctx, l, &s, &offered)
		if fault, ok := errors.AsType[*ReaderFault](err); ok {
			return p.giveUp(ctx, l, id, fault)
		}
		if conflicts(err) {
			next, err = p.ReaderNow(ctx, id) // it went on without this phone
		}
		if err != nil {
			return s, err
		}
		if s = next; s.Step == step {
			return s, errors.New("the gateway stays at the step " + step)
		}
	}
	l.tellEnd(ctx, &s)
	return s, nil
}

// conflicts reports whether a payment is at another step than the phone believed.
func conflicts(err error) bool {
	problem, ok := errors.AsType[*Problem](err)
	return ok && problem.Status == http.StatusConflict
}

// readerStep does the step that the payment is at.
func (p *Phone) readerStep(ctx context.Context, l *phoneLine, s *ReaderStep, offered *bool) (ReaderStep, error) {
	// The reader must not be waited for when the payment is over: the shop may cancel it.
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan ReaderStep, 1)
	id := s.Sale.Sale.ID.String()
	go p.watchReader(during, cancel, id, s.Step, over)

	sealed, err := p.fromReader(during, l, s, offered)
	if err != nil {
		select {
		case end := <-over:
			return end, nil
		default:
			return *s, err
		}
	}
	if s.Step == "pin" {
		return p.SendPIN(ctx, id, sealed.Message, sealed.Signature)
	}
	return p.SendCard(ctx, id, sealed.Message, sealed.Signature)
}

// fromReader has the reader read and seal what the step needs. A reader that was not
// offered this payment over this line is offered it, whichever step it is at: it may
// have lost the key.
func (p *Phone) fromReader(ctx context.Context, l *phoneLine, s *ReaderStep, offered *bool) (sealed *tether.Signed, err error) {
	var f tether.Frame
	if !*offered {
		var body []byte
		if body, err = s.offer(); err != nil {
			return nil, err
		}
		f, err = l.ask(ctx, tether.PhoneOffer, body, tether.ReaderCard)
		if fault, ok := errors.AsType[*ReaderFault](err); ok && fault.Fault == tether.FaultBusy {
			l.tell(ctx, kessai.TooLate, false) // it still has the key of a payment that nobody ended
			f, err = l.ask(ctx, tether.PhoneOffer, body, tether.ReaderCard)
		}
		*offered = err == nil
	}
	if err == nil && s.Step == "pin" {
		f, err = l.ask(ctx, tether.PhoneAskPIN, nil, tether.ReaderPIN)
	}
	if err != nil {
		return nil, err
	}
	return tether.DecodeSigned(f.Body)
}

func (s *ReaderStep) offer() ([]byte, error) {
	offer, err := fromB64(s.Offer)
	signature, serr := fromB64(s.OfferSignature)
	if err = errors.Join(err, serr); err != nil {
		return nil, err
	}
	return (&tether.Signed{Message: offer, Signature: signature}).Encode()
}

// readerPoll is how often a phone asks whether a payment still waits for the reader.
const readerPoll = time.Second

// watchReader ends the waiting for a reader when the payment is at another step.
func (p *Phone) watchReader(ctx context.Context, cancel func(), id, step string, over chan<- ReaderStep) {
	for tick := time.NewTicker(readerPoll); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		if now, err := p.ReaderNow(ctx, id); err == nil && now.Step != step {
			over <- now
			cancel()
		}
	}
}

// giveUp cancels a payment that the reader has given up.
func (p *Phone) giveUp(ctx context.Context, l *phoneLine, id string, fault *ReaderFault) (ReaderStep, error) {
	if _, err := p.Cancel(ctx, id); err != nil {
		return ReaderStep{}, errors.Join(fault, err)
	}
	s, err := p.ReaderNow(ctx, id)
	if err != nil {
		return s, errors.Join(fault, err)
	}
	if !fault.Ends() {
		l.tellEnd(ctx, &s)
	}
	return s, fault
}

// tellEnd tells the reader what came of a payment.
func (l *phoneLine) tellEnd(ctx context.Context, s *ReaderStep) {
	code, err := strconv.ParseUint(s.Sale.Told.Code, 10, 7)
	settled := s.Sale.Status != "cancelled" && s.Sale.Status != "expired"
	if err != nil && !settled {
		code = uint64(kessai.TooLate)
	}
	l.tell(ctx, kessai.ResponseCode(code), settled)
}

// tell has the reader forget a payment. A reader that is gone has forgotten it.
func (l *phoneLine) tell(ctx context.Context, code kessai.ResponseCode, settled bool) {
	if body, err := (&tether.End{Code: code, Settled: settled}).Encode(); err == nil {
		_, _ = l.ask(ctx, tether.PhoneEnd, body, tether.ReaderEnded)
	}
}
