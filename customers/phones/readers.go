package phones

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kessai"
	"kessai/customers"
)

// The limits of card readers, for one customer.
const (
	MaxReaders     = 10  // that may be used
	maxReadersEver = 100 // with those that were revoked, which stay known
)

// ErrReader: there is no such card reader, or it was revoked, or it is another
// customer's. It is one error, so that nobody finds out whose a reader is.
var ErrReader = errors.New("no such card reader, or not one that may be used: enrol another")

// ErrRevoked: the customer's own card reader was revoked. It is an ErrReader, too.
var ErrRevoked = fmt.Errorf("%w: this one was revoked, and its key stays so", ErrReader)

// Reader is a card reader that hangs on a customer's phone. It proves itself with
// a key that never leaves it.
type Reader struct {
	ID       kessai.ReaderID // of the key
	Customer customers.ID
	Name     string            // what the reader says it is, at most 32 characters
	Key      ed25519.PublicKey // of its signatures
	Added    time.Time
	Seen     time.Time // in a payment, to a few minutes; zero: never
	Revoked  time.Time // zero: it may be used
}

// storedReader is a reader as its customer's record has it.
type storedReader struct {
	Name    string    `json:"name"`
	Key     []byte    `json:"key"`
	Added   time.Time `json:"added"`
	Seen    time.Time `json:"seen,omitzero"`
	Revoked time.Time `json:"revoked,omitzero"`
}

// MarshalJSON writes what is kept in a customer's record.
func (r Reader) MarshalJSON() ([]byte, error) {
	return json.Marshal(storedReader{r.Name, r.Key, r.Added, r.Seen, r.Revoked})
}

// UnmarshalJSON reads what MarshalJSON wrote. Whose it is, the record knows.
func (r *Reader) UnmarshalJSON(b []byte) error {
	var s storedReader
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if len(s.Key) != ed25519.PublicKeySize {
		return errors.New("the key of a card reader is not of Ed25519")
	}
	*r = Reader{ID: kessai.ReaderIDOf(s.Key), Name: s.Name, Key: s.Key, Added: s.Added, Seen: s.Seen, Revoked: s.Revoked}
	return nil
}

// reader gives a reader of the record; nil where there is none of that ID.
func (r *record) reader(id kessai.ReaderID) *Reader {
	for i := range r.Readers {
		if r.Readers[i].ID == id {
			return &r.Readers[i]
		}
	}
	return nil
}

// Readers gives a customer's card readers, in the order in which they were added,
// those that were revoked among them.
func (s *Store) Readers(id customers.ID) ([]Reader, error) {
	r, err := s.read(id)
	for i := range r.Readers {
		r.Readers[i].Customer = id
	}
	return r.Readers, err
}

// Reader gives a card reader, whoever's it is. Errors: ErrGone where there is none;
// one that was revoked is there, and says so.
func (s *Store) Reader(id kessai.ReaderID) (Reader, error) {
	owner, r, err := s.find(readerPrefix + id.String())
	if err != nil {
		return Reader{}, err
	}
	x := r.reader(id)
	if x == nil {
		return Reader{}, ErrGone
	}
	x.Customer = owner
	return *x, nil
}

// AddReader adds a card reader to its customer's, whatever it may have proved. One
// that the customer has already gets its name anew. Errors: ErrRevoked; ErrReader where
// it is another customer's; ErrFull.
func (s *Store) AddReader(x Reader) error {
	s.adding.Lock()
	defer s.adding.Unlock()
	return s.update(x.Customer, func(r *record) error { return s.addReader(r, &x) })
}

// addReader adds a reader to a record; the caller holds adding, so that no two
// customers add the same at once. x is the reader as it is there then.
func (s *Store) addReader(r *record, x *Reader) error {
	x.ID = kessai.ReaderIDOf(x.Key)
	taken, err := s.get(readerPrefix + x.ID.String())
	if err != nil {
		return err
	}
	if taken != nil && customers.ID(taken) != x.Customer {
		return ErrReader
	}
	if y := r.reader(x.ID); y != nil {
		if !y.Revoked.IsZero() {
			return ErrRevoked
		}
		if !y.Key.Equal(x.Key) {
			return ErrReader
		}
		y.Name = x.Name
		owner := x.Customer
		*x = *y
		x.Customer = owner
		return nil
	}
	used := 0
	for _, y := range r.Readers {
		if y.Revoked.IsZero() {
			used++
		}
	}
	if used >= MaxReaders || len(r.Readers) >= maxReadersEver {
		return fmt.Errorf("%w: %d card readers are enrolled, and %d were", ErrFull, used, len(r.Readers)-used)
	}
	r.Readers = append(r.Readers, *x)
	return nil
}

// RevokeReader ends what a card reader may do. It stays known, so that its key is
// not enrolled again. Errors: ErrGone where the customer has none of that ID that
// may be used.
func (s *Store) RevokeReader(id customers.ID, reader kessai.ReaderID, now time.Time) error {
	return s.update(id, func(r *record) error {
		x := r.reader(reader)
		if x == nil || !x.Revoked.IsZero() {
			return ErrGone
		}
		x.Revoked = now.UTC().Truncate(time.Second)
		return nil
	})
}

const seenEvery = 5 * time.Minute

// SeenReader notes that a card reader was used in a payment. Not every use is
// written down. Error: ErrGone.
func (s *Store) SeenReader(id kessai.ReaderID, now time.Time) error {
	have, err := s.Reader(id)
	if err != nil || now.Sub(have.Seen) < seenEvery {
		return err
	}
	return s.update(have.Customer, func(r *record) error {
		x := r.reader(id)
		if x == nil {
			return ErrGone
		}
		x.Seen = now.UTC().Truncate(time.Second)
		return nil
	})
}

// revokeReaders ends what all readers of the record may do.
func (r *record) revokeReaders(now time.Time) (n int) {
	for i := range r.Readers {
		if x := &r.Readers[i]; x.Revoked.IsZero() {
			x.Revoked, n = now.UTC().Truncate(time.Second), n+1
		}
	}
	return n
}

// usable gives a card reader of a customer that may be used; ErrReader otherwise.
func (s *Store) usable(id customers.ID, reader kessai.ReaderID) (Reader, error) {
	x, err := s.Reader(reader)
	switch {
	case errors.Is(err, ErrGone):
		return Reader{}, ErrReader
	case err == nil && (x.Customer != id || !x.Revoked.IsZero()):
		return Reader{}, ErrReader
	}
	return x, err
}
