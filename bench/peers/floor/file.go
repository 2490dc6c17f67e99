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
	// zeroed is how much of the file is written with zeros before the first
	// message, in bytes.
	zeroed = 512 << 20
	// maxFile ends the server before it fills the disk, in bytes.
	maxFile = 32 << 30
)

// file is the one file. A write to it returns when it is on the disk.
//
// It is opened with O_DSYNC, which makes of write and fdatasync one call: the
// two cost the same for large groups, the one call less for small ones. Its first
// part is written with zeros ahead, because a write that makes a file longer, or
// fills a hole, also changes the file system's journal: with them ahead, groups of
// 32 messages take about half the time. What comes after that part is appended.
//
// Tried and left: fallocate, which gives no zeros but holes (as slow as
// appending), and going on to write zeros ahead in the background (it takes from
// the disk what the groups need, and at full speed is slower than appending).
type file struct {
	f  *os.File
	at int64
}

func create(dir string) (*file, error) {
	path := filepath.Join(dir, fileName)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < zeroed && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros, at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	f, err = os.OpenFile(path, os.O_WRONLY|syscall.O_DSYNC, 0)
	if err != nil {
		return nil, err
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
	return err
}
