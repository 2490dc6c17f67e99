package merchants

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is staged comes out whole, and in the order of keys, whether it was
// written in one run or in many.
func TestStagedRecordsComeOutSorted(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, limit := range []int{1, 300, 1 << 20} {
		for _, n := range []int{0, 1, 2, 500} {
			dir := t.TempDir()
			w, err := createStaged(dir, limit)
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[string]string)
			for len(want) < n {
				key, value := fmt.Sprintf("%x", rnd.Uint64N(1<<rnd.Uint64N(60)+10_000)), fmt.Sprintf("%0*d", rnd.IntN(9), rnd.IntN(9))
				if _, twice := want[key]; twice {
					continue
				}
				want[key] = value
				if err := w.add([]byte(key), []byte(value)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(w.end(new(state)), decide(dir)); err != nil {
				t.Fatal(err)
			}
			if runs := len(w.Runs); n > 0 && (limit == 1) != (runs == n) && n > 1 || n == 500 && limit == 300 && runs < 10 {
				t.Errorf("%d records in runs of %d bytes are in %d runs", n, limit, runs)
			}
			plain, order := make(map[string]string), []string(nil)
			errs := []error{
				w.each(filepath.Join(dir, stagedName), func(key, value []byte) error { plain[string(key)] = string(value); return nil }),
				w.sorted(filepath.Join(dir, stagedName), func(key, _ []byte) error { order = append(order, string(key)); return nil }),
			}
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, plain); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if keys := slices.Sorted(maps.Keys(want)); !slices.Equal(keys, order) {
				t.Errorf("%d records out of order, or not all of %d", len(order), n)
			}
			full := errors.New("the disk is full")
			for name, read := range map[string]func(string, func(_, _ []byte) error) error{"each": w.each, "sorted": w.sorted} {
				if err := read(filepath.Join(dir, stagedName), func(_, _ []byte) error { return full }); n > 0 && !errors.Is(err, full) {
					t.Errorf("%s does not pass an error on: %v", name, err)
				}
			}
			if err := errors.Join(dropStaged(dir), dropStaged(dir)); err != nil {
				t.Error(err)
			}
			if err := w.each(filepath.Join(dir, stagedName), nil); !errors.Is(err, ErrDamaged) {
				t.Errorf("what was dropped is read: %v", err)
			}
		}
	}
}

// Whatever byte of what is staged turns over, or where it is cut: it is noticed.
func TestStagedDamageIsNoticed(t *testing.T) {
	dir := t.TempDir()
	w, err := createStaged(dir, 20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := w.add([]byte{byte(9 - i)}, []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.end(new(state)), decide(dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, stagedName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := decided(dir)
		if err == nil {
			err = w.each(filepath.Join(dir, stagedName), func(_, _ []byte) error { return nil })
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v; want ErrDamaged", what, err)
		}
		_ = w.sorted(filepath.Join(dir, stagedName), func(_, _ []byte) error { return nil }) // may not notice, and must not break
	}
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 1 << (i % 8)
		check(fmt.Sprintf("bit of byte %d", i), b)
		check(fmt.Sprintf("cut at %d", i), whole[:i])
	}
	check("longer", append(slices.Clone(whole), whole...))
	if err := w.add(make([]byte, 1<<16), nil); err == nil {
		t.Error("a key of 64 KiB is taken")
	}
}
