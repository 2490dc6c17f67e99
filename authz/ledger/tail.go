package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// What lies behind the last block that is good must be zeros, up to the end of
// the last segment. There are three ways in which it is not: a write was cut
// short, the end was damaged and the witness has it, or the book is damaged.

// tail is what lies behind the last good block.
type tail struct {
	end         position // where the last good block ends
	dirty       bool     // not everything behind it is zeros
	first, last position // the first and the last byte there that is not zero
}

// readTail looks at everything behind a position. It changes nothing.
func readTail(dir string, end position) (t tail, err error) {
	t.end = end
	count, err := segments(dir)
	if err != nil {
		return t, err
	}
	buf := make([]byte, len(zeros))
	for p := end; p.segment <= count; p = (position{p.segment + 1, 0}) {
		f, err := openSegment(dir, p.segment)
		if err != nil {
			return t, err
		}
		for size := segmentSize(p.segment); p.at < size && err == nil; p.at += int64(len(buf)) {
			b := buf[:min(int64(len(buf)), size-p.at)]
			if _, err = f.ReadAt(b, p.at); err == nil && !isZero(b) {
				t.add(p, b)
			}
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *tail) add(p position, b []byte) {
	for i, c := range b {
		if c == 0 {
			continue
		}
		if t.last = (position{p.segment, p.at + int64(i)}); !t.dirty {
			t.dirty, t.first = true, t.last
		}
	}
}

// covers reports whether a block that is written at p, or zeros of its length,
// would leave nothing but zeros behind it.
func (t *tail) covers(p position, block int) bool {
	return !t.dirty || t.first.segment == p.segment && t.last.segment == p.segment && t.first.at >= p.at && t.last.at < p.at+extent(block)
}

// torn reports whether what lies there can be a write that was cut short: some of
// a block's sectors are as they were to be, and at least one is zeros still. What
// is damaged otherwise never looks so, unless a whole sector was lost.
func (t *tail) torn(dir string) (bool, error) {
	begin := t.end
	if t.first.segment != begin.segment {
		begin = position{begin.segment + 1, 0}
	}
	if !t.covers(begin, maxBlock) {
		return false, nil
	}
	if t.first.at >= begin.at+sector {
		return true, nil // its first sector is missing
	}
	f, err := openSegment(dir, begin.segment)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var prefix [prefixSize]byte
	if _, err := f.ReadAt(prefix[:], begin.at); err != nil {
		return false, err
	}
	n, err := parsePrefix(prefix)
	if err != nil || n == 0 || begin.at+extent(n) > segmentSize(begin.segment) || t.end.place(n) != begin || !t.covers(begin, n) {
		return false, nil
	}
	buf := make([]byte, sector)
	for at := begin.at + sector; at < begin.at+extent(n); at += sector {
		if _, err := f.ReadAt(buf, at); err != nil {
			return false, err
		}
		if isZero(buf) {
			return true, nil
		}
	}
	return false, nil
}

// judge holds the end of the blocks, and what lies behind it, against the witness.
func (l *loaded) judge(dir string) (err error) {
	next, bad := l.last+1, l.bad
	if l.tail, err = readTail(dir, l.end); err != nil {
		return unreadable(next, err)
	}
	var newest uint64
	if n := len(l.slots); n > 0 {
		w := &l.slots[n-1]
		if newest = w.number; newest == next && w.prev == l.hash {
			return l.takeBack(w)
		}
	} else if bad == nil && (l.last > 0 || l.tail.dirty) {
		return &Damage{Block: l.last, What: "the witness file is missing, or neither of its slots is whole"}
	}
	switch {
	case l.last < l.start:
		what := fmt.Sprintf("it is missing; a snapshot was taken at block %d (if an older book was put in place on purpose, remove book/pages)", l.start)
		return &Damage{Block: next, What: what, final: true}
	case newest > l.last && bad == nil:
		return &Damage{Block: next, What: fmt.Sprintf("it is missing; the witness says that the book goes on to block %d", newest)}
	case !l.tail.dirty:
		return nil
	case newest <= l.last && len(l.slots) > 0:
		if torn, err := l.tail.torn(dir); err != nil {
			return unreadable(next, err)
		} else if torn {
			return nil
		}
	}
	if bad == nil {
		bad = fmt.Errorf("there are bytes behind the end of the book, from %v to %v", l.tail.first, l.tail.last)
	}
	return &Damage{Block: next, What: bad.Error()}
}

// takeBack makes the state go on by the block that only the witness holds.
func (l *loaded) takeBack(w *witnessed) error {
	p := l.end.place(len(w.raw))
	if !l.tail.covers(p, len(w.raw)) {
		return &Damage{Block: w.number, What: fmt.Sprintf("only the witness holds it, and what lies in its place (%v to %v) is not a part of it", l.tail.first, l.tail.last)}
	}
	l.putBack = w
	if l.start == w.number && w.hash == l.state.hash {
		return nil // the snapshot was taken at this very block
	}
	if l.start > l.last {
		return &Damage{Block: w.number, What: fmt.Sprintf("only the witness holds it, and a snapshot was taken at block %d", l.start), final: true}
	}
	if err := l.state.replay(&w.block, w.hash); err != nil {
		return &Damage{Block: w.number, What: err.Error()}
	}
	return nil
}

// unreadable says that blocks are not as they were written, unless it is the
// machine that lacks something.
func unreadable(block uint64, err error) error {
	for _, lack := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EACCES, errBadger} {
		if errors.Is(err, lack) {
			return fmt.Errorf("reading the blocks of the book: %w", err)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it is missing, with the segment that it was in")
	}
	return &Damage{Block: block, What: err.Error()}
}
