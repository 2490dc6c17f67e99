package phones

import (
	"encoding/json"
	"fmt"
	"time"
)

// MaxEvidence bounds the evidence of one approval, in bytes.
const MaxEvidence = 32 << 10

// Evidence is what is kept of an approval, as its note in the book: what was shown,
// what was signed, when, and by which device. [Verify] checks it, years later.
type Evidence struct {
	Version int              `json:"v"`
	Sale    []byte           `json:"sale,omitempty"`   // canonical encoding, as shown
	Digest  []byte           `json:"digest,omitempty"` // in the place of Sale where that is too long: its SHA-256
	Factor  string           `json:"factor"`
	Scram   *ScramEvidence   `json:"scram,omitempty"`
	Passkey *PasskeyEvidence `json:"passkey,omitempty"`
	Reader  *ReaderEvidence  `json:"reader,omitempty"`
	Device  DeviceEvidence   `json:"device"`
	Time    time.Time        `json:"time"`
}

// ScramEvidence is what is kept of an approval by password. Proof and stored key
// together give the customer's key away, so both are sealed.
type ScramEvidence struct {
	AuthMessage string `json:"auth_message"`
	Sealed      []byte `json:"sealed"` // AES-256-GCM of StoredKey and proof, bound to the payment
}

// PasskeyEvidence is what is kept of an approval by passkey.
type PasskeyEvidence struct {
	Credential        []byte `json:"credential"`
	PublicKey         []byte `json:"public_key"` // COSE
	AuthenticatorData []byte `json:"authenticator_data"`
	ClientData        []byte `json:"client_data"`
	Signature         []byte `json:"signature"`
	Nonce             []byte `json:"nonce"`
}

// ReaderEvidence is what is kept of a payment with a card in a reader: hashes and the
// reader's signatures. The offer, whose key card and PIN were sealed with, and what was
// sealed are kept nowhere.
type ReaderEvidence struct {
	ID            string `json:"id"` // 16 hexadecimal digits
	Name          string `json:"name"`
	Key           []byte `json:"key"` // Ed25519, of the reader's signatures
	OfferHash     []byte `json:"offer_hash"`
	CardHash      []byte `json:"card_hash"`
	CardSignature []byte `json:"card_signature"`
	PINHash       []byte `json:"pin_hash,omitempty"`
	PINSignature  []byte `json:"pin_signature,omitempty"`
}

// DeviceEvidence is the device that an approval came from.
type DeviceEvidence struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Key       []byte `json:"key"`
	Signature []byte `json:"signature"`
}

// maxSaleKept is the longest sale that the evidence repeats. Of a longer one it has
// the digest; the sale itself is made from the book again.
const maxSaleKept = 16 << 10

// encode gives the note. A password's evidence is within the limit by its parts;
// a passkey's may not be, since a browser may say anything.
func (e Evidence) encode() (json.RawMessage, error) {
	b, err := json.Marshal(e)
	if err == nil && len(b) > MaxEvidence {
		err = fmt.Errorf("%w: the evidence would be longer than %d bytes", ErrMalformed, MaxEvidence)
	}
	return b, err
}
