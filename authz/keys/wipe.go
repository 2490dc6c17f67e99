package keys

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"reflect"
	"unsafe"
)

// What the standard library holds of a private half, as its sources say (Go 1.26):
//
//	ecdh.PrivateKey            privateKey, a copy; with P-256 also fips.d, another
//	mlkem.DecapsulationKey768  key, with both seeds and what is expanded from them
//
// All else that it makes of one stands on the stack. It has no method to overwrite
// these, so they are found by the names of their fields, and proven looks at every
// start whether they are still there.
//
// What cannot be reached is of the message, not of the key: the point of P-256 that
// was agreed on and the secrets that HPKE derives from it stay in freed heap until
// that is used again.

// wipe overwrites all copies, and the secret that was agreed on. It reports whether
// they stood where they should.
func (p *pair) wipe() bool {
	clear(p.curve.secret)
	known := true
	if p.curve.PrivateKey != nil {
		k := reflect.ValueOf(p.curve.PrivateKey).Elem()
		known = wipeSlice(k.FieldByName("privateKey"))
		if inner := k.FieldByName("fips"); inner.Kind() == reflect.Pointer && !inner.IsNil() {
			known = wipeSlice(inner.Elem().FieldByName("d")) && known
		} else if p.curve.Curve() == ecdh.P256() {
			known = false
		}
	}
	if p.mlkem != nil {
		known = wipeStruct(reflect.ValueOf(p.mlkem).Elem().FieldByName("key")) && known
	}
	return known
}

func wipeSlice(v reflect.Value) bool {
	if v.Kind() != reflect.Slice || v.Type().Elem().Kind() != reflect.Uint8 || v.Len() == 0 {
		return false
	}
	clear(unsafe.Slice((*byte)(v.UnsafePointer()), v.Len()))
	return true
}

// wipeStruct overwrites what v points to, if that is made of numbers alone.
func wipeStruct(v reflect.Value) bool {
	if v.Kind() != reflect.Pointer || v.IsNil() || hasPointers(v.Type().Elem()) {
		return false
	}
	clear(unsafe.Slice((*byte)(v.UnsafePointer()), v.Type().Elem().Size()))
	return true
}

func hasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return false
	case reflect.Array:
		return hasPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	}
	return true
}

// proven makes a pair of a private half that is no secret and looks what wipe leaves.
func (s *suite) proven() error {
	p := s.pair(&[privateSize]byte{1, 2, 3})
	if p == nil {
		return errors.New("the standard library makes no private key of 32 bytes")
	}
	known, left := p.wipe(), p.curve.Bytes()
	if s.hybrid {
		left = append(left, p.mlkem.Bytes()...)
	}
	if !known || len(bytes.Trim(left, "\x00")) != 0 {
		return errors.New("private keys cannot be overwritten: the standard library keeps them in a form that is not known here; build with the version of Go that go.mod names")
	}
	return nil
}
