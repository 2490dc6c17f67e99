package keys

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// TestR8_AllRefusalsTakeTheSameTime: how long a refusal takes does not tell its
// cause. The causes take turns, so that what else the machine does meets all alike.
func TestR8_AllRefusalsTakeTheSameTime(t *testing.T) {
	const rounds, within = 301, 1.5
	for _, s := range suites {
		k := s.keeper(t, 10)
		first := issue(t, k)
		sealed := seal(t, first, "card", 512)
		enc := k.suite.encSize
		flip := func(at int) []byte {
			b := bytes.Clone(sealed)
			b[at] ^= 1
			return b
		}
		yes, no := func() bool { return true }, func() bool { return false }
		causes := []struct {
			name, info string
			sealed     []byte
			check      func() bool
			took       []time.Duration
		}{
			{name: "tag", info: "card", sealed: flip(len(sealed) - 1), check: yes},
			{name: "ciphertext", info: "card", sealed: flip(enc + 100), check: yes},
			{name: "encapsulated key, at its begin", info: "card", sealed: flip(0), check: yes},
			{name: "encapsulated key, at its end", info: "card", sealed: flip(enc - 1), check: yes},
			{name: "another step", info: "pin", sealed: sealed, check: yes},
			{name: "no key at all", info: "card", sealed: append(make([]byte, enc), sealed[enc:]...), check: yes},
			{name: "low order", info: "card", sealed: append(append(bytes.Clone(sealed[:enc-32]), make([]byte, 32)...), sealed[enc:]...), check: yes},
			{name: "signature", info: "card", sealed: sealed, check: no},
		}
		for range rounds {
			for i := range causes {
				c := &causes[i]
				key := again(t, first)
				began := time.Now()
				err := key.Open([]byte(c.info), c.sealed, "", c.check, nothing)
				c.took = append(c.took, time.Since(began))
				if err != ErrRefused {
					t.Fatalf("%s: %v", c.name, err)
				}
			}
		}
		shortest, longest := time.Hour, time.Duration(0)
		for _, c := range causes {
			slices.Sort(c.took)
			median := c.took[rounds/2]
			t.Logf("%s, %s: median %v", s.name, c.name, median)
			shortest, longest = min(shortest, median), max(longest, median)
		}
		if float64(longest) > within*float64(shortest) {
			t.Errorf("%s: refusals take %v to %v by their cause, more than %v times", s.name, shortest, longest, within)
		}
	}
}
