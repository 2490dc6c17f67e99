package merchants

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"encoding/json"
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
// A record is the lengths of key and value, in two bytes each, key and value; one
// without a value is to be taken away.
// Behind the last are a state as JSON, its CRC-32C and its length, in four bytes
// each.
//
// Under its first name the file means nothing. It gets the second once it is whole
// and on disk, and that decides the import.

// staged says what is in the file.
type staged struct {
	Records int     `json:"records"`
	Runs    []int64 `json:"runs"` // where each ends
	Sum     uint32  `json:"sum"`  // CRC-32C of all of them
}

// state is an import that is decided and to be carried out.
type state struct {
	ID     digest `json:"id"`     // names the import: the store remembers the last
	Change digest `json:"change"` // what the digest of all records is combined with
	Counts Counts `json:"added"`
	Phones bool   `json:"phones"` // the index of phone numbers is among the records
	staged
}

const (
	stagingName  = "staging"
	stagedName   = "staged"
	stagedHeader = 4
	stagedEnd    = 8
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
	f, err := os.OpenFile(filepath.Join(dir, stagingName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
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

// end puts the file on disk, with the state, whose part about the file it fills in.
func (s *stagedWriter) end(st *state) error {
	err := s.endRun()
	st.staged = s.staged
	if err == nil {
		b := mustJSON(st)
		sum := crc32.Checksum(b, castagnoli)
		n := len(b)
		b = binary.BigEndian.AppendUint32(b, sum)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		_, err = s.w.Write(b)
	}
	if err == nil {
		err = errors.Join(s.w.Flush(), s.file.Sync())
	}
	if err = errors.Join(err, s.file.Close()); err != nil {
		return fmt.Errorf("stage records: %w", err)
	}
	return nil
}

// drop gives the file up.
func (s *stagedWriter) drop() error { return s.file.Close() }

// decide gives the file the name that decides the import.
func decide(dir string) error {
	if err := os.Rename(filepath.Join(dir, stagingName), filepath.Join(dir, stagedName)); err != nil {
		return fmt.Errorf("decide an import: %w", err)
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	return err
}

// decided gives the import that is decided; false where there is none.
func decided(dir string) (st state, ok bool, err error) {
	f, err := os.Open(filepath.Join(dir, stagedName))
	if errors.Is(err, os.ErrNotExist) {
		return st, false, nil
	}
	if err != nil {
		return st, false, fmt.Errorf("read staged records: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return st, false, fmt.Errorf("read staged records: %w", err)
	}
	var end [stagedEnd]byte
	if _, err := f.ReadAt(end[:], info.Size()-stagedEnd); err != nil {
		return st, false, errStaged
	}
	n := int64(binary.BigEndian.Uint32(end[4:]))
	if n > info.Size()-stagedEnd {
		return st, false, errStaged
	}
	b := make([]byte, n)
	_, err = f.ReadAt(b, info.Size()-stagedEnd-n)
	if err != nil || crc32.Checksum(b, castagnoli) != binary.BigEndian.Uint32(end[:]) || json.Unmarshal(b, &st) != nil ||
		st.bytes()+n+stagedEnd != info.Size() {
		return st, false, errStaged
	}
	return st, true, nil
}

// dropStaged empties the staging area.
func dropStaged(dir string) error {
	for _, name := range []string{stagingName, stagedName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("drop staged records: %w", err)
		}
	}
	return nil
}

// errStaged says that the staging area is not what was written there.
var errStaged = fmt.Errorf("%w: the staged records of the import that is under way cannot be read", ErrDamaged)

// bytes gives the size of the records.
func (s staged) bytes() int64 {
	if len(s.Runs) == 0 {
		return 0
	}
	return s.Runs[len(s.Runs)-1]
}

// each calls f with every record, run by run. An error at the end may mean that
// what f was given was not what had been staged.
func (s staged) each(path string, f func(key, value []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return errors.Join(errStaged, err)
	}
	defer file.Close()
	r, n, sum := &stagedReader{r: bufio.NewReaderSize(io.LimitReader(file, s.bytes()), 1<<20)}, 0, uint32(0)
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
func (s staged) sorted(path string, f func(key, value []byte) error) error {
	file, err := os.Open(path)
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
