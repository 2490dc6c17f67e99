// Package store opens badger with care: one process at a time, and never a look
// that changes what it looks at.
//
// What it is for: what the book and the registry both need to find out whether a
// store is whole before they trust it. What it is not for: saying what is in a
// store, or what it must end with; both keep a record of that beside it. Start
// reading with [Copy].
package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
)

// ErrLocked says that another process has the folder locked.
var ErrLocked = errors.New("another process has it open")

// Lock makes sure that one process at a time works in a folder, which must
// exist. The lock goes when the file is closed.
func Lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, errors.Join(err, f.Close())
}

// Copy makes a copy of a store that may be opened (with [OpenCopy]) without harm
// to the original: opening a damaged store makes badger cut it off at the damage,
// and that would destroy the evidence. Tables never change once they are written,
// so they are linked, after a check; the rest is small and is copied.
func Copy(from, to string) error {
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	named, err := check(from)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		src, dst := filepath.Join(from, f.Name()), filepath.Join(to, f.Name())
		switch {
		case f.IsDir() || f.Name() == "LOCK":
			continue
		case strings.HasSuffix(src, ".sst"):
			if !named[f.Name()] {
				continue
			}
			if os.Link(src, dst) == nil {
				continue
			}
		}
		if err := copyFile(src, dst); err != nil {
			return err
		}
	}
	return nil
}

// Check reads all tables of a store through. A store that is not there is whole.
func Check(dir string) error {
	_, err := check(dir)
	return err
}

// check gives the names of a store's tables, which are all there and whole.
func check(dir string) (map[string]bool, error) {
	named, err := tables(dir)
	if err != nil {
		return nil, err
	}
	// On all processors: a big store has many gigabytes to read through.
	var running sync.WaitGroup
	todo := make(chan string, len(named))
	for t := range named {
		todo <- filepath.Join(dir, t)
	}
	close(todo)
	errs := make([]error, runtime.GOMAXPROCS(0))
	for i := range errs {
		running.Go(func() {
			var buf []byte
			for t := range todo {
				if errs[i] == nil {
					buf, errs[i] = checkTable(t, buf)
				}
			}
		})
	}
	running.Wait()
	return named, errors.Join(errs...)
}

// tables gives the names of the tables that belong to a store. Others may lie in
// its folder: one that was being written when the process ended is not in the
// manifest yet, and what is in it still stands in the log. Badger removes those.
func tables(dir string) (map[string]bool, error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return nil, fmt.Errorf("the manifest cannot be read: %w", err)
	}
	named := make(map[string]bool, len(m.Tables))
	for id := range m.Tables {
		named[filepath.Base(table.NewFilename(id, dir))] = true
	}
	return named, nil
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// checkTable reads a table through, into buf if that is large enough. When badger
// meets a damaged one it panics on a goroutine of its own, where nobody can catch
// it, or gives back nothing of what the failed opening took; so it must not come
// to that.
func checkTable(path string, buf []byte) (used []byte, err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("table %s cannot be read", filepath.Base(path))
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return buf, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return buf, err
	}
	buf = slices.Grow(buf[:0], int(info.Size()))[:info.Size()]
	if _, err := io.ReadFull(f, buf); err != nil {
		return buf, err
	}
	t, err := table.OpenInMemoryTable(buf, 0, &table.Options{ChkMode: options.OnTableAndBlockRead})
	if err == nil {
		err = t.VerifyChecksum()
	}
	if err != nil {
		return buf, fmt.Errorf("table %s: %w", filepath.Base(path), err)
	}
	return buf, nil
}

// OpenCopy opens a copy that [Copy] made, with the options of its original. It
// runs no compactions: badger empties the tables that it has compacted before it
// removes them, and these are links to those of the original.
func OpenCopy(o badger.Options) (*badger.DB, error) {
	return Open(o.WithSyncWrites(false).WithNumCompactors(0).WithNumLevelZeroTablesStall(1 << 20))
}

// Open opens a store. Beside an error it gives nil: what badger gives there
// cannot even be closed.
func Open(o badger.Options) (*badger.DB, error) {
	if err := removeUnbegun(o.Dir); err != nil {
		return nil, err
	}
	db, err := badger.Open(o)
	if err != nil {
		return nil, err
	}
	return db, nil
}

// removeUnbegun removes log files that hold nothing, not even their length. A
// process that ends between the two steps in which badger makes a log (open, set
// the length) leaves one, and badger then refuses to open the store: it takes the
// file for one that it has just made itself.
func removeUnbegun(dir string) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		if info, e := f.Info(); e != nil {
			err = errors.Join(err, e)
		} else if info.Size() == 0 {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return err
}
