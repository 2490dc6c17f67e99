package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"kessai"
)

// A snapshot is the pages of the tables, in files, and one head that says at which
// block it was taken and where the pages are. Only pages that changed are written
// again. The head is written last and put in place in one step, so a snapshot is
// there whole or not at all; if anything in it is not as it was written, the
// blocks are read from the beginning instead.

// pageStore is where a state's pages are saved.
type pageStore struct {
	dir                           string
	accounts, labels, txs, briefs *pageFiles
	spoiled                       atomic.Bool // see doubt
	gentle                        bool        // see pause
}

// openPages gives the page store in a folder, which is made if need be. Nothing
// in it counts until a snapshot is loaded.
func openPages(dir string) (*pageStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files := func(name string) *pageFiles {
		return &pageFiles{dir: dir, name: name, files: make(map[uint16]*pageFile)}
	}
	return &pageStore{dir: dir, accounts: files("accounts"), labels: files("labels"), txs: files("transactions"), briefs: files("briefs")}, nil
}

func (s *pageStore) all() [4]*pageFiles { return [4]*pageFiles{s.accounts, s.labels, s.txs, s.briefs} }

func (s *pageStore) head() string { return filepath.Join(s.dir, "head") }

// doubt makes the next opening read the blocks, if the reason why a page cannot be
// read is that it is not as it was written: then no snapshot with it is of use.
func (s *pageStore) doubt(err error) {
	if errors.Is(err, errSeal) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) {
		s.spoiled.Store(true) // before the head goes: see finish
		os.Remove(s.head())
	}
}

func (s *pageStore) close() error {
	var errs []error
	for _, f := range s.all() {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}

// keepIn lets a state save its pages, and keep no more than so many rows of those
// that may leave memory.
func (s *state) keepIn(files *pageStore, resident int) {
	s.files = files
	s.txs.most, s.labels.most = max(4, resident/pageSize), max(4, resident/pageSize/4)
	s.txs.fetch = fetch(files, files.txs, (*decoder).row)
	s.labels.fetch = fetch(files, files.labels, (*decoder).label)
}

// fetch reads pages back for who may change the state.
func fetch[T any](all *pageStore, files *pageFiles, row func(*decoder) T) func(uint64, place) ([]T, error) {
	var buf []byte
	return func(no uint64, at place) ([]T, error) {
		rows, used, err := readPage(files, no, at, buf, row)
		if err == nil && len(rows) != pageSize { // others never leave memory
			err = fmt.Errorf("page %d of the %s: %w", no, files.name, errSeal)
		}
		buf = used
		all.doubt(err)
		return rows, err
	}
}

func readPage[T any](files *pageFiles, no uint64, at place, buf []byte, row func(*decoder) T) ([]T, []byte, error) {
	raw, err := files.read(no, at, buf)
	if err != nil {
		return nil, buf, err
	}
	rows := make([]T, 0, pageSize)
	for d := (decoder{b: raw}); len(d.b) > 0; {
		rows = append(rows, row(&d))
		if d.bad || len(rows) > pageSize {
			return nil, raw, fmt.Errorf("page %d of the %s: %w", no, files.name, errSeal)
		}
	}
	return rows, raw, nil
}

// snapshot is what of a state is to be saved at one block.
type snapshot struct {
	whole    bool // all of it, and a head; otherwise pages that are to leave memory
	block    uint64
	time     int64
	day      int32
	hash     [32]byte
	n        [3]uint64 // rows of the three tables
	pins     pinShards
	accounts []frozenPage[accountRow]
	labels   []frozenPage[label]
	txs      []frozenPage[Tx]
	saved    [3][]places
}

// freeze takes a snapshot of the state. It looks at nothing but the pages that
// changed.
func (s *state) freeze(whole bool) *snapshot {
	sn := &snapshot{
		whole: whole, block: s.block, time: s.time, day: s.day, hash: s.hash, n: [3]uint64{s.accounts.n, s.labels.n, s.txs.n},
		labels: s.labels.freeze(!whole), txs: s.txs.freeze(!whole),
	}
	if whole {
		sn.accounts, sn.pins = s.accounts.freeze(false), s.pins.freeze()
	}
	return sn
}

// settle ends a freeze, a number of pages at a time, so that nobody waits long.
func (s *state) settle(sn *snapshot, saved bool) (more bool) {
	settle(s.files.accounts, nil, &s.accounts, &sn.accounts, saved)
	settle(s.files.labels, nil, &s.labels, &sn.labels, saved)
	settle(s.files.txs, s.files.briefs, &s.txs, &sn.txs, saved)
	return len(sn.accounts)+len(sn.labels)+len(sn.txs) > 0
}

func settle[T any](files, briefs *pageFiles, t *table[T], all *[]frozenPage[T], saved bool) {
	f := (*all)[:min(len(*all), settleAtOnce)]
	if saved {
		count(files, briefs, t, f)
	}
	t.settle(f, saved)
	*all = (*all)[len(f):]
}

const settleAtOnce = 4_096

// count keeps account of what counts in the files.
func count[T any](files, briefs *pageFiles, t *table[T], f []frozenPage[T]) {
	for i := range f {
		old := t.saved[f[i].no]
		files.count(f[i].at.page, 1)
		files.count(old.page, -1)
		if briefs != nil {
			briefs.count(f[i].at.brief, 1)
			briefs.count(old.brief, -1)
		}
	}
}

// write writes the pages of a snapshot.
func (s *pageStore) write(sn *snapshot) error {
	if err := writePages(s.accounts, sn.accounts, appendAccountRow, s.pause); err != nil {
		return err
	}
	if err := writePages(s.labels, sn.labels, appendLabel, s.pause); err != nil {
		return err
	}
	var b brief
	for i := range sn.txs {
		s.pause(i)
		f := &sn.txs[i]
		b = brief{names: b.names[:0], tombs: b.tombs[:0], pending: b.pending[:0], counts: b.counts[:0], tries: b.tries[:0], waiting: b.waiting[:0]}
		b.oldest, b.newest = f.p.rows[0].Time, f.p.rows[len(f.p.rows)-1].Time
		for j := range f.p.rows {
			b.note(&f.p.rows[j], sn.day)
		}
		var err error
		if f.at.brief, err = s.briefs.write(f.no, func(dst []byte) []byte { return b.append(dst, firstOf(f.no)) }); err != nil {
			return err
		}
	}
	if err := s.briefs.flush(); err != nil {
		return err
	}
	return writePages(s.txs, sn.txs, appendRow, s.pause)
}

// pause makes room between pages for those who wait for an answer: a goroutine
// that computes on and on may hold a processor for ten milliseconds at a time.
func (s *pageStore) pause(page int) {
	if s.gentle && page%16 == 15 {
		time.Sleep(time.Millisecond)
	}
}

// firstOf gives the number of a page's first row.
func firstOf(no uint64) kessai.TxID { return kessai.TxID(no*pageSize + 1) }

func writePages[T any](files *pageFiles, f []frozenPage[T], row func([]byte, *T) []byte, pause func(int)) (err error) {
	for i := range f {
		pause(i)
		f[i].at.page, err = files.write(f[i].no, func(dst []byte) []byte {
			for j := range f[i].p.rows {
				dst = row(dst, &f[i].p.rows[j])
			}
			return dst
		})
		if err != nil {
			return err
		}
		if f[i].at.brief == 0 {
			f[i].at.brief = f[i].at.page // it has none, and is not forgotten
		}
		f[i].p.written.Store(true)
	}
	return files.flush()
}
