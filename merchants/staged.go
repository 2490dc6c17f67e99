package merchants

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// The staging area is a file beside the store, in which the records of an import
// wait until it is decided. It is written in runs, each in the order of its
// keys, so that the records come out in the order of keys, however many there
// are: badger takes them several times faster than at random. They are not
// staged in the store, where each would be written, moved and deleted again.
//
// A record is the lengths of key and value, in two bytes each, key and value.

// staged says what is in the file. It stands in the store once the import is
// decided, and the file is of no meaning without it.
type staged struct {
	Records int     `json:"records"`
	Runs    []int64 `json:"runs"` // where each ends
	Sum     uint32  `json:"sum"`  // CRC-32C of the file
}

const (
	stagedName   = "staged"
	stagedHeader = 4
	stagedRun    = 24 << 20 // bytes of records in a run
	stagedBuffer = 64 << 10 // bytes to read a run with
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stagedWriter writes the file.
type stagedWriter struct {
	staged
	file  *os.File
	w     *bufio.Writer
	limit int
	size  int64
	run   []byte
	at    []uint32 // where in the run each record begins
}

func createStaged(dir string, limit int) (*stagedWriter, error) {
	f, err := os.OpenFile(filepath.Join(dir, stagedName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("stage records: %w", err)
	}
	return &stagedWriter{file: f, w: bufio.NewWriterSize(f, 1<<20), limit: limit}, nil
}

func (s *stagedWriter) add(key, value []byte) error {
	if len(key) > 0xffff || len(value) > 0xffff {
		return errors.New("a record is too large to be staged")
	}
	s.at = append(s.at, uint32(len(s.run)))
	s.run = binary.BigEndian.AppendUint16(s.run, uint16(len(key)))
	s.run = binary.BigEndian.AppendUint16(s.run, uint16(len(value)))
	s.run = append(append(s.run, key...), value...)
	s.Records++
	if len(s.run) < s.limit {
		return nil
	}
	return s.endRun()
}

func (s *stagedWriter) endRun() error {
	if len(s.at) == 0 {
		return nil
	}
	slices.SortFunc(s.at, func(a, b uint32) int { return bytes.Compare(stagedKey(s.run[a:]), stagedKey(s.run[b:])) })
	for _, at := range s.at {
		b := s.run[at:]
		b = b[:stagedLen(b)]
		s.Sum = crc32.Update(s.Sum, castagnoli, b)
		s.size += int64(len(b))
		if _, err := s.w.Write(b); err != nil {
			return fmt.Errorf("stage records: %w", err)
		}
	}
	s.Runs = append(s.Runs, s.size)
	s.run, s.at = s.run[:0], s.at[:0]
	return nil
}

func stagedLen(b []byte) int {
	return stagedHeader + int(binary.BigEndian.Uint16(b)) + int(binary.BigEndian.Uint16(b[2:]))
}

func stagedKey(b []byte) []byte {
	return b[stagedHeader : stagedHeader+int(binary.BigEndian.Uint16(b))]
}

// end puts the file on disk, with its name.
func (s *stagedWriter) end() error {
	err := s.endRun()
	if err == nil {
		err = errors.Join(s.w.Flush(), s.file.Sync())
	}
	return errors.Join(err, s.file.Close(), syncFolder(filepath.Dir(s.file.Name())))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	return err
}

// dropStaged empties the staging area.
func dropStaged(dir string) error {
	if err := os.Remove(filepath.Join(dir, stagedName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("drop staged records: %w", err)
	}
	return nil
}

// errStaged says that the staging area is not what was written there.
var errStaged = fmt.Errorf("%w: the staged records of the import that is under way cannot be read", ErrDamaged)

// each calls f with every record, run by run. An error at the end may mean that
// what f was given was not what had been staged.
func (s staged) each(dir string, f func(key, value []byte) error) error {
	file, err := os.Open(filepath.Join(dir, stagedName))
	if err != nil {
		return errors.Join(errStaged, err)
	}
	defer file.Close()
	r, n, sum := &stagedReader{r: bufio.NewReaderSize(file, 1<<20)}, 0, uint32(0)
	for {
		ok, err := r.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		n, sum = n+1, crc32.Update(sum, castagnoli, r.record)
		if err := f(r.key(), r.value()); err != nil {
			return err
		}
	}
	if n != s.Records || sum != s.Sum {
		return errStaged
	}
	return nil
}

// sorted calls f with every record, in the order of keys. Key and value are f's
// to keep.
func (s staged) sorted(dir string, f func(key, value []byte) error) error {
	file, err := os.Open(filepath.Join(dir, stagedName))
	if err != nil {
		return errors.Join(errStaged, err)
	}
	defer file.Close()
	var runs stagedRuns
	from := int64(0)
	for _, to := range s.Runs {
		r := &stagedReader{r: bufio.NewReaderSize(io.NewSectionReader(file, from, to-from), stagedBuffer), fresh: true}
		ok, err := r.next()
		if err != nil {
			return err
		}
		if ok {
			runs = append(runs, r)
		}
		from = to
	}
	heap.Init(&runs)
	n := 0
	for len(runs) > 0 {
		r := runs[0]
		if err := f(r.key(), r.value()); err != nil {
			return err
		}
		n++
		ok, err := r.next()
		switch {
		case err != nil:
			return err
		case ok:
			heap.Fix(&runs, 0)
		default:
			heap.Pop(&runs)
		}
	}
	if n != s.Records {
		return errStaged
	}
	return nil
}

// stagedReader reads the records of one run, or of all one after another.
type stagedReader struct {
	r      *bufio.Reader
	fresh  bool // each record in memory of its own
	record []byte
}

func (r *stagedReader) key() []byte { return stagedKey(r.record) }

func (r *stagedReader) value() []byte { return r.record[stagedHeader+len(r.key()):] }

func (r *stagedReader) next() (bool, error) {
	head, err := r.r.Peek(stagedHeader)
	if len(head) == 0 && errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, errors.Join(errStaged, err)
	}
	n := stagedLen(head)
	if r.fresh || cap(r.record) < n {
		r.record = make([]byte, n)
	}
	r.record = r.record[:n]
	if _, err := io.ReadFull(r.r, r.record); err != nil {
		return false, errors.Join(errStaged, err)
	}
	return true, nil
}

// stagedRuns is a heap of runs, the one with the least key first.
type stagedRuns []*stagedReader

func (h stagedRuns) Len() int           { return len(h) }
func (h stagedRuns) Less(i, j int) bool { return bytes.Compare(h[i].key(), h[j].key()) < 0 }
func (h stagedRuns) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *stagedRuns) Push(x any)        { *h = append(*h, x.(*stagedReader)) }
func (h *stagedRuns) Pop() any {
	all := *h
	last := all[len(all)-1]
	*h = all[:len(all)-1]
	return last
}
