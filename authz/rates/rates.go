// Package rates converts amounts between currencies, by the euro reference rates
// that the European Central Bank publishes each working day.
//
// What it is for: reading the bank's daily file, following it as it changes, and
// converting through the euro, exactly, until the rates are too old. What it is
// not for: fetching the file (whoever runs the gateway does, see
// docs/OPERATION.md), posting money (authz/ledger), deciding who pays in what
// (authz). Start reading with [Source], then [Table.Convert].
package rates

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"kessai"
)

// The errors of a conversion.
var (
	ErrNoRate = errors.New("there is no exchange rate for it")
	ErrStale  = errors.New("the exchange rates are too old")
	ErrAmount = errors.New("the amount cannot be converted: in either currency it must be at least one minor unit and no more than one payment can carry")
)

// Table is the rates of one day. It never changes once it is read.
type Table struct {
	Date  string                       // YYYY-MM-DD: the day that the rates are of
	Rates map[kessai.Currency]*big.Rat // units of the currency for 1 EUR; the euro itself is not in it
}

// How a rate is shown: with so many significant digits at most, of which so many
// at most are behind the point (a sale has no room for more).
const (
	ShownDigits = 10
	ShownPlaces = 12
)

// Convert gives an amount in another currency, by way of the euro, rounded half up
// to the minor unit that ISO 4217 gives it. It is computed with exact fractions.
//
// The rate says how many units of the other currency one unit of the amount's is,
// rounded half up to [ShownDigits] and [ShownPlaces], and date the day that the
// rates are of. Errors: [ErrNoRate], [ErrAmount].
func (t *Table) Convert(amount kessai.Amount, to kessai.Currency) (converted kessai.Amount, rate, date string, err error) {
	cross, err := t.cross(amount.Currency, to)
	if err != nil {
		return converted, "", "", err
	}
	if amount.Value < 1 || amount.Value > kessai.MaxAmount {
		return converted, "", "", ErrAmount
	}
	value := new(big.Rat).SetInt64(amount.Value)
	value.Mul(value, cross)
	value.Mul(value, power(to.Exponent()-amount.Currency.Exponent()))
	n := halfUp(value)
	if n.Cmp(big.NewInt(1)) < 0 || n.Cmp(big.NewInt(kessai.MaxAmount)) > 0 {
		return converted, "", "", ErrAmount
	}
	return kessai.Amount{Value: n.Int64(), Currency: to}, decimal(cross), t.Date, nil
}

// cross gives how many units of one currency a unit of another is.
func (t *Table) cross(from, to kessai.Currency) (*big.Rat, error) {
	a, err := t.perEuro(from)
	if err != nil {
		return nil, err
	}
	b, err := t.perEuro(to)
	if err != nil {
		return nil, err
	}
	return new(big.Rat).Quo(b, a), nil
}

func (t *Table) perEuro(c kessai.Currency) (*big.Rat, error) {
	if c == kessai.EUR {
		return big.NewRat(1, 1), nil
	}
	if r, ok := t.Rates[c]; ok {
		return r, nil
	}
	return nil, fmt.Errorf("%w: %s is not among the rates of %s", ErrNoRate, c, t.Date)
}

// day gives the beginning of the day that the rates are of, in UTC.
func (t *Table) day() (time.Time, error) { return time.Parse(time.DateOnly, t.Date) }

// power gives 10 to the n.
func power(n int) *big.Rat {
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n, -n))), nil)
	if n < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), p)
	}
	return new(big.Rat).SetInt(p)
}

// halfUp rounds to a whole number, of which the half goes up; v is not negative.
func halfUp(v *big.Rat) *big.Int {
	n := new(big.Int).Lsh(v.Num(), 1)
	n.Add(n, v.Denom())
	return n.Quo(n, new(big.Int).Lsh(v.Denom(), 1))
}

// decimal writes a number above zero as a rate is shown, without zeros at the end.
func decimal(v *big.Rat) string {
	places := ShownDigits // behind the point, for a number from 0.1 to 1
	one := big.NewRat(1, 1)
	for x := new(big.Rat).Set(v); x.Cmp(one) >= 0; places-- {
		x.Mul(x, big.NewRat(1, 10))
	}
	for x := new(big.Rat).Mul(v, big.NewRat(10, 1)); x.Cmp(one) < 0 && places < ShownPlaces; places++ {
		x.Mul(x, big.NewRat(10, 1))
	}
	n := halfUp(new(big.Rat).Mul(v, power(places)))
	text := new(big.Rat).Mul(new(big.Rat).SetInt(n), power(-places)).FloatString(max(places, 0))
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
