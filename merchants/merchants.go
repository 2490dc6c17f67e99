// Package merchants knows merchants, their terminals and API keys, and keeps
// the registry: the store of everything that the cache is loaded from.
//
// What it is for: taking in files of records, all of a file or nothing;
// building the snapshots that requests are judged by; looking merchants up. What
// it is not for: balances (authz/ledger), judging requests (cache, authz).
// Start reading with [Registry], then [Registry.Import].
package merchants

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"kessai"
	"kessai/authz/ledger"
	"kessai/customers"
)

// Status says whether a merchant or API key may be used.
type Status string

// The states of a merchant or API key.
const (
	Active  Status = "active"
	Blocked Status = "blocked"
)

func (s Status) validate() error {
	if s != Active && s != Blocked {
		return errors.New("status must be active or blocked")
	}
	return nil
}

// Merchant is somebody who is paid.
type Merchant struct {
	ID       kessai.MerchantID
	Name     string
	MCC      string          // merchant category code, ISO 18245, ISO 8583 DE18: four digits
	Currency kessai.Currency // of the account and of every terminal; fixed once the account is open
	Status   Status

	// A price that a terminal sends has to be that of the item file. Otherwise the
	// file's stands in only for one that the terminal leaves out.
	MustMatch bool
}

// Validate says what is wrong with a merchant; nil for nothing.
func (m Merchant) Validate() error {
	if m.ID.IsZero() {
		return errors.New("merchant has no ID")
	}
	if err := customers.ValidateName(m.Name); err != nil {
		return err
	}
	if !isMCC(m.MCC) {
		return errors.New("merchant category code must be four digits")
	}
	if !m.Currency.Known() {
		return errors.New("currency is not in ISO 4217")
	}
	return m.Status.validate()
}

func isMCC(s string) bool {
	return len(s) == 4 && !slices.ContainsFunc([]byte(s), func(c byte) bool { return c < '0' || c > '9' })
}

// AccountName names a merchant's account in the book.
func AccountName(id kessai.MerchantID) string { return "merchant/" + id.String() }

// Account gives the account that the merchant needs in the book.
func (m Merchant) Account() ledger.AccountSpec {
	return ledger.AccountSpec{Name: AccountName(m.ID), Kind: ledger.MerchantAccount, Currency: m.Currency}
}

// TerminalStatus says whether a terminal may ask.
type TerminalStatus string

// The states of a terminal.
const (
	Registered TerminalStatus = "registered"
	Suspended  TerminalStatus = "suspended" // for a time
	Withdrawn  TerminalStatus = "withdrawn" // for good
)

func (s TerminalStatus) validate() error {
	if s != Registered && s != Suspended && s != Withdrawn {
		return errors.New("status must be registered, suspended or withdrawn")
	}
	return nil
}

// Operation says who operates a terminal.
type Operation string

// The ways in which a terminal is operated.
const (
	Attended Operation = "attended" // staff of the merchant stand at it
	Vending  Operation = "vending"  // nobody does
)

// Terminal is a device that asks for transactions.
type Terminal struct {
	ID        kessai.TerminalID
	Merchant  kessai.MerchantID
	User      customers.ID // serves the media of this customer only; empty: of all
	Status    TerminalStatus
	Operation Operation
	Partial   bool           // it can handle the approval of a part of the amount
	Allowed   kessai.KindSet // kinds of transaction that it may ask for; zero: every kind
	Limits    customers.Limits
}

// Validate says what is wrong with a terminal; nil for nothing.
func (t Terminal) Validate() error {
	if t.ID.IsZero() {
		return errors.New("terminal has no ID")
	}
	if t.Merchant.IsZero() {
		return errors.New("terminal has no merchant")
	}
	if t.User != "" {
		if _, err := customers.ParseID(string(t.User)); err != nil {
			return err
		}
	}
	if t.Operation != Attended && t.Operation != Vending {
		return errors.New("operation must be attended or vending")
	}
	if t.Allowed&^kessai.AllKinds != 0 {
		return errors.New("a kind of transaction that does not exist is allowed")
	}
	if err := t.Limits.Validate(); err != nil {
		return err
	}
	return t.Status.validate()
}

// APIKey lets its holder speak for a merchant over JSON. The key itself is not
// kept, only its HMAC-SHA-256 under a secret that lies outside the store.
type APIKey struct {
	Hash     [32]byte
	Merchant kessai.MerchantID
	Status   Status
}

// Records are stored as JSON with these fields, so that IDs are text there.
type (
	merchantRecord struct {
		Name     string          `json:"name"`
		MCC      string          `json:"mcc"`
		Currency kessai.Currency `json:"currency"`
		Status   Status          `json:"status"`

		MustMatch bool `json:"must_match,omitempty"`
	}
	terminalRecord struct {
		Merchant  string           `json:"merchant"`
		User      customers.ID     `json:"user,omitempty"`
		Status    TerminalStatus   `json:"status"`
		Operation Operation        `json:"operation"`
		Partial   bool             `json:"partial,omitempty"`
		Allowed   kessai.KindSet   `json:"allowed,omitempty"`
		Limits    customers.Limits `json:"limits"`
	}
	apiKeyRecord struct {
		Merchant string `json:"merchant"`
		Status   Status `json:"status"`
	}
)

// The keys of records in the store.
const (
	merchantPrefix = "merchant/"
	terminalPrefix = "terminal/"
	apiKeyPrefix   = "api-key/"
)

func (m Merchant) key() []byte { return []byte(merchantPrefix + m.ID.String()) }
func (t Terminal) key() []byte { return []byte(terminalPrefix + t.ID.String()) }
func (k APIKey) key() []byte   { return append([]byte(apiKeyPrefix), k.Hash[:]...) }

func (m Merchant) encode() []byte {
	return mustJSON(merchantRecord{m.Name, m.MCC, m.Currency, m.Status, m.MustMatch})
}

func (t Terminal) encode() []byte {
	return mustJSON(terminalRecord{t.Merchant.String(), t.User, t.Status, t.Operation, t.Partial, t.Allowed, t.Limits})
}

func (k APIKey) encode() []byte { return mustJSON(apiKeyRecord{k.Merchant.String(), k.Status}) }

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of strings and numbers always encode
	}
	return b
}

func decodeMerchant(key, value []byte) (m Merchant, err error) {
	var rec merchantRecord
	if err = json.Unmarshal(value, &rec); err == nil {
		m = Merchant{Name: rec.Name, MCC: rec.MCC, Currency: rec.Currency, Status: rec.Status, MustMatch: rec.MustMatch}
		if m.ID, err = kessai.ParseMerchantID(key[len(merchantPrefix):]); err == nil {
			err = m.Validate()
		}
	}
	return m, unreadable("merchant", err)
}

func decodeTerminal(key, value []byte) (t Terminal, err error) {
	var rec terminalRecord
	if err = json.Unmarshal(value, &rec); err == nil {
		t = Terminal{
			User: rec.User, Status: rec.Status, Operation: rec.Operation, Partial: rec.Partial,
			Allowed: rec.Allowed, Limits: rec.Limits,
		}
		t.ID, err = kessai.ParseTerminalID(key[len(terminalPrefix):])
	}
	if err == nil {
		t.Merchant, err = kessai.ParseMerchantID(rec.Merchant)
	}
	if err == nil {
		err = t.Validate()
	}
	return t, unreadable("terminal", err)
}

func decodeAPIKey(key, value []byte) (k APIKey, err error) {
	var rec apiKeyRecord
	if err = json.Unmarshal(value, &rec); err == nil {
		k.Status = rec.Status
		if copy(k.Hash[:], key[len(apiKeyPrefix):]) != len(k.Hash) {
			err = errors.New("hash is too short")
		}
	}
	if err == nil {
		k.Merchant, err = kessai.ParseMerchantID(rec.Merchant)
	}
	if err == nil {
		err = k.Status.validate()
	}
	return k, unreadable("API key", err)
}

func unreadable(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: a %s record cannot be read: %w", ErrDamaged, what, err)
}
