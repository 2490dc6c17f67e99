package ledger

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// found is a block as it lies in a segment.
type found struct {
	at     position
	raw    []byte
	block  block
	hash   [32]byte
	err    error
	parsed chan struct{} // holds one token when block, hash and err are known
}

// readAhead is the number of blocks that are on their way from the disk.
const readAhead = 8

// chain is how far the blocks of a book are good.
type chain struct {
	last uint64
	hash [32]byte
	end  position // where the last one ends
	bad  error    // why what comes next is no block; nil: there seems to be nothing
}

// readBlocks reads all blocks in a folder in order, checks their hashes and their
// chain, and calls f for each. It ends at the first that is not as it was written:
// see judge for what that means. One goroutine reads and others hash, while f
// does its work with what came before. An error is final.
func readBlocks(dir string, f func(b *block, hash [32]byte, at position) error) (c chain, err error) {
	inOrder, toHash, free := make(chan *found, readAhead), make(chan *found, readAhead), make(chan *found, readAhead)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range readAhead {
		free <- &found{parsed: make(chan struct{}, 1)}
	}
	running.Go(func() {
		defer close(inOrder)
		defer close(toHash)
		readAll(dir, free, stop, func(b *found) {
			toHash <- b
			inOrder <- b // neither is ever full
		})
	})
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for b := range toHash {
				if b.err == nil {
					b.block, b.hash, b.err = parseBlock(b.raw)
				}
				b.parsed <- struct{}{}
			}
		})
	}
	defer running.Wait()
	defer close(stop)
	c.end = position{1, 0}
	for b := range inOrder {
		<-b.parsed
		want := c.last + 1
		switch {
		case errors.Is(b.err, errBlockHash), errors.Is(b.err, errPrefix), errors.Is(b.err, errPadding):
			c.bad = b.err
			return c, nil
		case b.err != nil:
			return c, unreadable(want, b.err)
		case b.block.number != want:
			err = fmt.Errorf("another block (%d) is in its place", b.block.number)
		case b.block.prev != c.hash:
			err = errors.New("it does not follow from the block before it")
		default:
			err = f(&b.block, b.hash, b.at)
		}
		if err != nil {
			var d *Damage
			if !errors.As(err, &d) && !errors.Is(err, errSnapshot) {
				err = &Damage{Block: want, What: err.Error()}
			}
			return c, err
		}
		c.last, c.hash, c.end = want, b.hash, position{b.at.segment, b.at.at + extent(len(b.raw))}
		free <- b
	}
	return c, nil
}

// readAll reads the blocks in a folder and gives each to next. What goes wrong is
// given like a block, as the last.
func readAll(dir string, free chan *found, stop chan struct{}, next func(*found)) {
	give := func(at position, read func(raw []byte) ([]byte, error)) error {
		select {
		case <-stop:
			return io.ErrClosedPipe
		case b := <-free:
			b.at = at
			raw, err := read(b.raw)
			if b.raw, b.err = raw, err; err == io.EOF {
				free <- b
			} else {
				next(b)
			}
			return err
		}
	}
	count, err := segments(dir)
	for n := 1; err == nil && n <= count; n++ {
		var s *segmentReader
		if s, err = readSegment(dir, position{n, 0}, 1<<20); err != nil {
			break
		}
		var end error
		for end == nil {
			end = give(position{n, s.at}, s.next)
		}
		if end == io.EOF && !s.onlyZeros() {
			end = io.ErrUnexpectedEOF // for judge to look at
		}
		if err = s.close(); end != io.EOF {
			break
		}
	}
	if err != nil {
		_ = give(position{}, func(raw []byte) ([]byte, error) { return raw, err })
	}
}
