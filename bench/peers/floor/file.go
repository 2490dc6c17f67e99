package floor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	fileName = "messages"
	// maxFile ends the server before it fills the disk, in bytes.
	maxFile = 32 << 30
)

// file is the one file, to which every group is appended. A write to it returns
// when it is on the disk: write and fdatasync.
//
// Tried and left: a file that is filled with zeros beforehand and overwritten. It
// needs no change of the file system's journal, and takes about half the time for
// a small group; but somebody has to write the zeros, for as long as the server
// lives, and a floor that leaves that to the minutes before it is measured would
// not be one.
type file struct {
	f  *os.File
	at int64
}

func create(dir string) (*file, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{f: f}, nil
}

// write adds b behind what was written before.
func (f *file) write(b []byte) error {
	if f.at+int64(len(b)) > maxFile {
		return fmt.Errorf("it has reached its limit of %d bytes: run for a shorter time", int64(maxFile))
	}
	n, err := f.f.WriteAt(b, f.at)
	f.at += int64(n)
	if err == nil {
		err = os.NewSyscallError("fdatasync", syscall.Fdatasync(int(f.f.Fd())))
	}
	return err
}
