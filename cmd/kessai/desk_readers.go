package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kessai"
	"kessai/customers"
	"kessai/customers/phones"
	"kessai/gateway"
)

// The answers of a desk about card readers and cards.
type (
	readerCodeAnswer struct {
		Name  string    `json:"name"` // of the customer
		Code  string    `json:"code"` // 24 digits
		Until time.Time `json:"until"`
	}
	readersAnswer struct {
		Name    string         `json:"name"`
		Readers []readerAnswer `json:"readers"`
	}
	readerAnswer struct {
		ID       string    `json:"id"`
		Name     string    `json:"name"`
		Customer string    `json:"customer,omitempty"` // where it is enrolled; empty: nowhere
		Added    time.Time `json:"added,omitzero"`
		Seen     time.Time `json:"seen,omitzero"`
		Revoked  time.Time `json:"revoked,omitzero"`
	}
	cardAnswer struct {
		Last4    string `json:"last4"`
		Customer string `json:"customer"`
		Wrong    int    `json:"wrong_pins"` // until now
	}
)

// OfCustomer is for the log: whose reader or card it was, the caller did not say.
func (a readerAnswer) OfCustomer() string { return a.Customer }
func (a cardAnswer) OfCustomer() string   { return a.Customer }

func answerReader(x phones.Reader) readerAnswer {
	return readerAnswer{x.ID.String(), x.Name, string(x.Customer), x.Added, x.Seen, x.Revoked}
}

func (d *desk) readers(who customers.Customer) (any, error) {
	all, err := d.phones.Readers(who.ID)
	out := readersAnswer{Name: who.Name, Readers: []readerAnswer{}}
	for _, x := range all {
		out.Readers = append(out.Readers, answerReader(x))
	}
	return out, err
}

func (d *desk) revokeReader(name string) (any, error) {
	id, ok := kessai.ParseReaderID(name)
	if !ok {
		return nil, errors.New("a card reader is named by 16 hexadecimal digits in small letters: see kessai reader list")
	}
	x, err := d.phones.Reader(id)
	if err == nil {
		err = d.phones.RevokeReader(x.Customer, id, time.Now())
	}
	if errors.Is(err, phones.ErrGone) {
		err = fmt.Errorf("%w: no card reader %s is enrolled that could be revoked", gateway.ErrNoSuch, id)
	}
	return answerReader(x), err
}

// readerOf gives the reader that evidence names, as it is enrolled now.
func (d *desk) readerOf(e *phones.ReaderEvidence) (*readerAnswer, error) {
	if e == nil {
		return nil, nil
	}
	answer := readerAnswer{ID: e.ID, Name: e.Name}
	id, ok := kessai.ParseReaderID(e.ID)
	if !ok {
		return &answer, nil
	}
	x, err := d.phones.Reader(id)
	switch {
	case errors.Is(err, phones.ErrGone):
		err = nil
	case err == nil && string(x.Key) == string(e.Key):
		answer = answerReader(x)
	}
	return &answer, err
}

func (d *desk) unlockCard(ctx context.Context, number kessai.PAN) (any, error) {
	m, ok, err := d.registry.MediumByPAN(number)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: there is no card of that number", gateway.ErrNoSuch)
	}
	wrong := d.book.PINTries(m.ID)
	return cardAnswer{m.Last4.String(), string(m.Customer), wrong}, d.engine.UnlockCard(ctx, m.ID)
}
