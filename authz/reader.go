package authz

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/tether"
)

// ReaderOptions says how customers pay with a card reader that hangs on their phone
// (system R). Zero numbers and times stand for their defaults; every function is
// needed, and may be called from many goroutines at once.
type ReaderOptions struct {
	// Reader gives whose a reader is, and the key that it signs with; false where it
	// is not enrolled, or was revoked.
	Reader func(kessai.ReaderID) (customer string, key ed25519.PublicKey, ok bool, err error)
	Sign   func(offer []byte) []byte        // signs an offer, so that the reader knows from whom it is
	Medium func(kessai.PAN) kessai.MediumID // names a card
	PIN    func(kessai.MediumID) (needed bool, check func(pin []byte) bool, err error)

	Suite      tether.Suite  // what cards and PINs are sealed with. Default SuiteP256
	MaxKeys    int           // keys that live at once. Default 10,000
	ApproveFor time.Duration // how long the customer may take to approve. Default 2 min
	CardFor    time.Duration // and to put the card in. Default 1 min
	PINFor     time.Duration // and to type the PIN. Default 1 min
	PINTries   int           // wrong PINs of a card that lock it. Default 3
}

// ReaderStep is what a sale with a card reader waits for.
type ReaderStep uint8

// The steps.
const (
	ReaderApproves ReaderStep = iota // the customer, on the phone
	ReaderCard                       // the card
	ReaderPIN                        // its PIN
	ReaderEnded                      // nothing any more
)

func (s ReaderStep) String() string { return [...]string{"approve", "card", "pin", "ended"}[s%4] }

// ReaderState is how a sale with a card reader stands.
type ReaderState struct {
	Step      ReaderStep
	Offer     []byte    // what the reader is to read the card for (tether.Offer), in the steps of card and PIN
	Signature []byte    // the gateway's, of the offer
	Until     time.Time // when this wait ends; zero where nothing is waited for
	Sale      ledger.Tx
}

// ReaderMessage is what a reader sealed, with its signature (tether.SealedToSign).
type ReaderMessage struct{ Sealed, Signature []byte }

// ReaderProof is what there is to prove of a sale with a card reader: hashes, and
// the reader's signatures. No key and nothing sealed is in it.
type ReaderProof struct {
	OfferHash     [32]byte
	CardHash      [32]byte
	CardSignature []byte
	PINHash       [32]byte // zero where no PIN was asked for
	PINSignature  []byte
}

// ReaderApproval is a customer's word that a sale is to be paid with a card in a
// reader of theirs. The phone's signature was checked: this package takes the word
// of its caller.
type ReaderApproval struct {
	Sale     kessai.TxID
	Customer ledger.AccountID
	Reader   kessai.ReaderID
	Evidence func(ReaderProof) []byte // made when the sale is settled, and kept with it; nil: nothing is kept
}

// Why a reader's message changes nothing.
var (
	ErrNoSale = errors.New("this customer has no such payment with a card reader")
	ErrStep   = errors.New("the payment does not wait for this: ask how it stands, and go on from there")
	ErrReader = errors.New("the card reader is not one of this customer's, or was revoked")
)

// ReaderEnd is how a sale with a card reader ended: in which step, and with what the
// shop was told.
type ReaderEnd struct {
	Step ReaderStep
	Code kessai.ResponseCode
}

// ReaderStats is what there is to count about card readers.
type ReaderStats struct {
	Waiting [ReaderEnded]int // sales that wait now, by step
	Keys    int              // keys that live now
	Issued  uint64           // keys that were made
	Refused uint64           // messages that came when nobody waited for them
	Ended   map[ReaderEnd]uint64
}

// BeginReader makes a key for a sale that its customer has approved, and the offer
// that goes to the reader. Said again for the same reader it gives the
// same offer again, so that a phone that was gone can go on. The error is
// [ErrNoSale], [ErrReader], [ErrStep] where the sale has ended or is with another
// reader, keys.ErrFull where as many keys live as may, or what kept the engine from
// reading what it needs; the sale waits on.
func (e *Engine) BeginReader(ctx context.Context, a ReaderApproval) (ReaderState, error) {
	s, t, err := e.readerSale(a.Sale, a.Customer)
	if err != nil {
		return ReaderState{}, err
	}
	if s == nil {
		e.readers.refused.Add(1)
		return ReaderState{Step: ReaderEnded, Sale: t}, ErrStep
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ReaderState{}, ctx.Err()
	}
	defer func() { <-s.turn }()
	err = e.begins(s, &t, &a)
	return e.readerState(s), err
}

// ReaderNow tells how a sale stands. The error is [ErrNoSale].
func (e *Engine) ReaderNow(id kessai.TxID, customer ledger.AccountID) (ReaderState, error) {
	s, t, err := e.readerSale(id, customer)
	switch {
	case err != nil:
		return ReaderState{}, err
	case s == nil:
		return ReaderState{Step: ReaderEnded, Sale: t}, nil
	}
	return e.readerState(s), nil
}

// ReaderCard takes what a reader sealed of a card. Then the PIN is waited
// for, or the sale has ended: settled where the card needs no PIN, refused
// otherwise. The state tells. The error is [ErrNoSale], [ErrStep] where no card is
// waited for, which changes nothing, or that of the book: after ledger.ErrBusy the
// sale ends as soon as the book takes that.
//
// What has come is carried out, whatever becomes of who sent it.
func (e *Engine) ReaderCard(ctx context.Context, id kessai.TxID, customer ledger.AccountID, m ReaderMessage) (ReaderState, error) {
	return e.readerMessage(id, customer, ReaderCard, func(s *readerSale, t *ledger.Tx) error {
		return e.readCard(context.WithoutCancel(ctx), s, t, m)
	})
}

// ReaderPIN takes what a reader sealed of a PIN, and ends the sale. It
// is like [Engine.ReaderCard].
func (e *Engine) ReaderPIN(ctx context.Context, id kessai.TxID, customer ledger.AccountID, m ReaderMessage) (ReaderState, error) {
	return e.readerMessage(id, customer, ReaderPIN, func(s *readerSale, t *ledger.Tx) error {
		return e.readPIN(context.WithoutCancel(ctx), s, t, m)
	})
}

// UnlockCard forgets the wrong PINs of a card.
func (e *Engine) UnlockCard(ctx context.Context, m kessai.MediumID) error {
	_, err := e.book.Commit(ctx, &ledger.Op{Kind: kessai.Unlock, Verdict: kessai.Approved, Medium: m})
	return err
}

// CloseReaders destroys every key, and makes no more. What waits, waits on in the
// book.
func (e *Engine) CloseReaders() {
	if e.readers != nil {
		e.readers.close()
	}
}

// ReaderFault says why card readers cannot be served: no keys can be made, or there
// is no memory for them. Nil where they can be, or nobody asked for them.
func (e *Engine) ReaderFault() error {
	if e.readers == nil {
		return nil
	}
	return e.readers.fault
}

// ReaderMemory says why the memory of the keys may be swapped or dumped; nil where it
// may not, or there are none.
func (e *Engine) ReaderMemory() error {
	if e.readers == nil || e.readers.keys == nil {
		return nil
	}
	return e.readers.keys.Locked()
}

// ReaderStats counts.
func (e *Engine) ReaderStats() ReaderStats {
	if e.readers == nil {
		return ReaderStats{}
	}
	return e.readers.stats()
}
