package merchants

import (
	"bytes"
	"slices"

	"kessai/customers"
)

// give says whom the changes of one caller give which numbers, as the records are
// with all of them, and refuses a number that is another's then.
func (s *changeSet) give(targets []target, mine map[string]changed) (map[string]holders, error) {
	given, to := make(map[string]holders), make(map[int]string)
	for i, t := range targets {
		if t.patch.Phone == nil {
			continue
		}
		number, err := numberOf(string(t.key), mine[string(t.key)].now)
		if err != nil {
			return nil, err
		}
		if number != "" {
			given[number], to[i] = given[number].with(customerOf(string(t.key))), number
		}
	}
	for i, t := range targets {
		number, gives := to[i]
		if !gives {
			continue
		}
		other, err := s.another(customerOf(string(t.key)), number, given[number], mine)
		if err != nil {
			return nil, err
		}
		if other {
			return nil, numberFault(i)
		}
	}
	return given, nil
}

// another reports whether somebody else would have the number of a customer who has
// not had it until now; h are those who are given it.
func (s *changeSet) another(id customers.ID, number string, h holders, mine map[string]changed) (bool, error) {
	have, err := s.v.withNumber(number)
	if err != nil {
		return false, err
	}
	had := slices.ContainsFunc(have, func(c customers.Customer) bool { return c.ID == id })
	if before, ok := s.records[string(customers.Key(id))]; ok {
		n, err := numberOf(string(customers.Key(id)), before.now)
		if err != nil {
			return false, err
		}
		had = n == number
	}
	if had {
		return false, nil
	}
	others := slices.Concat(h, s.numbers[number])
	for _, c := range have {
		others = append(others, c.ID)
	}
	for _, other := range others {
		if other == id {
			continue
		}
		key := string(customers.Key(other))
		c, changes := mine[key]
		if !changes {
			c, changes = s.records[key]
		}
		if !changes {
			return true, nil
		}
		if n, err := numberOf(key, c.now); err != nil || n == number {
			return true, err
		}
	}
	return false, nil
}

// later writes whom the changes give which numbers beside the index, while an import
// is under way.
func (s *changeSet) later(t *transaction) error {
	for number, h := range s.numbers {
		key := laterNumberKey(number)
		old, err := getValue(s.v.top, key)
		if err != nil {
			return err
		}
		now := parseHolders(old)
		for _, id := range h {
			now = now.with(id)
		}
		if value := now.encode(); !bytes.Equal(value, old) {
			t.replace(key, old, value)
		}
	}
	return nil
}
