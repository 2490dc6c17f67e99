package merchants

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai"
	"kessai/customers"
)

// holder gives who has a number; empty where nobody has.
func holder(t testing.TB, r *Registry, number string) customers.ID {
	t.Helper()
	c, ok, err := r.CustomerByPhone(number)
	if err != nil || ok != (c.ID != "") || ok && c.Phone != number {
		t.Fatalf("%s: %+v, %v, %v", number, c, ok, err)
	}
	return c.ID
}

// phoneBook is a file of customers with their numbers: a+1 is customer a with +1000001.
func phoneBook(list string) string {
	b := strings.Builder{}
	b.WriteString("id,name,currency,phone\n")
	for one := range strings.FieldsSeq(list) {
		id, n, _ := strings.Cut(one, "+")
		fmt.Fprintf(&b, "%s,Name,JPY,%s\n", id, number(n))
	}
	return b.String()
}

func number(n string) string {
	if n == "" {
		return ""
	}
	return "+100000" + n
}

func phoneChange(t testing.TB, one string) Change {
	id, n, _ := strings.Cut(one, "+")
	return change(t, fmt.Sprintf(`{"customer":{"id":%q,"phone":%q}}`, id, number(n)))
}

// who gives who has which of the numbers +1000000 to +1000009, as 1a 2b.
func who(t testing.TB, r *Registry) string {
	var all []string
	for n := range 10 {
		if id := holder(t, r, number(fmt.Sprint(n))); id != "" {
			all = append(all, fmt.Sprint(n)+string(id))
		}
	}
	return strings.Join(all, " ")
}

// A shop names a customer by phone number: whatever gave the number, and from when
// that is acknowledged.
func TestR1_CustomersAreFoundByNumber(t *testing.T) {
	r, _ := newRegistry(t)
	for _, step := range []struct{ file, changes, want, refused string }{
		{file: "a+1 b+2 c", want: "1a 2b"},
		{file: "a+1 b+2 c", want: "1a 2b"},
		{file: "d+1", want: "1a 2b", refused: "c.csv:2: customers: record 1: phone " + errNumber.Error()},
		{file: "c+3 d+3", want: "1a 2b", refused: "c.csv:3: customers: record 2: phone is the same as on line 2"},
		{file: "a+2 b+1", want: "1b 2a"}, // each other's
		{file: "a+1 b+3 c+2", want: "1a 2c 3b"},
		{file: "a b+1", want: "1b 2c"},
		{file: "a+3", want: "1b 2c 3a"},
		{changes: "a+1", want: "1b 2c 3a", refused: "change 1: phone " + errNumber.Error()},
		{changes: "a+4 a+5 b+4", want: "2c 4b 5a"},
		{changes: "a+6 b+6", want: "2c 4b 5a", refused: "change 1: phone " + errNumber.Error()},
		{changes: "a+4 b+5", want: "2c 4a 5b"},
		{changes: "a b+4 c+5", want: "4b 5c"},
		{changes: "b", want: "5c"},
		{changes: "b+4 a+4 b+3", want: "3b 4a 5c"},
		{file: "a b c", want: ""},
		{file: "a+1 b+2 c+3", want: "1a 2b 3c"},
	} {
		var err error
		if step.file != "" {
			im, bad := ParseImport("c.csv", strings.NewReader(phoneBook(step.file)))
			if err = bad; err == nil {
				_, err = r.Import(t.Context(), im, nil)
			}
		} else {
			var changes []Change
			for one := range strings.FieldsSeq(step.changes) {
				changes = append(changes, phoneChange(t, one))
			}
			_, err = r.Apply(t.Context(), changes)
		}
		if problem := fmt.Sprint(err); problem != step.refused && (err != nil || step.refused != "") {
			t.Errorf("%+v: %v", step, err)
		}
		if got := who(t, r); got != step.want {
			t.Fatalf("after %+v: %s", step, got)
		}
	}
	for _, text := range []string{"", "1000001", "+1 000001", "+100000", "customer/a", number("1") + "\x00"} {
		if id := holder(t, r, text); id != "" {
			t.Errorf("%q finds %s", text, id)
		}
	}
	exact(t, r)
}

// exact holds the index against the records: each number of a customer is there, and
// nothing else.
func exact(t *testing.T, r *Registry) {
	t.Helper()
	want, got := make(map[string]string), make(map[string]string)
	for key, value := range dump(t, r.db) {
		switch {
		case isCustomer(key):
			c, err := customers.Decode([]byte(key), []byte(value))
			if err != nil {
				t.Fatal(err)
			}
			if c.Phone != "" {
				want[numberPrefix+c.Phone] = strings.TrimSpace(want[numberPrefix+c.Phone] + " " + string(c.ID))
			}
		case strings.HasPrefix(key, numberPrefix):
			ids := strings.Fields(value)
			slices.Sort(ids)
			got[key] = strings.Join(ids, " ")
		case strings.HasPrefix(key, laterNumberPrefix), isLater([]byte(key)):
			t.Errorf("%q is left", key)
		}
	}
	for key, ids := range want {
		all := strings.Fields(ids)
		slices.Sort(all)
		want[key] = strings.Join(all, " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("index (-records +index):\n%s", diff)
	}
}

// Programs that add records are refused what a file is.
func TestR1_NumbersOfPrograms(t *testing.T) {
	r, _ := newRegistry(t)
	a := customers.Customer{ID: "a", Name: "A", Currency: kessai.JPY, Phone: number("1")}
	b := a
	b.ID = "b"
	im := NewImport("program")
	if err := im.AddCustomer(a); err != nil {
		t.Fatal(err)
	}
	if err := im.AddCustomer(b); err == nil || err.Error() != "program: customers: record 2: phone is the same as that of record 1" {
		t.Errorf("a number twice: %v", err)
	}
	_, err := r.Fill(t.Context(), "program", func(f *Filler) error { return errors.Join(f.Customer(a), f.Customer(b)) })
	if err == nil || err.Error() != "program: has a phone twice" {
		t.Errorf("a registry is filled with a number twice: %v", err)
	}
	if _, err := r.Fill(t.Context(), "program", func(f *Filler) error { return f.Customer(a) }); err != nil || who(t, r) != "1a" {
		t.Errorf("%v, %s", err, who(t, r))
	}
	exact(t, r)
}

// A group of changes that goes the way of an import moves numbers as a small one does.
func TestR1_ManyNumbersChange(t *testing.T) {
	r, _ := newRegistry(t)
	n := 2*r.together() + 1
	im, changes := NewImport("program"), make([]Change, n)
	phone := func(i int) string { return fmt.Sprintf("+1%010d", i) }
	for i := range n {
		id, next := customers.ID(fmt.Sprint("c", i)), phone((i+1)%n)
		if err := im.AddCustomer(customers.Customer{ID: id, Name: "x", Currency: kessai.JPY, Phone: phone(i)}); err != nil {
			t.Fatal(err)
		}
		changes[i].Customer = &CustomerChange{ID: id, Phone: &next}
	}
	if _, err := r.Import(t.Context(), im, nil); err != nil {
		t.Fatal(err)
	}
	apply(t, r, changes...) // each the next one's
	if id := holder(t, r, phone(0)); id != customers.ID(fmt.Sprint("c", n-1)) {
		t.Errorf("the number is %q's", id)
	}
	exact(t, r)
	version, taken := r.Version(), phone(5)
	changes[7].Customer.Phone = &taken
	if _, err := r.Apply(t.Context(), changes); err == nil || r.Version() != version {
		t.Errorf("a number is given to two: %v", err)
	}
	empty := ""
	for i := range changes {
		changes[i].Customer.Phone = &empty
	}
	apply(t, r, changes...)
	exact(t, r)
}

// While an import runs, numbers that change are found at once; afterwards the index is
// exact, whatever import and changes made of it.
func TestR1_NumbersDuringAnImport(t *testing.T) {
	for _, step := range []string{"begun", "stage", "staged", "marked", "accounts", "apply", "applied"} {
		t.Run(step, func(t *testing.T) {
			r, err := open(testOptions(t, t.TempDir(), newAccounts()), 1, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			do(t, r, "c.csv", phoneBook("a+1 b+2 c+3 d+4"))
			done := false
			r.step = func(now string) {
				if now != step || done {
					return
				}
				done = true
				apply(t, r, phoneChange(t, "a+5"))
				apply(t, r, phoneChange(t, "b+1"))
				apply(t, r, phoneChange(t, "d"))
				if _, err := r.Apply(t.Context(), []Change{phoneChange(t, "d+5")}); err == nil {
					t.Error("a number is given to a second customer")
				}
				if got := who(t, r); got != "1b 3c 5a" {
					t.Errorf("at %s: %s", now, got)
				}
			}
			do(t, r, "c.csv", phoneBook("a+2 b+9 c+8 d+7 e+3"))
			// On top of the file: a 5, b 1, and d none.
			if got := who(t, r); got != "1b 3e 5a 8c" {
				t.Errorf("afterwards: %s", got)
			}
			if !done {
				t.Error("the import has no such step")
			}
			exact(t, r)
		})
	}
}

// A change gives a number to one customer while an import, which is not in force yet,
// gives it to another: nobody is found by it, rather than the wrong one, until one of
// them gets another.
func TestR1_OneNumberForTwo(t *testing.T) {
	r, err := open(testOptions(t, t.TempDir(), newAccounts()), 1, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	do(t, r, "c.csv", phoneBook("a+1 b+2"))
	r.step = func(now string) {
		if now == "marked" {
			apply(t, r, phoneChange(t, "a+5"))
		}
	}
	do(t, r, "c.csv", phoneBook("b+5"))
	if got := who(t, r); got != "" {
		t.Errorf("found: %s", got)
	}
	exact(t, r)
	if _, err := r.Apply(t.Context(), []Change{change(t, `{"customer":{"id":"a","name":"Other"}}`)}); err != nil {
		t.Errorf("nothing else can be changed: %v", err)
	}
	do(t, r, "c.csv", phoneBook("a+5 c+1"))
	if got := who(t, r); got != "1c" {
		t.Errorf("found: %s", got)
	}
	apply(t, r, phoneChange(t, "a"))
	if got := who(t, r); got != "1c 5b" {
		t.Errorf("found: %s", got)
	}
	exact(t, r)
}

// Random imports and changes, some of them while an import runs, and kills: those who
// are found are those whose records say so, and the index is exact.
func TestR1_NumbersAreExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 1))
	random := func() string {
		one := string(rune('a' + rnd.IntN(6)))
		if n := rnd.IntN(8); n > 0 {
			one += fmt.Sprint("+", n)
		}
		return one
	}
	file := func() string {
		all := make(map[string]string)
		for range 1 + rnd.IntN(4) {
			one := random()
			all[one[:1]] = one
		}
		return strings.Join(slices.Collect(maps.Values(all)), " ")
	}
	o := testOptions(t, t.TempDir(), newAccounts())
	r, err := open(o, 2, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	made, refused := 0, 0
	try := func() {
		_, err := r.Apply(t.Context(), []Change{phoneChange(t, random()), phoneChange(t, random())})
		if _, bad := errors.AsType[*ChangeError](err); err != nil && !bad {
			t.Fatal(err)
		}
		if err != nil {
			refused++
		} else {
			made++
		}
	}
	for range 150 {
		kill, at := rnd.IntN(60), 0
		r.step = func(now string) {
			if at++; at == kill {
				panic(errKilled)
			}
			if slices.Contains([]string{"begun", "stage", "staged", "marked", "apply", "applied"}, now) && rnd.IntN(3) == 0 {
				try()
			}
		}
		survive(func() {
			im, err := ParseImport("c.csv", strings.NewReader(phoneBook(file())))
			if err == nil {
				_, err = r.Import(t.Context(), im, nil)
			}
			if _, bad := errors.AsType[*FileError](err); err != nil && !bad {
				t.Fatal(err)
			}
			try()
		})
		r.step = func(string) {}
		if at >= kill && kill > 0 {
			if err := r.closeFiles(); err != nil {
				t.Fatal(err)
			}
			if r, err = open(o, 2, func(string) {}); err != nil {
				t.Fatal(err)
			}
		}
		exact(t, r)
		owners := make(map[string][]customers.ID)
		for id := range 6 {
			c, _, err := r.Customer(customers.ID(rune('a' + id)))
			if err != nil {
				t.Fatal(err)
			}
			owners[c.Phone] = append(owners[c.Phone], c.ID)
		}
		for n := range 8 {
			want := customers.ID("")
			if ids := owners[number(fmt.Sprint(n))]; len(ids) == 1 {
				want = ids[0]
			}
			if got := holder(t, r, number(fmt.Sprint(n))); got != want {
				t.Fatalf("number %d finds %q, and %q has it", n, got, want)
			}
		}
	}
	if made < 50 || refused < 50 {
		t.Errorf("%d changes were made and %d refused", made, refused)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Of many who ask at once for one number, and so share a write, one gets it.
func TestR1_OneOfManyGetsANumber(t *testing.T) {
	r, _ := newRegistry(t)
	do(t, r, "c.csv", phoneBook("a b c d e f"))
	for _, underWay := range []bool{false, true} {
		if underWay {
			r.hold()
		}
		r.writing <- struct{}{} // so that they wait for one another
		results := make(chan error)
		for _, id := range "abcdef" {
			go func() {
				_, err := r.Apply(context.Background(), []Change{phoneChange(t, string(id)+"+7")})
				results <- err
			}()
		}
		for waiting := 0; waiting < 6; {
			r.queue.mu.Lock()
			waiting = len(r.queue.all)
			r.queue.mu.Unlock()
		}
		<-r.writing
		won := 0
		for range 6 {
			err := <-results
			if _, refused := errors.AsType[*ChangeError](err); err != nil && !refused {
				t.Error(err)
			}
			if err == nil {
				won++
			}
		}
		winner := holder(t, r, number("7"))
		if won != 1 || winner == "" {
			t.Errorf("under way %v: %d have the number, it finds %q", underWay, won, winner)
		}
		if underWay {
			if err := r.fold(); err != nil {
				t.Fatal(err)
			}
		}
		exact(t, r)
		apply(t, r, phoneChange(t, string(winner)))
	}
}
