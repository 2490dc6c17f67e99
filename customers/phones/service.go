package phones

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"kessai"
	"kessai/customers"
)

// The limits of a [Service].
const (
	TryLifetime     = 2 * time.Minute // between the two halves of a proof
	MaxTries        = 10_000          // under way at once, of strangers and of signed-in phones each
	MaxDeviceTries  = 16              // under way at once, of one signed-in phone; the oldest ends
	MaxPeerTries    = 1_000           // under way at once, of strangers at one address
	SessionLifetime = 12 * time.Hour  // whatever happens; then the device renews it
)

// Options configures [New].
type Options struct {
	Store      *Store
	Keys       *Keys
	Origin     string        // public base URL of the phone's pages; passkeys belong to its host
	Iterations int           // of PBKDF2, for what is made from now on. Default 100,000
	Idle       time.Duration // how long a session lives without a request. Default 1 h

	// Customer gives a customer; false where there is none. Without a verifier
	// nobody signs in as them by password.
	Customer func(customers.ID) (customers.Customer, bool, error)
	// SetVerifier keeps a new verifier durably.
	SetVerifier func(customers.ID, customers.Verifier) error
	// Count records in the book that somebody gave a right or a wrong password to
	// sign in. False: too many were wrong today, so even the right one is refused.
	Count func(ctx context.Context, id customers.ID, wrong bool) (bool, error)

	Pad time.Duration    // how long a refused sign-in takes at least. Default 300 ms
	Now func() time.Time // default time.Now
}

// DefaultIterations is how many rounds of PBKDF2 a new verifier takes.
const DefaultIterations = 100_000

// Service is what a phone can ask of the gateway. All methods may be called at
// the same time. What comes from a phone is judged here and nowhere else.
type Service struct {
	o         Options
	strangers *tries
	known     *tries
	web       *webauthn.WebAuthn // nil: no passkeys
}

// New makes a service.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Keys == nil || o.Customer == nil || o.SetVerifier == nil || o.Count == nil {
		return nil, errors.New("phones need a store, keys, and functions for customers, their verifiers and wrong passwords")
	}
	if o.Iterations == 0 {
		o.Iterations = DefaultIterations
	}
	if o.Iterations < customers.MinIterations || o.Iterations > customers.MaxIterations {
		return nil, fmt.Errorf("iterations must be %d to %d", customers.MinIterations, customers.MaxIterations)
	}
	if o.Idle <= 0 {
		o.Idle = time.Hour
	}
	if o.Pad == 0 {
		o.Pad = 300 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Service{o: o, strangers: newTries(o.Now, MaxTries, MaxPeerTries), known: newTries(o.Now, MaxTries, MaxDeviceTries)}
	origin, err := url.Parse(o.Origin)
	if err != nil || origin.Host == "" || origin.Scheme != "https" && origin.Scheme != "http" {
		return nil, fmt.Errorf("the public address must be like https://pay.example.com, and is %q", o.Origin)
	}
	if _, err := netip.ParseAddr(origin.Hostname()); err == nil {
		return s, nil
	}
	s.web, err = relyingParty(origin)
	return s, err
}

// Passkeys reports whether passkeys can be used at all.
func (s *Service) Passkeys() bool { return s.web != nil }

// Iterations gives the rounds of PBKDF2 for a new verifier.
func (s *Service) Iterations() int { return s.o.Iterations }

// Session is somebody who is signed in, on one device.
type Session struct {
	Customer customers.ID
	Name     string // of the customer
	Device   Device
	Started  time.Time
	Expires  time.Time // unless it is used before; at most SessionLifetime after Started
	hash     hash
}

// SignedIn is what a phone gets that has proved who it is.
type SignedIn struct {
	Session
	Token       kessai.Secret // for the cookie: 32 random bytes, base64url
	ServerFinal string        // of SCRAM; empty where there was no password
}

// PhoneNames is what a device says of itself when it signs in.
type PhoneNames struct {
	Name string // what the customer calls it, at most 64 characters
	Lang string // BCP 47, at most 8 characters; empty is en
}

// Shown is a sale as it is shown on the phone.
type Shown struct {
	ID        kessai.TxID
	Canonical []byte // its canonical encoding (pos/sale), made from the book
}

// Proof is what a phone has proved about a sale, for the book.
type Proof struct {
	Sale        kessai.TxID
	Customer    customers.ID
	Factor      kessai.Factor
	Wrong       bool            // it does not hold: to be counted
	Evidence    json.RawMessage // the note of the approval; none where it is wrong
	ServerFinal string          // of SCRAM, for the phone once the book has approved
}
