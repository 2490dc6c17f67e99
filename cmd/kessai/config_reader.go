package main

import (
	"fmt"
	"time"

	"kessai/pos/tether"
)

// ReaderConfig is everything about payments with card readers that hang on
// customers' phones.
type ReaderConfig struct {
	ApproveTimeout time.Duration `yaml:"approve_timeout"`
	CardTimeout    time.Duration `yaml:"card_timeout"`
	PINTimeout     time.Duration `yaml:"pin_timeout"`
	MaxKeys        int           `yaml:"max_keys"`
	Suite          string        `yaml:"suite"`
	PINTries       int           `yaml:"pin_tries"`
}

// The bounds of what can be set for readers. Readers are told whole seconds, and
// the three waits follow each other, with the customer's money held all the while.
const (
	minReaderTimeout = time.Second
	maxReaderTimeout = 5 * time.Minute
	maxReaderKeys    = 100_000 // their memory is locked: 12.8 MB
)

func (r *ReaderConfig) validate() (errs []error) {
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("reader."+key+": "+format, args...))
	}
	for _, w := range []struct {
		key string
		d   time.Duration
	}{{"approve_timeout", r.ApproveTimeout}, {"card_timeout", r.CardTimeout}, {"pin_timeout", r.PINTimeout}} {
		if w.d < minReaderTimeout || w.d > maxReaderTimeout || w.d%time.Second != 0 {
			bad(w.key, "must be %s to %s, in whole seconds", short(minReaderTimeout), short(maxReaderTimeout))
		}
	}
	if _, ok := tether.ParseSuite(r.Suite); !ok {
		bad("suite", "must be p256 or mlkem768-x25519")
	}
	if r.MaxKeys < 1 || r.MaxKeys > maxReaderKeys {
		bad("max_keys", "must be 1 to %d", maxReaderKeys)
	}
	if r.PINTries < 1 || r.PINTries > 10 {
		bad("pin_tries", "must be 1 to 10")
	}
	return errs
}
