package authz

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"kessai"
	"kessai/authz/confirm"
	"kessai/authz/keys"
	"kessai/authz/ledger"
	cards "kessai/pos/card"
	"kessai/pos/tether"
)

// begins makes the key and the offer of a sale; the caller has the turn.
func (e *Engine) begins(s *readerSale, t *ledger.Tx, a *ReaderApproval) error {
	note, err := e.note(t.ID)
	if err != nil {
		return err
	}
	signer, err := e.readerOf(note.Customer, a.Reader)
	if err != nil {
		return err
	}
	s.mu.Lock()
	step, open := s.step, s.open()
	s.mu.Unlock()
	switch {
	case !open || step != ReaderApproves && a.Reader != s.approval.Reader:
		e.readers.refused.Add(1)
		return ErrStep
	case step != ReaderApproves:
		return nil // it has its offer
	}
	key, err := e.readers.keys.Issue(s.id)
	switch {
	case errors.Is(err, keys.ErrGone):
		return ledger.ErrClosed // CloseReaders was called
	case err != nil:
		return err
	}
	offer, err := e.offer(t, note.Shop, a.Reader, key.Public())
	if err != nil {
		key.Destroy()
		return err
	}
	signature := e.readers.o.Sign(offer)
	s.approval, s.customer, s.signer, s.proof = *a, note.Customer, signer, ReaderProof{OfferHash: tether.OfferHash(offer)}
	s.mu.Lock()
	if open = s.open(); open {
		s.key, s.offer, s.signature = key, offer, signature
		e.enterStep(s, ReaderCard, e.readers.o.CardFor)
	}
	s.mu.Unlock()
	if !open { // it ended while its key was made
		key.Destroy()
		return ErrStep
	}
	e.room.Tell(uint32(s.account), confirm.Event{ID: s.id})
	return nil
}

// readerOf gives the key of a reader, where it is one of the customer's.
func (e *Engine) readerOf(customer string, id kessai.ReaderID) (signer []byte, err error) {
	whose, signer, ok, err := e.readers.o.Reader(id)
	switch {
	case err != nil:
		return nil, err
	case !ok || customer == "" || whose != customer:
		return nil, ErrReader
	}
	return signer, nil
}

func (e *Engine) offer(t *ledger.Tx, shop string, reader kessai.ReaderID, public []byte) ([]byte, error) {
	o := tether.Offer{
		Suite: e.readers.o.Suite, ID: t.ID, Merchant: t.Merchant, Shop: shop,
		Amount: kessai.Amount{Value: t.Requested, Currency: t.Currency}, Reader: reader, PublicKey: public,
		CardFor: uint16(e.readers.o.CardFor / time.Second), PINFor: uint16(e.readers.o.PINFor / time.Second),
	}
	return o.Encode()
}

// readerMessage has a message carried out, if the sale waits for it. One that comes
// while another is being carried out changes nothing.
func (e *Engine) readerMessage(id kessai.TxID, customer ledger.AccountID, step ReaderStep, f func(*readerSale, *ledger.Tx) error) (ReaderState, error) {
	s, t, err := e.readerSale(id, customer)
	if err != nil {
		return ReaderState{}, err
	}
	if s == nil {
		e.readers.refused.Add(1)
		return ReaderState{Step: ReaderEnded, Sale: t}, ErrStep
	}
	if err = ErrStep; s.takes(step) {
		err = f(s, &t)
		<-s.turn
	}
	if err == ErrStep {
		e.readers.refused.Add(1)
	}
	state := e.readerState(s)
	if state.Step != ReaderEnded && e.readers.isClosed() {
		err = ledger.ErrClosed // nothing can come of it before the next start
	}
	return state, err
}

// takes gives the turn to a message that is waited for, and stops the clock: it came
// in time.
func (s *readerSale) takes(step ReaderStep) bool {
	select {
	case s.turn <- struct{}{}:
	default:
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open() || s.step != step || s.key == nil {
		<-s.turn
		return false
	}
	s.round++
	s.timer.Stop()
	return true
}

// open reports whether anything can still come of a sale; the caller holds the lock.
func (s *readerSale) open() bool { return !s.over && !s.failed }

// readerState tells how a sale stands.
func (e *Engine) readerState(s *readerSale) ReaderState {
	t, _ := e.book.Find(ledger.Ref{ID: s.id})
	if t.Status != ledger.Waiting {
		return ReaderState{Step: ReaderEnded, Sale: t}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state := ReaderState{Step: s.step, Until: s.until, Sale: t}
	if s.key != nil {
		state.Offer, state.Signature = s.offer, s.signature
	}
	return state
}

// readCard opens a card and judges it; the caller has the turn.
func (e *Engine) readCard(ctx context.Context, s *readerSale, t *ledger.Tx, m ReaderMessage) error {
	var limit ledger.Limit
	var expiry uint16
	var needed bool
	code := e.openSealed(s, tether.StepCard, m, func(key *keys.Key, plain, _ []byte) (code kessai.ResponseCode) {
		s.medium, expiry, code = e.takeCard(t, key, plain)
		return code
	})
	if code.IsApproval() {
		limit, code = e.judgeCard(t, s.medium, expiry)
	}
	if code.IsApproval() {
		needed, _, code = e.pinOf(s.medium)
	}
	if !code.IsApproval() {
		return e.failReader(s, code)
	}
	s.proof.CardHash, s.proof.CardSignature = sha256.Sum256(m.Sealed), bytes.Clone(m.Signature)
	if !needed {
		return e.settleReader(ctx, s, t, limit, kessai.FactorCard, false)
	}
	s.mu.Lock()
	open := s.open()
	if open {
		e.enterStep(s, ReaderPIN, e.readers.o.PINFor)
	}
	s.mu.Unlock()
	if open {
		e.room.Tell(uint32(s.account), confirm.Event{ID: s.id})
	}
	return nil
}

// takeCard reads an opened card. Only its ID and its month leave the place where it
// is wiped; the number is put to the key, for the PIN block is bound to it.
func (e *Engine) takeCard(t *ledger.Tx, key *keys.Key, plain []byte) (m kessai.MediumID, expiry uint16, code kessai.ResponseCode) {
	c, err := tether.ParseCard(plain)
	defer wipeCard(&c)
	switch {
	case errors.Is(err, cards.ErrCard):
		return m, 0, kessai.InvalidCardNumber
	case err != nil, c.EMV != nil && !about(c.EMV, t):
		return m, 0, kessai.SecurityViolation
	}
	var number [24]byte
	defer clear(number[:])
	if !key.Keep(c.PAN.AppendTo(number[:0])) {
		return m, 0, kessai.SecurityViolation // the sale has ended meanwhile
	}
	return e.readers.o.Medium(c.PAN), c.Expiry, kessai.Approved
}

// about reports whether a chip was asked for what the sale is about.
func about(c *cards.EMV, t *ledger.Tx) bool {
	return c.Amount == t.Requested && c.Currency == t.Currency && c.Other == 0
}

func wipeCard(c *cards.Card) {
	if c.EMV != nil {
		clear(c.EMV.IssuerData)
		*c.EMV = cards.EMV{}
	}
	*c = cards.Card{}
}

// openSealed opens one message, and has use look at it where nobody else sees it. It
// gives what use says, or SecurityViolation for whatever else is wrong: who sealed
// something else learns nothing by the reason.
func (e *Engine) openSealed(s *readerSale, step tether.Step, m ReaderMessage, use func(key *keys.Key, plain, exported []byte) kessai.ResponseCode) kessai.ResponseCode {
	switch signer, err := e.readerOf(s.customer, s.approval.Reader); {
	case err == ErrReader || err == nil && !bytes.Equal(signer, s.signer): // it was revoked
		return kessai.SecurityViolation
	case err != nil:
		return kessai.SystemMalfunction
	}
	s.mu.Lock()
	key, offer := s.key, s.offer
	s.mu.Unlock()
	code := kessai.SecurityViolation
	if key == nil { // it has ended since the message came
		return code
	}
	check := func() bool { return tether.CheckSealed(s.signer, step, offer, m.Sealed, m.Signature) }
	err := key.Open(tether.Info(step, offer), m.Sealed, tether.PINKeyContext, check, func(plain, exported []byte) error {
		code = use(key, plain, exported)
		return nil
	})
	if err != nil {
		return kessai.SecurityViolation
	}
	return code
}

// judgeCard judges a card as if the terminal had read it. One that is somebody else's
// is as good as none. An expiry of zero was judged before.
func (e *Engine) judgeCard(t *ledger.Tx, m kessai.MediumID, expiry uint16) (ledger.Limit, kessai.ResponseCode) {
	r := Request{
		Wire: t.Wire, Kind: t.Kind, Merchant: t.Merchant, Terminal: t.Terminal, Medium: m, Expiry: expiry,
		Amount: kessai.Amount{Value: t.Requested, Currency: t.Currency}, Received: time.Now(),
	}
	f := e.judge(&r)
	most := f.Medium.Limits.Single
	if t.Foreign.Currency != 0 { // the card's limits are in its own currency
		f.Medium.Limits.Single = 0
	}
	code := Decide(&r, &f)
	switch {
	case f.Unread:
	case f.Medium.Account != uint32(t.Customer):
		code = kessai.InvalidCardNumber
	case code.IsApproval() && t.Foreign.Currency != 0 && over(t.Foreign.Amount, most):
		code = kessai.AmountLimit
	}
	return ledger.Limit{MaxTotal: f.Medium.Limits.DayTotal, MaxCount: f.Medium.Limits.DayCount}, code
}

// pinOf tells whether a card has a PIN. Of one that is locked none is asked
// for.
func (e *Engine) pinOf(m kessai.MediumID) (needed bool, check func([]byte) bool, code kessai.ResponseCode) {
	if e.book.PINTries(m) >= e.readers.o.PINTries {
		return false, nil, kessai.TriesExceeded
	}
	needed, check, err := e.readers.o.PIN(m)
	if err != nil || needed && check == nil {
		return false, nil, kessai.SystemMalfunction
	}
	return needed, check, kessai.Approved
}

// readPIN opens a PIN and compares it; the caller has the turn. The card
// is judged once more: it may have been reported stolen since.
func (e *Engine) readPIN(ctx context.Context, s *readerSale, t *ledger.Tx, m ReaderMessage) error {
	limit, code := e.judgeCard(t, s.medium, 0)
	var check func([]byte) bool
	if code.IsApproval() {
		var needed bool
		if needed, check, code = e.pinOf(s.medium); code.IsApproval() && !needed {
			code = kessai.SystemMalfunction // the PIN was taken from the card while it was being typed
		}
	}
	right := false
	if code.IsApproval() {
		code = e.openSealed(s, tether.StepPIN, m, func(key *keys.Key, plain, exported []byte) (code kessai.ResponseCode) {
			right, code = comparePIN(key, plain, exported, check)
			return code
		})
	}
	if !code.IsApproval() {
		return e.failReader(s, code)
	}
	s.proof.PINHash, s.proof.PINSignature = sha256.Sum256(m.Sealed), bytes.Clone(m.Signature)
	return e.settleReader(ctx, s, t, limit, kessai.FactorPIN, !right)
}

// comparePIN compares the PIN in an opened block with the card's.
func comparePIN(key *keys.Key, plain, exported []byte, check func([]byte) bool) (right bool, code kessai.ResponseCode) {
	code = kessai.SecurityViolation
	if len(plain) != tether.PINSize || len(exported) != tether.PINSize {
		return false, code
	}
	block, secret := [tether.PINSize]byte(plain), [tether.PINSize]byte(exported)
	defer clear(block[:])
	defer clear(secret[:])
	key.Kept(func(number []byte) {
		pan, err := kessai.ParsePAN(number)
		if err != nil {
			return
		}
		pin, err := cards.OpenPINBlock(secret, pan, block)
		defer pin.Wipe()
		if err == nil {
			right, code = check(pin.Digits()), kessai.Approved
		}
	})
	return right, code
}

// settleReader has the book decide about a card that was read. A wrong PIN
// goes the same way as a right one. The key is gone before.
func (e *Engine) settleReader(ctx context.Context, s *readerSale, t *ledger.Tx, limit ledger.Limit, f kessai.Factor, wrong bool) error {
	s.mu.Lock()
	key := s.rest()
	s.mu.Unlock()
	destroy(key)
	op := e.ofCustomer(kessai.Approval, s.id, s.account)
	op.Factor, op.Medium, op.MediumLimit, op.PINTries = f, s.medium, limit, e.readers.o.PINTries
	if s.approval.Evidence != nil { // made of a wrong PIN too, or the time would tell
		if op.Note = s.approval.Evidence(s.proof); op.Note == nil {
			return e.failReader(s, kessai.SystemMalfunction) // it could not be proved afterwards
		}
	}
	if wrong {
		op.Verdict, op.Note = kessai.WrongProof, nil
	}
	out, err := e.book.Commit(ctx, &op)
	switch {
	case errors.Is(err, ledger.ErrClosed), errors.Is(err, ledger.ErrUnknown):
		e.readers.close()
		return err
	case err != nil: // nothing was done, whether the PIN was right or wrong
		_ = e.failReader(s, kessai.SystemMalfunction)
		return err
	}
	if e.reread(t); t.Status == ledger.Waiting { // the book would not have it, but does not end it
		return e.failReader(s, out.Tx.Code)
	}
	return nil
}
