package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// maxBlock bounds an encoded block, in bytes.
const maxBlock = 288 << 10

const slotSize = 1 << 20

// witness keeps a block whole in each of two slots of a file of its own: the end
// of the book, and an earlier one. The end of the segments can go without a trace,
// because zeros follow it anyway; the witness knows what was there. It follows the
// segments after witnessRest at the latest, so that no answer waits for it.
//
// A slot is a length and a block, whose own hash tells whether it was written
// whole. They are written in turn.
type witness struct {
	f      *os.File
	buf    []byte // a slot, in memory that begins at a page
	slot   int    // the one to be written next
	newest uint64 // the block in the other
}

// witnessUnit is what writes to the witness are multiples of, in bytes.
const witnessUnit = 4096

// openWitness opens the file, and makes it where it is missing. A write returns
// when its data is on disk (O_DSYNC).
func openWitness(path string, slots []witnessed) (w *witness, err error) {
	w = new(witness)
	if len(slots) > 0 {
		last := &slots[len(slots)-1]
		w.slot, w.newest = 1-last.slot, last.number
	}
	if w.buf, err = pages(slotSize); err != nil {
		return nil, fmt.Errorf("memory for the witness: %w", err)
	}
	if w.f, err = openDirect(path, os.O_CREATE|syscall.O_DSYNC, witnessUnit, w.buf); err != nil {
		return nil, errors.Join(err, freePages(w.buf))
	}
	return w, nil
}

func (w *witness) close() error { return errors.Join(w.f.Close(), freePages(w.buf)) }

// begin makes room for both slots, so that later writes change no metadata, and
// says that the book has no block yet.
func (w *witness) begin() error {
	clear(w.buf)
	for slot := range int64(2) {
		if _, err := w.f.WriteAt(w.buf, slot*slotSize); err != nil {
			return err
		}
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	raw, _ := (&block{}).append(nil)
	return w.put(0, raw)
}

// put writes a block into the slot whose turn it is, and returns when it is on
// disk. One at a time.
func (w *witness) put(number uint64, raw []byte) error {
	binary.BigEndian.PutUint32(w.buf, uint32(len(raw)))
	n := 4 + copy(w.buf[4:], raw)
	whole := (n + witnessUnit - 1) / witnessUnit * witnessUnit
	clear(w.buf[n:whole])
	if _, err := w.f.WriteAt(w.buf[:whole], int64(w.slot)*slotSize); err != nil {
		return fmt.Errorf("writing the witness: %w", err)
	}
	w.slot, w.newest = 1-w.slot, number
	return nil
}

// readWitness gives the blocks of the slots that hold one whole, older first.
func readWitness(path string) (blocks []witnessed, err error) {
	file, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the witness: %w", err)
	}
	for slot := range 2 {
		buf := file[min(len(file), slot*slotSize):]
		if len(buf) < 4 {
			continue
		}
		n := binary.BigEndian.Uint32(buf)
		if n > maxBlock || int(n) > len(buf)-4 {
			continue
		}
		raw := buf[4 : 4+n]
		if b, hash, err := parseBlock(raw); err == nil {
			blocks = append(blocks, witnessed{b, hash, raw, slot})
		}
	}
	if len(blocks) == 2 && blocks[0].number > blocks[1].number {
		blocks[0], blocks[1] = blocks[1], blocks[0]
	}
	return blocks, nil
}

type witnessed struct {
	block
	hash [32]byte
	raw  []byte
	slot int
}

// witnessRest is how long the witness may lag behind the segments: it is written
// that long after a block, with what is the last by then.
const witnessRest = 100 * time.Millisecond

// witnessLoop writes the witness after the blocks.
func (b *Book) witnessLoop() {
	defer b.done.Done()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-b.unseen:
		}
		rest.Reset(witnessRest)
		select {
		case <-b.stop:
			return
		case <-rest.C:
		}
		if err := b.witnessEnd(); err != nil {
			b.fail(err)
			return
		}
	}
}

// witnessEnd makes the witness hold the last block, which it reads from its
// segment: what it keeps is what is on disk.
func (b *Book) witnessEnd() error {
	last := b.log.newest()
	if last == b.witness.newest {
		return nil
	}
	_, _, raw, err := b.log.block(last)
	if err != nil {
		return err
	}
	return b.witness.put(last, raw)
}
