package merchants

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"

	"kessai"
	"kessai/customers"
)

// Filler takes in the records of [Registry.Fill]. What refers to another record
// comes with it, so nothing has to be kept in memory to check that.
type Filler struct {
	s   *stager
	sum *Summary
}

// Issued is a medium with its card number, from which its ID and last digits are
// told; its customer is the one that it is issued to.
type Issued struct {
	PAN    kessai.PAN
	Medium customers.Medium
}

// ErrNotEmpty says that the registry has records already.
var ErrNotEmpty = errors.New("the registry is not empty: import the records as a file")

// Fill puts the records that give adds into an empty registry: all of them, or
// none, however many there are. It is what [Registry.Import] is for a file, for
// many millions of records: it keeps none of them in memory, and finds out at the
// end whether one came twice. Its errors are those of Import, and [ErrNotEmpty].
func (r *Registry) Fill(ctx context.Context, name string, give func(*Filler) error) (sum Summary, err error) {
	p := newProgress(nil, 0)
	err = r.change(p, func() (state, error) {
		st, err := r.stage(ctx, p, func(s *stager) error {
			s.im = NewImport(name)
			if s.before.total() > 0 {
				return ErrNotEmpty
			}
			err := give(&Filler{s, &sum})
			s.count(&sum)
			return err
		})
		if err == nil {
			err = st.once(filepath.Join(r.dir, stagingName), name)
		}
		return st, err
	})
	sum.Version = r.Version()
	if err != nil && !errors.Is(err, errNotLoaded) {
		sum = Summary{}
	}
	return sum, err
}

// once makes sure that no record comes twice.
func (s staged) once(path, file string) error {
	var last []byte
	return s.sorted(path, func(key, _ []byte) error {
		if bytes.Equal(key, last) {
			return &FileError{File: file, Problem: "has a " + kindOf(key) + " twice"}
		}
		last = key
		return nil
	})
}

// kindOf gives what kind of record has the key.
func kindOf(key []byte) string {
	kind, _, _ := bytes.Cut(key, []byte("/"))
	return string(kind)
}

// Merchant adds a merchant with its terminals and API keys. A terminal that is
// tied to a user cannot be among them: the user may not be there yet.
func (f *Filler) Merchant(m Merchant, terminals []Terminal, keys []kessai.Secret) error {
	at := f.place(f.sum.Merchants)
	if err := m.Validate(); err != nil {
		return f.s.fault("merchants", at, "", err.Error())
	}
	if err := f.s.merchant(m, at, &f.sum.Merchants); err != nil {
		return err
	}
	for _, t := range terminals {
		at, t.Merchant = f.place(f.sum.Terminals), m.ID
		if t.User != "" {
			return f.s.fault("terminals", at, "user", "cannot be given when a registry is filled: import the terminal afterwards")
		}
		if err := t.Validate(); err != nil {
			return f.s.fault("terminals", at, "", err.Error())
		}
		if err := f.s.put(t.key(), nil, t.encode(), true, &f.sum.Terminals); err != nil {
			return err
		}
	}
	for _, key := range keys {
		if !isAPIKey(key.Reveal()) {
			return f.s.fault("api_keys", f.place(f.sum.APIKeys), "key", problemAPIKey)
		}
		k := APIKey{Hash: f.s.r.hashAPIKey(key), Merchant: m.ID, Status: Active}
		if err := f.s.put(k.key(), nil, k.encode(), true, &f.sum.APIKeys); err != nil {
			return err
		}
	}
	return nil
}

// Customer adds a customer with the media that are issued to him.
func (f *Filler) Customer(c customers.Customer, media ...Issued) error {
	at := f.place(f.sum.Customers)
	if err := c.Validate(); err != nil {
		return f.s.fault("customers", at, "", err.Error())
	}
	if err := f.s.customer(c, at, &f.sum.Customers); err != nil {
		return err
	}
	for _, i := range media {
		at = f.place(f.sum.Media)
		if i.PAN.IsZero() {
			return f.s.fault("media", at, "pan", "is missing")
		}
		m := i.Medium
		m.ID, m.Last4, m.Customer = f.s.r.o.Hasher.Medium(i.PAN), i.PAN.Last4(), c.ID
		if err := m.Validate(); err != nil {
			return f.s.fault("media", at, "", err.Error())
		}
		if err := f.s.put(customers.MediumKey(m.ID), nil, m.Encode(), true, &f.sum.Media); err != nil {
			return err
		}
	}
	return nil
}

func (f *Filler) place(c Count) place { return place{record: int32(c.Added + 1)} }
