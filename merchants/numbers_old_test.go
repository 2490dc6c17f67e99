package merchants

import (
	"errors"
	"strings"
	"testing"

	"kessai"
	"kessai/customers"
)

// withoutIndex makes the registry one from before numbers were indexed.
func withoutIndex(t *testing.T, r *Registry, change func(*transaction)) {
	t.Helper()
	err := r.view(func(v reading) error {
		r.writing <- struct{}{}
		defer func() { <-r.writing }()
		tx, err := r.begin(v)
		if err != nil {
			return err
		}
		defer tx.txn.Discard()
		for key, value := range dump(t, r.db) {
			if strings.HasPrefix(key, numberPrefix) {
				tx.replace([]byte(key), []byte(value), nil)
			}
		}
		tx.meta.Phones, tx.changed = false, true
		change(tx)
		return tx.commit(new(news), true)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A registry from before numbers were indexed gets its index when it is opened, also
// after a kill at any step of that. What two customers share finds nobody.
func TestR1_OldRegistriesAreIndexed(t *testing.T) {
	for kill := 0; ; kill++ {
		o := testOptions(t, t.TempDir(), newAccounts())
		r, err := OpenRegistry(o)
		if err != nil {
			t.Fatal(err)
		}
		do(t, r, "c.csv", phoneBook("a+1 b+2 c+3 d e+9"))
		withoutIndex(t, r, func(tx *transaction) {
			shared := customers.Customer{ID: "c", Name: "Name", Currency: kessai.JPY, Phone: number("2")}
			plain := customers.Customer{ID: "e", Name: "Name", Currency: kessai.JPY}
			dump := dump(t, r.db)
			for _, c := range []customers.Customer{shared, plain} {
				tx.replace(customers.Key(c.ID), []byte(dump[string(customers.Key(c.ID))]), c.Encode())
			}
			stale := numberKey(number("8")) // as a later version left it, before the older one changed the rest
			tx.replace(stale, nil, []byte("a"))
		})
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		at := ""
		if kill > 0 {
			survive(func() {
				killed, err := openFiles(o, 1, killer(kill, &at))
				if err != nil {
					t.Fatal(err)
				}
				defer killed.closeFiles()
				if err := killed.recover(); err != nil {
					t.Error(err)
				}
				if err := killed.indexNumbers(); err != nil {
					t.Error(err)
				}
			})
		}
		if r, err = OpenRegistry(o); err != nil {
			t.Fatalf("killed at %q: %v", at, err)
		}
		version := r.Version()
		if got := who(t, r); got != "1a" || version != 3 {
			t.Errorf("killed at %q: %s, version %d", at, got, version)
		}
		exact(t, r)
		do(t, r, "c.csv", phoneBook("c+3"))
		if got := who(t, r); got != "1a 2b 3c" {
			t.Errorf("killed at %q: %s", at, got)
		}
		exact(t, r)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err = OpenRegistry(o); err != nil || r.Version() != version+1 {
			t.Errorf("opened once more: version %d, %v", r.Version(), err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if kill > 0 && at == "" {
			if kill < 8 {
				t.Errorf("only %d steps", kill)
			}
			return
		}
	}
}

// An import that a version without an index decided, and this one carries out, has no
// entries for it.
func TestR1_OldImportsAreIndexed(t *testing.T) {
	o := testOptions(t, t.TempDir(), newAccounts())
	r, err := OpenRegistry(o)
	if err != nil {
		t.Fatal(err)
	}
	do(t, r, "c.csv", phoneBook("a+1 b+2"))
	c := customers.Customer{ID: "c", Name: "Name", Currency: kessai.JPY, Phone: number("3")}
	file, err := createStaged(r.dir, stagedRun)
	if err != nil {
		t.Fatal(err)
	}
	st := state{ID: digest{1}, Counts: Counts{Customers: 1}}
	st.Change.mix(customers.Key(c.ID), c.Encode())
	if err := errors.Join(file.add(customers.Key(c.ID), c.Encode()), file.end(&st), decide(r.dir), r.closeFiles()); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenRegistry(o); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := who(t, r); got != "1a 2b 3c" {
		t.Error(got)
	}
	exact(t, r)
}
