package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
)

// head is the file that makes pages a snapshot: the block at which it was taken,
// the rows of each table, where their pages are, and the wrong PINs of cards, if
// there are any.

const headVersion = 2 // 1 was kept in badger

func sealed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func unseal(b []byte) ([]byte, error) {
	n := len(b) - hashSize
	if n < 0 || sha256.Sum256(b[:n]) != [hashSize]byte(b[n:]) {
		return nil, errSeal
	}
	return b[:n], nil
}

// finish puts the head of a snapshot in place and removes files of which nothing
// counts any more.
func (s *pageStore) finish(sn *snapshot) error {
	if s.spoiled.Load() {
		return errSnapshot
	}
	b := []byte{headVersion}
	b = binary.BigEndian.AppendUint64(b, sn.block)
	b = binary.BigEndian.AppendUint64(b, uint64(sn.time))
	b = binary.BigEndian.AppendUint32(b, uint32(sn.day))
	b = append(b, sn.hash[:]...)
	for i, n := range sn.n {
		b = binary.AppendUvarint(b, n)
		var last places
		for _, at := range sn.saved[i][:pagesOf(n)] {
			b = binary.AppendVarint(b, int64(at.page-last.page))
			b = binary.AppendVarint(b, int64(at.brief-last.brief))
			last = at
		}
	}
	b = sn.pins.append(b)
	if err := os.WriteFile(s.head()+".new", sealed(b), 0o600); err != nil {
		return err
	}
	if err := os.Rename(s.head()+".new", s.head()); err != nil {
		return err
	}
	if s.spoiled.Load() { // meanwhile
		return errors.Join(errSnapshot, os.Remove(s.head()))
	}
	var errs []error
	for _, f := range s.all() {
		errs = append(errs, f.clear())
	}
	return errors.Join(errs...)
}

func pagesOf(rows uint64) uint64 { return (rows + pageSize - 1) / pageSize }

// readHead begins a state from the newest snapshot; nil where there is none. What
// the pages say is missing still: see fill.
func readHead(files *pageStore, resident int) (*state, error) {
	raw, err := os.ReadFile(files.head())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		raw, err = unseal(raw)
	}
	if err != nil {
		return nil, err
	}
	if len(raw) < 53 || raw[0] != headVersion {
		return nil, errSeal
	}
	s := newState()
	s.keepIn(files, resident)
	s.block = binary.BigEndian.Uint64(raw[1:])
	s.time = int64(binary.BigEndian.Uint64(raw[9:]))
	s.day = int32(binary.BigEndian.Uint32(raw[17:]))
	copy(s.hash[:], raw[21:])
	d := decoder{b: raw[53:]}
	s.accounts.n, s.accounts.saved = d.places()
	s.labels.n, s.labels.saved = d.places()
	s.txs.n, s.txs.saved = d.places()
	d.pins(&s.pins)
	if d.bad || len(d.b) > 0 || s.accounts.n != s.labels.n {
		return nil, errSeal
	}
	s.accounts.pages = make([]*page[accountRow], len(s.accounts.saved))
	s.labels.pages = make([]*page[label], len(s.labels.saved))
	s.txs.pages = make([]*page[Tx], len(s.txs.saved))
	return s, s.openFiles()
}

// openFiles opens the files that the pages of the tables are in.
func (s *state) openFiles() error {
	var pages [4][]place
	for i, saved := range [...][]places{s.accounts.saved, s.labels.saved, s.txs.saved} {
		for _, at := range saved {
			pages[i] = append(pages[i], at.page)
			if i == 2 {
				pages[3] = append(pages[3], at.brief)
			}
		}
	}
	for i, f := range s.files.all() {
		if err := f.open(pages[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) places() (n uint64, all []places) {
	n = d.uvarint()
	if n > uint64(len(d.b))*pageSize {
		d.fail()
		return 0, nil
	}
	all = make([]places, pagesOf(n))
	var last places
	for i := range all {
		last.page += place(d.varint())
		last.brief += place(d.varint())
		all[i] = last
	}
	return n, all
}

func appendAccountRow(dst []byte, a *accountRow) []byte {
	dst = binary.AppendVarint(dst, a.balance)
	dst = binary.AppendVarint(dst, a.held)
	return binary.AppendUvarint(dst, a.packed)
}

func (d *decoder) accountRow() (a accountRow) {
	a.balance, a.held, a.packed = d.varint(), d.varint(), d.uvarint()
	return a
}

func appendLabel(dst []byte, l *label) []byte {
	dst = appendBytes(dst, l.name)
	return binary.AppendVarint(dst, l.opening)
}

func (d *decoder) label() (l label) {
	l.name = string(d.bytes())
	l.opening = d.varint()
	return l
}
