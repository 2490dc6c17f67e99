// Package customers knows customers and the media (cards) that they pay with:
// what is kept of each, what makes it valid, and how it lies in the store.
//
// What it is for: the two record types and their keys in the registry's badger
// store. What it is not for: balances (authz/ledger keeps the account, this
// package only its name), reading files and changing the registry (merchants),
// judging a request (cache, authz). Start reading with [Customer] and [Medium].
package customers

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"kessai"
	"kessai/authz/ledger"
)

// ID names a customer: 1 to 20 letters, digits, hyphens or underscores. It is
// not a secret: it stands on paper and in account names.
type ID string

// MaxIDLength is the longest customer ID, in characters.
const MaxIDLength = 20

// ErrID says that a text is no customer ID. It never repeats the text.
var ErrID = errors.New("customer ID must be 1 to 20 letters, digits, hyphens or underscores")

// ParseID reads a customer ID.
func ParseID(s string) (ID, error) {
	if s == "" || len(s) > MaxIDLength {
		return "", ErrID
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return "", ErrID
		}
	}
	return ID(s), nil
}

// Customer is somebody who pays, with the account that the money comes from.
type Customer struct {
	ID        ID
	Name      string
	Currency  kessai.Currency // of the account; fixed once the account is open
	Opening   int64           // minor units; put in when the account is new, never again
	Overdraft int64           // minor units; how far below zero the balance may go

	// Each of these may be empty.
	Phone    string // E.164, for example +493023125001
	Email    string
	Bank     Bank
	Verifier Verifier // of the password that payments are confirmed with
}

// MaxBalance is the largest opening balance, overdraft or daily total, in minor
// units: a thousand times what one transaction can carry.
const MaxBalance = 999_999_999_999_999

// Validate says what is wrong with a customer; nil for nothing.
func (c Customer) Validate() error {
	if _, err := ParseID(string(c.ID)); err != nil {
		return err
	}
	if err := ValidateName(c.Name); err != nil {
		return err
	}
	if !c.Currency.Known() {
		return errors.New("currency is not in ISO 4217")
	}
	if c.Opening < 0 || c.Opening > MaxBalance {
		return fmt.Errorf("opening balance must be 0 to %d minor units", int64(MaxBalance))
	}
	if c.Overdraft < 0 || c.Overdraft > MaxBalance {
		return fmt.Errorf("overdraft must be 0 to %d minor units", int64(MaxBalance))
	}
	if c.Phone != "" {
		if err := ValidatePhone(c.Phone); err != nil {
			return err
		}
	}
	if c.Email != "" {
		if err := ValidateEmail(c.Email); err != nil {
			return err
		}
	}
	if err := c.Bank.Validate(); err != nil {
		return err
	}
	return c.Verifier.validate()
}

// MaxNameLength is the longest name of a customer or merchant, in characters.
const MaxNameLength = 64

// ValidateName says what is wrong with the name of a customer or merchant.
func ValidateName(s string) error {
	if n := utf8.RuneCountInString(s); n == 0 || n > MaxNameLength || !utf8.ValidString(s) {
		return fmt.Errorf("name must be 1 to %d characters of valid UTF-8", MaxNameLength)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return errors.New("name must not hold control or invisible characters")
		}
	}
	return nil
}

// AccountName names a customer's account in the book.
func AccountName(id ID) string { return "customer/" + string(id) }

// Account gives the account that the customer needs in the book.
func (c Customer) Account() ledger.AccountSpec {
	return ledger.AccountSpec{
		Name: AccountName(c.ID), Kind: ledger.CustomerAccount, Currency: c.Currency,
		Opening: c.Opening, Overdraft: c.Overdraft,
	}
}

// KeyPrefix begins the key of every customer in the store.
const KeyPrefix = "customer/"

// Key gives the key of a customer in the store.
func Key(id ID) []byte { return []byte(KeyPrefix + string(id)) }
