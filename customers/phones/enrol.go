package phones

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"time"

	"kessai"
	"kessai/customers"
	"kessai/pos/tether"
)

// The limits of enrolling a card reader.
const (
	EnrolmentLifetime = 24 * time.Hour // of a code
	maxEnrolTries     = 5              // with a wrong code; then it is void
)

// enrolment is what is open where a customer may enrol a card reader. Not the code is
// kept, but the key that is made of it, and that sealed: both sides prove to each
// other that they know it.
type enrolment struct {
	Sealed []byte    `json:"sealed"`
	Until  time.Time `json:"until"`
	Wrong  int       `json:"wrong,omitempty"`
	Done   *hash     `json:"done,omitempty"` // of the message that it was used by
}

// InviteReader makes the code with which a customer enrols a card reader: 24 digits,
// which are typed on the reader. It takes the place of one that is open. It is shown
// once and not kept.
func (s *Store) InviteReader(keys *Keys, id customers.ID, now time.Time) (code kessai.Secret, until time.Time, err error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Exp(big.NewInt(10), big.NewInt(tether.CodeDigits), nil))
	if err != nil {
		return "", time.Time{}, err
	}
	code = kessai.Secret(fmt.Sprintf("%0*d", tether.CodeDigits, n))
	key, err := tether.EnrolKey(code.Reveal())
	if err != nil {
		return "", time.Time{}, err
	}
	until = now.Add(EnrolmentLifetime).UTC().Truncate(time.Second)
	err = s.update(id, func(r *record) error {
		r.Enrolment = &enrolment{Sealed: sealWith(keys.enrolment, key, []byte(id)), Until: until}
		return nil
	})
	return code, until, err
}

// InviteReader is [Store.InviteReader] with the service's keys, now.
func (s *Service) InviteReader(id customers.ID) (code kessai.Secret, until time.Time, err error) {
	return s.o.Store.InviteReader(s.o.Keys, id, s.now())
}

// errWrongCode: the code was not the one that was given out, which is to be kept.
var errWrongCode = fmt.Errorf("%w: the code is not the one that was given out", ErrRefused)

// EnrolReader adds the card reader that the message is from to the customer's, and
// gives the answer for it (pos/tether). A code is good for one reader, and the reader
// shows with it that it was the customer who typed it there. Errors: ErrMalformed;
// ErrGone where no code is open; ErrRefused where the code was wrong, which is counted:
// the fifth ends it; ErrRevoked, and ErrReader where the reader is another customer's, both
// after the right code only; ErrFull. The message that used a code gets the same
// answer again while the code would be open: the first may not have arrived.
func (s *Service) EnrolReader(in Session, message []byte) (enrolled []byte, added Reader, err error) {
	e, err := tether.DecodeEnrol(message)
	if err != nil {
		return nil, Reader{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	store, now := s.o.Store, s.now()
	store.adding.Lock()
	defer store.adding.Unlock()
	wrong := false
	err = store.update(in.Customer, func(r *record) error {
		key, err := s.enrolmentKey(in.Customer, r, hashOf(message), now)
		if err != nil {
			return err
		}
		defer clear(key)
		if wrong = !e.Check(key); wrong {
			if r.Enrolment.Wrong++; r.Enrolment.Wrong >= maxEnrolTries {
				r.Enrolment = nil
			}
			return nil // which is written down
		}
		added = Reader{ID: e.Reader(), Customer: in.Customer, Name: e.Name, Key: e.Key, Added: now}
		if err := store.addReader(r, &added); err != nil {
			return err
		}
		used := hashOf(message)
		r.Enrolment.Done = &used
		enrolled, err = tether.NewEnrolled(e, s.o.Keys.offers.Public().(ed25519.PublicKey), key).Encode()
		return err
	})
	if err == nil && wrong {
		err = errWrongCode
	}
	if err != nil {
		return nil, Reader{}, err
	}
	return enrolled, added, nil
}

var errNoEnrolment = fmt.Errorf("%w: no code to enrol a card reader is open: ask for another", ErrGone)

// enrolmentKey gives the key of the code that is open for a message.
func (s *Service) enrolmentKey(id customers.ID, r *record, message hash, now time.Time) ([]byte, error) {
	if r.Enrolment == nil || !now.Before(r.Enrolment.Until) || r.Enrolment.Done != nil && *r.Enrolment.Done != message {
		return nil, errNoEnrolment
	}
	key, err := openWith(s.o.Keys.enrolment, r.Enrolment.Sealed, []byte(id))
	if err != nil { // phone.key is another now
		return nil, errors.Join(errNoEnrolment, err)
	}
	return key, nil
}
