package gateway

import (
	"context"
	"encoding/hex"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/customers/phones"
)

// phoneSale is a payment as the phone shows it. What is signed is in sale, byte for
// byte (docs/SALE-DIGEST.md); the rest is about it.
type phoneSale struct {
	Sale         jsontext.Value `json:"sale"`
	Digest       string         `json:"digest"`  // in hexadecimal; the phone computes it itself
	Number       string         `json:"number"`  // the same at the terminal
	Confirm      string         `json:"confirm"` // phone, claim or reader
	Status       string         `json:"status"`
	Deadline     string         `json:"deadline,omitzero"`
	TriesLeft    int            `json:"tries_left"`
	Factors      []string       `json:"factors,omitzero"`
	Told         *phoneTold     `json:"told,omitzero"` // what the terminal was told
	ApprovalCode string         `json:"approval_code,omitzero"`
	RRN          string         `json:"rrn"`
	Refunded     int64          `json:"refunded,omitzero"`
	Reversed     int64          `json:"reversed,omitzero"`
}

type phoneTold struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// shown gives a payment with what is signed of it.
func (p *phoneSide) shown(t *ledger.Tx) (phones.Shown, phoneSale, error) {
	s, err := p.h.o.Engine.Sale(t)
	if err != nil {
		return phones.Shown{}, phoneSale{}, err
	}
	canonical, err1 := s.Encode()
	digest, err2 := s.Digest()
	text, err3 := json.Marshal(s)
	if err := errors.Join(err1, err2, err3); err != nil {
		return phones.Shown{}, phoneSale{}, err
	}
	out := phoneSale{
		Sale: text, Digest: hex.EncodeToString(digest[:]), Number: p.o.Keys.Number(t.ID), Confirm: confirmedBy(t.Asks), Status: jsonStatus(t),
		TriesLeft: max(0, p.o.Tries-int(t.Tries)), RRN: t.ID.RRN(), Refunded: t.Refunded, Reversed: t.Reversed,
	}
	if t.Asks == kessai.AsksReader {
		out.TriesLeft = 1 // whatever goes wrong ends it
	}
	if t.Status == ledger.Waiting {
		out.Deadline = jsonTime(p.deadline(t))
	} else {
		code := t.Standing()
		out.Told = &phoneTold{code.String(), code.Text()}
		if code.IsApproval() {
			out.ApprovalCode = t.ID.ApprovalCode()
		}
	}
	return phones.Shown{ID: t.ID, Canonical: canonical}, out, nil
}

// deadline gives when the payment ends if nothing happens: with a card reader, the end
// of the step that it is in.
func (p *phoneSide) deadline(t *ledger.Tx) int64 {
	if t.Asks == kessai.AsksReader {
		if now, err := p.h.o.Engine.ReaderNow(t.ID, t.Customer); err == nil && !now.Until.IsZero() {
			return now.Until.UnixNano()
		}
	}
	return t.Deadline
}

// factors names what the customer can agree with now.
func (p *phoneSide) factors(who phoneUser) []string {
	var all []string
	if wrong, _ := p.h.o.Book.Tries(who.account); wrong < p.o.DayTries {
		all = append(all, kessai.FactorPassword.String())
	}
	if keys, err := p.o.Store.Passkeys(who.Customer); err == nil && len(keys) > 0 && p.o.Service.Passkeys() {
		all = append(all, kessai.FactorPasskey.String())
	}
	return all
}

func (p *phoneSide) sales(c *fiber.Ctx, who phoneUser) error {
	answer := struct {
		Sales []phoneSale `json:"sales"`
		Now   string      `json:"now"`
	}{Sales: []phoneSale{}, Now: jsonTime(p.h.o.Now().UnixNano())}
	factors := p.factors(who)
	for _, t := range p.h.o.Engine.Sales(who.account) {
		if _, s, err := p.shown(&t); err == nil {
			if s.Factors = factors; t.Asks == kessai.AsksReader {
				s.Factors = readerFactors
			}
			answer.Sales = append(answer.Sales, s)
		} else {
			p.notShown(t.ID, err)
		}
	}
	return writeJSON(c, fiber.StatusOK, answer)
}

// notShown tells the operator of a payment that is left out of a list.
func (p *phoneSide) notShown(id kessai.TxID, err error) {
	p.h.o.Logger.Error("a payment cannot be shown", "payment", id.String(), "error", err)
}

// find gives the payment that the path names. That of another customer does not
// exist.
func (p *phoneSide) find(c *fiber.Ctx, who phoneUser) (*ledger.Tx, *problem) {
	id, ok := kessai.ParseTxID(c.Params("id"))
	if ok {
		if t, found := p.h.o.Book.Find(ledger.Ref{ID: id}); found && t.Asks != kessai.AsksNobody && t.Customer == who.account {
			c.Locals(localPayment, t.ID.String())
			return &t, nil
		}
	}
	if p.h.o.Book.Err() != nil { // nothing is read from a book that failed
		return nil, &problem{code: problemDraining, detail: "Nothing was done."}
	}
	return nil, &problem{code: problemPaymentNotFound}
}

// findForPhone gives the payment that the path names, unless it is to be paid with a
// card reader: a password or a passkey does not approve that.
func (p *phoneSide) findForPhone(c *fiber.Ctx, who phoneUser) (*ledger.Tx, *problem) {
	t, fault := p.find(c, who)
	if fault == nil && t.Asks == kessai.AsksReader {
		return nil, &problem{code: problemProof, detail: "This payment is made with the card reader."}
	}
	return t, fault
}

func (p *phoneSide) sale(c *fiber.Ctx, who phoneUser) error {
	t, fault := p.find(c, who)
	if fault != nil {
		return fault
	}
	s, err := p.current(t, who)
	if err != nil {
		return p.fault(c, err, problemPaymentNotFound)
	}
	return writeJSON(c, fiber.StatusOK, s)
}

// current gives a payment as it stands, with what the customer can do about it.
func (p *phoneSide) current(t *ledger.Tx, who phoneUser) (phoneSale, error) {
	_, s, err := p.shown(t)
	switch {
	case t.Status != ledger.Waiting:
	case t.Asks == kessai.AsksReader:
		s.Factors = readerFactors
	default:
		s.Factors = p.factors(who)
	}
	return s, err
}

// phoneOutcome is what became of a proof or a cancellation.
type phoneOutcome struct {
	Outcome     string    `json:"outcome"` // approved, wrong, cancelled, ended or locked
	ServerFinal string    `json:"server_final,omitzero"`
	Sale        phoneSale `json:"sale"`
	Unlock      string    `json:"unlock,omitzero"`
}

func (p *phoneSide) beginPassword(c *fiber.Ctx, who phoneUser) error {
	t, fault := p.findForPhone(c, who)
	if fault != nil {
		return fault
	}
	var body struct {
		ClientFirst string `json:"client_first"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	try, first, err := p.o.Service.BeginPassword(who.Session, t.ID, body.ClientFirst)
	return p.begun(c, phoneTry{Try: try, ServerFirst: first}, err, problemProof)
}

func (p *phoneSide) finishPassword(c *fiber.Ctx, who phoneUser) error {
	var body struct {
		ClientFinal string `json:"client_final"`
		Signature   b64    `json:"signature"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	return p.proved(c, who, func(shown phones.Shown) (phones.Proof, error) {
		return p.o.Service.FinishPassword(who.Session, shown, c.Params("try"), body.ClientFinal, body.Signature)
	})
}

func (p *phoneSide) beginPasskey(c *fiber.Ctx, who phoneUser) error {
	t, fault := p.findForPhone(c, who)
	if fault != nil {
		return fault
	}
	shown, _, err := p.shown(t)
	if err != nil {
		return p.fault(c, err, problemPaymentNotFound)
	}
	try, options, nonce, err := p.o.Service.BeginPasskey(who.Session, shown)
	return p.begun(c, phoneTry{Try: try, Options: jsontext.Value(options), Nonce: nonce}, err, problemNoPasskeys)
}

func (p *phoneSide) finishPasskey(c *fiber.Ctx, who phoneUser) error {
	var body struct {
		Credential jsontext.Value `json:"credential"`
		Signature  b64            `json:"signature"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	return p.proved(c, who, func(shown phones.Shown) (phones.Proof, error) {
		return p.o.Service.FinishPasskey(who.Session, shown, c.Params("try"), []byte(body.Credential), body.Signature)
	})
}

// proved has a proof judged and puts what came of it into the book (P-9 to P-11),
// which has the last word: the payment may have ended meanwhile. The request's own
// context would end when the server shuts down, with the proof used up and nothing
// said of it.
func (p *phoneSide) proved(c *fiber.Ctx, who phoneUser, finish func(phones.Shown) (phones.Proof, error)) error {
	t, fault := p.findForPhone(c, who)
	if fault != nil {
		return fault
	}
	shown, _, err := p.shown(t)
	if err != nil {
		return p.fault(c, err, problemPaymentNotFound)
	}
	proof, err := finish(shown)
	if err != nil {
		return p.fault(c, err, problemProof)
	}
	sale, code, err := p.h.o.Engine.Approve(context.Background(), authz.Proof{
		Sale: t.ID, Customer: who.account, Factor: proof.Factor, Wrong: proof.Wrong, Evidence: proof.Evidence,
	})
	if err != nil {
		return p.fault(c, err, problemProof)
	}
	if code == kessai.Approved {
		return p.outcome(c, who, &sale, "approved", proof.ServerFinal)
	}
	return p.outcome(c, who, &sale, outcomeWord(code, &sale), "")
}

// outcomeWord says what became of a proof that did not approve.
func outcomeWord(code kessai.ResponseCode, sale *ledger.Tx) string {
	switch {
	case code == kessai.WrongProof && sale.Status == ledger.Waiting:
		return "wrong"
	case code == kessai.WrongProof && sale.Told == kessai.TriesExceeded:
		return "cancelled"
	case code == kessai.TriesExceeded && sale.Status == ledger.Waiting:
		return "locked"
	}
	return "ended"
}

func (p *phoneSide) outcome(c *fiber.Ctx, who phoneUser, t *ledger.Tx, word, serverFinal string) error {
	s, err := p.current(t, who)
	if err != nil {
		return p.fault(c, err, problemPaymentNotFound)
	}
	answer := phoneOutcome{Outcome: word, ServerFinal: serverFinal, Sale: s}
	if word == "locked" || word == "wrong" && len(s.Factors) == 0 {
		answer.Unlock = whyLocked
	}
	return writeJSON(c, fiber.StatusOK, answer)
}

// cancel ends a payment at the customer's word (P-8).
func (p *phoneSide) cancel(c *fiber.Ctx, who phoneUser) error {
	t, fault := p.find(c, who)
	if fault != nil {
		return fault
	}
	sale, code, err := p.h.o.Engine.CancelByCustomer(context.Background(), t.ID, who.account)
	if err != nil {
		return p.fault(c, err, problemProof)
	}
	word := "ended"
	if code == kessai.Approved {
		word = "cancelled"
	}
	return p.outcome(c, who, &sale, word, "")
}

// claim makes a payment that a machine shows as a QR code the customer's (P-3).
func (p *phoneSide) claim(c *fiber.Ctx, who phoneUser) error {
	var body struct {
		Code string `json:"code"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	id, ok := p.o.Keys.ParseClaim(body.Code)
	if !ok {
		return &problem{code: problemClaim, detail: "The code is none of this gateway's. Scan it again, or type it as the machine shows it."}
	}
	t, code, err := p.h.o.Engine.Claim(context.Background(), id, string(who.Customer))
	if err != nil {
		return p.fault(c, err, problemClaim)
	}
	c.Locals(localPayment, id.String())
	if t.ID == 0 {
		detail := "Somebody else has claimed it, or it is no payment to be claimed."
		if code == kessai.InvalidTransaction {
			detail = "It has ended, or there is no exchange rate for your account's currency. Begin anew at the machine."
		}
		return &problem{code: problemClaim, detail: detail}
	}
	s, err := p.current(&t, who)
	if err != nil {
		return p.fault(c, err, problemClaim)
	}
	return writeJSON(c, fiber.StatusOK, struct {
		Sale phoneSale `json:"sale"`
	}{s})
}

// history lists the customer's payments, newest first.
func (p *phoneSide) history(c *fiber.Ctx, who phoneUser) error {
	const size = 20
	q := ledger.Query{Customer: who.account, Limit: size + 1}
	if cursor := c.Query("cursor"); cursor != "" {
		id, ok := parseCursor(cursor)
		if !ok {
			return &problem{code: problemInvalidParameter, field: "cursor", detail: "It must be a next_cursor that was given."}
		}
		q.Before = id
	}
	found, err := p.h.o.Book.List(q)
	if err != nil {
		return p.fault(c, err, problemPaymentNotFound)
	}
	answer := struct {
		Sales      []phoneSale `json:"sales"`
		NextCursor string      `json:"next_cursor,omitzero"`
	}{Sales: []phoneSale{}}
	if len(found) > size {
		found = found[:size]
		answer.NextCursor = cursorAfter(found[size-1].ID)
	}
	for i := range found {
		if _, s, err := p.shown(&found[i]); err == nil {
			answer.Sales = append(answer.Sales, s)
		} else {
			p.notShown(found[i].ID, err)
		}
	}
	return writeJSON(c, fiber.StatusOK, answer)
}
