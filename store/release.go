package store

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Release gives back the memory that the tables of a store take in this process.
// Badger reads them through mappings, so whoever reads a store through has all of
// it resident in the end. Nothing is lost: what is read again comes from the
// system's file cache. It is an economy, so it tells of no errors.
func Release(dir string) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		fields := bytes.Fields(line)
		if len(fields) != 6 || filepath.Ext(string(fields[5])) != ".sst" || filepath.Dir(string(fields[5])) != dir {
			continue
		}
		from, to, _ := bytes.Cut(fields[0], []byte("-"))
		begin, err1 := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 == nil && err2 == nil && begin < end {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, uintptr(begin), uintptr(end-begin), syscall.MADV_DONTNEED)
		}
	}
}
