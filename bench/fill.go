package bench

import (
	"context"
	"fmt"

	"kessai"
	"kessai/bench/load"
	"kessai/customers"
	"kessai/merchants"
)

// OpeningBalance is what every customer begins with, in minor units: enough for a
// million of the largest purchases, and no more than the sum of all can bear.
const OpeningBalance = 10_000_000_000

// Fill says what is to be in a registry that a benchmark runs on.
type Fill struct {
	load.Population

	// Of a card and a terminal by number; nil: all of them valid.
	Medium   func(card int) (s customers.Status, expiry uint16)
	Terminal func(t int) merchants.TerminalStatus

	Progress func(done int) // cards; may be nil
}

// FillRegistry puts a population into an empty registry, without the files that
// [WriteRegistry] makes of the same.
func FillRegistry(ctx context.Context, r *merchants.Registry, f Fill) error {
	if err := f.Validate(); err != nil {
		return err
	}
	_, err := r.Fill(ctx, "the benchmark", func(to *merchants.Filler) error {
		for m := range f.Merchants() {
			if err := f.shop(to, m); err != nil {
				return err
			}
		}
		for card := range f.Media {
			if err := f.card(to, card); err != nil {
				return err
			}
			if card%100_000 == 0 && f.Progress != nil {
				f.Progress(card)
			}
		}
		return nil
	})
	return err
}

// shop adds a merchant with its key and its terminals.
func (f *Fill) shop(to *merchants.Filler, m int) error {
	id, err := kessai.ParseMerchantID(f.MerchantID(m))
	if err != nil {
		return err
	}
	shop := merchants.Merchant{ID: id, Name: fmt.Sprintf("Bench %d", m), MCC: "5411", Currency: kessai.JPY, Status: merchants.Active}
	var terminals []merchants.Terminal
	for t := m; t < f.Terminals; t += f.Merchants() { // as MerchantOf has it
		id, err := kessai.ParseTerminalID(f.TerminalID(t))
		if err != nil {
			return err
		}
		terminal := merchants.Terminal{ID: id, Status: merchants.Registered, Operation: merchants.Attended}
		if f.Terminal != nil {
			terminal.Status = f.Terminal(t)
		}
		terminals = append(terminals, terminal)
	}
	return to.Merchant(shop, terminals, []kessai.Secret{f.APIKey(m)})
}

// card adds a card with its customer.
func (f *Fill) card(to *merchants.Filler, card int) error {
	pan, err := kessai.ParsePAN(f.PAN(card))
	if err != nil {
		return err
	}
	m := customers.Medium{Expiry: load.ExpiryMonth, Status: customers.Active}
	if f.Medium != nil {
		m.Status, m.Expiry = f.Medium(card)
	}
	c := customers.Customer{ID: customers.ID(f.CustomerID(card)), Name: "Bench", Currency: kessai.JPY, Opening: OpeningBalance}
	return to.Customer(c, merchants.Issued{PAN: pan, Medium: m})
}
