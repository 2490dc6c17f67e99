package iso8583

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// LengthForm says how the length in front of each frame is written.
type LengthForm uint8

// The forms of the length.
const (
	Binary2 LengthForm = iota // two bytes, most significant first
	ASCII4                    // four digits
	BCD2                      // four digits packed into two bytes
)

var lengthForms = [...]struct {
	name      string
	size, max int
}{{"binary2", 2, 0xffff}, {"ascii4", 4, 9999}, {"bcd2", 2, 9999}}

func (l LengthForm) String() string { return lengthForms[int(l)%len(lengthForms)].name }

// ParseLengthForm reads the name that [LengthForm.String] gives.
func ParseLengthForm(s string) (LengthForm, error) {
	for i, f := range lengthForms {
		if f.name == s {
			return LengthForm(i), nil
		}
	}
	return 0, errors.New("the form of the frame length must be binary2, ascii4 or bcd2")
}

// Framing says how one message is told from the next on a connection. The zero
// value is the default: two bytes that do not count themselves, no TPDU.
type Framing struct {
	Length    LengthForm
	Inclusive bool // the length counts its own bytes too
	TPDU      bool // five bytes of transport header come before each message
}

// TPDU is the transport header of packed terminals: 60, destination, source.
type TPDU [5]byte

// Swapped gives the header of the reply: destination and source change places.
func (t TPDU) Swapped() TPDU { return TPDU{t[0], t[3], t[4], t[1], t[2]} }

// tpduID is the first byte of every TPDU of this kind.
const tpduID = 0x60

// The errors of framing. After any of them the connection cannot be used
// further: nobody knows where the next frame begins.
var (
	ErrFrameEmpty  = errors.New("frame holds no message")
	ErrFrameLength = errors.New("frame length is no decimal number")
	ErrFrameTPDU   = errors.New("frame does not begin with a TPDU of kind 60")
	ErrFrameTooBig = errors.New("frame is too long")
)

// Frame is one message as it came, not yet decoded.
type Frame struct {
	TPDU TPDU // zero where the framing has none
	Body []byte
}

// FrameReader reads frames off a connection.
type FrameReader struct {
	r       *bufio.Reader
	framing Framing
	max     int
	tpdu    TPDU // a Frame on the caller's stack would escape to the heap when read into
}

// NewFrameReader makes a reader for messages of at most max bytes, TPDU not
// counted. It never holds more memory than that for a frame.
func NewFrameReader(r io.Reader, f Framing, max int) *FrameReader {
	return &FrameReader{r: bufio.NewReaderSize(r, 4096), framing: f, max: max}
}

// Next waits for the next frame. Its body lies in buf where it has the capacity,
// and in new memory of just its size where not. The error is io.EOF when the
// connection ended between two frames, io.ErrUnexpectedEOF when it ended inside
// one, one of the errors of framing, or what the connection said.
func (r *FrameReader) Next(buf []byte) (Frame, error) {
	form := lengthForms[r.framing.Length]
	b, err := r.r.Peek(form.size)
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	n, err := r.framing.body(b, r.max)
	if err != nil {
		return Frame{}, err
	}
	if _, err := r.r.Discard(form.size); err != nil {
		return Frame{}, err
	}
	var f Frame
	if r.framing.TPDU {
		if err := r.read(r.tpdu[:]); err != nil {
			return Frame{}, err
		}
		f.TPDU = r.tpdu
		if f.TPDU[0] != tpduID {
			return Frame{}, ErrFrameTPDU
		}
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	f.Body = buf[:n]
	return f, r.read(f.Body)
}

// Split gives the frame that b begins with, as a view into b, and its size with
// all that belongs to it. The size is zero when b does not hold all of it yet.
// The error is one of the errors of framing.
func (f Framing) Split(b []byte, max int) (frame Frame, size int, err error) {
	at := lengthForms[f.Length].size
	if len(b) < at {
		return frame, 0, nil
	}
	n, err := f.body(b[:at], max)
	if err != nil {
		return frame, 0, err
	}
	if f.TPDU {
		if len(b) > at && b[at] != tpduID {
			return frame, 0, ErrFrameTPDU
		}
		at += copy(frame.TPDU[:], b[at:min(len(b), at+len(TPDU{}))])
	}
	if size = f.prefix() + n; len(b) < size {
		return Frame{}, 0, nil
	}
	frame.Body = b[at:size:size]
	return frame, size, nil
}

// prefix gives the number of bytes before a message.
func (f Framing) prefix() int {
	n := lengthForms[f.Length].size
	if f.TPDU {
		n += len(TPDU{})
	}
	return n
}

// body gives the length of the message alone from the bytes of the length.
func (f Framing) body(b []byte, max int) (int, error) {
	n, err := f.Length.read(b)
	if err != nil {
		return 0, err
	}
	if n -= f.overhead(); n <= 0 {
		return 0, ErrFrameEmpty
	}
	if n > max {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrFrameTooBig, n, max)
	}
	return n, nil
}

func (r *FrameReader) read(b []byte) error {
	_, err := io.ReadFull(r.r, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (l LengthForm) read(b []byte) (n int, err error) {
	if l == Binary2 {
		return int(binary.BigEndian.Uint16(b)), nil
	}
	for _, c := range b {
		if l == ASCII4 {
			if c < '0' || c > '9' {
				return 0, ErrFrameLength
			}
			n = n*10 + int(c-'0')
			continue
		}
		if c>>4 > 9 || c&15 > 9 {
			return 0, ErrFrameLength
		}
		n = n*100 + int(c>>4*10+c&15)
	}
	return n, nil
}

// overhead gives how many bytes the length counts beside the message.
func (f Framing) overhead() (n int) {
	if f.Inclusive {
		n = lengthForms[f.Length].size
	}
	if f.TPDU {
		n += len(TPDU{})
	}
	return n
}

// Append writes one frame behind dst and gives the longer slice.
func (f Framing) Append(dst []byte, t TPDU, body []byte) ([]byte, error) {
	start := len(dst)
	return f.finish(append(f.begin(dst, t), body...), start)
}

// AppendMessage writes one message as a frame behind dst and gives the longer
// slice. After an error, dst is given back as it was.
func (f Framing) AppendMessage(dst []byte, t TPDU, d *Dialect, m *Message) ([]byte, error) {
	start := len(dst)
	b, err := d.Append(f.begin(dst, t), m)
	if err != nil {
		return dst, err
	}
	return f.finish(b, start)
}

// begin leaves room for the length, which finish fills in.
func (f Framing) begin(dst []byte, t TPDU) []byte {
	dst = appendFill(dst, 0, lengthForms[f.Length].size)
	if f.TPDU {
		dst = append(dst, t[:]...)
	}
	return dst
}

func (f Framing) finish(dst []byte, start int) ([]byte, error) {
	form := lengthForms[f.Length]
	n := len(dst) - start
	if !f.Inclusive {
		n -= form.size
	}
	if n > form.max {
		return dst[:start], ErrFrameTooBig
	}
	b := dst[start:]
	switch f.Length {
	case Binary2:
		binary.BigEndian.PutUint16(b, uint16(n))
	case ASCII4:
		b[0], b[1], b[2], b[3] = byte('0'+n/1000), byte('0'+n/100%10), byte('0'+n/10%10), byte('0'+n%10)
	case BCD2:
		b[0], b[1] = byte(n/1000<<4|n/100%10), byte(n/10%10<<4|n%10)
	}
	return dst, nil
}
