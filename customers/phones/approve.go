package phones

import (
	"crypto/sha256"
	"encoding/json"

	"kessai"
)

// BeginPassword begins the approval of a sale by password: clientFirst is SCRAM's,
// bound to the sale. Errors: ErrMalformed, ErrRefused where it names another
// customer than the one who is signed in.
func (s *Service) BeginPassword(in Session, sale kessai.TxID, clientFirst string) (tryID, serverFirst string, err error) {
	y, err := s.beginKnown(in, clientFirst, BindSale)
	if err != nil {
		return "", "", err
	}
	y.purpose, y.sale = toApprove, sale
	return s.known.add(y), y.scram.serverFirst, nil
}

// beginKnown begins SCRAM with a customer who is signed in.
func (s *Service) beginKnown(in Session, clientFirst, binding string) (*try, error) {
	first, err := parseClientFirst(clientFirst, binding)
	if err != nil {
		return nil, err
	}
	if first.customer != in.Customer {
		return nil, ErrRefused
	}
	v, real, err := s.verifier(first.customer)
	if err != nil {
		return nil, err
	}
	return &try{customer: in.Customer, stranger: !real, device: in.Device.ID, scram: v.begin(first)}, nil
}

// FinishPassword says whether a password approves the sale as the book has it. A
// proof with Wrong set is to be counted: wrong password, or proof for another sale.
// Errors, where no password was tried and nothing is to be counted: ErrMalformed;
// ErrGone, for a try that is used up, too old, or of another sale or device;
// ErrRefused, where the device did not sign.
func (s *Service) FinishPassword(in Session, shown Shown, tryID, clientFinal string, signature []byte) (Proof, error) {
	final, err := parseClientFinal(clientFinal)
	if err != nil {
		return Proof{}, err
	}
	y, err := s.known.take(tryID, toApprove, in.Device.ID, shown.ID)
	if err != nil {
		return Proof{}, err
	}
	digest := sha256.Sum256(shown.Canonical)
	message := y.scram.authMessage(final)
	if !signedBy(in.Device.Key, digest, message, signature) {
		return Proof{}, ErrRefused
	}
	proof := Proof{Sale: shown.ID, Customer: in.Customer, Factor: kessai.FactorPassword}
	serverFinal, ok := y.scram.finish(final, digest)
	if !ok || y.stranger {
		proof.Wrong = true
		return proof, nil
	}
	e := s.evidence(in, shown, digest, signature)
	e.Factor, e.Scram = proof.Factor.String(), &ScramEvidence{
		AuthMessage: string(message),
		Sealed:      s.o.Keys.seal(shown.ID, append(y.scram.v.storedKey[:], final.proof...)),
	}
	proof.ServerFinal = serverFinal
	proof.Evidence, err = e.encode()
	return proof, err
}

// BeginPasskey begins the approval of a sale by passkey. The options are for
// navigator.credentials.get; the nonce is part of their challenge. Errors:
// ErrNoPasskeys, ErrGone where the customer has none.
func (s *Service) BeginPasskey(in Session, shown Shown) (tryID string, options json.RawMessage, nonce []byte, err error) {
	nonce = random(32)
	options, err = s.assertion(in.Customer, PasskeyChallenge(sha256.Sum256(shown.Canonical), nonce))
	if err != nil {
		return "", nil, nil, err
	}
	tryID = s.known.add(&try{purpose: toApproveByPasskey, customer: in.Customer, device: in.Device.ID, sale: shown.ID, challenge: nonce})
	return tryID, options, nonce, nil
}

// FinishPasskey says whether a passkey approves the sale as the book has it.
// Results are those of [Service.FinishPassword].
func (s *Service) FinishPasskey(in Session, shown Shown, tryID string, credential json.RawMessage, signature []byte) (Proof, error) {
	said, err := parseAssertion(credential)
	if err != nil {
		return Proof{}, err
	}
	y, err := s.known.take(tryID, toApproveByPasskey, in.Device.ID, shown.ID)
	if err != nil {
		return Proof{}, err
	}
	digest := sha256.Sum256(shown.Canonical)
	raw := said.Raw.AssertionResponse
	if !signedBy(in.Device.Key, digest, raw.ClientDataJSON, signature) {
		return Proof{}, ErrRefused
	}
	proof := Proof{Sale: shown.ID, Customer: in.Customer, Factor: kessai.FactorPasskey}
	used, err := s.assert(in.Customer, PasskeyChallenge(digest, y.challenge), said)
	if refused(err) {
		proof.Wrong = true
		return proof, nil
	}
	if err != nil {
		return Proof{}, err
	}
	e := s.evidence(in, shown, digest, signature)
	e.Factor, e.Passkey = proof.Factor.String(), &PasskeyEvidence{
		Credential: said.RawID, PublicKey: used.Credential.PublicKey, AuthenticatorData: raw.AuthenticatorData,
		ClientData: raw.ClientDataJSON, Signature: raw.Signature, Nonce: y.challenge,
	}
	proof.Evidence, err = e.encode()
	return proof, err
}

func (s *Service) evidence(in Session, shown Shown, digest [32]byte, signature []byte) Evidence {
	e := Evidence{
		Version: 1, Sale: shown.Canonical, Time: s.now(),
		Device: DeviceEvidence{ID: in.Device.ID, Name: in.Device.Name, Key: in.Device.Key, Signature: signature},
	}
	if len(e.Sale) > maxSaleKept {
		e.Sale, e.Digest = nil, digest[:]
	}
	return e
}
