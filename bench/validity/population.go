// Package validity measures what it costs to judge whether a medium and a terminal
// are valid (system V): from memory in each mode of the cache, by asking the
// registry every time, and by asking PostgreSQL every time.
//
// What it is for: one question after another, put to each of them in turn, with
// every answer held against what it has to be. What it is not for: whole
// transactions (bench/load), filling the stores and starting gateways (cmd/kessai),
// drawing (bench/report). Start reading with [Run].
package validity

import (
	"fmt"
	"math/rand/v2"

	"kessai"
	"kessai/bench"
	"kessai/bench/load"
	"kessai/customers"
	"kessai/merchants"
)

// Population is who can be asked about. It is known by number alone, as
// [load.Population] is, and so is the truth: the last of the cards and of the
// terminals are those that are not valid, and the rest can be used for load.
type Population struct {
	Media     int // cards in the registry
	Terminals int // terminals in the registry
}

// The shares of those that are not valid: one card in fifty, one terminal in a
// thousand. Of the questions, one in two hundred is about a card that nobody knows.
const (
	invalidMedia     = 50
	invalidTerminals = 1000
	strangers        = 200
)

// MinMedia and MinTerminals are the fewest that have some of every sort.
const MinMedia, MinTerminals = 1000, 1000

// Validate checks the sizes.
func (p Population) Validate() error {
	if p.Media < MinMedia || p.Terminals < MinTerminals {
		return fmt.Errorf("there must be at least %d cards and %d terminals", MinMedia, MinTerminals)
	}
	return p.all().Validate()
}

// all gives the population by which cards, terminals and merchants are numbered.
func (p Population) all() load.Population { return load.Population(p) }

// Fill gives what is to be in the registry.
func (p Population) Fill() bench.Fill {
	return bench.Fill{Population: p.all(), Medium: p.Medium, Terminal: p.Terminal}
}

// Valid gives those that are valid, for load: none of their payments is declined.
func (p Population) Valid() load.Population {
	return load.Population{Media: p.Media - p.Media/invalidMedia, Terminals: p.Terminals - p.Terminals/invalidTerminals}
}

// Invalid gives the number of cards that are not valid.
func (p Population) Invalid() int { return p.Media / invalidMedia }

// expired is the month (YYMM) that stands on the cards that have expired.
const expired = 2001

// conditions are what can be the matter with a card, in turn.
var conditions = [...]struct {
	status customers.Status
	code   kessai.ResponseCode
}{
	{customers.Issued, kessai.DoNotHonour}, {customers.Lost, kessai.LostCard}, {customers.Stolen, kessai.StolenCard},
	{customers.Withdrawn, kessai.PickUpCard}, {customers.Active, kessai.ExpiredCard},
}

// Medium gives the status and the expiry date of a card.
func (p Population) Medium(card int) (s customers.Status, expiry uint16) {
	if card < p.Valid().Media {
		return customers.Active, load.ExpiryMonth
	}
	c := conditions[card%len(conditions)]
	if c.code == kessai.ExpiredCard {
		return c.status, expired
	}
	return c.status, load.ExpiryMonth
}

// Lost gives the n-th of the cards that are lost, and begins anew after the last.
func (p Population) Lost(n int) int {
	const lost = 1 // its place in conditions
	first := p.Valid().Media
	first += (lost - first%len(conditions) + len(conditions)) % len(conditions)
	return first + n%((p.Media-first)/len(conditions))*len(conditions)
}

// Terminal gives the status of a terminal.
func (p Population) Terminal(t int) merchants.TerminalStatus {
	switch {
	case t < p.Valid().Terminals:
		return merchants.Registered
	case t%2 == 0:
		return merchants.Suspended
	}
	return merchants.Withdrawn
}

// want gives the verdict that a card and a terminal have to get. The terminal is
// judged first (authz.Decide).
func (p Population) want(card, terminal int) kessai.ResponseCode {
	switch {
	case terminal >= p.Valid().Terminals:
		return kessai.NotPermittedToTerminal
	case card >= p.Media:
		return kessai.InvalidCardNumber
	case card >= p.Valid().Media:
		return conditions[card%len(conditions)].code
	}
	return kessai.Approved
}

// question is what a terminal sends: the two IDs as they stand in DE2 and DE41.
type question struct {
	pan      [16]byte
	terminal [8]byte
	want     kessai.ResponseCode // with all facts
}

// asker draws questions. The same seed draws the same.
type asker struct {
	p   Population
	rng *rand.Rand
}

func newAsker(p Population, seed, stream uint64) *asker {
	return &asker{p, rand.New(rand.NewPCG(seed, stream))}
}

// draw fills questions. Any card and any terminal is as likely as any other, so
// that none is found in the processor's caches for being asked about often.
func (a *asker) draw(qs []question) {
	for i := range qs {
		card := a.rng.IntN(a.p.Media + a.p.Media/strangers)
		terminal := a.rng.IntN(a.p.Terminals)
		qs[i].want = a.p.want(card, terminal)
		a.p.all().PutPAN(qs[i].pan[:], card)
		a.p.all().PutTerminalID(qs[i].terminal[:], terminal)
	}
}
