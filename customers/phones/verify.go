package phones

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"kessai/pos/sale"
)

// Report is what [Verify] found.
type Report struct {
	Sale    *sale.Sale // as it was shown
	Digest  [32]byte   // of it: what was signed
	Factor  string     // password, passkey, card or card_pin
	Device  DeviceEvidence
	Time    time.Time       // when the proof was given
	Reader  *ReaderEvidence // nil: no card reader
	Origin  string          // the address of the page, where the browser said it (passkey)
	Checks  []Check
	Missing string // what could not be checked, and why; empty: nothing
}

// Check is one thing that was looked at.
type Check struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
}

// Holds reports whether everything that was looked at holds.
func (r Report) Holds() bool {
	return len(r.Checks) > 0 && !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.OK })
}

func (r *Report) check(ok bool, what string) { r.Checks = append(r.Checks, Check{what, ok}) }

// Verify checks evidence against the payment that it was kept for, as the book has
// it now. Its error means that it is no evidence at all; whether it holds is in the
// report. Keys are needed for a password's proof, which is sealed; a passkey's
// evidence can be checked by anybody.
func Verify(evidence []byte, shown Shown, keys *Keys) (Report, error) {
	d := json.NewDecoder(bytes.NewReader(evidence))
	d.DisallowUnknownFields()
	var e Evidence
	if err := d.Decode(&e); err != nil || len(evidence) > MaxEvidence || d.More() {
		return Report{}, fmt.Errorf("%w: this is not the evidence of an approval", ErrMalformed)
	}
	if e.Version != 1 {
		return Report{}, fmt.Errorf("%w: evidence of version %d is not known here", ErrMalformed, e.Version)
	}
	r := Report{Factor: e.Factor, Device: e.Device, Time: e.Time, Digest: sha256.Sum256(shown.Canonical)}
	if e.Sale != nil {
		r.check(bytes.Equal(e.Sale, shown.Canonical), "the sale that was shown is the one in the book")
		r.Digest = sha256.Sum256(e.Sale)
	} else {
		r.check(bytes.Equal(e.Digest, r.Digest[:]), "the digest of the sale that was shown is that of the one in the book")
		e.Sale = shown.Canonical
	}
	var err error
	if r.Sale, err = sale.Decode(e.Sale); err != nil {
		r.check(false, "the sale that was shown can be read")
		r.Sale = new(sale.Sale)
	}
	r.check(r.Sale.ID == shown.ID, "the sale is about this payment")
	switch {
	case e.Factor == "password" && e.Scram != nil && e.Passkey == nil && e.Reader == nil:
		r.password(e, shown, keys)
	case e.Factor == "passkey" && e.Passkey != nil && e.Scram == nil && e.Reader == nil:
		r.passkey(e)
	case (e.Factor == "card" || e.Factor == "card_pin") && e.Reader != nil && e.Scram == nil && e.Passkey == nil:
		r.reader(e)
	default:
		return Report{}, fmt.Errorf("%w: the evidence has no proof of its factor", ErrMalformed)
	}
	return r, nil
}

// password checks SCRAM once more.
func (r *Report) password(e Evidence, shown Shown, keys *Keys) {
	message := e.Scram.AuthMessage
	fields := strings.Split(message, ",")
	bound := append([]byte("p="+BindSale+",,"), r.Digest[:]...)
	// n=CUSTOMER, r=NONCE, r=NONCE, s=SALT, i=ROUNDS, c=BINDING, r=NONCE
	whole := len(fields) == 7 && strings.HasPrefix(fields[2], fields[1]) && len(fields[2]) > len(fields[1]) && fields[6] == fields[2]
	r.check(whole, "the signed message is one run of SCRAM")
	r.check(fields[0] == "n="+r.Sale.Customer, "the signed message names the customer of the sale")
	r.check(whole && fields[5] == "c="+base64.StdEncoding.EncodeToString(bound), "the signed message is bound to the sale")
	r.check(signedBy(e.Device.Key, r.Digest, []byte(message), e.Device.Signature), "the device signed the sale and the message")
	if keys == nil {
		r.Missing = "the password's proof is sealed, and there is no key to open it"
		return
	}
	secret, err := keys.open(shown.ID, e.Scram.Sealed)
	r.check(err == nil, "what is sealed can be opened, and belongs to this payment")
	r.check(err == nil && len(secret) == 64 && proofHolds([]byte(message), secret[32:], [32]byte(secret[:32])), "the proof was made with the customer's password")
}

// passkey checks the assertion once more, as WebAuthn prescribes it.
func (r *Report) passkey(e Evidence) {
	p := e.Passkey
	var said protocol.CollectedClientData
	err := json.Unmarshal(p.ClientData, &said)
	r.check(err == nil && said.Type == protocol.AssertCeremony, "the browser was asked for a passkey")
	challenge := base64.RawURLEncoding.EncodeToString(PasskeyChallenge(r.Digest, p.Nonce))
	r.check(len(p.Nonce) == 32 && said.Challenge == challenge, "the passkey's challenge is bound to the sale")
	r.Origin = said.Origin
	host := ""
	if u, err := url.Parse(said.Origin); err == nil {
		host = u.Hostname()
	}
	party := sha256.Sum256([]byte(host))
	var data protocol.AuthenticatorData
	err = data.Unmarshal(p.AuthenticatorData)
	r.check(err == nil && bytes.Equal(data.RPIDHash, party[:]), "the passkey belongs to the page's address")
	r.check(err == nil && data.Flags.UserPresent() && data.Flags.UserVerified(), "the passkey verified its user")
	hash := sha256.Sum256(p.ClientData)
	key, err := webauthncose.ParsePublicKey(p.PublicKey)
	ok := err == nil
	if ok {
		ok, err = webauthncose.VerifySignature(key, append(slices.Clone(p.AuthenticatorData), hash[:]...), p.Signature)
	}
	r.check(ok && err == nil, "the passkey signed")
	r.check(signedBy(e.Device.Key, r.Digest, p.ClientData, e.Device.Signature), "the device signed the sale and the passkey's answer")
}
