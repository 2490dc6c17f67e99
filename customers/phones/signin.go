package phones

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"kessai"
	"kessai/customers"
)

// verifier gives what the gateway keeps of a customer's password; of somebody who is
// none, or has none, something that looks the same and that nothing fits.
func (s *Service) verifier(id customers.ID) (verifier, bool, error) {
	fake := s.o.Keys.fakeVerifier(id, s.o.Iterations)
	c, ok, err := s.o.Customer(id)
	if err != nil {
		return verifier{}, false, err
	}
	if !ok || c.Verifier.IsZero() {
		return fake, false, nil
	}
	return verifierOf(c.Verifier), true, nil
}

// BeginSignIn begins a sign-in by password: clientFirst is SCRAM's, bound to the
// device key that is to be signed in, and from is the address that it came from.
// Every customer ID gets an answer of the same form, whoever it names. Error:
// ErrMalformed.
func (s *Service) BeginSignIn(from, clientFirst string, deviceKey []byte) (tryID, serverFirst string, err error) {
	first, err := parseClientFirst(clientFirst, BindDevice)
	if err != nil {
		return "", "", err
	}
	if _, err := parseDeviceKey(deviceKey); err != nil {
		return "", "", err
	}
	v, real, err := s.verifier(first.customer)
	if err != nil {
		return "", "", err
	}
	y := &try{purpose: toSignIn, from: from, deviceKey: deviceKey, scram: v.begin(first)}
	y.customer, y.stranger = first.customer, !real
	return s.strangers.add(y), y.scram.serverFirst, nil
}

// FinishSignIn ends a sign-in by password. The signature is the device's. Whatever
// does not hold is ErrRefused, after the same time: an unknown customer, a wrong
// password, a locked account, a try that is used up. Other errors: ErrMalformed;
// ErrFull, after the right password only.
func (s *Service) FinishSignIn(ctx context.Context, tryID, clientFinal string, signature []byte, names PhoneNames) (SignedIn, error) {
	final, err := parseClientFinal(clientFinal)
	if err != nil {
		return SignedIn{}, err
	}
	if err := names.check(); err != nil {
		return SignedIn{}, err
	}
	began := time.Now()
	y, serverFinal, err := s.judgeSignIn(ctx, tryID, final, signature)
	if err == nil {
		return s.admit(y.customer, y.deviceKey, names, serverFinal)
	}
	return SignedIn{}, s.padded(ctx, began, err)
}

func (s *Service) judgeSignIn(ctx context.Context, tryID string, final clientFinal, signature []byte) (*try, string, error) {
	y, err := s.strangers.take(tryID, toSignIn, "", 0)
	if err != nil {
		return nil, "", ErrRefused
	}
	digest := sha256.Sum256(y.deviceKey)
	serverFinal, ok := y.scram.finish(final, digest)
	// The device's signature comes first: without it no password was tried, so
	// there is nothing to count, and nothing is learnt.
	if !signedBy(y.deviceKey, digest, y.scram.authMessage(final), signature) || y.stranger {
		return nil, "", ErrRefused
	}
	open, err := s.o.Count(ctx, y.customer, !ok)
	if err != nil { // only of a customer who exists can it go wrong: nobody is to hear that
		return nil, "", fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if !ok || !open {
		return nil, "", ErrRefused
	}
	return y, serverFinal, nil
}

// padded gives an error after the time that every refusal takes. The clock is the
// system's own: it is about real time on the wire.
func (s *Service) padded(ctx context.Context, began time.Time, err error) error {
	wait := time.NewTimer(s.o.Pad - time.Since(began))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	return err
}

// admit adds a device that has proved who is asking, and begins its session. A
// device that is there already, by its key, is not added again.
func (s *Service) admit(id customers.ID, deviceKey []byte, names PhoneNames, serverFinal string) (SignedIn, error) {
	var in SignedIn
	err := s.o.Store.update(id, func(r *record) error {
		var err error
		in, err = s.admitTo(r, id, deviceKey, names)
		return err
	})
	in.ServerFinal = serverFinal
	if err != nil {
		return SignedIn{}, err
	}
	return in, s.named(&in.Session)
}

func (s *Service) admitTo(r *record, id customers.ID, deviceKey []byte, names PhoneNames) (SignedIn, error) {
	now := s.now()
	var d *Device
	for i := range r.Devices {
		if string(r.Devices[i].Key) == string(deviceKey) {
			d = &r.Devices[i]
		}
	}
	if d == nil {
		if err := r.addDevice(Device{ID: newDeviceID(), Key: deviceKey, Added: now}, now); err != nil {
			return SignedIn{}, err
		}
		d = &r.Devices[len(r.Devices)-1]
	}
	d.Name, d.Lang = names.Name, names.Lang
	return s.begin(id, d, now), nil
}

// check checks what a device says of itself, and fills in what it left out.
func (n *PhoneNames) check() error {
	if n.Name == "" {
		n.Name = "phone"
	}
	if n.Lang == "" {
		n.Lang = "en"
	}
	if err := customers.ValidateName(n.Name); err != nil {
		return fmt.Errorf("%w: device %w", ErrMalformed, err)
	}
	for _, c := range n.Lang {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' || len(n.Lang) > 8 {
			return fmt.Errorf("%w: lang must be a language such as en or ja, of at most 8 characters", ErrMalformed)
		}
	}
	return nil
}

// BeginRenewal gives the challenge that a device signs to get a new session. A
// device that nobody knows gets one too. From is the address that asks.
func (s *Service) BeginRenewal(from, device string) (tryID string, challenge []byte) {
	if len(device) > deviceIDSize {
		device = "" // nobody's, and nothing to keep
	}
	y := &try{purpose: toRenew, from: from, challenge: random(32), wanted: device}
	return s.strangers.add(y), y.challenge
}

// FinishRenewal begins a new session on a device. Errors: ErrRefused, also where
// the device was revoked.
func (s *Service) FinishRenewal(tryID string, signature []byte) (SignedIn, error) {
	y, err := s.strangers.take(tryID, toRenew, "", 0)
	if err != nil {
		return SignedIn{}, ErrRefused
	}
	var in SignedIn
	id, _, err := s.o.Store.find(devicePrefix + y.wanted)
	if err == nil {
		err = s.o.Store.update(id, func(r *record) error {
			d := r.device(y.wanted)
			if d == nil || !signedBy(d.Key, sha256.Sum256(d.Key), y.challenge, signature) {
				return ErrRefused
			}
			in = s.begin(id, d, s.now())
			return nil
		})
	}
	if err == nil {
		err = s.named(&in.Session)
	}
	return in, refusedIfGone(err)
}

// Invitation says whom an invitation is for; ErrGone where there is none (any more).
func (s *Service) Invitation(code kessai.Secret) (customers.ID, error) {
	id, r, err := s.o.Store.find(invitePrefix + codeHash(code))
	if err == nil && !s.now().Before(r.Invited.Until) {
		err = ErrGone
	}
	return id, err
}

// AcceptInvitation sets a customer's password, which the phone has made into a
// verifier, and signs the phone in. An invitation is good once. Errors: ErrGone,
// ErrMalformed, ErrRefused for a signature that does not fit, ErrFull.
func (s *Service) AcceptInvitation(code, verifier kessai.Secret, deviceKey, signature []byte, names PhoneNames) (SignedIn, error) {
	if err := names.check(); err != nil {
		return SignedIn{}, err
	}
	v, err := customers.ParseVerifier(verifier.Reveal())
	if err != nil {
		return SignedIn{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if v.Iterations() != s.o.Iterations || len(v.Salt()) != saltBytes {
		// The same for all: others would tell who is a customer.
		return SignedIn{}, fmt.Errorf("%w: a new verifier must have %d iterations and a salt of %d bytes", ErrMalformed, s.o.Iterations, saltBytes)
	}
	if _, err := parseDeviceKey(deviceKey); err != nil {
		return SignedIn{}, err
	}
	id, err := s.Invitation(code)
	if err != nil {
		return SignedIn{}, err
	}
	if !signedBy(deviceKey, sha256.Sum256(deviceKey), []byte(verifier.Reveal()), signature) {
		return SignedIn{}, ErrRefused
	}
	var in SignedIn
	err = s.o.Store.update(id, func(r *record) error {
		if r.Invited == nil || string(r.Invited.Hash[:]) != codeHash(code) {
			return ErrGone // by another at the same time
		}
		r.Invited = nil
		var err error
		if in, err = s.admitTo(r, id, deviceKey, names); err != nil {
			return err
		}
		// Last of all, so that a crash leaves the invitation or a customer who can
		// sign in, never neither.
		return s.o.SetVerifier(id, v)
	})
	if err != nil {
		return SignedIn{}, err
	}
	return in, s.named(&in.Session)
}

func codeHash(code kessai.Secret) string {
	h := hashOf([]byte(code.Reveal()))
	return string(h[:])
}
