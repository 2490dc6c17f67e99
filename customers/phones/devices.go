package phones

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"kessai"
	"kessai/customers"
)

// Device is a phone (or any browser) that a customer has signed in on. It proves
// itself with a key that never leaves it.
type Device struct {
	ID    string        `json:"id"` // 16 hexadecimal digits
	Name  string        `json:"name"`
	Lang  string        `json:"lang"`
	Key   []byte        `json:"key"` // SubjectPublicKeyInfo, P-256
	Added time.Time     `json:"added"`
	Seen  time.Time     `json:"seen"` // signed in or used, to a few minutes
	Push  *Subscription `json:"push,omitempty"`

	Session *deviceSession `json:"session,omitempty"`
}

// deviceSession is the session of a device. There is one at most: a new one ends
// the one before.
type deviceSession struct {
	Hash    hash      `json:"hash"` // of the token
	Started time.Time `json:"started"`
	Seen    time.Time `json:"seen"`
}

// Passkey is a WebAuthn credential of a customer.
type Passkey struct {
	Name       string              `json:"name"`
	Added      time.Time           `json:"added"`
	Used       time.Time           `json:"used,omitzero"`
	Credential webauthn.Credential `json:"credential"`
}

// ID names the passkey: base64url of its credential ID.
func (p Passkey) ID() string { return base64.RawURLEncoding.EncodeToString(p.Credential.ID) }

// hash is the SHA-256 of a secret that is looked up by it. The secrets are random
// and long, so a plain hash keeps them.
type hash [32]byte

func hashOf(secret []byte) hash { return sha256.Sum256(secret) }

// MarshalText writes base64.
func (h hash) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (h *hash) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(b) != len(h) {
		return fmt.Errorf("%w: a hash", ErrMalformed)
	}
	copy(h[:], b)
	return nil
}

func passkeyKey(credential []byte) string {
	h := sha256.Sum256(credential)
	return passkeyPrefix + string(h[:])
}

// random gives n bytes that nobody can guess.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// unused is how long a device must have been away before a new one may take its
// place: a browser that forgot its key signs in as a new device every time.
const unused = 30 * 24 * time.Hour

// addDevice adds a device. Where there are ten, the one that was away longest
// makes room, if that is long enough.
func (r *record) addDevice(d Device, now time.Time) error {
	if len(r.Devices) >= MaxDevices {
		oldest := 0
		for i := range r.Devices {
			if r.Devices[i].Seen.Before(r.Devices[oldest].Seen) {
				oldest = i
			}
		}
		if now.Sub(r.Devices[oldest].Seen) < unused {
			return fmt.Errorf("%w: %d devices are signed in", ErrFull, MaxDevices)
		}
		r.Devices = slices.Delete(r.Devices, oldest, oldest+1)
	}
	r.Devices = append(r.Devices, d)
	return nil
}

// device gives a device of the record; nil where there is none of that ID.
func (r *record) device(id string) *Device {
	for i := range r.Devices {
		if r.Devices[i].ID == id {
			return &r.Devices[i]
		}
	}
	return nil
}

const deviceIDSize = 16 // characters

func newDeviceID() string { return hex.EncodeToString(random(deviceIDSize / 2)) }

// Devices gives a customer's devices, in the order in which they were added.
func (s *Store) Devices(id customers.ID) ([]Device, error) {
	r, err := s.read(id)
	return r.Devices, err
}

// Reachable reports whether a customer has a device to ask.
func (s *Store) Reachable(id customers.ID) (bool, error) {
	r, err := s.read(id)
	return len(r.Devices) > 0, err
}

// Revoke removes a device, and with it its session and its push subscription.
func (s *Store) Revoke(id customers.ID, device string) error {
	return s.update(id, func(r *record) error {
		n := len(r.Devices)
		r.Devices = slices.DeleteFunc(r.Devices, func(d Device) bool { return d.ID == device })
		if len(r.Devices) == n {
			return ErrGone
		}
		return nil
	})
}

// RevokeAll removes all devices and passkeys of a customer, revokes the card readers,
// and voids what invitation or enrolment is open: whoever had them must be invited
// again, or sign in by password.
func (s *Store) RevokeAll(id customers.ID, now time.Time) (devices, passkeys, readers int, err error) {
	err = s.update(id, func(r *record) error {
		devices, passkeys, readers = len(r.Devices), len(r.Passkeys), r.revokeReaders(now)
		*r = record{Readers: r.Readers}
		return nil
	})
	return devices, passkeys, readers, err
}

// Passkeys gives a customer's passkeys, in the order in which they were added.
func (s *Store) Passkeys(id customers.ID) ([]Passkey, error) {
	r, err := s.read(id)
	return r.Passkeys, err
}

// RemovePasskey removes a passkey; passkey is [Passkey.ID].
func (s *Store) RemovePasskey(id customers.ID, passkey string) error {
	return s.update(id, func(r *record) error {
		n := len(r.Passkeys)
		r.Passkeys = slices.DeleteFunc(r.Passkeys, func(p Passkey) bool { return p.ID() == passkey })
		if len(r.Passkeys) == n {
			return ErrGone
		}
		return nil
	})
}

// InvitationLifetime is how long a customer has to follow an invitation.
const InvitationLifetime = 24 * time.Hour

// Invite makes an invitation, with which a customer sets a password. It takes the
// place of one that is open. The code is shown once and not kept.
func (s *Store) Invite(id customers.ID, now time.Time) (code kessai.Secret, until time.Time, err error) {
	code = kessai.Secret(base64.RawURLEncoding.EncodeToString(random(16)))
	until = now.Add(InvitationLifetime).UTC().Truncate(time.Second)
	err = s.update(id, func(r *record) error {
		r.Invited = &invited{hashOf([]byte(code.Reveal())), until}
		return nil
	})
	return code, until, err
}

// Subscription is where a device wants its push messages sent. The address is a
// capability: whoever knows it can send to it.
type Subscription struct {
	Endpoint kessai.Secret
	P256DH   []byte // the device's public key for the messages, 65 bytes
	Auth     []byte // a secret of 16 bytes
}

// ParseSubscription reads what a browser says of itself: keys in base64url, with or
// without padding. Error: ErrMalformed.
func ParseSubscription(endpoint, p256dh, auth string) (Subscription, error) {
	raw := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
		if err != nil {
			return nil // which is no key
		}
		return b
	}
	s := Subscription{kessai.Secret(endpoint), raw(p256dh), raw(auth)}
	return s, s.validate()
}

type storedSubscription struct {
	Endpoint string `json:"endpoint"`
	P256DH   []byte `json:"p256dh"`
	Auth     []byte `json:"auth"`
}

// MarshalJSON writes the whole: it is for the store alone.
func (s Subscription) MarshalJSON() ([]byte, error) {
	return json.Marshal(storedSubscription{s.Endpoint.Reveal(), s.P256DH, s.Auth})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Subscription) UnmarshalJSON(b []byte) error {
	var t storedSubscription
	err := json.Unmarshal(b, &t)
	*s = Subscription{kessai.Secret(t.Endpoint), t.P256DH, t.Auth}
	return err
}

// Format keeps the subscription out of whatever is printed.
func (s Subscription) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// validate checks the keys. Where it may go is the pusher's business.
func (s Subscription) validate() error {
	if n := len(s.Endpoint.Reveal()); n == 0 || n > 1024 {
		return fmt.Errorf("%w: endpoint must be 1 to 1024 characters", ErrMalformed)
	}
	if _, err := ecdh.P256().NewPublicKey(s.P256DH); err != nil {
		return fmt.Errorf("%w: p256dh is no key of P-256", ErrMalformed)
	}
	if len(s.Auth) != 16 {
		return fmt.Errorf("%w: auth must be 16 bytes", ErrMalformed)
	}
	return nil
}

// setPush keeps where a device wants its messages; nil: nowhere.
func (s *Store) setPush(id customers.ID, device string, sub *Subscription) error {
	return s.update(id, func(r *record) error {
		d := r.device(device)
		if d == nil {
			return ErrGone
		}
		d.Push = sub
		return nil
	})
}
