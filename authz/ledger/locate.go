package ledger

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
)

// locate finds the first block, of those up to last, that does not lie whole in
// the store's files; zero where all of them do. When a table is damaged badger
// can only say that some table cannot be read. Blocks are stored as they are,
// uncompressed and in one piece, so they can be recognised without badger.
func locate(dir string, last uint64) uint64 {
	whole := make([]bool, last+1)
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext != ".sst" && ext != ".mem" || strings.HasPrefix(f.Name(), ".") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			continue
		}
		for at := 0; at+blockHeader+hashSize <= len(content); at++ {
			if content[at] != blockVersion {
				continue
			}
			n := binary.BigEndian.Uint64(content[at+1:])
			if n == 0 || n > last || whole[n] {
				continue
			}
			if size := sizeOfBlock(content[at:]); size > 0 {
				_, _, err := parseBlock(content[at : at+size])
				whole[n] = err == nil
			}
		}
	}
	for n := uint64(1); n <= last; n++ {
		if !whole[n] {
			return n
		}
	}
	return 0
}

// sizeOfBlock gives the length of a block that begins where b begins, by reading
// its entries; zero where none can begin there.
func sizeOfBlock(b []byte) int {
	count := binary.BigEndian.Uint32(b[blockHeader-4:])
	d := decoder{b: b[blockHeader:]}
	for range count {
		if d.entry(); d.bad {
			return 0
		}
	}
	if size := len(b) - len(d.b) + hashSize; size <= len(b) {
		return size
	}
	return 0
}
