package ledger

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// The blocks lie one after another in segments, files of a fixed size that were
// filled with zeros before they were used. Each block begins at a sector:
//
//	4 bytes  length of the block
//	4 bytes  the same with all bits turned over
//	…        the block (see encode.go)
//	…        zeros up to the next sector
//
// A block that does not fit in whole begins the next segment. Zeros instead of a
// length: nothing more is in this segment.
//
// A sector is written by the disk in whole or not at all, and none has parts of
// two blocks. So a write never touches a block that somebody was told of, a
// length is there or is not, and a block whose write was cut short has at least
// one sector that is zeros still.

const (
	sector     = 512 // bytes
	prefixSize = 8   // bytes before a block
)

// Sizes of segments, in bytes. The first are small, so that a new book begins
// quickly: each is twice the one before, up to the most. They are part of the
// format: a segment of another size was cut off. Tests make them smaller.
var (
	firstSegment int64 = 1 << 20
	mostSegment  int64 = 16 << 20
)

func segmentSize(number int) int64 {
	size := firstSegment
	for ; number > 1 && size < mostSegment; number-- {
		size *= 2
	}
	return size
}

func segmentPath(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.log", number))
}

// position is a place in the segments, of which the first has number 1.
type position struct {
	segment int
	at      int64
}

func (p position) String() string { return fmt.Sprintf("%08d.log, byte %d", p.segment, p.at) }

// extent is what a block takes of a segment, in bytes.
func extent(block int) int64 { return (prefixSize + int64(block) + sector - 1) / sector * sector }

// place says where a block goes that comes after what ends at p.
func (p position) place(block int) position {
	if p.at+extent(block) > segmentSize(p.segment) {
		return position{p.segment + 1, 0}
	}
	return p
}

// appendPrefix appends what stands before a block.
func appendPrefix(dst []byte, block int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(block))
	return binary.BigEndian.AppendUint32(dst, ^uint32(block))
}

var errPrefix = errors.New("its length cannot be read")

// parsePrefix gives the length of the block behind a prefix; zero for nothing.
func parsePrefix(b [prefixSize]byte) (block int, err error) {
	n, turned := binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint32(b[4:])
	switch {
	case n == 0 && turned == 0:
		return 0, nil
	case n != ^turned || n < blockHeader+hashSize || n > maxBlock:
		return 0, errPrefix
	}
	return int(n), nil
}

var errBadger = errors.New("the blocks of this book were written by an older build, which kept them in badger: go on with that build, or begin with an empty data folder")

// segments gives the number of the last segment in a folder; zero where there is
// none.
func segments(dir string) (n int, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		switch ext := filepath.Ext(f.Name()); {
		case f.Name() == "MANIFEST" || ext == ".sst" || ext == ".mem":
			return 0, fmt.Errorf("%w (%s)", errBadger, dir)
		case ext == ".log":
			number, err := strconv.Atoi(f.Name()[:len(f.Name())-len(ext)])
			if err == nil && filepath.Base(segmentPath(dir, number)) == f.Name() {
				n = max(n, number)
			}
		}
	}
	return n, nil
}

// openSegment opens a segment to read it.
func openSegment(dir string, number int) (*os.File, error) {
	f, err := os.Open(segmentPath(dir, number))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != segmentSize(number) {
		err = fmt.Errorf("segment %08d.log has %d bytes instead of %d", number, info.Size(), segmentSize(number))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// segmentReader reads the blocks of one segment.
type segmentReader struct {
	f   *os.File
	r   *bufio.Reader
	at  int64 // where the next block begins
	end int64
}

func readSegment(dir string, from position, buffer int) (*segmentReader, error) {
	f, err := openSegment(dir, from.segment)
	if err != nil {
		return nil, err
	}
	end := segmentSize(from.segment)
	return &segmentReader{f: f, r: bufio.NewReaderSize(io.NewSectionReader(f, from.at, end-from.at), buffer), at: from.at, end: end}, nil
}

func (s *segmentReader) close() error { return s.f.Close() }

// next reads the next block into raw, as it is, unless a zero prefix or the end
// of the segment says that there is none (io.EOF).
func (s *segmentReader) next(raw []byte) ([]byte, error) {
	if s.at+sector > s.end {
		return raw, io.EOF
	}
	var prefix [prefixSize]byte
	if _, err := io.ReadFull(s.r, prefix[:]); err != nil {
		return raw, err
	}
	n, err := parsePrefix(prefix)
	switch {
	case err != nil:
		return raw, err
	case n == 0:
		return raw, io.EOF
	case s.at+extent(n) > s.end:
		return raw, errPrefix
	}
	raw = slices.Grow(raw[:0], int(extent(n)))[:extent(n)-prefixSize]
	if _, err := io.ReadFull(s.r, raw); err != nil {
		return raw, err
	}
	if !isZero(raw[n:]) {
		return raw, errPadding
	}
	s.at += extent(n)
	return raw[:n], nil
}

// onlyZeros reports whether nothing but zeros follows, up to the end of the segment.
func (s *segmentReader) onlyZeros() bool {
	buf := make([]byte, len(zeros))
	for {
		n, err := s.r.Read(buf)
		if !isZero(buf[:n]) {
			return false
		}
		if err != nil {
			return err == io.EOF
		}
	}
}

var errPadding = errors.New("what follows it, up to the next sector, is not zeros")

var zeros [64 << 10]byte

func isZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}
