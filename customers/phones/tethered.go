package phones

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"

	"kessai"
	"kessai/pos/tether"
)

// ReaderProof is what is kept of the messages of a card reader: their hashes and
// signatures, from which neither the messages nor their key can be made again.
type ReaderProof struct {
	OfferHash     [32]byte // SHA-256 of the offer that both messages answer
	CardHash      [32]byte // of the sealed card
	CardSignature []byte   // Ed25519, 64 bytes
	PINHash       [32]byte // of the sealed PIN
	PINSignature  []byte   // empty: the card needed no PIN
}

// ApproveForReader says whether a phone approves the sale as the book has it, to be
// paid with a card in that reader. The signature is the device's, over "reader " and
// the reader's ID (see the package comment). Errors: ErrReader; ErrRefused, where
// the device did not sign.
func (s *Service) ApproveForReader(in Session, shown Shown, reader kessai.ReaderID, signature []byte) error {
	if _, err := s.o.Store.usable(in.Customer, reader); err != nil {
		return err
	}
	if !signedBy(in.Device.Key, sha256.Sum256(shown.Canonical), readerSaid(reader.String()), signature) {
		return ErrRefused
	}
	return nil
}

// readerSaid is what a phone says when it approves a payment with a card reader.
func readerSaid(id string) []byte { return []byte("reader " + id) }

// ReaderEvidence gives the note of a payment with a card in a reader: what the phone
// signed, as [Service.ApproveForReader] found it right, and what the reader did. A
// reader that was revoked meanwhile is no error. Error: ErrGone, where there is none.
func (s *Service) ReaderEvidence(in Session, shown Shown, signature []byte, reader kessai.ReaderID, p ReaderProof) (json.RawMessage, error) {
	x, err := s.o.Store.Reader(reader)
	if err != nil {
		return nil, err
	}
	e := s.evidence(in, shown, sha256.Sum256(shown.Canonical), signature)
	e.Factor = kessai.FactorCard.String()
	e.Reader = &ReaderEvidence{
		ID: reader.String(), Name: x.Name, Key: x.Key,
		OfferHash: p.OfferHash[:], CardHash: p.CardHash[:], CardSignature: p.CardSignature,
	}
	if len(p.PINSignature) > 0 {
		e.Factor = kessai.FactorPIN.String()
		e.Reader.PINHash, e.Reader.PINSignature = p.PINHash[:], p.PINSignature
	}
	return e.encode()
}

// reader checks the signatures of phone and reader once more.
func (r *Report) reader(e Evidence) {
	p := e.Reader
	r.Reader = p
	r.check(signedBy(e.Device.Key, r.Digest, readerSaid(p.ID), e.Device.Signature), "the device signed the sale and the card reader")
	key := len(p.Key) == ed25519.PublicKeySize
	r.check(key && kessai.ReaderIDOf(p.Key).String() == p.ID, "the card reader's name is that of its key")
	signed := func(step tether.Step, hash, signature []byte) bool {
		return key && len(p.OfferHash) == sha256.Size && len(hash) == sha256.Size &&
			ed25519.Verify(p.Key, tether.SealedToSign(step, [32]byte(p.OfferHash), [32]byte(hash)), signature)
	}
	r.check(signed(tether.StepCard, p.CardHash, p.CardSignature), "the card reader signed the card that it sealed, for one offer")
	if e.Factor == kessai.FactorPIN.String() {
		r.check(signed(tether.StepPIN, p.PINHash, p.PINSignature), "the card reader signed the PIN that it sealed, for the same offer")
	} else {
		r.check(p.PINHash == nil && p.PINSignature == nil, "the card reader sealed no PIN")
	}
	r.Missing = "the offer, the card and the PIN are not kept, so that the offer was made for this sale, and what the card and the PIN were, is the gateway's word"
}
