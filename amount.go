package kessai

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Amount is a sum of money in minor units of its currency: 450 JPY is
// {450, JPY}, 4.50 EUR is {450, EUR}.
type Amount struct {
	Value    int64
	Currency Currency
}

// MaxAmount is the largest amount that one transaction can carry: the twelve
// digits of ISO 8583 DE4.
const MaxAmount = 999_999_999_999

// String gives the amount as people write it, for example 4.50 EUR.
func (a Amount) String() string { return a.Decimal() + " " + a.Currency.String() }

// Decimal gives the number alone, with the decimals that ISO 4217 gives the
// currency and a point, for example 4.50.
func (a Amount) Decimal() string {
	exp := a.Currency.Exponent()
	if exp == 0 {
		return strconv.FormatInt(a.Value, 10)
	}
	sign, digits := "", strconv.FormatUint(abs(a.Value), 10)
	if a.Value < 0 {
		sign = "-"
	}
	for len(digits) <= exp {
		digits = "0" + digits
	}
	cut := len(digits) - exp
	return sign + digits[:cut] + "." + digits[cut:]
}

func abs(v int64) uint64 {
	if v < 0 {
		return uint64(-(v + 1)) + 1
	}
	return uint64(v)
}

// ErrOverflow says that a sum does not fit into 64 bits.
var ErrOverflow = errors.New("amount overflows 64 bits")

// Add gives a+b, or [ErrOverflow].
func Add(a, b int64) (int64, error) {
	if b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b {
		return 0, ErrOverflow
	}
	return a + b, nil
}

// Currency is an ISO 4217 numeric code, as ISO 8583 DE49 carries it. Zero is none.
type Currency uint16

// Some currencies by name, for code and tests.
const (
	JPY Currency = 392
	EUR Currency = 978
	USD Currency = 840
)

// String gives the alphabetic code, for example JPY.
func (c Currency) String() string {
	if e, ok := byNumber[c]; ok {
		return e.alpha
	}
	return fmt.Sprintf("%03d", uint16(c))
}

// Exponent gives the number of decimals of the minor unit, for example 0 for
// JPY and 3 for KWD.
func (c Currency) Exponent() int { return byNumber[c].exponent }

// Known reports whether the code is in the table of ISO 4217.
func (c Currency) Known() bool { _, ok := byNumber[c]; return ok }

// ParseCurrency reads an alphabetic (JPY) or three-digit numeric (392) code.
func ParseCurrency(s string) (Currency, bool) {
	if c, ok := byAlpha[s]; ok {
		return c, true
	}
	if len(s) != 3 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	c := Currency(n)
	return c, err == nil && c.Known()
}
