package customers

import (
	"bytes"
	"encoding/binary"
	"errors"

	"kessai"
)

// A customer is stored in a fixed form, since there may be millions:
//
//	0     form of the record: 1, or 2 where there is more than a name
//	1-2   currency
//	3-10  opening balance
//	11-18 overdraft
//	19-   form 1: name
//
// Form 2 goes on with name, phone, email, bank code, branch code and account
// number, each behind its length (two bytes of the name's, one of the others'),
// and with the verifier, where there is one: iterations (4), salt behind its length
// (1), StoredKey (32), ServerKey (32).
const (
	customerForm  = 1
	contactForm   = 2
	customerFixed = 19
)

// plain reports whether there is no more than a name.
func (c Customer) plain() bool {
	return c.Phone == "" && c.Email == "" && c.Bank == Bank{} && c.Verifier.IsZero()
}

// Encode gives the value that is stored under [Key].
func (c Customer) Encode() []byte {
	b := make([]byte, 0, customerFixed+len(c.Name))
	b = append(b, customerForm)
	b = binary.BigEndian.AppendUint16(b, uint16(c.Currency))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Opening))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Overdraft))
	if c.plain() {
		return append(b, c.Name...)
	}
	b[0] = contactForm
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Name)))
	b = append(b, c.Name...)
	for _, s := range []string{c.Phone, c.Email, c.Bank.Code, c.Bank.Branch, c.Bank.Account} {
		b = append(append(b, byte(len(s))), s...)
	}
	if v := c.Verifier; !v.IsZero() {
		b = binary.BigEndian.AppendUint32(b, v.iterations)
		b = append(append(b, byte(len(v.salt))), v.salt...)
		b = append(append(b, v.storedKey[:]...), v.server[:]...)
	}
	return b
}

// ErrCustomer says that a stored customer cannot be read.
var ErrCustomer = errors.New("customer record cannot be read")

// Decode reads what [Key] and [Customer.Encode] wrote.
func Decode(key, value []byte) (Customer, error) {
	id, ok := bytes.CutPrefix(key, []byte(KeyPrefix))
	if !ok || len(value) <= customerFixed {
		return Customer{}, ErrCustomer
	}
	c := Customer{
		ID:        ID(id),
		Currency:  kessai.Currency(binary.BigEndian.Uint16(value[1:])),
		Opening:   int64(binary.BigEndian.Uint64(value[3:])),
		Overdraft: int64(binary.BigEndian.Uint64(value[11:])),
	}
	rest := value[customerFixed:]
	switch value[0] {
	case customerForm:
		c.Name = string(rest)
	case contactForm:
		if !c.decodeMore(rest) || c.plain() {
			return Customer{}, ErrCustomer
		}
	default:
		return Customer{}, ErrCustomer
	}
	if c.Validate() != nil {
		return Customer{}, ErrCustomer
	}
	return c, nil
}

// decodeMore reads what form 2 has behind the fixed part.
func (c *Customer) decodeMore(b []byte) bool {
	r := rest{b, true}
	c.Name = r.text(2)
	for _, s := range []*string{&c.Phone, &c.Email, &c.Bank.Code, &c.Bank.Branch, &c.Bank.Account} {
		*s = r.text(1)
	}
	if r.ok && len(r.b) == 0 {
		return true
	}
	v := &c.Verifier
	if n := r.take(4); r.ok {
		v.iterations = binary.BigEndian.Uint32(n)
	}
	v.salt = r.text(1)
	copy(v.storedKey[:], r.take(len(v.storedKey)))
	copy(v.server[:], r.take(len(v.server)))
	return r.ok && len(r.b) == 0 && !v.IsZero()
}

// rest is what is left to be read of a record.
type rest struct {
	b  []byte
	ok bool // no more was asked for than there is
}

func (r *rest) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.ok = nil, false
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

// text reads a text behind its length, which is of one byte or two.
func (r *rest) text(bytes int) string {
	n := 0
	for _, c := range r.take(bytes) {
		n = n<<8 | int(c)
	}
	return string(r.take(n))
}
