package merchants

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai"
	"kessai/customers"
	"kessai/pos/sale"
)

// Verifiers of two passwords; the second is the example of RFC 7677.
const (
	verifierA = "SCRAM-SHA-256$100000:AAECAwQFBgcICQoLDA0ODw==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="
	verifierB = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)

func verifier(t testing.TB, text string) customers.Verifier {
	t.Helper()
	v, err := customers.ParseVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func customer(t testing.TB, r *Registry, id customers.ID) customers.Customer {
	t.Helper()
	c, ok, err := r.Customer(id)
	if err != nil || !ok {
		t.Fatalf("customer %s: %v, %v", id, ok, err)
	}
	return c
}

// The passwords in the comments of the sample file are those of its verifiers.
func TestDemoPasswords(t *testing.T) {
	r, _ := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	stated := regexp.MustCompile(`(?s)- id: "(\d+)"\n[^-]*?verifier: "[^"]*" # password (\S+)\n`).FindAllStringSubmatch(demo(t), -1)
	if len(stated) != 3 {
		t.Fatalf("%d customers have a password, want 3", len(stated))
	}
	for _, s := range stated {
		v := customer(t, r, customers.ID(s[1])).Verifier
		salted, err := pbkdf2.Key(sha256.New, s[2], v.Salt(), v.Iterations(), sha256.Size)
		if err != nil {
			t.Fatal(err)
		}
		mac := func(text string) []byte {
			h := hmac.New(sha256.New, salted)
			h.Write([]byte(text))
			return h.Sum(nil)
		}
		if v.Iterations() != 100_000 || v.StoredKey() != sha256.Sum256(mac("Client Key")) || v.ServerKey() != [32]byte(mac("Server Key")) {
			t.Errorf("the password of customer %s is not what the comment says", s[1])
		}
	}
	if c := customer(t, r, "3456789012"); !c.Verifier.IsZero() {
		t.Error("a customer without a password has one")
	}
	if c := customer(t, r, "4567890123"); c.Currency != kessai.EUR || c.Opening != 25000 || c.Phone != "+493023125001" {
		t.Errorf("the customer with an account in euro: %+v", c)
	}
}

func TestContactsComeFromBothForms(t *testing.T) {
	want := customers.Customer{
		ID: "c-1", Name: "Abe", Currency: kessai.JPY, Phone: "+493023125001", Email: "abe@example.com",
		Bank: customers.Bank{Code: "0009", Branch: "001", Account: "0123456"}, Verifier: verifier(t, verifierA),
	}
	for name, text := range map[string]string{
		"c.yaml": "customers: [{id: c-1, name: Abe, currency: JPY, phone: +493023125001, email: abe@example.com, bank_code: 0009, branch_code: 001, account_number: 0123456, verifier: " + verifierA + "}]\n",
		"c.csv":  "id,verifier,name,currency,account_number,branch_code,bank_code,email,phone\nc-1," + verifierA + ",Abe,JPY,0123456,001,0009,abe@example.com,+493023125001\n",
	} {
		im := parse(t, name, text)
		if diff := cmp.Diff(want, im.customers[0].v); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		r, _ := newRegistry(t)
		do(t, r, name, text)
		if got := customer(t, r, "c-1"); got != want {
			t.Errorf("%s: stored is %+v", name, got)
		}
	}
	const head = "id,name,currency,phone,email,bank_code,branch_code,account_number,verifier\nc-1,Abe,JPY,"
	for row, want := range map[string]string{
		"0312345678,,,,,":                       "phone must be in the international form of E.164: + and 7 to 15 digits, for example +493023125001",
		",abe,,,,":                              "email must be an address such as name@example.com, of at most 100 letters, digits and signs of ASCII",
		",,0009,,,":                             "account_number and bank_code must both be there, with a branch_code where there is one: letters and digits only, at most 34, 11 and 11",
		",,0009,001,12-34,":                     "account_number and bank_code must both be there, with a branch_code where there is one: letters and digits only, at most 34, 11 and 11",
		",,,,,secret-password":                  "verifier must be SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, with 4096 to 10000000 iterations, a salt of 8 to 32 bytes, keys of 32 bytes, and all three in base64",
		",,,,," + verifierA + "secret-password": "verifier must be SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, with 4096 to 10000000 iterations, a salt of 8 to 32 bytes, keys of 32 bytes, and all three in base64",
	} {
		_, err := ParseImport("c.csv", strings.NewReader(head+row+"\n"))
		if err == nil || err.Error() != "c.csv:2: customers: record 1: "+want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// A file that is written anew each night, without passwords, takes none away.
func TestPasswordsOutliveAnImport(t *testing.T) {
	r, _ := newRegistry(t)
	const file = "id,name,currency,email,verifier\nc-1,Abe,JPY,%s,%s\n"
	do(t, r, "c.csv", fmt.Sprintf(file, "abe@example.com", verifierA))
	if err := r.SetVerifier("c-1", verifier(t, verifierB)); err != nil {
		t.Fatal(err)
	}
	if sum := do(t, r, "c.csv", "id,name,currency\nc-1,Abe,JPY\n"); sum.Customers != (Count{Changed: 1}) {
		t.Errorf("%+v", sum.Customers)
	}
	if c := customer(t, r, "c-1"); c.Verifier.Reveal() != verifierB || c.Email != "" {
		t.Errorf("after a file without: %+v", c)
	}
	if sum := do(t, r, "c.csv", "id,name,currency\nc-1,Abe,JPY\n"); sum.Customers != (Count{Unchanged: 1}) {
		t.Errorf("again: %+v", sum.Customers)
	}
	do(t, r, "c.csv", fmt.Sprintf(file, "", verifierA))
	if c := customer(t, r, "c-1"); c.Verifier.Reveal() != verifierA {
		t.Error("a file that has one does not set it")
	}
}

// What SetVerifier acknowledges is there after a crash, whether an import is under
// way or not, and on top of that.
func TestSetVerifierIsDurable(t *testing.T) {
	for _, step := range []string{"", "begun", "staged", "marked", "apply", "applied"} {
		t.Run(step, func(t *testing.T) {
			dir, a := t.TempDir(), newAccounts()
			r, err := open(testOptions(t, dir, a), 1, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			do(t, r, "demo.yaml", demo(t))
			crashed := t.TempDir()
			set := func() {
				if err := r.SetVerifier("1234567890", verifier(t, verifierB)); err != nil {
					t.Error(err)
				}
				if c := customer(t, r, "1234567890"); c.Verifier.Reveal() != verifierB {
					t.Error("a look-up does not see it")
				}
				copyFolder(t, dir, crashed) // what is on disk at this moment
			}
			done := false
			r.step = func(now string) {
				if now == step && !done {
					done = true
					set()
				}
			}
			if step == "" {
				set()
			}
			do(t, r, "c.csv", "id,name,currency,phone,verifier\n1234567890,Suzuki II,JPY,+493023125009,"+verifierA+"\nnew,New,JPY,,\n")
			want := verifierB
			if step == "" {
				want = verifierA // the file came later
			}
			if c := customer(t, r, "1234567890"); c.Verifier.Reveal() != want || c.Name != "Suzuki II" || c.Phone != "+493023125009" {
				t.Errorf("after the import: %+v", c)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			again, err := OpenRegistry(testOptions(t, crashed, a))
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if c := customer(t, again, "1234567890"); c.Verifier.Reveal() != verifierB {
				t.Errorf("after a crash: %s has another password", c.Name)
			}
		})
	}
}

func TestSetVerifierOfNobody(t *testing.T) {
	r, _ := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	if _, ok := errors.AsType[*ChangeError](r.SetVerifier("nobody", verifier(t, verifierA))); !ok || r.Version() != 1 {
		t.Error("a customer who is not there has a password")
	}
	if r.SetVerifier("", verifier(t, verifierA)) == nil {
		t.Error("a customer without an ID has a password")
	}
	if err := r.SetVerifier("1234567890", customers.Verifier{}); err != nil {
		t.Error(err)
	}
	if c := customer(t, r, "1234567890"); !c.Verifier.IsZero() || c.Email != "suzuki@example.com" {
		t.Errorf("without a password: %+v", c)
	}
}

// Customers and items change by a line, as media do.
func TestChangesOfCustomersAndItems(t *testing.T) {
	r, _ := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	was := customer(t, r, "1234567890")
	for _, step := range []struct {
		line   string
		change func(*customers.Customer)
	}{
		{`{"customer":{"id":"1234567890","phone":"+493023125002"}}`, func(c *customers.Customer) { c.Phone = "+493023125002" }},
		{`{"customer":{"id":"1234567890","name":"Suzuki-Abe","email":"abe@example.com"}}`, func(c *customers.Customer) { c.Name, c.Email = "Suzuki-Abe", "abe@example.com" }},
		{`{"customer":{"id":"1234567890","bank_code":"9998","account_number":"7"}}`, func(c *customers.Customer) { c.Bank = customers.Bank{Code: "9998", Account: "7"} }},
		{`{"customer":{"id":"1234567890","verifier":"` + verifierB + `"}}`, func(c *customers.Customer) { c.Verifier = verifier(t, verifierB) }},
		{`{"customer":{"id":"1234567890","phone":"","email":"","bank_code":"","verifier":""}}`, func(c *customers.Customer) {
			c.Phone, c.Email, c.Bank, c.Verifier = "", "", customers.Bank{}, customers.Verifier{}
		}},
	} {
		step.change(&was)
		apply(t, r, change(t, step.line))
		if got := customer(t, r, "1234567890"); got != was {
			t.Errorf("%s:\n%+v\nwant %+v", step.line, got, was)
		}
	}
	id := merchant(t, aoi)
	want := Item{id, "2000000000015", "Coffee, large", 500, 800}
	v := apply(t, r, change(t, `{"item":{"merchant":"AOI000000000001","code":"02000000000015","name":"Coffee, large"}}`),
		change(t, `{"item":{"merchant":"AOI000000000001","code":"2000000000015","price":500,"tax":"800"}}`))
	if got, _, err := r.Item(id, want.Code); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	want.Tax = sale.TaxUnknown
	if again := apply(t, r, change(t, `{"item":{"merchant":"AOI000000000001","code":"2000000000015","tax":""}}`)); again != v+1 {
		t.Errorf("version %d after %d", again, v)
	}
	if got, _, err := r.Item(id, want.Code); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	_, err := r.Apply(t.Context(), []Change{change(t, `{"item":{"merchant":"AOI000000000001","code":"A9","price":1}}`)})
	if err == nil || err.Error() != "change 1: the registry has no such item: import it first" {
		t.Error(err)
	}
	for line, want := range map[string]string{
		`{"customer":{"id":"1234567890"}}`:                               "names a record and changes nothing: give what is to be changed",
		`{"customer":{"phone":"+493023125002"}}`:                         "customer: id is missing",
		`{"customer":{"id":"1234567890","name":""}}`:                     "customer: name is empty; leave a field out that is not to be changed",
		`{"customer":{"id":"1234567890","branch_code":"001"}}`:           "customer: account_number and bank_code must both be there, with a branch_code where there is one: letters and digits only, at most 34, 11 and 11",
		`{"customer":{"id":"1234567890","overdraft":"1"}}`:               "customer: has an unknown field; there are id, name, phone, email, bank_code, branch_code, account_number, verifier",
		`{"item":{"merchant":"AOI000000000001","code":"A1"}}`:            "names a record and changes nothing: give what is to be changed",
		`{"item":{"merchant":"AOI000000000001","code":"1","price":1}}`:   "item: code " + strings.TrimPrefix(ErrCode.Error(), "code "),
		`{"item":{"merchant":"AOI000000000001","code":"A1","price":""}}`: "item: price is empty; leave a field out that is not to be changed",
		`{"item":{"merchant":"AOI000000000001","code":"A1","tax":1e3}}`:  "item: tax must be a whole number from 0 to 10000, digits only",
	} {
		if _, err := ReadChange([]byte(line)); err == nil || err.Error() != "change: "+want {
			t.Errorf("%s:\ngot  %v\nwant %s", line, err, want)
		}
	}
	bad := "x"
	for name, c := range map[string]Change{
		"customer's phone": {Customer: &CustomerChange{ID: "1234567890", Phone: &bad}},
		"nothing":          {Customer: &CustomerChange{ID: "1234567890"}},
		"item's code":      {Item: &ItemChange{Merchant: id, Code: "1", Name: &bad}},
		"nothing of it":    {Item: &ItemChange{Merchant: id, Code: "A1"}},
		"both":             {Item: &ItemChange{Merchant: id, Code: "2000000000015", Name: &bad}, Customer: &CustomerChange{ID: "1234567890", Name: &bad}},
	} {
		if _, err := r.Apply(context.Background(), []Change{c}); err == nil {
			t.Errorf("%s: it was changed", name)
		}
	}
}

// As many changes as share a write, of the largest records there can be, fit into
// one transaction, while an import runs and after it.
func TestLargestChangesFit(t *testing.T) {
	r, _ := newRegistry(t)
	name, n := strings.Repeat("\U0001F600", customers.MaxNameLength), r.together()
	email := strings.Repeat("a", 64) + "@" + strings.Repeat("b", 31) + ".com"
	bank := customers.Bank{Code: strings.Repeat("9", 11), Branch: strings.Repeat("9", 11), Account: strings.Repeat("9", 34)}
	v, err := customers.NewVerifier(customers.MaxIterations, bytes.Repeat([]byte{1}, customers.MaxSalt), [32]byte{}, [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	im, all := NewImport("bench"), make([]Change, n)
	for i := range n {
		id := customers.ID(fmt.Sprintf("customer-%011d", i))
		if err := im.AddCustomer(customers.Customer{ID: id, Name: "x", Currency: kessai.JPY}); err != nil {
			t.Fatal(err)
		}
		phone := fmt.Sprintf("+1%014d", i)
		all[i].Customer = &CustomerChange{ID: id, Name: &name, Phone: &phone, Email: &email, Bank: &bank, Verifier: &v}
	}
	if _, err := r.Import(t.Context(), im, nil); err != nil {
		t.Fatal(err)
	}
	r.hold()
	if _, err := r.apply(t.Context(), targets(t, r, all)); err != nil {
		t.Fatalf("%d changes beside the records: %v", n, err)
	}
	if err := r.fold(); err != nil {
		t.Fatal(err)
	}
	if c := customer(t, r, all[n-1].Customer.ID); c.Name != name || c.Verifier != v || c.Email != email {
		t.Errorf("%+v", c)
	}
	short := "y"
	for i := range all {
		other := fmt.Sprintf("+2%014d", i)
		all[i].Customer.Phone, all[i].Customer.Name = &other, &short
	}
	if _, err := r.apply(t.Context(), targets(t, r, all)); err != nil {
		t.Fatalf("%d changes of records: %v", n, err)
	}
}

func targets(t *testing.T, r *Registry, all []Change) []target {
	t.Helper()
	list := make([]target, len(all))
	for i, c := range all {
		var err error
		if list[i], err = r.target(c); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func TestItemPrices(t *testing.T) {
	r, _ := newRegistry(t)
	const head = "id,name,mcc,currency,item_prices\n"
	do(t, r, "m.csv", head+"M1,One,5814,JPY,must_match\nM2,Two,5814,JPY,as_sent\nM3,Three,5814,JPY,\n")
	for id, want := range map[string]bool{"M1": true, "M2": false, "M3": false} {
		if m, ok := r.Merchant(merchant(t, id)); !ok || m.MustMatch != want {
			t.Errorf("%s: %+v", id, m)
		}
	}
	apply(t, r, change(t, `{"merchant":{"id":"M1","status":"blocked"}}`))
	if m, _ := r.Merchant(merchant(t, "M1")); !m.MustMatch || m.Status != Blocked {
		t.Errorf("a change of the status: %+v", m)
	}
	_, err := ParseImport("m.csv", strings.NewReader(head+"M1,One,5814,JPY,strict\n"))
	if err == nil || err.Error() != "m.csv:2: merchants: record 1: item_prices must be as_sent or must_match" {
		t.Error(err)
	}
}

// No part of a verifier or an account number is in a message or an import that is
// printed, and a file of the registry is for its owner only.
func TestVerifiersStayInside(t *testing.T) {
	r, _ := newRegistry(t)
	im := parse(t, "demo.yaml", demo(t))
	v := verifier(t, verifierA)
	printed := fmt.Sprintf("%v %+v %#v", im, Change{Customer: &CustomerChange{Verifier: &v}}, im.customers)
	if strings.Contains(printed, "SCRAM") || strings.Contains(printed, "AAEC") {
		t.Errorf("printed: %s", printed)
	}
	do(t, r, "demo.yaml", demo(t))
	err := filepath.WalkDir(r.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 && filepath.Dir(path) == r.dir {
			t.Errorf("%s can be read by others: %v", d.Name(), info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
