package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// maxBlock bounds an encoded block: well below badger's value threshold (1 MiB),
// so that blocks never go to its value log.
const maxBlock = 768 << 10

const slotSize = 1 << 20

// witness keeps the last two blocks whole, in two alternating slots of a file of
// its own. Badger drops the damaged tail of its log without a word; the witness
// knows what the end must be. A slot is a length and a block, whose own hash
// tells whether the slot was written whole.
type witness struct{ f *os.File }

func openWitness(path string) (*witness, error) {
	// O_DSYNC: a write returns when its data is on disk.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_DSYNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &witness{f}, nil
}

// begin makes room for both slots, so that later writes change no metadata.
func (w *witness) begin() error {
	if _, err := w.f.WriteAt(make([]byte, 2*slotSize), 0); err != nil {
		return err
	}
	return w.f.Sync()
}

// put writes a block into its slot and returns when it is on disk. buf is
// scratch space.
func (w *witness) put(number uint64, raw, buf []byte) ([]byte, error) {
	buf = binary.BigEndian.AppendUint32(buf[:0], uint32(len(raw)))
	buf = append(buf, raw...)
	_, err := w.f.WriteAt(buf, int64(number%2)*slotSize)
	return buf, err
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
		b, hash, err := parseBlock(raw)
		if err != nil || b.number%2 != uint64(slot) {
			continue
		}
		blocks = append(blocks, witnessed{b, hash, raw})
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
}
