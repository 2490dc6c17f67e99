package keys

import (
	"bytes"
	"testing"
)

// FuzzOpen: no bytes from outside open, but those that were sealed for the key.
func FuzzOpen(f *testing.F) {
	type one struct {
		key    *Key
		sealed []byte
	}
	var all []one
	for i, s := range suites {
		key := issue(f, s.keeper(f, 100))
		sealed := seal(f, key, "card", 16)
		all = append(all, one{key, sealed})
		f.Add(i == 1, []byte("card"), sealed)
		f.Add(i == 1, []byte("pin"), sealed[:len(sealed)-1])
		f.Add(i == 1, []byte{}, make([]byte, len(sealed)))
	}
	f.Add(false, []byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, hybrid bool, info, sealed []byte) {
		o := all[0]
		if hybrid {
			o = all[1]
		}
		key := again(t, o.key)
		defer key.Destroy()
		err := key.Open(info, sealed, "", nil, nothing)
		if genuine := string(info) == "card" && bytes.Equal(sealed, o.sealed); genuine != (err == nil) || err != nil && err != ErrRefused {
			t.Errorf("%v, for a message that is genuine: %v", err, genuine)
		}
		if key.lives() != (err == nil) {
			t.Error("the key lives after a refusal, or does not after an opening")
		}
	})
}
