package main

import (
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"kessai/customers/phones"
	"kessai/gateway"
	"kessai/pos/sim"
)

// demoReader is the card reader of the shop floor, and what lies beside it. It is the
// simulated one, and a customer's own from the start.
type demoReader struct {
	*sim.Reader
	cards []demoCard
	in    atomic.Int64 // index of the card that was put in last
}

// demoCard is a card that lies on the shop floor.
type demoCard struct {
	gateway.FloorCard
	sim.ReaderCard
}

// readerHolder is the customer whose the reader is.
const readerHolder = "1234567890"

// newDemoReader makes the reader. Its state is kept in the data folder: a demo that
// is started again has the same one.
func newDemoReader(data string) (*demoReader, error) {
	r, err := sim.NewReader(sim.ReaderOptions{Name: "Shop floor reader", State: filepath.Join(data, "demo-reader.json")})
	if err != nil {
		return nil, err
	}
	d := &demoReader{Reader: r}
	for _, c := range []struct{ name, pin, text string }{
		{"Suzuki's card, with chip", "1234", "4242424242424242 2912 chip"},
		{"Suzuki's other card", "", "4012888888881881 2912"},
		{"Sato's card", "5678", "5555555555554444 2912 chip"},
		{"A card that has expired", "", "4000000000000069 2001"},
	} {
		card, err := sim.ParseReaderCard(c.text)
		if err != nil {
			return nil, err
		}
		d.cards = append(d.cards, demoCard{gateway.FloorCard{Name: c.name, PIN: c.pin}, card})
	}
	return d, nil
}

// floor gives the reader as the shop floor shows it.
func (d *demoReader) floor() *gateway.FloorReader {
	f := &gateway.FloorReader{
		ID: d.ID().String(), Press: d.Press,
		Plug: func() io.ReadWriteCloser {
			phone, reader := net.Pipe()
			go func() { _ = d.Serve(reader) }()
			return phone
		},
		State: func() (gateway.FloorDisplay, <-chan struct{}) {
			v, card := d.View(), -1
			if v.Card {
				card = int(d.in.Load())
			}
			return gateway.FloorDisplay{N: v.N, Lines: v.Display, Phase: v.Phase, Card: card, Plugged: v.Plugged, Key: v.Key}, v.Changed
		},
		Card: func(index int) {
			if d.Remove(); index >= 0 {
				d.in.Store(int64(index))
				d.Insert(d.cards[index].ReaderCard)
			}
		},
	}
	for _, c := range d.cards {
		f.Cards = append(f.Cards, c.FloorCard)
	}
	return f
}

// enrol makes the reader its holder's, without a code: both lie in the same folder.
func (d *demoReader) enrol(p *phoneParts) error {
	err := p.store.AddReader(phones.Reader{
		ID: d.ID(), Customer: readerHolder, Name: "Shop floor reader", Key: d.PublicKey(), Added: time.Now(),
	})
	if errors.Is(err, phones.ErrReader) { // it was removed on the phone, in a demo before this one
		return nil
	}
	if err != nil {
		return err
	}
	return d.Trust(p.keys.ReaderKey().Public().(ed25519.PublicKey))
}
