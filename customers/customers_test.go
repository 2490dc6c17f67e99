package customers_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai"
	"kessai/authz/ledger"
	"kessai/customers"
)

var (
	suzuki = customers.Customer{ID: "1234567890", Name: "Suzuki", Currency: kessai.JPY, Opening: 1235000, Overdraft: 10}
	card   = customers.Medium{
		ID: kessai.MediumID{1, 2, 255}, Customer: "1234567890", Last4: kessai.Last4{'4', '2', '4', '2'}, Expiry: 2912,
		Status: customers.Stolen, Allowed: kessai.KindSetOf(kessai.Purchase, kessai.Reversal),
		Limits: customers.Limits{Single: kessai.MaxAmount, DayTotal: customers.MaxBalance, DayCount: 1<<32 - 1},
	}
)

// kept is the card after a terminal kept it.
func kept() customers.Medium {
	m := card
	m.Status, m.Kept = customers.Retained, customers.Kept{By: kessai.TerminalID{'A', 'O', 'I', '0', '0', '0', '0', '1'}, At: 1_772_366_400_000}
	return m
}

func TestRecordsRoundTrip(t *testing.T) {
	for name, c := range full(t) {
		got, err := customers.Decode(customers.Key(c.ID), c.Encode())
		if err != nil || got != c {
			t.Errorf("customer with %s: %+v, %v", name, got, err)
		}
	}
	plain := customers.Medium{ID: kessai.MediumID{9}, Customer: "c", Status: customers.Active}
	secret, both := card, kept()
	secret.PIN, both.PIN = customers.PINVerifier{1}, customers.PINVerifier{15: 1}
	for _, m := range []customers.Medium{card, plain, kept(), secret, both} {
		got, err := customers.DecodeMedium(customers.MediumKey(m.ID), m.Encode())
		if diff := cmp.Diff(m, got); diff != "" || err != nil {
			t.Errorf("medium: %v (-want +got):\n%s", err, diff)
		}
	}
	want := ledger.AccountSpec{Name: "customer/1234567890", Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 1235000, Overdraft: 10}
	if suzuki.Account() != want {
		t.Errorf("account: %+v", suzuki.Account())
	}
}

// full is customers with each of what may be left out, and with all of it.
func full(t testing.TB) map[string]customers.Customer {
	v, err := customers.ParseVerifier(pencil)
	if err != nil {
		t.Fatal(err)
	}
	all := suzuki
	all.Name = strings.Repeat("\U0001F600", customers.MaxNameLength) // 256 bytes
	all.Phone, all.Email, all.Bank, all.Verifier = "+493023125001", "suzuki@example.com", customers.Bank{Code: "9999", Branch: "001", Account: "1234567"}, v
	only := map[string]customers.Customer{"nothing": suzuki, "all": all}
	for name, set := range map[string]func(*customers.Customer){
		"phone":    func(c *customers.Customer) { c.Phone = all.Phone },
		"email":    func(c *customers.Customer) { c.Email = all.Email },
		"bank":     func(c *customers.Customer) { c.Bank = all.Bank },
		"verifier": func(c *customers.Customer) { c.Verifier = all.Verifier },
	} {
		c := suzuki
		set(&c)
		only[name] = c
	}
	return only
}

// Media without a PIN are stored as they were when there were none.
func TestOldMediumRecordIsRead(t *testing.T) {
	old := append([]byte{1, '4', '2', '4', '2', 11, 96, 3, 0, 0, 0, 34}, make([]byte, 20)...)
	old = append(old, "1234567890"...)
	m, err := customers.DecodeMedium(customers.MediumKey(card.ID), old)
	if err != nil || m.Status != customers.Stolen || m.Expiry != 2912 || m.Customer != "1234567890" || !m.PIN.IsZero() || !bytes.Equal(m.Encode(), old) {
		t.Errorf("%+v, %v", m, err)
	}
}

// The form of a record that has no more than a name is as it ever was.
func TestOldCustomerRecordIsRead(t *testing.T) {
	old := append([]byte{1, 1, 136, 0, 0, 0, 0, 0, 18, 216, 56, 0, 0, 0, 0, 0, 0, 0, 10}, "Suzuki"...)
	got, err := customers.Decode(customers.Key(suzuki.ID), old)
	if err != nil || got != suzuki || !bytes.Equal(suzuki.Encode(), old) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMediumRecordThatCannotBeRead(t *testing.T) {
	key, value := customers.MediumKey(card.ID), card.Encode()
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(value)
		b[at] = to
		return b
	}
	for name, c := range map[string]struct{ key, value []byte }{
		"empty":         {key, nil},
		"cut":           {key, value[:32]},
		"another form":  {key, changed(0, 5)},
		"no form":       {key, changed(0, 0)},
		"no PIN":        {key, changed(0, 3)}, // the customer's ID is too short to be one and another
		"zero PIN":      {key, append(append([]byte{3}, value[1:32]...), append(make([]byte, 16), value[32:]...)...)},
		"PIN, cut":      {key, append([]byte{3}, value[1:40]...)},
		"PIN, kept":     {key, append([]byte{4}, kept().Encode()[1:]...)},
		"kept by none":  {key, changed(0, 2)},
		"kept, cut":     {key, kept().Encode()[:48]},
		"kept, form 1":  {key, append([]byte{1}, kept().Encode()[1:]...)},
		"no month":      {key, changed(6, 0xff)},
		"no status":     {key, changed(7, 0)},
		"unknown kind":  {key, changed(8, 0x80)},
		"negative":      {key, changed(12, 0x80)},
		"total":         {key, changed(20, 0x80)},
		"customer's ID": {key, changed(32, ' ')},
		"short key":     {key[:len(key)-1], value},
		"zero key":      {customers.MediumKey(kessai.MediumID{}), value},
	} {
		if m, err := customers.DecodeMedium(c.key, c.value); err == nil {
			t.Errorf("%s: read as %+v", name, m)
		}
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*customers.Customer){
		"ID":                    func(c *customers.Customer) { c.ID = "a/b" },
		"no ID":                 func(c *customers.Customer) { c.ID = "" },
		"long ID":               func(c *customers.Customer) { c.ID = customers.ID(strings.Repeat("1", 21)) },
		"name":                  func(c *customers.Customer) { c.Name = "" },
		"long name":             func(c *customers.Customer) { c.Name = strings.Repeat("名", 65) },
		"line break":            func(c *customers.Customer) { c.Name = "Suzu\nki" },
		"broken UTF-8":          func(c *customers.Customer) { c.Name = "Suzuki\xff" },
		"currency":              func(c *customers.Customer) { c.Currency = 1 },
		"negative opening":      func(c *customers.Customer) { c.Opening = -1 },
		"large opening":         func(c *customers.Customer) { c.Opening = customers.MaxBalance + 1 },
		"negative overdraft":    func(c *customers.Customer) { c.Overdraft = -1 },
		"overdraft without end": func(c *customers.Customer) { c.Overdraft = customers.MaxBalance + 1 },
		"phone":                 func(c *customers.Customer) { c.Phone = "030 23125001" },
		"email":                 func(c *customers.Customer) { c.Email = "suzuki" },
		"half a bank":           func(c *customers.Customer) { c.Bank.Code = "9999" },
	} {
		c := suzuki
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: customer is taken", name)
		}
	}
	long := suzuki
	long.Name = strings.Repeat("名", 64)
	if err := long.Validate(); err != nil {
		t.Errorf("64 characters: %v", err)
	}
	for name, change := range map[string]func(*customers.Medium){
		"no ID":        func(m *customers.Medium) { m.ID = kessai.MediumID{} },
		"customer":     func(m *customers.Medium) { m.Customer = "" },
		"month 13":     func(m *customers.Medium) { m.Expiry = 2913 },
		"month 0":      func(m *customers.Medium) { m.Expiry = 2900 },
		"status":       func(m *customers.Medium) { m.Status = customers.Retained + 1 },
		"kept by none": func(m *customers.Medium) { *m = kept(); m.Kept.By = kessai.TerminalID{} },
		"kept never":   func(m *customers.Medium) { *m = kept(); m.Kept.At = 0 },
		"not retained": func(m *customers.Medium) { *m = kept(); m.Status = customers.Lost },
		"kind":         func(m *customers.Medium) { m.Allowed = kessai.KindSet(1) },
		"limit":        func(m *customers.Medium) { m.Limits.Single = kessai.MaxAmount + 1 },
		"daily limit":  func(m *customers.Medium) { m.Limits.DayTotal = -1 },
	} {
		m := card
		change(&m)
		if m.Validate() == nil {
			t.Errorf("%s: medium is taken", name)
		}
	}
}

func TestStatusNames(t *testing.T) {
	for _, name := range []string{"issued", "active", "lost", "stolen", "withdrawn", "retained"} {
		if s, ok := customers.ParseStatus(name); !ok || s.String() != name {
			t.Errorf("%s is read as %v, %v", name, s, ok)
		}
	}
	for _, name := range []string{"", "Active", "expired"} {
		if s, ok := customers.ParseStatus(name); ok {
			t.Errorf("%q is read as %v", name, s)
		}
	}
	if got := customers.Status(9).String(); got != "status(9)" {
		t.Errorf("an unknown status prints as %q", got)
	}
}

func TestCustomerRecordThatCannotBeRead(t *testing.T) {
	key, value, more := customers.Key(suzuki.ID), suzuki.Encode(), full(t)["all"].Encode()
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(value)
		b[at] = to
		return b
	}
	for name, c := range map[string]struct{ key, value []byte }{
		"empty":             {key, nil},
		"cut":               {key, value[:19]},
		"another form":      {key, changed(0, '{')},
		"currency":          {key, changed(1, 0xff)},
		"negative opening":  {key, changed(3, 0x80)},
		"large overdraft":   {key, changed(11, 0x40)},
		"line break":        {key, changed(20, '\n')},
		"key of a medium":   {customers.MediumKey(card.ID), value},
		"form 2, plain":     {key, changed(0, 2)},
		"nothing more":      {key, append(append(more[:19:19], 0, 6), "Suzuki\x00\x00\x00\x00\x00"...)},
		"more, cut":         {key, more[:len(more)-1]},
		"more, and more":    {key, append(bytes.Clone(more), 0)},
		"more without end":  {key, more[:40]},
		"no iterations":     {key, bytes.Replace(more, []byte{0, 0, 16, 0, 16}, []byte{0, 0, 0, 0, 16}, 1)},
		"few iterations":    {key, bytes.Replace(more, []byte{0, 0, 16, 0, 16}, []byte{0, 0, 15, 0, 16}, 1)},
		"key without an ID": {customers.Key(""), value},
	} {
		if c, err := customers.Decode(c.key, c.value); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}

func FuzzDecodeCustomer(f *testing.F) {
	f.Add(suzuki.Encode())
	f.Add([]byte{})
	f.Add(suzuki.Encode()[:20])
	for _, c := range full(f) {
		f.Add(c.Encode())
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		c, err := customers.Decode(customers.Key(suzuki.ID), value)
		if err == nil && !bytes.Equal(c.Encode(), value) {
			t.Fatalf("%+v is written otherwise than it was read", c)
		}
	})
}

func FuzzDecodeMedium(f *testing.F) {
	f.Add(card.Encode())
	f.Add(kept().Encode())
	f.Add([]byte{})
	f.Add(card.Encode()[:32])
	f.Fuzz(func(t *testing.T, value []byte) {
		m, err := customers.DecodeMedium(customers.MediumKey(card.ID), value)
		if err == nil && !bytes.Equal(m.Encode(), value) {
			t.Fatalf("%+v is written otherwise than it was read", m)
		}
	})
}
