package merchants

import (
	"bytes"
	"errors"
	"fmt"
)

// hold has changes from now on go beside the records, until fold: an import is
// about to look at the records, and to replace some.
func (r *Registry) hold() {
	r.writing <- struct{}{}
	r.setUnderWay(true)
	<-r.writing
}

// setUnderWay takes viewing besides writing, so that whoever has either may read
// it. A view that has an older registry than the last fold then knows to look for
// changes, too.
func (r *Registry) setUnderWay(is bool) {
	r.viewing.Lock()
	defer r.viewing.Unlock()
	r.underWay = is
}

// fold puts the changes that came while an import ran into their records, on top
// of what it brought: a card that was reported stolen meanwhile stays so. Nobody
// sees a difference, since the changes are in force already. An error leaves them
// where they are, and in force.
func (r *Registry) fold() error {
	r.writing <- struct{}{}
	defer func() { <-r.writing }()
	for {
		n, err := r.foldSome()
		if err == nil && n == 0 {
			n, err = r.dropLaterNumbers()
		}
		if err != nil {
			return fmt.Errorf("the changes that came during the import are in force, but could not be put in their places: %w", err)
		}
		if n == 0 {
			r.setUnderWay(false)
			return nil
		}
		r.step("folded")
	}
}

var errEnough = errors.New("enough")

// foldSome does so for as many as fit into a transaction, and says how many.
func (r *Registry) foldSome() (n int, err error) {
	err = r.view(func(v reading) error {
		t, err := r.begin(v)
		if err != nil {
			return err
		}
		defer t.txn.Discard()
		together := r.together() / 2 // each is two records, and two numbers at most, which are short
		numbers := newRenumbering(v)
		err = each(v.top, laterPrefix, func(later, value []byte) error {
			key := append([]byte(nil), later[len(laterPrefix):]...)
			p, err := decodePatch(value)
			if err != nil {
				return err
			}
			base, err := getValue(v.base, key)
			if err != nil {
				return err
			}
			if base == nil {
				return fmt.Errorf("%w: a change is there for a record that is not", ErrDamaged)
			}
			now, err := p.apply(key, base)
			if err != nil {
				return err
			}
			t.replace(key, base, now)
			t.replace(laterKey(key), append([]byte(nil), value...), nil)
			if err := numbers.record(string(key), base, now); err != nil {
				return err
			}
			if n++; n >= together {
				return errEnough
			}
			return t.err
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		numbers.write(t)
		return t.commit(new(news), true)
	})
	return n, err
}

// dropLaterNumbers takes away what stood beside the index of phone numbers, which has
// it all once the changes are in their places.
func (r *Registry) dropLaterNumbers() (n int, err error) {
	err = r.view(func(v reading) error {
		t, err := r.begin(v)
		if err != nil {
			return err
		}
		defer t.txn.Discard()
		err = each(v.top, laterNumberPrefix, func(key, value []byte) error {
			t.replace(bytes.Clone(key), bytes.Clone(value), nil)
			if n++; n >= r.together() {
				return errEnough
			}
			return t.err
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		return t.commit(new(news), true)
	})
	return n, err
}
