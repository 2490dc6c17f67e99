package phones

import (
	"encoding/base64"
	"errors"
	"time"

	"kessai"
	"kessai/customers"
)

func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Millisecond) }

// begin begins a session on a device, and ends the one that it had.
func (s *Service) begin(id customers.ID, d *Device, now time.Time) SignedIn {
	token := base64.RawURLEncoding.EncodeToString(random(32))
	d.Seen = now
	d.Session = &deviceSession{Hash: hashOf([]byte(token)), Started: now, Seen: now}
	return SignedIn{Session: s.session(id, *d), Token: kessai.Secret(token)}
}

func (s *Service) session(id customers.ID, d Device) Session {
	expires := d.Session.Seen.Add(s.o.Idle)
	if end := d.Session.Started.Add(SessionLifetime); end.Before(expires) {
		expires = end
	}
	return Session{Customer: id, Device: d, Started: d.Session.Started, Expires: expires, hash: d.Session.Hash}
}

// named fills in the customer's name; ErrGone where the customer is no more.
func (s *Service) named(in *Session) error {
	c, ok, err := s.o.Customer(in.Customer)
	if err == nil && !ok {
		err = ErrGone
	}
	in.Name = c.Name
	return err
}

// Session says who a token stands for, and keeps the session alive. ErrGone: it
// has ended, was revoked or never was.
func (s *Service) Session(token kessai.Secret) (Session, error) {
	if len(token.Reveal()) != base64.RawURLEncoding.EncodedLen(32) {
		return Session{}, ErrGone
	}
	h := hashOf([]byte(token.Reveal()))
	id, r, err := s.o.Store.find(sessionPrefix + string(h[:]))
	if err != nil {
		return Session{}, err
	}
	now := s.now()
	in, ok := s.alive(id, &r, h, now)
	if !ok {
		return Session{}, ErrGone
	}
	// Not every use is written down: that would be a sync of the disk for each.
	if now.Sub(in.Device.Session.Seen) >= s.o.Idle/12 {
		err = s.o.Store.update(id, func(r *record) error {
			if in, ok = s.alive(id, r, h, now); !ok {
				return ErrGone
			}
			d := r.device(in.Device.ID)
			d.Seen, d.Session.Seen = now, now
			in = s.session(id, *d)
			return nil
		})
	}
	if err == nil {
		err = s.named(&in)
	}
	return in, err
}

// alive finds a session in a record, if it has not expired.
func (s *Service) alive(id customers.ID, r *record, h hash, now time.Time) (Session, bool) {
	for _, d := range r.Devices {
		if d.Session != nil && d.Session.Hash == h {
			in := s.session(id, d)
			return in, now.Before(in.Expires)
		}
	}
	return Session{}, false
}

// SignOut ends a session. The device stays, and can renew it.
func (s *Service) SignOut(in Session) error {
	return s.o.Store.update(in.Customer, func(r *record) error {
		d := r.device(in.Device.ID)
		if d == nil || d.Session == nil || d.Session.Hash != in.hash {
			return ErrGone
		}
		d.Session = nil
		return nil
	})
}

func refusedIfGone(err error) error {
	if errors.Is(err, ErrGone) {
		return ErrRefused
	}
	return err
}
