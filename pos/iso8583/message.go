package iso8583

import (
	"fmt"
	"slices"
)

// Message is one message: its type and its fields. The zero value is an empty
// message. It is made to be used again and again; keep it in a pool. It is not
// safe for use from several goroutines at once.
type Message struct {
	MTI MTI

	// SecondaryBitmap says that the message came with a secondary bitmap, or is
	// to be written with one although no field needs it. Terminals that always
	// send one want to see one.
	SecondaryBitmap bool

	set  fieldSet // the fields that are there
	vals [maxField + 1][]byte
	own  []byte // holds the values that are no views into a frame
	err  error  // of a Set that cannot be
}

// Reason says what is wrong with a field.
type Reason uint8

// The reasons for refusing a field.
const (
	Truncated  Reason = iota + 1 // the message ends before the field does
	BadLength                    // the length is no number, or out of range for the field
	BadContent                   // a character that the field may not hold
	Undefined                    // the dialect does not define the field
	Trailing                     // bytes follow the last field
)

var reasons = [...]string{"unknown", "the message ends inside it", "its length is not allowed",
	"it holds characters that are not allowed", "the dialect does not define it", "bytes follow the last field"}

func (r Reason) String() string { return reasons[int(r)%len(reasons)] }

// FieldError says which field of a message is wrong and why. It never holds
// anything of the field's content. Field 0 is the MTI, 1 the bitmap; for
// [Trailing] it is the last field of the message.
type FieldError struct {
	Field  int
	Reason Reason
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("field %d: %s", e.Field, e.Reason)
}

// ownSize holds the values of any usual message; longer ones make it grow.
const ownSize = 1024

// Reset empties the message and wipes what it copied.
func (m *Message) Reset() {
	for f := range m.Fields {
		m.vals[f] = nil
	}
	clear(m.own)
	m.own = m.own[:0]
	if m.own == nil {
		m.own = make([]byte, 0, ownSize)
	}
	m.MTI, m.SecondaryBitmap, m.set, m.err = MTI{}, false, fieldSet{}, nil
}

// Get gives the value of a field as the standard writes it: digits, text, or
// bytes for binary and structured fields, fixed-length ones in full length with
// their padding. It is nil when the field is not there. The bytes stay valid
// until the message is used again or the frame it was decoded from changes;
// they must not be written to.
func (m *Message) Get(field int) []byte {
	if uint(field) > maxField {
		return nil
	}
	return m.vals[field]
}

// Has reports whether the field is there and could be read. An empty field of
// variable length is there.
func (m *Message) Has(field int) bool {
	return field > 1 && field <= maxField && m.set.has(field)
}

// Set gives a field a value, which is copied. Whether the value fits the field
// shows when the message is written ([Dialect.Append]).
func (m *Message) Set(field int, value []byte) {
	if v := m.room(field, len(value)); v != nil {
		copy(v, value)
	}
}

// SetString is [Message.Set] for text.
func (m *Message) SetString(field int, value string) {
	if v := m.room(field, len(value)); v != nil {
		copy(v, value)
	}
}

// Echo gives a field the value that it has in another message, if it is there.
// The bytes are shared, not copied: the other message, and the frame that it was
// decoded from, must last as long as this one.
func (m *Message) Echo(from *Message, field int) {
	if from.Has(field) {
		m.put(field, from.vals[field])
	}
}

// Unset takes a field out of the message.
func (m *Message) Unset(field int) {
	if m.Has(field) {
		m.set.remove(field)
		m.vals[field] = nil
	}
}

// Fields gives the numbers of the fields that are there, in ascending order.
// It has the shape of an iterator: for f := range m.Fields.
func (m *Message) Fields(yield func(field int) bool) { m.set.each(yield) }

// ReplyTo makes m the answer to a request: empty but for the type of the answer
// and the form of the bitmap. It is false where no answer can exist (see
// [MTI.Reply]).
func (m *Message) ReplyTo(request *Message) bool {
	m.Reset()
	var ok bool
	m.MTI, ok = request.MTI.Reply()
	m.SecondaryBitmap = request.SecondaryBitmap
	return ok
}

// room makes place for the value of a field and notes that the field is there.
func (m *Message) room(field, n int) []byte {
	if field < 2 || field > maxField || field == 65 {
		if m.err == nil {
			m.err = &FieldError{field, Undefined}
		}
		return nil
	}
	if m.own == nil {
		m.own = make([]byte, 0, ownSize)
	}
	at := len(m.own)
	m.own = slices.Grow(m.own, n)[:at+n]
	m.put(field, m.own[at:at+n:at+n])
	return m.vals[field]
}

func (m *Message) put(field int, v []byte) {
	m.vals[field] = v
	m.set.add(field)
}
