package iso8583

import (
	"errors"
	"fmt"
	"slices"

	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/field"
)

// Dialect is one way of writing messages. It never changes once it is compiled
// and may be used from many goroutines at once.
type Dialect struct {
	name   string
	spec   *iso8583.MessageSpec
	mti    entry
	bitmap bitmapForm
	fields [maxField + 1]entry
}

// bitmapForm says how the bitmaps are written.
type bitmapForm struct {
	hex   bool // two hexadecimal digits for a byte
	wide  bool // the first bitmap has 16 bytes, whatever its first bit says
	fixed bool // the first bit announces nothing
}

// Name gives the name under which configuration speaks of the dialect.
func (d *Dialect) Name() string { return d.name }

// Spec gives the message specification that the dialect was compiled from. It
// must not be changed.
func (d *Dialect) Spec() *iso8583.MessageSpec { return d.spec }

// Describe gives the specification's words for a field; empty where the dialect
// does not define it.
func (d *Dialect) Describe(field int) string {
	if f := d.spec.Fields[field]; f != nil {
		return f.Spec().Description
	}
	return ""
}

// ByName gives a built-in dialect.
func ByName(name string) (*Dialect, bool) {
	i := slices.IndexFunc(builtIn, func(d *Dialect) bool { return d.name == name })
	if i < 0 {
		return nil, false
	}
	return builtIn[i], true
}

// BuiltIn gives the dialects that need no file, the default first.
func BuiltIn() []*Dialect { return slices.Clone(builtIn) }

// Compile makes a dialect of a message specification. It fails where fields
// could not be told apart: no MTI, or a bitmap that is not 8 or 16 bytes, raw
// or in hexadecimal digits.
func Compile(name string, spec *iso8583.MessageSpec) (*Dialect, error) {
	d := &Dialect{name: name, spec: spec}
	if err := spec.Validate(); err != nil {
		return nil, fmt.Errorf("dialect %s: %w", name, err)
	}
	var err error
	if d.bitmap, err = compileBitmap(spec.Fields[1].(*field.Bitmap)); err != nil {
		return nil, fmt.Errorf("dialect %s: %w", name, err)
	}
	d.mti = compileField(spec.Fields[0], classN)
	if d.mti.moov != nil || d.mti.length != fixedLength || d.mti.max != 4 {
		return nil, fmt.Errorf("dialect %s: field 0 (MTI) must be four digits in ASCII or BCD", name)
	}
	for n, f := range spec.Fields {
		if n < 0 || n > maxField {
			return nil, fmt.Errorf("dialect %s: field %d: only fields 0 to %d can be used", name, n, maxField)
		}
		if n > 1 && n != 65 && f.Spec() != nil { // bit 65 announces a third bitmap
			d.fields[n] = compileField(f, classes[n])
		}
	}
	return d, nil
}

func compileBitmap(b *field.Bitmap) (bitmapForm, error) {
	s := b.Spec()
	form := bitmapForm{wide: s.Length == 16, fixed: s.DisableAutoExpand}
	switch s.Enc {
	case encoding.Binary:
	case encoding.BytesToASCIIHex:
		form.hex = true
	default:
		return form, errors.New("field 1 (bitmap) must be encoded as Binary or HexToASCII")
	}
	if s.Length != 0 && s.Length != 8 && s.Length != 16 {
		return form, errors.New("field 1 (bitmap) must have 8 or 16 bytes")
	}
	return form, nil
}
