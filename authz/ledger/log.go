package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// blockLog writes blocks into segments (segment.go). A write returns when it is on
// disk (O_DSYNC). The file was filled with zeros before, so that the file system
// has nothing to note about it: no journal is written. Where the file system can,
// the page cache is passed by (O_DIRECT): it is quicker, and what the page cache
// writes for others does not come in between.
//
// One goroutine at a time writes. Blocks may be read meanwhile.
type blockLog struct {
	dir    string
	synced bool     // each block is on disk when its write returns
	f      *os.File // the segment that is written
	buf    []byte   // what is written, in memory that begins at a page

	mu    sync.Mutex // guards what follows; where blocks are, for those that read
	last  uint64
	end   position
	marks marks

	ready chan prepared // gives the next segment
	used  atomic.Int64  // bytes of the present segment that are used
	moved chan struct{} // holds a token when used has grown by a piece or more
	stop  chan struct{} // closed when no more segments are wanted
	done  sync.WaitGroup
}

type prepared struct {
	f   *os.File
	err error
}

// piece is how many bytes of zeros are written at once: more would make a block
// wait that is written meanwhile.
const piece = 256 << 10

// openLog goes on where the blocks of a book end. Blocks that are not synced are
// on disk only when flush or close returns.
func openLog(dir string, l *loaded, synced bool) (b *blockLog, err error) {
	b = &blockLog{
		dir: dir, synced: synced, last: l.last, end: l.end, marks: l.marks,
		ready: make(chan prepared, 1), moved: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if b.buf, err = pages(int(extent(maxBlock))); err != nil {
		return nil, err
	}
	if b.f, err = b.segment(b.end.segment, 0); err != nil {
		return nil, errors.Join(err, freePages(b.buf))
	}
	b.used.Store(b.end.at)
	b.prepareNext()
	return b, nil
}

// write returns when a block is on disk.
func (b *blockLog) write(number uint64, raw []byte) error {
	at := b.end.place(len(raw))
	if at.segment != b.end.segment {
		if err := b.roll(); err != nil {
			return err
		}
	}
	if err := b.put(raw, at.at); err != nil {
		return err
	}
	b.mu.Lock()
	b.marks.add(number, at)
	b.last, b.end = number, position{at.segment, at.at + extent(len(raw))}
	b.mu.Unlock()
	if before := b.used.Swap(b.end.at); before/piece != b.end.at/piece {
		token(b.moved)
	}
	return nil
}

func (b *blockLog) put(raw []byte, at int64) error {
	buf := b.buf[:extent(len(raw))]
	n := copy(buf, appendPrefix(buf[:0], len(raw))) + copy(buf[prefixSize:], raw)
	clear(buf[n:])
	_, err := b.f.WriteAt(buf, at)
	return err
}

// settle makes sure that the blocks that were read when the book was opened are on
// disk, before others follow them: a copy that was just put in place may be in
// memory only. The last block is written once more, because after a write that
// failed the page cache may hold what the disk does not, and a sync says nothing
// of that any more. The witness has to hold it by then.
func (b *blockLog) settle() error {
	for n := 1; n <= b.end.segment; n++ {
		f, err := openSegment(b.dir, n)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if b.last == 0 {
		return nil
	}
	_, _, raw, err := b.block(b.last)
	if err != nil {
		return err
	}
	return errors.Join(b.put(raw, b.end.at-extent(len(raw))), b.flush())
}

// zero makes sure that what a write left that was cut short is zeros again.
func (b *blockLog) zero(t *tail) error {
	f, err := b.open(t.first.segment)
	if err != nil {
		return err
	}
	clear(b.buf)
	for at := t.first.at / sector * sector; at <= t.last.at && err == nil; at += int64(len(b.buf)) {
		size := (min(t.last.at+1, at+int64(len(b.buf))) - at + sector - 1) / sector * sector
		_, err = f.WriteAt(b.buf[:size], at)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// roll goes on to the next segment. It waits for it, if need be.
func (b *blockLog) roll() error {
	b.used.Store(segmentSize(b.end.segment))
	token(b.moved)
	next := <-b.ready
	if next.err != nil {
		return next.err
	}
	if err := errors.Join(b.flush(), b.f.Close()); err != nil {
		return errors.Join(err, next.f.Close())
	}
	b.f = next.f
	b.mu.Lock()
	b.end = position{b.end.segment + 1, 0}
	b.mu.Unlock()
	b.used.Store(0)
	b.prepareNext()
	return nil
}

// flush makes sure that everything is on disk, where single blocks are not synced.
func (b *blockLog) flush() error {
	if b.synced {
		return nil
	}
	return b.f.Sync()
}

func (b *blockLog) prepareNext() {
	next, present := b.end.segment+1, segmentSize(b.end.segment)
	b.done.Go(func() {
		f, err := b.segment(next, present)
		b.ready <- prepared{f, err}
	})
}

var errStopped = errors.New("the log is being closed")

// segment opens a segment to write it, and makes it first where it is missing. It
// gets its name when all of it is on disk, so there are none that are half done.
// present is the size of the segment that is written meanwhile; zero: there is none.
func (b *blockLog) segment(number int, present int64) (*os.File, error) {
	f, err := b.open(number)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if !b.pause(present, 0, segmentSize(number), 0) {
		return nil, errStopped
	}
	path := segmentPath(b.dir, number)
	if err := b.fill(path+".new", segmentSize(number), present); err != nil {
		return nil, fmt.Errorf("preparing the next segment of the book: %w", err)
	}
	if err := errors.Join(os.Rename(path+".new", path), syncDir(b.dir)); err != nil {
		return nil, err
	}
	return b.open(number)
}

// fill makes a file of zeros, as fast as blocks fill the present segment, and
// returns when it is on disk.
func (b *blockLog) fill(path string, size, present int64) error {
	buf, err := pages(piece)
	if err != nil {
		return err
	}
	defer func() { _ = freePages(buf) }()
	f, err := openDirect(path, os.O_CREATE|os.O_TRUNC, sector, buf)
	if err != nil {
		return err
	}
	for at := int64(0); at < size && err == nil; at += piece {
		started := time.Now()
		if _, err = f.WriteAt(buf[:min(piece, size-at)], at); err == nil && !b.pause(present, at+piece, size, time.Since(started)) {
			err = errStopped
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// pause returns when the zeros from a byte on should be written: the segment is
// to be there when the present one is three quarters full. It rests at least as
// long as the last piece took, unless the committer waits. When the log is
// closed, nothing is to be written any more.
func (b *blockLog) pause(present, at, size int64, took time.Duration) bool {
	for b.used.Load() < present/8+present*5/8*at/size {
		select {
		case <-b.moved:
		case <-b.stop:
			return false
		}
	}
	if b.used.Load() < present*7/8 {
		time.Sleep(took)
	}
	select {
	case <-b.stop:
		return false
	default:
		return true
	}
}

// open opens a segment that is there, to write blocks.
func (b *blockLog) open(number int) (*os.File, error) {
	if f, err := openSegment(b.dir, number); err != nil { // it has to have its size
		return nil, err
	} else if err = f.Close(); err != nil {
		return nil, err
	}
	flags := 0
	if b.synced {
		flags = syscall.O_DSYNC
	}
	probe, err := pages(sector)
	if err != nil {
		return nil, err
	}
	defer func() { _ = freePages(probe) }()
	return openDirect(segmentPath(b.dir, number), flags, sector, probe)
}

// newest gives the number of the last block that was written.
func (b *blockLog) newest() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// block reads one block.
func (b *blockLog) block(number uint64) (blk block, hash [32]byte, raw []byte, err error) {
	b.mu.Lock()
	from, ok := b.marks.before(number)
	ok = ok && number <= b.last
	b.mu.Unlock()
	err = errors.New("it is not there")
	if ok {
		blk, hash, raw, err = readBlock(b.dir, from, number)
	}
	if err != nil {
		err = unreadable(number, err)
	}
	return blk, hash, raw, err
}

func readBlock(dir string, from position, number uint64) (b block, hash [32]byte, raw []byte, err error) {
	s, err := readSegment(dir, from, 64<<10)
	if err != nil {
		return b, hash, nil, err
	}
	defer s.close()
	for {
		if raw, err = s.next(raw); err == io.EOF {
			err = errors.New("it is missing in its segment")
		}
		if err != nil {
			return b, hash, nil, err
		}
		if b, hash, err = parseBlock(raw); err != nil || b.number == number {
			return b, hash, raw, err
		}
	}
}

// halt ends the preparing of segments.
func (b *blockLog) halt() { close(b.stop) }

// close is called after halt, and after the last write.
func (b *blockLog) close() error {
	b.done.Wait()
	select {
	case next := <-b.ready:
		if next.f != nil {
			_ = next.f.Close()
		}
	default:
	}
	return errors.Join(b.flush(), b.f.Close(), freePages(b.buf))
}

// marks say where some of the blocks are: the first of each segment, and one in
// each piece of it. So a block is found by reading no more than a piece.
type marks []mark

type mark struct {
	number uint64
	at     position
}

func (m *marks) add(number uint64, at position) {
	if n := len(*m); n > 0 {
		if last := (*m)[n-1].at; last.segment == at.segment && last.at/piece == at.at/piece {
			return
		}
	}
	*m = append(*m, mark{number, at})
}

// before gives the last mark that is not behind a block.
func (m marks) before(number uint64) (position, bool) {
	i := sort.Search(len(m), func(i int) bool { return m[i].number > number })
	if i == 0 {
		return position{}, false
	}
	return m[i-1].at, true
}
