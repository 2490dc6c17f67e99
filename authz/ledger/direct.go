package ledger

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// pages gives memory that begins at a page, as direct writes need it.
func pages(size int) ([]byte, error) {
	return syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

func freePages(b []byte) error { return syscall.Munmap(b) }

// openDirect opens a file so that reads and writes pass the page cache by, if the
// file system can do that with multiples of unit bytes. buf is to be written from:
// memory of [pages], of at least unit bytes; what is in it may change.
func openDirect(path string, flags, unit int, buf []byte) (*os.File, error) {
	flags |= os.O_RDWR
	if f, err := os.OpenFile(path, flags|directIO, 0o600); err == nil {
		_, err := f.ReadAt(buf[:unit], int64(unit))
		clear(buf[:unit])
		if err == nil || err == io.EOF {
			return f, nil
		}
		_ = f.Close()
	}
	return os.OpenFile(path, flags, 0o600)
}

// syncDir makes sure that the names in a folder are on disk.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
