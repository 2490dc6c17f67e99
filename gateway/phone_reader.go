package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/authz"
	"kessai/authz/keys"
	"kessai/authz/ledger"
	"kessai/customers/phones"
)

// The card reader that hangs on a customer's phone (system R). The phone passes
// bytes between it and this gateway and can read none of them; docs/READER.md has
// them one by one.

// phoneReaderBegin is a customer's word that a payment is to be made with a reader.
type phoneReaderBegin struct {
	Reader    string `json:"reader"`    // its ID, 16 hexadecimal digits
	Signature b64    `json:"signature"` // of the phone's own key
}

// phoneReaderMessage is one sealed message of a reader, for the card or the PIN.
type phoneReaderMessage struct {
	Sealed    b64 `json:"sealed"`
	Signature b64 `json:"signature"` // of the reader's key
}

// phoneReaderNow is how far a payment with a reader has come.
type phoneReaderNow struct {
	Step           string    `json:"step"`                     // approve, card, pin or ended
	Offer          b64       `json:"offer,omitempty"`          // of card and pin: what the reader is to be given
	OfferSignature b64       `json:"offer_signature,omitzero"` // the gateway's, of the offer
	Until          string    `json:"until,omitzero"`           // when the step's time is over
	Sale           phoneSale `json:"sale"`
}

// phoneReader is a reader that is enrolled for a customer.
type phoneReader struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	AddedAt string `json:"added_at"`
	SeenAt  string `json:"seen_at,omitzero"`
}

func phoneReaderOf(r *phones.Reader) phoneReader {
	out := phoneReader{ID: r.ID.String(), Name: r.Name, AddedAt: jsonTime(r.Added.UnixNano())}
	if !r.Seen.IsZero() {
		out.SeenAt = jsonTime(r.Seen.UnixNano())
	}
	return out
}

// readerFactors is what a payment with a reader can be agreed to with.
var readerFactors = []string{confirmReader}

// confirmedBy is what a phone is told of who agrees to a payment.
func confirmedBy(a kessai.Asks) string {
	switch a {
	case kessai.AsksClaim:
		return confirmClaim
	case kessai.AsksReader:
		return confirmReader
	}
	return confirmPhone
}

// readerOf reads a reader's ID.
func readerOf(text, field string) (kessai.ReaderID, *problem) {
	id, ok := kessai.ParseReaderID(text)
	if !ok {
		return id, &problem{code: problemInvalidField, field: field, detail: "A reader's ID is 16 hexadecimal digits, in small letters."}
	}
	return id, nil
}

// beginReader takes the customer's word for a payment, and gives the offer that their
// reader is to be handed.
func (p *phoneSide) beginReader(c *fiber.Ctx, who phoneUser) error {
	t, fault := p.find(c, who)
	if fault != nil {
		return fault
	}
	var body phoneReaderBegin
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	reader, fault := readerOf(body.Reader, "reader")
	if fault != nil {
		return fault
	}
	shown, _, err := p.shown(t)
	if err != nil {
		return p.fault(c, err, problemPaymentNotFound)
	}
	if err := p.o.Service.ApproveForReader(who.Session, shown, reader, body.Signature); err != nil {
		return p.readerFault(c, err)
	}
	state, err := p.h.o.Engine.BeginReader(context.Background(), authz.ReaderApproval{
		Sale: t.ID, Customer: who.account, Reader: reader,
		Evidence: func(proof authz.ReaderProof) []byte {
			return p.readerEvidence(who.Session, shown, body.Signature, reader, proof)
		},
	})
	if err == nil { // here, and not when it is settled, which would tell a right PIN from a wrong one
		if err := p.o.Store.SeenReader(reader, time.Now()); err != nil {
			p.h.o.Logger.Warn("a card reader's last use is not noted", "reader", reader.String(), "error", err)
		}
	}
	return p.readerState(c, who, state, err)
}

// readerEvidence is what is kept with a payment that was made with a reader. Without
// it, which is nil, the payment fails.
func (p *phoneSide) readerEvidence(in phones.Session, shown phones.Shown, signature []byte, id kessai.ReaderID, proof authz.ReaderProof) []byte {
	evidence, err := p.o.Service.ReaderEvidence(in, shown, signature, id, phones.ReaderProof(proof))
	if err != nil {
		p.h.o.Logger.Error("a payment with a card reader failed: no evidence of it can be made", "payment", shown.ID.String(), "error", err)
		return nil
	}
	return evidence
}

// readerNow says how far a payment has come: a phone that was away goes on from
// there.
func (p *phoneSide) readerNow(c *fiber.Ctx, who phoneUser) error {
	t, fault := p.find(c, who)
	if fault != nil {
		return fault
	}
	state, err := p.h.o.Engine.ReaderNow(t.ID, who.account)
	return p.readerState(c, who, state, err)
}

func (p *phoneSide) readerCard(c *fiber.Ctx, who phoneUser) error {
	return p.readerSays(c, who, p.h.o.Engine.ReaderCard)
}

func (p *phoneSide) readerPIN(c *fiber.Ctx, who phoneUser) error {
	return p.readerSays(c, who, p.h.o.Engine.ReaderPIN)
}

// readerSays hands on what a reader sealed. As with proofs, the request's own
// context would end when the server shuts down, with the message used up.
func (p *phoneSide) readerSays(c *fiber.Ctx, who phoneUser, take func(context.Context, kessai.TxID, ledger.AccountID, authz.ReaderMessage) (authz.ReaderState, error)) error {
	t, fault := p.find(c, who)
	if fault != nil {
		return fault
	}
	var body phoneReaderMessage
	fault = jsonDecode(c.BodyRaw(), &body)
	clear(c.BodyRaw()) // what was sealed is kept nowhere
	defer clear(body.Sealed)
	if fault != nil {
		return fault
	}
	state, err := take(context.Background(), t.ID, who.account, authz.ReaderMessage{Sealed: body.Sealed, Signature: body.Signature})
	return p.readerState(c, who, state, err)
}

func (p *phoneSide) readerState(c *fiber.Ctx, who phoneUser, state authz.ReaderState, err error) error {
	if err != nil {
		return p.readerFault(c, err)
	}
	s, err := p.current(&state.Sale, who)
	if err != nil {
		return p.fault(c, err, problemPaymentNotFound)
	}
	answer := phoneReaderNow{Step: state.Step.String(), Offer: state.Offer, OfferSignature: state.Signature, Sale: s}
	if !state.Until.IsZero() {
		answer.Until = jsonTime(state.Until.UnixNano())
	}
	return writeJSON(c, fiber.StatusOK, answer)
}

// readerFault turns what goes wrong with a reader into a problem.
func (p *phoneSide) readerFault(c *fiber.Ctx, err error) *problem {
	switch {
	case errors.Is(err, authz.ErrNoSale):
		return &problem{code: problemPaymentNotFound, detail: "It is none that is made with a card reader."}
	case errors.Is(err, authz.ErrStep):
		return &problem{code: problemReaderStep, detail: "Nothing was changed. Ask how it stands, and go on from there."}
	case errors.Is(err, authz.ErrReader), errors.Is(err, phones.ErrReader):
		return &problem{code: problemReader, detail: "It is not enrolled for this customer, or was revoked."}
	case errors.Is(err, keys.ErrFull):
		return &problem{code: problemBusy, detail: "As many payments with card readers are under way as are allowed. Nothing was done."}
	}
	return p.fault(c, err, problemProof)
}

// readers lists the customer's readers that may be used.
func (p *phoneSide) readers(c *fiber.Ctx, who phoneUser) error {
	all, err := p.o.Store.Readers(who.Customer)
	if err != nil {
		return p.fault(c, err, problemSignedOut)
	}
	answer := struct {
		Readers []phoneReader `json:"readers"`
	}{Readers: []phoneReader{}}
	for i := range all {
		if all[i].Revoked.IsZero() {
			answer.Readers = append(answer.Readers, phoneReaderOf(&all[i]))
		}
	}
	return writeJSON(c, fiber.StatusOK, answer)
}

// enrolReader passes a reader's enrolment on. The reader proves with it that it was
// given the code that the operator gave the customer, which the phone does not know.
func (p *phoneSide) enrolReader(c *fiber.Ctx, who phoneUser) error {
	var body struct {
		Enrol b64 `json:"enrol"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	enrolled, reader, err := p.o.Service.EnrolReader(who.Session, body.Enrol)
	switch {
	case errors.Is(err, phones.ErrRefused):
		return &problem{code: problemReader, detail: "Another code was typed on it than the one that was given out. Type it again: the fifth wrong one makes the code void."}
	case errors.Is(err, phones.ErrGone):
		return &problem{code: problemReader, detail: "No code is open for this customer: none was given out, or it was used, is older than a day, or was typed wrong five times. Ask for a new one."}
	case errors.Is(err, phones.ErrRevoked):
		return &problem{code: problemReader, detail: "This reader was revoked, and no code lets its key in again. It needs a new key pair, with which it is another reader."}
	case errors.Is(err, phones.ErrReader):
		return &problem{code: problemReader, detail: "This reader's key cannot be enrolled, with any code: another customer has or had it. It needs a new key pair, with which it is another reader."}
	case err != nil:
		return p.readerFault(c, err)
	}
	return writeJSON(c, fiber.StatusCreated, struct {
		Enrolled b64         `json:"enrolled"`
		Reader   phoneReader `json:"reader"`
	}{enrolled, phoneReaderOf(&reader)})
}

// revokeReader takes a reader from its customer: nothing is sealed for it any more.
func (p *phoneSide) revokeReader(c *fiber.Ctx, who phoneUser) error {
	id, fault := readerOf(c.Params("id"), "id")
	if fault != nil {
		return &problem{code: problemNotFound}
	}
	if err := p.o.Store.RevokeReader(who.Customer, id, time.Now()); err != nil {
		return p.fault(c, err, problemNotFound)
	}
	return c.SendStatus(fiber.StatusNoContent)
}
