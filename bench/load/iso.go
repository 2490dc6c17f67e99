package load

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"kessai/pos/iso8583"
)

// isoWire speaks ISO 8583. Requests are made by the dialect's own encoder once,
// and after that patched in place; how an answer is laid out is learned from the
// dialect's own decoder, for each form of answer once.
type isoWire struct {
	dialect   *iso8583.Dialect
	framing   iso8583.Framing
	templates [numKinds]template
	header    int // bytes of MTI and first bitmap
	layouts   []layout
	msg       iso8583.Message
}

// spot is where a field lies: n digits or characters from a byte on.
type spot struct {
	at     int
	n      int
	packed bool // two digits in a byte
}

func (s spot) there() bool { return s.n > 0 }

func (s spot) put(b []byte, v uint64) {
	if !s.packed {
		putDigits(b[s.at:s.at+s.n], v)
		return
	}
	for i := s.at + s.n/2 - 1; i >= s.at; i-- {
		d := byte(v % 100)
		b[i] = d/10<<4 | d%10
		v /= 100
	}
}

func (s spot) number(b []byte) (v uint64, ok bool) {
	if s.packed {
		for _, c := range b[s.at : s.at+s.n/2] {
			if c>>4 > 9 || c&15 > 9 {
				return 0, false
			}
			v = v*100 + uint64(c>>4*10+c&15)
		}
		return v, true
	}
	for _, c := range b[s.at : s.at+s.n] {
		if c -= '0'; c > 9 {
			return 0, false
		}
		v = v*10 + uint64(c)
	}
	return v, true
}

// template is a request of one kind, framed, and where its changing fields are.
type template struct {
	frame []byte
	spots [43]spot // by data element; those that change lie below 43
}

// templateFields gives what a request of each kind holds, by data element.
// Values that change are filled with a character that their class allows.
func templateFields(k Kind) (mti string, fields map[int]string) {
	fields = map[int]string{
		3: "000000", 7: digits(10), 11: digits(6), 12: digits(6), 13: digits(4),
		41: strings.Repeat("A", 8), 42: strings.Repeat("A", 15),
	}
	switch k {
	case Balance:
		fields[2], fields[14] = digits(16), Expiry
		fields[3] = "310000"
	case Reversal:
		fields[4], fields[49], fields[37] = digits(12), currency, digits(12)
		return "0400", fields
	default:
		fields[2], fields[14] = digits(16), Expiry
		fields[4], fields[49] = digits(12), currency
	}
	return "0200", fields
}

func digits(n int) string { return strings.Repeat("1", n) }

var changing = []int{2, 4, 7, 11, 12, 13, 37, 41, 42}

func newISOWire(d *iso8583.Dialect, f iso8583.Framing) (*isoWire, error) {
	w := &isoWire{dialect: d, framing: f}
	empty := iso8583.Message{MTI: iso8583.MTI([]byte("0200"))}
	b, err := d.Append(nil, &empty)
	if err != nil {
		return nil, err
	}
	w.header = len(b)
	for k := range numKinds {
		if err := w.makeTemplate(k); err != nil {
			return nil, fmt.Errorf("dialect %s cannot write a %s: %w", d.Name(), k, err)
		}
	}
	return w, nil
}

func (w *isoWire) makeTemplate(k Kind) error {
	mti, fields := templateFields(k)
	m := iso8583.Message{MTI: iso8583.MTI([]byte(mti))}
	for f, v := range fields {
		m.SetString(f, v)
	}
	tpdu := iso8583.TPDU{0x60}
	encode := func() ([]byte, error) { return w.framing.AppendMessage(nil, tpdu, w.dialect, &m) }
	t := &w.templates[k]
	var err error
	if t.frame, err = encode(); err != nil {
		return err
	}
	for _, f := range changing {
		if v := fields[f]; v != "" {
			if t.spots[f], err = locate(&m, f, encode); err != nil {
				return err
			}
			m.SetString(f, v)
		}
	}
	return nil
}

var errLayout = errors.New("the field is not written in digits or characters of a fixed place")

// locate finds where a field is written by writing it twice, differently.
func locate(m *iso8583.Message, field int, encode func() ([]byte, error)) (spot, error) {
	n := len(m.Get(field))
	m.SetString(field, strings.Repeat("1", n))
	a, err := encode()
	if err != nil {
		return spot{}, err
	}
	m.SetString(field, strings.Repeat("2", n))
	b, err := encode()
	if err != nil {
		return spot{}, err
	}
	if len(a) != len(b) {
		return spot{}, errLayout
	}
	first, last := -1, 0
	for i := range a {
		if a[i] != b[i] {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	s := spot{at: first, n: n, packed: n != last-first+1}
	if first < 0 || s.packed && n != 2*(last-first+1) {
		return spot{}, errLayout
	}
	return s, nil
}

func (w *isoWire) tick(now time.Time) {
	now = now.UTC()
	date := uint64(now.Month())*100 + uint64(now.Day())
	clock := uint64(now.Hour()*10000 + now.Minute()*100 + now.Second())
	for k := range w.templates {
		t := &w.templates[k]
		t.spots[7].put(t.frame, date*1e6+clock)
		t.spots[12].put(t.frame, clock)
		t.spots[13].put(t.frame, date)
	}
}

func (w *isoWire) request(dst []byte, r *request) []byte {
	t := &w.templates[r.kind]
	at := len(dst)
	dst = append(dst, t.frame...)
	b := dst[at:]
	t.spots[11].put(b, uint64(r.stan))
	copy(b[t.spots[41].at:], r.at.terminal)
	copy(b[t.spots[42].at:], r.at.merchant)
	if r.kind != Reversal {
		t.spots[2].put(b, pan(r.card))
	} else {
		t.spots[37].put(b, r.original)
	}
	if r.kind != Balance {
		t.spots[4].put(b, uint64(r.amount))
	}
	return dst
}

// layout is where the fields lie in one form of answer: one with the same type,
// fields and length. What lies in front of DE39 has a fixed length, or the length
// that we sent it with.
type layout struct {
	header          []byte
	size            int
	slow            bool // the form cannot be told by its place: decode each
	stan, code, rrn spot
}

func (w *isoWire) reply(buf []byte, r *reply) (int, error) {
	at, size, err := frameBounds(w.framing, buf)
	if err != nil || size == 0 {
		return 0, err
	}
	body := buf[at:size]
	if len(body) < w.header {
		return 0, errors.New("an answer is too short to be one")
	}
	l := w.layoutOf(body)
	if l == nil {
		if l, err = w.learn(body); err != nil {
			return 0, fmt.Errorf("an answer cannot be read: %w", err)
		}
	}
	if l.slow {
		return size, w.decode(body, r)
	}
	return size, l.read(body, r)
}

func (w *isoWire) layoutOf(body []byte) *layout {
	for i := range w.layouts {
		l := &w.layouts[i]
		if l.size == len(body) && bytes.Equal(l.header, body[:len(l.header)]) {
			return l
		}
	}
	return nil
}

var errReply = errors.New("an answer has no STAN, or a number that is none")

func (l *layout) read(body []byte, r *reply) error {
	stan, ok := l.stan.number(body)
	r.stan, r.code, r.rrn = uint32(stan), -1, 0
	if ok && l.code.there() {
		var code uint64
		code, ok = l.code.number(body)
		r.code = int8(code)
	}
	if ok && l.rrn.there() {
		r.rrn, ok = l.rrn.number(body)
	}
	if !ok {
		return errReply
	}
	return nil
}

// maxLayouts bounds what is learned; a server that goes on inventing forms is
// decoded.
const maxLayouts = 32

// learn reads one answer with the dialect's decoder and notes where things are.
func (w *isoWire) learn(body []byte) (*layout, error) {
	m := &w.msg
	if err := w.dialect.Decode(m, body); err != nil {
		return nil, err
	}
	if !m.Has(11) {
		return nil, errReply
	}
	l := layout{header: bytes.Clone(body[:w.header]), size: len(body), slow: len(w.layouts) >= maxLayouts}
	for f := range m.Fields {
		switch f {
		case 2, 3, 4, 7, 11, 12, 13, 14, 32, 37, 38, 39, 41, 42, 49, 54, 90: // fixed, or as we sent it, or behind DE39
		default:
			l.slow = true
		}
	}
	encode := func() ([]byte, error) { return w.dialect.Append(nil, m) }
	if again, err := encode(); err != nil || !bytes.Equal(again, body) {
		l.slow = true
	}
	for f, s := range map[int]*spot{11: &l.stan, 39: &l.code, 37: &l.rrn} {
		if !m.Has(f) || l.slow {
			continue
		}
		was := string(m.Get(f))
		var err error
		if *s, err = locate(m, f, encode); err != nil {
			l.slow = true
		}
		m.SetString(f, was)
	}
	if len(w.layouts) >= maxLayouts {
		return &l, nil
	}
	w.layouts = append(w.layouts, l)
	return &w.layouts[len(w.layouts)-1], nil
}

func (w *isoWire) decode(body []byte, r *reply) error {
	m := &w.msg
	if err := w.dialect.Decode(m, body); err != nil {
		return fmt.Errorf("an answer cannot be read: %w", err)
	}
	plain := func(f int) (uint64, bool) {
		v := m.Get(f)
		n, ok := spot{n: len(v)}.number(v)
		return n, ok && len(v) > 0
	}
	stan, ok := plain(11)
	*r = reply{stan: uint32(stan), code: -1}
	if code, there := plain(39); there {
		r.code = int8(code)
	}
	if rrn, there := plain(37); there {
		r.rrn = rrn
	}
	if !ok {
		return errReply
	}
	return nil
}

// frameBounds gives where the message of the first frame in buf begins and ends;
// zero where it is not there whole.
func frameBounds(f iso8583.Framing, buf []byte) (at, end int, err error) {
	head := 2
	if f.Length == iso8583.ASCII4 {
		head = 4
	}
	if len(buf) < head {
		return 0, 0, nil
	}
	var n uint64
	ok := true
	switch f.Length {
	case iso8583.Binary2:
		n = uint64(buf[0])<<8 | uint64(buf[1])
	case iso8583.ASCII4:
		n, ok = spot{n: 4}.number(buf)
	default:
		n, ok = spot{n: 4, packed: true}.number(buf)
	}
	if !ok {
		return 0, 0, iso8583.ErrFrameLength
	}
	end = int(n)
	if !f.Inclusive {
		end += head
	}
	if at = head; f.TPDU {
		at += len(iso8583.TPDU{})
	}
	if end <= at {
		return 0, 0, iso8583.ErrFrameEmpty
	}
	if len(buf) < end {
		return 0, 0, nil
	}
	return at, end, nil
}
