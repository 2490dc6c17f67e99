package merchants

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"kessai/customers"
)

// Shops name customers by phone number, so numbers are indexed: under each stands
// who has it. A number is one customer's. Two may have it in a registry from before
// there was an index, or where a change gave it to one while an import was giving it
// to another; it then finds nobody, until one of them gets another number.

// numberPrefix begins the key of a number. The value is the IDs of its customers,
// in order, with spaces between.
const numberPrefix = "phone/"

// While an import is under way, whom changes give a number stands beside the index,
// as the changes do.
const laterNumberPrefix = "later-phone/"

func numberKey(number string) []byte { return []byte(numberPrefix + number) }

func laterNumberKey(number string) []byte { return []byte(laterNumberPrefix + number) }

var errNumber = errors.New("is the number of another customer, and a number is one customer's: give the other another number, or none, first")

// holders are the customers that a number stands for.
type holders []customers.ID

func parseHolders(value []byte) (h holders) {
	for id := range strings.FieldsSeq(string(value)) {
		h = append(h, customers.ID(id))
	}
	return h
}

// encode gives nil for none.
func (h holders) encode() []byte {
	slices.Sort(h)
	var b []byte
	for i, id := range h {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, id...)
	}
	return b
}

func (h holders) with(id customers.ID) holders { return append(h.without(id), id) }

func (h holders) without(id customers.ID) holders {
	return slices.DeleteFunc(slices.Clone(h), func(other customers.ID) bool { return other == id })
}

// CustomerByPhone finds the customer with a phone number in the form of E.164; false
// where there is none, or more than one.
func (r *Registry) CustomerByPhone(phone string) (c customers.Customer, ok bool, err error) {
	if customers.ValidatePhone(phone) != nil {
		return c, false, nil
	}
	err = r.view(func(v reading) error {
		all, err := v.withNumber(phone)
		if ok = err == nil && len(all) == 1; ok {
			c = all[0]
		}
		return err
	})
	return c, ok, err
}

// withNumber gives the customers that have a number. The index may still name one
// who gave it up while an import was under way; the record decides.
func (v reading) withNumber(number string) (all []customers.Customer, err error) {
	value, err := getValue(v.base, numberKey(number))
	if err != nil {
		return nil, err
	}
	ids := parseHolders(value)
	if v.changes {
		later, err := getValue(v.top, laterNumberKey(number))
		if err != nil {
			return nil, err
		}
		for _, id := range parseHolders(later) {
			ids = ids.with(id)
		}
	}
	for _, id := range ids {
		value, err := v.get(customers.Key(id))
		if err != nil {
			return nil, err
		}
		c, err := customers.Decode(customers.Key(id), value)
		if err != nil {
			return nil, unreadable("customer", err)
		}
		if c.Phone == number {
			all = append(all, c)
		}
	}
	return all, nil
}

// numberOf gives the number in the record of a customer.
func numberOf(key string, value []byte) (string, error) {
	c, err := customers.Decode([]byte(key), value)
	return c.Phone, unreadable("customer", err)
}

func isCustomer(key string) bool { return strings.HasPrefix(key, customers.KeyPrefix) }

func customerOf(key string) customers.ID { return customers.ID(key[len(customers.KeyPrefix):]) }

// renumbering is what a transaction changes in the index.
type renumbering struct {
	v   reading
	old map[string][]byte
	now map[string]holders
}

func newRenumbering(v reading) *renumbering {
	return &renumbering{v, make(map[string][]byte), make(map[string]holders)}
}

// record takes in that the record of a customer becomes another; others have no number.
func (n *renumbering) record(key string, was, is []byte) error {
	if !isCustomer(key) {
		return nil
	}
	from, err := numberOf(key, was)
	if err != nil {
		return err
	}
	to, err := numberOf(key, is)
	if err != nil || from == to {
		return err
	}
	id := customerOf(key)
	if from != "" {
		h, err := n.load(from)
		if err != nil {
			return err
		}
		n.now[from] = h.without(id)
	}
	if to != "" {
		h, err := n.load(to)
		if err != nil {
			return err
		}
		n.now[to] = h.with(id)
	}
	return nil
}

func (n *renumbering) load(number string) (holders, error) {
	if h, ok := n.now[number]; ok {
		return h, nil
	}
	value, err := getValue(n.v.base, numberKey(number))
	n.old[number], n.now[number] = value, parseHolders(value)
	return n.now[number], err
}

func (n *renumbering) write(t *transaction) {
	for number, h := range n.now {
		if value := h.encode(); !bytes.Equal(value, n.old[number]) {
			t.replace(numberKey(number), n.old[number], value)
		}
	}
}

// takes says whom what is being staged gives a number.
func (s *stager) takes(number string) (customers.ID, bool) {
	if s.im == nil {
		id, ok := s.numbers[number]
		return id, ok
	}
	i, ok := s.im.seen.phones[number]
	if !ok {
		return "", false
	}
	return s.im.customers[i].v.ID, true
}

// leaves reports whether what is being staged takes a number away from somebody who
// has it.
func (s *stager) leaves(id customers.ID, number string) bool {
	_, in := s.moves[id]
	if s.im != nil {
		_, in = s.im.seen.customers[id]
	}
	to, ok := s.takes(number)
	return in && (!ok || to != id)
}

// move remembers that a change gives a customer another number, or none; was has the
// numbers until now.
func (s *stager) move(key string, old, value []byte, was map[customers.ID]string) error {
	from, err := numberOf(key, old)
	if err != nil {
		return err
	}
	to, err := numberOf(key, value)
	if err != nil || from == to {
		return err
	}
	id := customerOf(key)
	was[id], s.moves[id] = from, to
	if _, twice := s.numbers[to]; to != "" && !twice {
		s.numbers[to] = id // of several the others are refused, when the index is staged
	}
	return nil
}

// numberFault says which of several changes gives somebody the number of another.
func numberFault(change int) error { return &ChangeError{change, "phone " + errNumber.Error()} }

// renumberAll stages what becomes of the index, once all changes are known. was has
// the numbers until now of those who get another, or none.
func (s *stager) renumberAll(targets []target, was map[customers.ID]string) error {
	for i, t := range targets {
		id := customers.ID(bytes.TrimPrefix(t.key, []byte(customers.KeyPrefix)))
		from, moves := was[id]
		if t.patch.Phone == nil || !moves {
			continue
		}
		delete(was, id)
		if err := s.renumber(id, from, s.moves[id], numberFault(i)); err != nil {
			return err
		}
	}
	return nil
}

// renumber stages that a customer gets another number, or none; the fault is given
// where that is another's afterwards.
func (s *stager) renumber(id customers.ID, from, to string, fault error) error {
	if from == to {
		return nil
	}
	if to != "" {
		old, h, err := s.holders(to)
		if err != nil {
			return err
		}
		if taker, _ := s.takes(to); taker != id && s.im == nil || len(s.staying(h, to)) > 0 {
			return fault
		}
		if err := s.index(to, old, holders{id}); err != nil {
			return err
		}
	}
	if from == "" {
		return nil
	}
	old, h, err := s.holders(from)
	if err != nil {
		return err
	}
	if taker, taken := s.takes(from); taken && !slices.Contains(h, taker) {
		return nil // who stages that
	}
	stay := s.staying(h, from)
	if first := slices.IndexFunc(h, func(x customers.ID) bool { return !slices.Contains(stay, x) }); first < 0 || h[first] != id {
		return nil // the first of those who leave does it, once
	}
	return s.index(from, old, stay)
}

func (s *stager) holders(number string) (value []byte, h holders, err error) {
	value, err = s.get(numberKey(number), s.before.Customers)
	return value, parseHolders(value), err
}

func (s *stager) staying(h holders, number string) (stay holders) {
	for _, id := range h {
		if !s.leaves(id, number) {
			stay = append(stay, id)
		}
	}
	return stay
}

// index stages an entry of the index.
func (s *stager) index(number string, old []byte, h holders) error {
	key := numberKey(number)
	if old != nil {
		s.change.mix(key, old)
	}
	return s.write(key, h.encode())
}

// indexNumbers makes the index of a registry that has none, from before there was
// one, or one that such a version of this program has changed since.
func (r *Registry) indexNumbers() error {
	var m meta
	err := r.view(func(v reading) (err error) { m, err = getMeta(v.top); return err })
	if err != nil || m.Phones || m.Counts.Customers == 0 {
		return err
	}
	p := newProgress(nil, 0)
	return r.change(p, func() (state, error) {
		return r.stage(context.Background(), p, (*stager).indexAll)
	})
}

func (s *stager) indexAll() error {
	want := make(map[string]holders)
	err := each(s.txn, customers.KeyPrefix, func(key, value []byte) error {
		number, err := numberOf(string(key), value)
		if number != "" {
			want[number] = append(want[number], customerOf(string(key)))
		}
		return err
	})
	if err != nil {
		return err
	}
	err = each(s.txn, numberPrefix, func(key, value []byte) error {
		number := string(key[len(numberPrefix):])
		h := want[number]
		delete(want, number)
		if bytes.Equal(h.encode(), value) {
			return nil
		}
		return s.index(number, slices.Clone(value), h)
	})
	if err != nil {
		return err
	}
	for number, h := range want {
		if err := s.index(number, nil, h); err != nil {
			return err
		}
	}
	return nil
}
