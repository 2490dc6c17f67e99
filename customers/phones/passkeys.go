package phones

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"kessai"
	"kessai/customers"
)

const maxCredential = 16 << 10 // bytes of what a browser says of a passkey

// relyingParty is what passkeys belong to: the host of the public address.
func relyingParty(origin *url.URL) (*webauthn.WebAuthn, error) {
	return webauthn.New(&webauthn.Config{
		RPID: origin.Hostname(), RPDisplayName: "Kessai", RPOrigins: []string{origin.Scheme + "://" + origin.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationRequired,
		},
		// Password managers send some that nobody asked for. None is read.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
}

// user is a customer in the words of WebAuthn.
type user struct {
	handle   []byte
	name     string
	passkeys []Passkey
}

func (u user) WebAuthnID() []byte          { return u.handle }
func (u user) WebAuthnName() string        { return u.name }
func (u user) WebAuthnDisplayName() string { return u.name }

func (u user) WebAuthnCredentials() []webauthn.Credential {
	all := make([]webauthn.Credential, len(u.passkeys))
	for i, p := range u.passkeys {
		all[i] = p.Credential
	}
	return all
}

func (s *Service) user(id customers.ID, r record) user {
	return user{s.o.Keys.userHandle(id), string(id), r.Passkeys}
}

// assertion gives the options with which a browser asks a passkey of the customer.
func (s *Service) assertion(id customers.ID, challenge []byte) (json.RawMessage, error) {
	r, err := s.o.Store.read(id)
	if err != nil {
		return nil, err
	}
	switch {
	case s.web == nil:
		return nil, ErrNoPasskeys
	case len(r.Passkeys) == 0:
		return nil, ErrGone
	}
	options, _, err := s.web.BeginLogin(s.user(id, r), webauthn.WithChallenge(challenge))
	if err != nil {
		return nil, err
	}
	return json.Marshal(options)
}

func parseAssertion(credential json.RawMessage) (*protocol.ParsedCredentialAssertionData, error) {
	if len(credential) > maxCredential {
		return nil, fmt.Errorf("%w: a credential has at most %d bytes", ErrMalformed, maxCredential)
	}
	said, err := protocol.ParseCredentialRequestResponseBytes(credential)
	if err != nil {
		return nil, fmt.Errorf("%w: the credential is not what navigator.credentials.get gives", ErrMalformed)
	}
	return said, nil
}

// assert says which of the customer's passkeys signed a challenge, with the user
// verified, and notes its use. ErrRefused: none.
func (s *Service) assert(id customers.ID, challenge []byte, said *protocol.ParsedCredentialAssertionData) (used Passkey, err error) {
	err = s.o.Store.update(id, func(r *record) error {
		u := s.user(id, *r)
		_, session, err := s.web.BeginLogin(u, webauthn.WithChallenge(challenge))
		if err != nil {
			return ErrRefused // the last passkey was removed
		}
		c, err := s.web.ValidateLogin(u, *session, said)
		if err != nil {
			return ErrRefused
		}
		used, err = s.use(r, c)
		return err
	})
	return used, err
}

// use notes that a passkey was used. One whose counter went back exists twice.
func (s *Service) use(r *record, c *webauthn.Credential) (Passkey, error) {
	for i := range r.Passkeys {
		if p := &r.Passkeys[i]; string(p.Credential.ID) == string(c.ID) && !c.Authenticator.CloneWarning {
			p.Credential, p.Used = *c, s.now()
			return *p, nil
		}
	}
	return Passkey{}, ErrRefused
}

func refused(err error) bool { return errors.Is(err, ErrRefused) }

// BeginPasskeySignIn begins a sign-in by passkey. The options are for
// navigator.credentials.get. From is the address that asks. Error: ErrNoPasskeys.
func (s *Service) BeginPasskeySignIn(from string) (tryID string, options json.RawMessage, err error) {
	if s.web == nil {
		return "", nil, ErrNoPasskeys
	}
	y := &try{purpose: toSignInByPasskey, from: from, challenge: random(32)}
	asked, _, err := s.web.BeginDiscoverableLogin(webauthn.WithChallenge(y.challenge))
	if err != nil {
		return "", nil, err
	}
	if options, err = json.Marshal(asked); err != nil {
		return "", nil, err
	}
	return s.strangers.add(y), options, nil
}

// FinishPasskeySignIn ends a sign-in by passkey, and adds the device, which signs
// too. Errors: ErrRefused, ErrMalformed, ErrFull.
func (s *Service) FinishPasskeySignIn(tryID string, credential json.RawMessage, deviceKey, signature []byte, names PhoneNames) (SignedIn, error) {
	said, err := parseAssertion(credential)
	if err != nil {
		return SignedIn{}, err
	}
	if err := names.check(); err != nil {
		return SignedIn{}, err
	}
	if _, err := parseDeviceKey(deviceKey); err != nil {
		return SignedIn{}, err
	}
	y, err := s.strangers.take(tryID, toSignInByPasskey, "", 0)
	if err != nil || s.web == nil || !signedBy(deviceKey, sha256.Sum256(deviceKey), said.Raw.AssertionResponse.ClientDataJSON, signature) {
		return SignedIn{}, ErrRefused
	}
	id, _, err := s.o.Store.find(passkeyKey(said.RawID))
	if err != nil {
		return SignedIn{}, refusedIfGone(err)
	}
	var in SignedIn
	err = s.o.Store.update(id, func(r *record) error {
		_, session, err := s.web.BeginDiscoverableLogin(webauthn.WithChallenge(y.challenge))
		if err != nil {
			return err
		}
		whose := func(_, _ []byte) (webauthn.User, error) { return s.user(id, *r), nil }
		_, c, err := s.web.ValidatePasskeyLogin(whose, *session, said)
		if err != nil {
			return ErrRefused
		}
		if _, err := s.use(r, c); err != nil {
			return err
		}
		in, err = s.admitTo(r, id, deviceKey, names)
		return err
	})
	if err == nil {
		err = s.named(&in.Session)
	}
	return in, refusedIfGone(err)
}

// BeginAddPasskey begins to add a passkey, for which the customer gives the password
// again: clientFirst is SCRAM's, bound to the change. The options are for
// navigator.credentials.create. Errors: ErrMalformed, ErrRefused, ErrNoPasskeys,
// ErrFull.
func (s *Service) BeginAddPasskey(in Session, clientFirst string) (tryID, serverFirst string, options json.RawMessage, err error) {
	if s.web == nil {
		return "", "", nil, ErrNoPasskeys
	}
	y, err := s.beginKnown(in, clientFirst, BindChange)
	if err != nil {
		return "", "", nil, err
	}
	r, err := s.o.Store.read(in.Customer)
	if err != nil {
		return "", "", nil, err
	}
	if len(r.Passkeys) >= MaxPasskeys {
		return "", "", nil, fmt.Errorf("%w: there are %d passkeys", ErrFull, MaxPasskeys)
	}
	u := s.user(in.Customer, r)
	u.name = in.Name
	creation, session, err := s.web.BeginRegistration(u, webauthn.WithExclusions(webauthn.Credentials(u.WebAuthnCredentials()).CredentialDescriptors()))
	if err != nil {
		return "", "", nil, err
	}
	if options, err = json.Marshal(creation); err != nil {
		return "", "", nil, err
	}
	y.purpose, y.registration = toAddPasskey, session
	return s.known.add(y), y.scram.serverFirst, options, nil
}

// FinishAddPasskey adds a passkey. A wrong password is counted with those of
// sign-in. Errors: ErrGone for the try, ErrMalformed, ErrRefused, ErrLocked, ErrFull.
func (s *Service) FinishAddPasskey(ctx context.Context, in Session, tryID, clientFinal string, credential json.RawMessage, name string) (Passkey, string, error) {
	final, err := parseClientFinal(clientFinal)
	if err != nil {
		return Passkey{}, "", err
	}
	if name == "" {
		name = "passkey"
	}
	if err := customers.ValidateName(name); err != nil {
		return Passkey{}, "", fmt.Errorf("%w: passkey %w", ErrMalformed, err)
	}
	bad := fmt.Errorf("%w: the credential is not what navigator.credentials.create gives, of at most %d bytes", ErrMalformed, maxCredential)
	if len(credential) > maxCredential {
		return Passkey{}, "", bad
	}
	said, err := protocol.ParseCredentialCreationResponseBytes(credential)
	if err != nil {
		return Passkey{}, "", bad
	}
	y, err := s.known.take(tryID, toAddPasskey, in.Device.ID, kessai.TxID(0))
	if err != nil {
		return Passkey{}, "", err
	}
	serverFinal, ok := y.scram.finish(final, sha256.Sum256(said.Raw.AttestationResponse.AttestationObject))
	open, err := s.o.Count(ctx, in.Customer, !ok)
	switch {
	case err != nil:
		return Passkey{}, "", err
	case !open:
		return Passkey{}, "", ErrLocked
	case !ok || y.stranger:
		return Passkey{}, "", ErrRefused
	}
	p, err := s.addPasskey(in, name, *y.registration, said)
	return p, serverFinal, err
}

func (s *Service) addPasskey(in Session, name string, session webauthn.SessionData, said *protocol.ParsedCredentialCreationData) (p Passkey, err error) {
	c, err := s.web.CreateCredential(s.user(in.Customer, record{}), session, said)
	if err != nil {
		return Passkey{}, ErrRefused
	}
	// What an authenticator says of its maker is not asked for and not kept.
	c.Attestation = webauthn.CredentialAttestation{}
	p = Passkey{Name: name, Added: s.now(), Credential: *c}
	if _, _, err := s.o.Store.find(passkeyKey(c.ID)); !errors.Is(err, ErrGone) {
		if err == nil {
			err = ErrRefused // it is there already, maybe somebody else's
		}
		return Passkey{}, err
	}
	return p, s.o.Store.update(in.Customer, func(r *record) error {
		if r.device(in.Device.ID) == nil {
			return ErrGone
		}
		if len(r.Passkeys) >= MaxPasskeys {
			return fmt.Errorf("%w: there are %d passkeys", ErrFull, MaxPasskeys)
		}
		r.Passkeys = append(r.Passkeys, p)
		return nil
	})
}
