package card

import (
	"crypto/aes"
	"reflect"
	"testing"
)

// TestCipherIsWiped: crypto/aes keeps the key's schedule in one place, which can be
// overwritten. A version of Go that does otherwise is noticed here.
func TestCipherIsWiped(t *testing.T) {
	c, err := aes.NewCipher([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(c)
	if v.Kind() != reflect.Pointer || v.Elem().IsZero() {
		t.Fatalf("the cipher is a %v", v.Kind())
	}
	if wipeCipher(c); !v.Elem().IsZero() {
		t.Error("there is something left of the key")
	}
}
