package iso8583

import (
	"bytes"
	"errors"
	"testing"
)

func TestPrivate(t *testing.T) {
	field := AppendPrivate(AppendPrivate(nil, PrivateDialogue, []byte("0123")), PrivateState, nil)
	if string(field) != "DI0040123MS000" {
		t.Fatalf("written as %q", field)
	}
	for tag, want := range map[string]string{PrivateDialogue: "0123", PrivateState: ""} {
		if got, ok, err := Private(field, tag); err != nil || !ok || string(got) != want {
			t.Errorf("%s: %q, %v, %v", tag, got, ok, err)
		}
	}
	if _, ok, err := Private(field, PrivateOrder); ok || err != nil {
		t.Errorf("one that is not there: %v, %v", ok, err)
	}
	for _, bad := range []string{"D", "DI00", "DI005abcd", "DI0x1a", "DI-01", "DI001aDI001b", "DI001aMS"} {
		if _, _, err := Private([]byte(bad), PrivateDialogue); !errors.Is(err, ErrPrivate) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzPrivate holds that what is read whole is what was written, element by
// element.
func FuzzPrivate(f *testing.F) {
	f.Add([]byte("DI0040123MS000"))
	f.Add([]byte("DI999"))
	f.Fuzz(func(t *testing.T, field []byte) {
		if _, _, err := Private(field, ""); err != nil {
			return
		}
		var again []byte
		for rest := field; len(rest) > 0; rest = field[len(again):] {
			value, ok, err := Private(field, string(rest[:2]))
			if err != nil || !ok {
				t.Fatalf("element %q: %v, %v", rest[:2], ok, err)
			}
			again = AppendPrivate(again, string(rest[:2]), value)
		}
		if !bytes.Equal(again, field) {
			t.Errorf("%q became %q", field, again)
		}
	})
}
