package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Pages are kept in plain files that are only ever appended to, not in badger:
// they are written once and read rarely, and badger writes what it is given to
// its log, to a table, and again with each compaction. What is in the files
// follows from the blocks, so nothing is synced, and each page has a hash.

// place says where a record lies: file (16 bits), offset (30), length (18).
type place uint64

func makePlace(file uint16, offset int64, size int) place {
	return place(file)<<48 | place(offset)<<18 | place(size)
}

func (p place) file() uint16  { return uint16(p >> 48) }
func (p place) offset() int64 { return int64(p>>18) & (1<<30 - 1) }
func (p place) size() int     { return int(p & (1<<18 - 1)) }

// fileSize is the size at which a file of pages is full. Tests make it smaller.
var fileSize int64 = 128 << 20

const recordMost = 1<<18 - 1

// pageFiles are the files with the pages of one table. One goroutine at a time
// writes; read may be called by others meanwhile.
type pageFiles struct {
	dir  string
	name string // what is in them; the files' names begin with it

	mu    sync.RWMutex // guards files, not what is in them
	files map[uint16]*pageFile
	last  *pageFile // the one that is written
	size  int64     // what is written of it
	buf   []byte    // what is not written yet
}

type pageFile struct {
	*os.File
	number uint16
	live   int64 // bytes of pages in it that count
}

func (s *pageFiles) path(file uint16) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%05d", s.name, file))
}

// seal is the hash of a record: of what it is, too, so that no other can stand in
// its place.
func (s *pageFiles) seal(no uint64, body []byte) [hashSize]byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64([]byte(s.name), no))
	h.Write(body)
	return [hashSize]byte(h.Sum(nil))
}

// write appends a record, which make puts behind what it is given. It can be read
// after flush.
func (s *pageFiles) write(no uint64, make func([]byte) []byte) (place, error) {
	if s.last == nil || s.size+int64(len(s.buf)) > fileSize {
		if err := s.roll(); err != nil {
			return 0, err
		}
	}
	start := len(s.buf)
	s.buf = make(s.buf)
	sum := s.seal(no, s.buf[start:])
	s.buf = append(s.buf, sum[:]...)
	if len(s.buf)-start > recordMost {
		return 0, fmt.Errorf("page %d of the %s takes %d bytes, more than the %d it may", no, s.name, len(s.buf)-start, recordMost)
	}
	at := makePlace(s.last.number, s.size+int64(start), len(s.buf)-start)
	if len(s.buf) >= 1<<20 {
		return at, s.flush()
	}
	return at, nil
}

func (s *pageFiles) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.last.WriteAt(s.buf, s.size)
	s.size += int64(len(s.buf))
	s.buf = s.buf[:0]
	return err
}

// roll begins a new file, under the first number that is free.
func (s *pageFiles) roll() error {
	if err := s.flush(); err != nil {
		return err
	}
	n := uint16(1)
	for s.files[n] != nil {
		if n++; n == 0 {
			return fmt.Errorf("too many files of %s", s.name)
		}
	}
	f, err := os.OpenFile(s.path(n), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.last, s.size = &pageFile{File: f, number: n}, 0
	s.files[n] = s.last
	s.mu.Unlock()
	return nil
}

var errSeal = errors.New("it does not match its hash")

// read reads a record back. It reads into buf if that is large enough.
func (s *pageFiles) read(no uint64, at place, buf []byte) ([]byte, error) {
	s.mu.RLock()
	f := s.files[at.file()]
	s.mu.RUnlock()
	err := os.ErrNotExist
	if f != nil {
		buf = slices.Grow(buf[:0], at.size())[:at.size()]
		_, err = f.ReadAt(buf, at.offset())
	}
	n := at.size() - hashSize
	if err == nil && (n < 0 || s.seal(no, buf[:n]) != [hashSize]byte(buf[n:])) {
		err = errSeal
	}
	if err != nil {
		return nil, fmt.Errorf("page %d of the %s: %w", no, s.name, err)
	}
	return buf[:n], nil
}

// count tells that a record counts, or (with -1) no more.
func (s *pageFiles) count(at place, sign int64) {
	if f := s.files[at.file()]; f != nil && at != 0 {
		f.live += sign * int64(at.size())
	}
}

// poor gives a file of which so little counts that its pages should be written
// again; zero where there is none.
func (s *pageFiles) poor() uint16 {
	for n, f := range s.files {
		if f != s.last && f.live > 0 && f.live < fileSize/3 {
			return n
		}
	}
	return 0
}

// clear removes the files of which nothing counts.
func (s *pageFiles) clear() error {
	var errs []error
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, f := range s.files {
		if f.live == 0 && f != s.last {
			delete(s.files, n)
			errs = append(errs, f.Close(), os.Remove(s.path(n)))
		}
	}
	return errors.Join(errs...)
}

func (s *pageFiles) close() error {
	var errs []error
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, f := range s.files {
		errs = append(errs, f.Close())
		delete(s.files, n)
	}
	s.last = nil
	return errors.Join(errs...)
}

// open opens the files that hold the given records, and removes all others. It
// refuses a file that is too short: after a power cut the end of what was written
// may be missing, and not all records are read on opening.
func (s *pageFiles) open(all []place) error {
	sizes := make(map[uint16]int64)
	for _, at := range all {
		if at == 0 {
			continue
		}
		f := s.files[at.file()]
		if f == nil {
			file, err := os.OpenFile(s.path(at.file()), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			f = &pageFile{File: file, number: at.file()}
			s.files[at.file()] = f
			info, err := file.Stat()
			if err != nil {
				return err
			}
			sizes[at.file()] = info.Size()
		}
		if f.live += int64(at.size()); at.offset()+int64(at.size()) > sizes[at.file()] {
			return fmt.Errorf("%s is too short", s.path(at.file()))
		}
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range files {
		var n uint16
		if !strings.HasPrefix(e.Name(), s.name+"-") {
			continue
		}
		if _, err := fmt.Sscanf(e.Name()[len(s.name)+1:], "%05d", &n); err == nil && s.files[n] == nil {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
