package merchants

import (
	"context"
	"fmt"
	"strings"

	"kessai"
	"kessai/customers"
)

func (p *parser) addCustomer(w *row) {
	c := customers.Customer{
		ID: w.customerID("id"), Name: w.name("name"), Currency: w.currency("currency"),
		Opening:   w.number("opening_balance", customers.MaxBalance),
		Overdraft: w.number("overdraft", customers.MaxBalance),
		Phone:     w.valid("phone", customers.ValidatePhone),
		Email:     w.valid("email", customers.ValidateEmail),
		Bank:      w.bank(),
		Verifier:  w.verifier("verifier"),
	}
	once(w, "id", c.ID, p.im.seen.customers)
	if i, twice := p.im.seen.phones[c.Phone]; twice && w.err == nil {
		w.fail("phone", fmt.Sprintf("is the same as on line %d", p.im.customers[i].at.line))
	}
	p.im.phone(c.Phone, len(p.im.customers))
	p.im.customers = append(p.im.customers, entry[customers.Customer]{c, w.at})
}

// valid gives a field that may be empty, and what is wrong with it otherwise.
func (w *row) valid(field string, validate func(string) error) string {
	s := w.get(field)
	if s == "" {
		return ""
	}
	if err := validate(s); err != nil {
		w.fail(field, strings.TrimPrefix(err.Error(), field+" "))
	}
	return strings.Clone(s)
}

func (w *row) bank() customers.Bank {
	b := customers.Bank{
		Code: strings.Clone(w.get("bank_code")), Branch: strings.Clone(w.get("branch_code")), Account: strings.Clone(w.get("account_number")),
	}
	if b.Validate() != nil {
		w.fail("account_number", "and bank_code must both be there, with a branch_code where there is one: letters and digits only, at most 34, 11 and 11")
	}
	return b
}

func (w *row) verifier(field string) customers.Verifier {
	s := w.get(field)
	if s == "" {
		return customers.Verifier{}
	}
	v, err := customers.ParseVerifier(s)
	if err != nil {
		w.fail(field, strings.TrimPrefix(err.Error(), "verifier "))
	}
	return v
}

func (w *row) itemPrices() bool {
	switch w.get("item_prices") {
	case "", "as_sent":
		return false
	case "must_match":
		return true
	}
	w.fail("item_prices", "must be as_sent or must_match")
	return false
}

// CustomerChange changes a customer. The text of none, and the zero verifier, take
// away what was there; a name has to stay.
type CustomerChange struct {
	ID       customers.ID
	Name     *string
	Phone    *string
	Email    *string
	Bank     *customers.Bank // all of it
	Verifier *customers.Verifier
}

func customerTarget(c *CustomerChange) (target, error) {
	t := target{customers.Key(c.ID), patch{Name: c.Name, Phone: c.Phone, Email: c.Email, Bank: c.Bank}, "customer"}
	if c.Verifier != nil {
		text := c.Verifier.Reveal()
		t.patch.Verifier = &text
	}
	if t.patch == (patch{}) {
		return t, errNothing
	}
	changed := customers.Customer{ID: c.ID, Name: "any", Currency: kessai.EUR}
	if err := t.patch.customer(&changed); err != nil {
		return t, err
	}
	return t, changed.Validate()
}

func (p patch) customer(c *customers.Customer) error {
	set(&c.Name, p.Name)
	set(&c.Phone, p.Phone)
	set(&c.Email, p.Email)
	set(&c.Bank, p.Bank)
	if p.Verifier == nil {
		return nil
	}
	c.Verifier = customers.Verifier{}
	if *p.Verifier == "" {
		return nil
	}
	v, err := customers.ParseVerifier(*p.Verifier)
	c.Verifier = v
	return err
}

// customerChange makes the change of the fields that were given.
func (w *row) customerChange(given map[string]bool) *CustomerChange {
	c := &CustomerChange{ID: w.customerID("id")}
	if given["name"] {
		name := w.name("name")
		c.Name = &name
	}
	if given["phone"] {
		phone := w.valid("phone", customers.ValidatePhone)
		c.Phone = &phone
	}
	if given["email"] {
		email := w.valid("email", customers.ValidateEmail)
		c.Email = &email
	}
	if given["bank_code"] || given["branch_code"] || given["account_number"] {
		bank := w.bank()
		c.Bank = &bank
	}
	if given["verifier"] {
		v := w.verifier("verifier")
		c.Verifier = &v
	}
	return c
}

// SetVerifier gives a customer another password, by its verifier; the zero one takes
// it away. When it returns without an error, that is on disk. Errors: as those of
// [Registry.Apply].
func (r *Registry) SetVerifier(id customers.ID, v customers.Verifier) error {
	_, err := r.Apply(context.Background(), []Change{{Customer: &CustomerChange{ID: id, Verifier: &v}}})
	return err
}
