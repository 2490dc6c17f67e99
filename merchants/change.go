package merchants

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"kessai"
	"kessai/customers"
)

// Change is a change of one record that the registry has: what it does not give
// stays as it is. One of its parts is set.
type Change struct {
	Medium   *MediumChange
	Terminal *TerminalChange
	Merchant *MerchantChange
	APIKey   *APIKeyChange
	Customer *CustomerChange
	Item     *ItemChange
}

// MediumChange changes a medium, which is named by its card number or, where that
// is empty, by its ID.
type MediumChange struct {
	PAN     kessai.PAN
	ID      kessai.MediumID
	Status  customers.Status // zero: stays; that it is retained, [Registry.Retain] reports
	Expiry  *uint16          // last valid month as YYMM; zero: it does not expire
	Allowed *kessai.KindSet  // zero: every kind

	// Limits in minor units; zero means no limit.
	Single   *int64
	DayTotal *int64
	DayCount *uint32
}

// TerminalChange changes the status of a terminal.
type TerminalChange struct {
	ID     kessai.TerminalID
	Status TerminalStatus
}

// MerchantChange changes the status of a merchant.
type MerchantChange struct {
	ID     kessai.MerchantID
	Status Status
}

// APIKeyChange changes the status of an API key.
type APIKeyChange struct {
	Key    kessai.Secret
	Status Status
}

// ChangeError says which of several changes cannot be made, and why. It repeats
// no card number and no key.
type ChangeError struct {
	Change  int // from 0, in the order they were given
	Problem string
}

func (e *ChangeError) Error() string { return fmt.Sprintf("change %d: %s", e.Change+1, e.Problem) }

// patch is what a change does to a record, whatever the record is. It is stored,
// as JSON, while an import has the record in its hands: see later.
type patch struct {
	Status   string          `json:"status,omitempty"`
	Expiry   *uint16         `json:"expiry,omitempty"`
	Allowed  *kessai.KindSet `json:"allowed,omitempty"`
	Single   *int64          `json:"single,omitempty"`
	DayTotal *int64          `json:"day_total,omitempty"`
	DayCount *uint32         `json:"day_count,omitempty"`
	Kept     *customers.Kept `json:"kept,omitempty"`

	Name     *string         `json:"name,omitempty"`
	Phone    *string         `json:"phone,omitempty"`
	Email    *string         `json:"email,omitempty"`
	Bank     *customers.Bank `json:"bank,omitempty"`
	Verifier *string         `json:"verifier,omitempty"`
	Price    *int64          `json:"price,omitempty"`
	Tax      *int32          `json:"tax,omitempty"`
}

// then gives the patch that does what p does and then what q does.
func (p patch) then(q patch) patch {
	if q.Status != "" && (p.Kept == nil || !staysRetained(q.Status)) {
		p.Status, p.Kept = q.Status, nil
	}
	p.Expiry, p.Allowed = or(q.Expiry, p.Expiry), or(q.Allowed, p.Allowed)
	p.Single, p.DayTotal, p.DayCount = or(q.Single, p.Single), or(q.DayTotal, p.DayTotal), or(q.DayCount, p.DayCount)
	p.Kept = or(p.Kept, q.Kept) // the first to keep it has it
	p.Name, p.Phone, p.Email, p.Bank = or(q.Name, p.Name), or(q.Phone, p.Phone), or(q.Email, p.Email), or(q.Bank, p.Bank)
	p.Verifier, p.Price, p.Tax = or(q.Verifier, p.Verifier), or(q.Price, p.Price), or(q.Tax, p.Tax)
	return p
}

// or gives the first that is set.
func or[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// staysRetained reports whether a medium that a terminal kept stays retained when
// it is reported as this: it is as invalid as before, and where it is, is worth
// knowing. To be given out again it has to be made active, or issued.
func staysRetained(status string) bool {
	s, _ := customers.ParseStatus(status)
	return s == customers.Lost || s == customers.Stolen || s == customers.Withdrawn || s == customers.Retained
}

// apply gives the record with the patch; the same slice where it has all of it
// already. The record is one that the store holds under the key.
func (p patch) apply(key, value []byte) ([]byte, error) {
	var changed []byte
	switch {
	case bytes.HasPrefix(key, []byte(customers.MediumKeyPrefix)):
		m, err := customers.DecodeMedium(key, value)
		if err != nil {
			return nil, unreadable("medium", err)
		}
		p.medium(&m)
		changed = m.Encode()
	case bytes.HasPrefix(key, []byte(terminalPrefix)):
		t, err := decodeTerminal(key, value)
		if err != nil {
			return nil, err
		}
		t.Status = TerminalStatus(p.Status)
		changed = t.encode()
	case bytes.HasPrefix(key, []byte(merchantPrefix)):
		m, err := decodeMerchant(key, value)
		if err != nil {
			return nil, err
		}
		m.Status = Status(p.Status)
		changed = m.encode()
	case bytes.HasPrefix(key, []byte(customers.KeyPrefix)):
		c, err := customers.Decode(key, value)
		if err == nil {
			err = p.customer(&c)
		}
		if err != nil {
			return nil, unreadable("customer", err)
		}
		changed = c.Encode()
	case bytes.HasPrefix(key, []byte(itemPrefix)):
		i, err := decodeItem(key, value)
		if err != nil {
			return nil, err
		}
		p.item(&i)
		changed = i.encode()
	default:
		k, err := decodeAPIKey(key, value)
		if err != nil {
			return nil, err
		}
		k.Status = Status(p.Status)
		changed = k.encode()
	}
	if bytes.Equal(changed, value) {
		return value, nil
	}
	return changed, nil
}

func (p patch) medium(m *customers.Medium) {
	if p.Status != "" && (m.Status != customers.Retained || !staysRetained(p.Status)) {
		m.Status, _ = customers.ParseStatus(p.Status)
		m.Kept = customers.Kept{}
	}
	if p.Kept != nil && m.Status != customers.Retained {
		m.Status, m.Kept = customers.Retained, *p.Kept
	}
	set(&m.Expiry, p.Expiry)
	set(&m.Allowed, p.Allowed)
	set(&m.Limits.Single, p.Single)
	set(&m.Limits.DayTotal, p.DayTotal)
	set(&m.Limits.DayCount, p.DayCount)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func decodePatch(value []byte) (p patch, err error) {
	return p, unreadable("change", json.Unmarshal(value, &p))
}

// target is the record that a change is about, and what is to be done to it.
type target struct {
	key   []byte
	patch patch
	what  string // for messages
}

var errNothing = errors.New("it changes nothing: give what is to be changed")

var errNoPart = errors.New("it must change a medium, a terminal, a merchant, an API key, a customer or an item, and one only")

// target checks a change by itself, and finds the key of its record.
func (r *Registry) target(c Change) (t target, err error) {
	parts := 0
	if m := c.Medium; m != nil {
		parts++
		t, err = r.mediumTarget(m)
	}
	if x := c.Terminal; x != nil {
		parts++
		t = target{Terminal{ID: x.ID}.key(), patch{Status: string(x.Status)}, "terminal"}
		err = x.Status.validate()
	}
	if x := c.Merchant; x != nil {
		parts++
		t = target{Merchant{ID: x.ID}.key(), patch{Status: string(x.Status)}, "merchant"}
		err = x.Status.validate()
	}
	if x := c.APIKey; x != nil {
		parts++
		t = target{APIKey{Hash: r.hashAPIKey(x.Key)}.key(), patch{Status: string(x.Status)}, "API key"}
		err = x.Status.validate()
	}
	if x := c.Customer; x != nil {
		parts++
		t, err = customerTarget(x)
	}
	if x := c.Item; x != nil {
		parts++
		t, err = itemTarget(x)
	}
	if parts != 1 {
		return t, errNoPart
	}
	return t, err
}

func (r *Registry) mediumTarget(c *MediumChange) (target, error) {
	id := c.ID
	if c.PAN.Reveal() != "" {
		id = r.o.Hasher.Medium(c.PAN)
	}
	t := target{customers.MediumKey(id), patch{
		Expiry: c.Expiry, Allowed: c.Allowed, Single: c.Single, DayTotal: c.DayTotal, DayCount: c.DayCount,
	}, "medium"}
	if t.patch == (patch{}) && c.Status == 0 {
		return t, errNothing
	}
	m := customers.Medium{ID: id, Customer: "any", Status: customers.Active}
	if c.Status != 0 {
		m.Status, t.patch.Status = c.Status, c.Status.String()
	}
	if c.Status == customers.Retained {
		return t, errors.New("status must be " + mediumStatuses)
	}
	set(&m.Expiry, c.Expiry)
	set(&m.Allowed, c.Allowed)
	set(&m.Limits.Single, c.Single)
	set(&m.Limits.DayTotal, c.DayTotal)
	set(&m.Limits.DayCount, c.DayCount)
	return t, m.Validate()
}
