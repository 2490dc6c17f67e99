package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// blockLog syncs the log to which badger writes blocks before they go to tables.
//
// Badger can sync by itself (SyncWrites), but then it syncs its value log too,
// each time. Blocks never go there, yet the disk is flushed once more: a quarter
// of the time that a lone transaction takes.
//
// Badger writes to the newest of its files *.mem, and begins the next one, with
// the next number, before it writes to that. One block is written at a time, and
// synced before the next. So what is not on disk yet stands in the newest file.
// TestPowerLoss asks the kernel after every answer whether that is so.
type blockLog struct {
	dir    string
	number int
	f      *os.File
}

// openBlockLog begins with the newest file of an open store, and makes sure that
// all older ones, which a crash may have left, are on disk.
func openBlockLog(dir string) (*blockLog, error) {
	l := &blockLog{dir: dir}
	files, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // its table was written meanwhile
		}
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return nil, err
		}
		var n int
		if _, err := fmt.Sscanf(filepath.Base(path), "%d.mem", &n); err == nil && n > l.number {
			f, l.f, l.number = l.f, f, n
		}
		if f != nil {
			_ = f.Close()
		}
	}
	if l.f == nil {
		return nil, fmt.Errorf("badger keeps no log in %s", dir)
	}
	return l, syncDir(dir)
}

// sync returns when the last block is on disk.
func (l *blockLog) sync() error {
	var named chan error // told when the name of a new file is on disk
	for {
		f, err := os.Open(filepath.Join(l.dir, fmt.Sprintf("%05d.mem", l.number+1)))
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		_ = l.f.Close()
		l.f, l.number = f, l.number+1
		if named == nil {
			named = make(chan error, 1)
			go func() { named <- syncDir(l.dir) }() // at the same time: one change of the journal holds both
		}
	}
	err := syscall.EINTR
	for err == syscall.EINTR {
		err, _ = syscall.Fdatasync(int(l.f.Fd())).(syscall.Errno)
	}
	if named != nil {
		if err := <-named; err != nil {
			return err
		}
	}
	if err != 0 {
		return os.NewSyscallError("fdatasync", err)
	}
	return nil
}

func (l *blockLog) close() error { return l.f.Close() }

// syncDir makes sure that the names in a folder are on disk.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
