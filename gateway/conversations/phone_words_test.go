package conversations

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/confirm"
	"kessai/authz/ledger"
	"kessai/authz/rates"
	"kessai/customers"
	"kessai/gateway"
	"kessai/pos/iso8583"
	possale "kessai/pos/sale"
)

// people are the customers who can speak, by the names that stories call them. The
// third has no phone, and there is nobody called nobody.
var people = map[string]string{
	"suzuki": "1234567890", "sato": "2345678901", "third": "3456789012", "euro": "4567890123", "nobody": "9999999999",
}

// person is a customer with a phone.
type person struct {
	name  string
	phone *confirm.Phone // nil: it is not open
}

// ecb are the rates of the stories' day, as the European Central Bank would publish
// them: units for one euro.
const ecb = `<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
<Cube><Cube time="2026-11-20"><Cube currency="JPY" rate="162.50"/><Cube currency="USD" rate="1.10"/></Cube></Cube></gesmes:Envelope>`

// phones says how customers are asked in the stories.
func (h *house) phones(o settings) (authz.PhoneOptions, error) {
	table, err := rates.Read(strings.NewReader(ecb))
	p := o.phone
	p.Customer = func(id string) (authz.CustomerFacts, bool, error) {
		if strings.HasPrefix(id, "+") {
			c, ok, err := h.registry.CustomerByPhone(id)
			if id = string(c.ID); err != nil || !ok {
				return authz.CustomerFacts{}, false, err
			}
		}
		a, ok := h.book.AccountByName(customers.AccountName(customers.ID(id)))
		return authz.CustomerFacts{ID: id, Account: a.ID, Currency: a.Currency, Reachable: id != people["third"]}, ok, nil
	}
	p.Shop = func(m kessai.MerchantID) (string, bool) {
		found, _ := h.registry.Merchant(m)
		return found.Name, o.mustMatch
	}
	p.Item = func(m kessai.MerchantID, code string) (possale.Item, bool, error) {
		it, ok, err := h.registry.Item(m, code)
		return possale.Item{Code: it.Code, Name: it.Name, Price: it.Price, Tax: int32(it.Tax)}, ok, err
	}
	p.Convert = func(a kessai.Amount, to kessai.Currency) (kessai.Amount, string, string, error) {
		if o.noRates {
			return kessai.Amount{}, "", "", errors.New("the rates are too old")
		}
		return table.Convert(a, to)
	}
	p.Ask = func(ledger.AccountID, kessai.TxID) { h.pushed.Add(1) }
	return p, err
}

func codes() gateway.PhoneCodes {
	return gateway.PhoneCodes{
		Number:  func(id kessai.TxID) string { return strconv.Itoa(int(10 + id%90)) },
		Claim:   func(id kessai.TxID) string { return "C" + id.RRN() },
		Receipt: func(id kessai.TxID) string { return "R" + id.RRN() },
		Origin:  "https://kessai",
	}
}

// setPhone changes a setting that has to do with customers' phones; false where it
// has not.
func (o *settings) setPhone(name, value string) (known bool, err error) {
	switch name {
	case "phone":
		o.phone.Timeout, err = time.ParseDuration(value)
	case "max-asked":
		o.phone.Room.PerAccount, err = strconv.Atoi(value)
	case "max-waiting":
		o.phone.Room.Max, err = strconv.Atoi(value)
	case "item-prices":
		o.mustMatch = value == "must-match"
	case "rates":
		o.noRates = value == "none"
	default:
		return false, nil
	}
	return true, err
}

func (p *play) customer(name string) ledger.AccountID {
	a, ok := p.house.book.AccountByName(customers.AccountName(customers.ID(people[name])))
	if !ok {
		p.t.Fatalf("%s has no account", name)
	}
	return a.ID
}

// about gives the payment that a person means: the one of a name, or the first that
// waits for them.
func (p *play) about(w words, who ledger.AccountID) (kessai.TxID, error) {
	if of, ok := w.named["of"]; ok {
		if n, err := strconv.ParseUint(of, 10, 64); err == nil {
			return kessai.TxID(n), nil
		}
		if u, ok := p.said[of]; ok && u.id != 0 {
			return u.id, nil
		}
		return 0, fmt.Errorf("no number of %s was heard", of)
	}
	if all := p.house.engine.Sales(who); len(all) > 0 {
		return all[0].ID, nil
	}
	return 0, nil
}

// personAsks makes ready what a customer does on their phone.
func (p *play) personAsks(one *person, w words) (ask, error) {
	who := p.customer(one.name)
	switch w.verb {
	case "opens":
		phone, err := p.house.engine.Subscribe(who)
		one.phone = phone
		return say(one.name, "the phone is open"), err
	case "hears":
		return say(one.name, p.eventsOf(one)), nil
	case "looks":
		return say(one.name, p.shownTo(who)), nil
	case "counts":
		sales, signIns := p.house.book.Tries(who)
		return say(one.name, fmt.Sprintf("%d wrong for payments, %d to sign in", sales, signIns)), nil
	}
	if a, err := p.readerAsks(one, who, w); a != nil || err != nil {
		return a, err
	}
	id, err := p.about(w, who)
	if err != nil {
		return nil, err
	}
	ctx, e := context.Background(), p.house.engine
	factor := kessai.FactorPassword
	if w.named["with"] == "passkey" {
		factor = kessai.FactorPasskey
	}
	proof := authz.Proof{Sale: id, Customer: who, Factor: factor, Evidence: []byte(`{"version":1}`)}
	var do func() (ledger.Tx, kessai.ResponseCode, error)
	switch w.verb {
	case "approves":
		do = func() (ledger.Tx, kessai.ResponseCode, error) { return e.Approve(ctx, proof) }
	case "mistypes":
		proof.Wrong, proof.Evidence = true, nil
		do = func() (ledger.Tx, kessai.ResponseCode, error) { return e.Approve(ctx, proof) }
	case "cancels":
		do = func() (ledger.Tx, kessai.ResponseCode, error) { return e.CancelByCustomer(ctx, id, who) }
	case "claims":
		do = func() (ledger.Tx, kessai.ResponseCode, error) { return e.Claim(ctx, id, people[one.name]) }
	case "signs-in", "mistypes-to-sign-in":
		do = func() (ledger.Tx, kessai.ResponseCode, error) {
			code, err := e.SignIn(ctx, who, w.verb != "signs-in")
			return ledger.Tx{}, code, err
		}
	case "is-unlocked":
		do = func() (ledger.Tx, kessai.ResponseCode, error) {
			return ledger.Tx{}, kessai.Approved, e.Unlock(ctx, who)
		}
	default:
		return nil, errors.New("a customer does not do that")
	}
	return func() answer {
		began := time.Now()
		t, code, err := do()
		a := answer{who: one.name, after: time.Since(began)}
		if err != nil {
			a.text = "(" + err.Error() + ")"
			return a
		}
		a.text = fmt.Sprintf("%s (%s)", code, code.Text())
		p.seen.add("phone: %s is heard", code)
		if t.ID != 0 {
			a.tail = fmt.Sprintf("the payment is %s, and the terminal is told %s", t.Status, t.Standing())
			p.readerHears(one, &t)
		}
		a.brief = one.name + " " + w.verb + ": " + a.text
		return a
	}, nil
}

func say(who, text string) ask { return func() answer { return answer{who: who, text: text} } }

// eventsOf gives what an open phone was told since the last time.
func (p *play) eventsOf(one *person) string {
	var heard []string
	for one.phone != nil && len(one.phone.Events) > 0 {
		switch e := <-one.phone.Events; {
		case e.ID == 0:
			heard = append(heard, "look again")
		case e.Ended:
			heard = append(heard, fmt.Sprintf("%d has ended", e.ID))
		default:
			heard = append(heard, fmt.Sprintf("%d waits", e.ID))
		}
	}
	if len(heard) == 0 {
		return "nothing"
	}
	return strings.Join(heard, ", ")
}

// shownTo gives what a customer sees: every payment that waits, as it is signed.
func (p *play) shownTo(who ledger.AccountID) string {
	var seen []string
	for _, t := range p.house.engine.Sales(who) {
		s, err := p.house.engine.Sale(&t)
		if err == nil {
			_, err = s.Digest()
		}
		if err != nil {
			p.t.Fatalf("%s cannot be shown: %v", t.ID, err)
		}
		text := fmt.Sprintf("%s at %s,", s.Shop, s.Terminal)
		for _, it := range s.Items {
			text += fmt.Sprintf(" %d %s %d,", it.Quantity, it.Name, it.Price)
		}
		text += " in all " + s.Total.String()
		if s.Foreign != nil {
			text += fmt.Sprintf(" = %s (%s of %s)", s.Foreign.Total, s.Foreign.Rate, s.Foreign.Date)
		}
		left := time.Until(time.Unix(0, t.Deadline)).Round(time.Second)
		seen = append(seen, fmt.Sprintf("%s, %s left", text, left))
	}
	if len(seen) == 0 {
		return "nothing waits"
	}
	return strings.Join(seen, "; ")
}

// reference gives the terminal's name for a sale: of the moment in which it was
// first spoken of, or of one that is not right.
func (p *play) reference(name string) string {
	if text, ok := p.references[name]; ok {
		return text
	}
	at := time.Now()
	switch {
	case strings.HasPrefix(name, "old-"):
		at = at.Add(-11 * time.Minute)
	case strings.HasPrefix(name, "early-"):
		at = at.Add(11 * time.Minute)
	case strings.HasPrefix(name, "odd-"):
		return name
	}
	p.references[name] = at.UTC().Format("20060102150405") + "-" + name
	return p.references[name]
}

// customerNamed gives how a shop names a customer: by their ID, or with + before the
// name by their phone number.
func customerNamed(name string) string {
	if name, ok := strings.CutPrefix(name, "+"); ok {
		return numbers[name]
	}
	return people[name]
}

// confirmWords says which elements a terminal's words stand for; nil for none.
func (p *play) confirmWords(w words) (private []byte) {
	way := map[string]string{"phone": "P", "number": "N", "claim": "Q", "reader": "R"}[w.named["confirm"]]
	add := func(tag, value string) {
		if value != "" {
			private = iso8583.AppendPrivate(private, tag, []byte(value))
		}
	}
	add(iso8583.PrivateConfirm, way)
	add(iso8583.PrivateCustomer, customerNamed(w.named["customer"]))
	if ref := w.named["ref"]; ref != "" {
		add(iso8583.PrivateReference, p.reference(ref))
	}
	add(iso8583.PrivateItems, strings.ReplaceAll(w.named["items"], ",", "^"))
	return private
}

// confirmMembers puts the same into a JSON body.
func (p *play) confirmMembers(w words, body map[string]any) error {
	if way := w.named["confirm"]; way != "" {
		body["confirm"] = way
	}
	if name := w.named["customer"]; name != "" {
		body["customer"] = customerNamed(name)
	}
	if ref := w.named["ref"]; ref != "" {
		body["reference"] = p.reference(ref)
	}
	if w.named["items"] == "" {
		return nil
	}
	var items []map[string]any
	for _, line := range strings.Split(w.named["items"], ",") {
		it := make(map[string]any)
		for i, v := range strings.Split(line, "|") {
			n, err := strconv.ParseInt(v, 10, 64)
			switch {
			case v == "":
			case i == 0:
				it["code"] = v
			case i == 3:
				it["name"] = v
			case err != nil:
				return err
			case i == 1:
				it["quantity"] = n
			default:
				it["price"] = n
			}
		}
		items = append(items, it)
	}
	body["items"] = items
	return nil
}
