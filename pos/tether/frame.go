package tether

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"
)

// A frame is mark, version, type, length of the body, body, and a checksum of all
// before it.
const (
	mark0, mark1 = 'K', 'R'
	headSize     = 6
	sumSize      = 2

	// MaxBody is the longest body of a frame, in bytes.
	MaxBody = 4096
)

// Frame is one message between phone and reader.
type Frame struct {
	Type Type
	Body []byte
}

// Type says what a frame is. The phone's have the highest bit clear, the reader's set.
type Type byte

// The types of frames.
const (
	PhoneHello    Type = 0x01 // empty: who are you?
	PhoneEnrol    Type = 0x02 // empty: ask for the enrolment code on your own pad
	PhoneEnrolled Type = 0x03 // [Enrolled]
	PhoneOffer    Type = 0x04 // [Signed]: an offer
	PhoneAskPIN   Type = 0x05 // empty: the card is good, ask for its PIN
	PhoneEnd      Type = 0x06 // [End]: forget the key, and show how it ended

	ReaderHello Type = 0x81 // [Hello]
	ReaderEnrol Type = 0x82 // [Enrol]
	ReaderCard  Type = 0x84 // [Signed]: a sealed card
	ReaderPIN   Type = 0x85 // [Signed]: a sealed PIN
	ReaderEnded Type = 0x86 // empty: the key is gone
	ReaderError Type = 0x8f // one byte, a [Fault]
)

// ErrFrame says that bytes were dropped that were no frame. The next frame can be
// read.
var ErrFrame = errors.New("bytes that are no frame: a wrong checksum, version or length")

// ErrBody says that the body of a frame is too long, or not as its type has it.
var ErrBody = errors.New("the body of a frame is not as its type has it")

// AppendFrame appends a frame. The body may have up to [MaxBody] bytes.
func AppendFrame(dst []byte, t Type, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return dst, ErrBody
	}
	start := len(dst)
	dst = append(dst, mark0, mark1, Version, byte(t))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(body)))
	dst = append(dst, body...)
	return binary.BigEndian.AppendUint16(dst, checksum(dst[start:])), nil
}

// checksum is CRC-16/CCITT-FALSE: polynomial 1021, begins with FFFF, not reflected.
// The standard library has no CRC of 16 bits.
func checksum(b []byte) uint16 {
	sum := uint16(0xffff)
	for _, c := range b {
		sum ^= uint16(c) << 8
		for range 8 {
			top := sum & 0x8000
			sum <<= 1
			if top != 0 {
				sum ^= 0x1021
			}
		}
	}
	return sum
}

// Silence is how long a line may say nothing within a frame. Then the frame is
// dropped: without that, one that was cut off would swallow those that follow.
const Silence = time.Second

// Scanner reads frames from a line. What is between frames is passed over.
type Scanner struct {
	r    io.Reader
	line interface{ SetReadDeadline(time.Time) error } // nil where the line has none
	buf  []byte                                        // read, and not yet given
}

// NewScanner makes a scanner of a line. Where the line has SetReadDeadline, as
// connections have, the scanner uses it to keep [Silence].
func NewScanner(r io.Reader) *Scanner {
	s := &Scanner{r: r}
	s.line, _ = r.(interface{ SetReadDeadline(time.Time) error })
	return s
}

// Next gives the next frame. After [ErrFrame] it can be called again; any other error
// is the line's.
func (s *Scanner) Next() (Frame, error) {
	for {
		f, size, err := ParseFrame(s.buf)
		s.buf = s.buf[size:]
		if err != nil || f.Type != 0 {
			return f, err
		}
		if err := s.fill(); err != nil {
			return Frame{}, err
		}
	}
}

// fill reads what there is. The buffer never holds more than two frames: one that is
// not whole yet, and one reading.
func (s *Scanner) fill() error {
	const most = headSize + MaxBody + sumSize
	if cap(s.buf)-len(s.buf) < most {
		s.buf = append(make([]byte, 0, 4*most), s.buf...)
	}
	if s.line != nil {
		var until time.Time
		if len(s.buf) > 0 {
			until = time.Now().Add(Silence)
		}
		if err := s.line.SetReadDeadline(until); err != nil {
			s.line = nil // a file that cannot wait, for example
		}
	}
	n, err := s.r.Read(s.buf[len(s.buf) : len(s.buf)+most])
	s.buf = s.buf[:len(s.buf)+n]
	switch {
	case n > 0:
		return nil
	case err == nil:
		return io.ErrNoProgress
	case s.line != nil && len(s.buf) > 0 && errors.Is(err, os.ErrDeadlineExceeded):
		s.buf = s.buf[min(2, len(s.buf)):]
		return ErrFrame
	}
	return err
}

// ParseFrame looks for a frame at the beginning of b. It gives the frame, or none
// (type 0) where more bytes are needed, and how many bytes of b are done with. With
// [ErrFrame], what looked like the beginning of a frame was none: only its mark is
// done with, since a true frame may begin inside.
func ParseFrame(b []byte) (f Frame, size int, err error) {
	at := findMark(b)
	b = b[at:]
	if len(b) < headSize {
		if len(b) > 2 && b[2] != Version {
			return f, at + 2, ErrFrame
		}
		return f, at, nil
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	whole := headSize + n + sumSize
	switch {
	case b[2] != Version, b[3] == 0, n > MaxBody:
		return f, at + 2, ErrFrame
	case len(b) < whole:
		return f, at, nil
	case checksum(b[:whole-sumSize]) != binary.BigEndian.Uint16(b[whole-sumSize:]):
		return f, at + 2, ErrFrame
	}
	return Frame{Type(b[3]), append([]byte(nil), b[headSize:headSize+n]...)}, at + whole, nil
}

// findMark gives where the mark is, or how many bytes can be no part of one.
func findMark(b []byte) int {
	for i := range b {
		if b[i] == mark0 && (i+1 == len(b) || b[i+1] == mark1) {
			return i
		}
	}
	return len(b)
}
