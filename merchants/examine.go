package merchants

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"kessai/customers"
	"kessai/store"
)

// lockFolder makes sure that one process at a time has the registry open. The
// lock goes when the file is closed.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	f, err := store.Lock(dir)
	switch {
	case errors.Is(err, store.ErrLocked):
		return nil, fmt.Errorf("%w: %s: stop the other process, or speak to it over its admin socket", ErrLocked, dir)
	case err != nil:
		return nil, fmt.Errorf("open registry: %w", err)
	}
	return f, nil
}

// examine makes sure that the store is what the seal says, record by record, or
// begins both. It looks at a copy: opening a damaged store makes badger cut it
// off at the damage, and that would destroy the evidence.
func examine(dir string, s *seal) error {
	original, check := filepath.Join(dir, "store"), filepath.Join(dir, "check")
	unsealed := s.read()
	files, err := os.ReadDir(original)
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("open registry: %w", err)
	case unsealed != nil && !errors.Is(unsealed, errUnsealed):
		return unsealed
	case len(files) == 0 && s.version == 0:
		return begin(dir, s)
	case len(files) == 0:
		return damaged(dir, errors.New("the store is gone"))
	case unsealed != nil:
		return damaged(dir, unsealed)
	}
	if err = store.Copy(original, check); err == nil {
		err = examineCopy(dir, check, s)
	}
	switch {
	case errors.Is(err, errOlderForm):
		err = fmt.Errorf("%w. Nothing in %s was changed: move %s away and import all files again, the newest last; balances are in the book and stay", err, dir, dir)
	case err != nil && !isShortage(err):
		err = damaged(dir, err)
	}
	return errors.Join(err, os.RemoveAll(check))
}

// begin makes a new registry: the seal first, so that a store never stands
// without one, and the names of both on disk before anything is in the store.
func begin(dir string, s *seal) error {
	if err := s.put(meta{}); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "store"), 0o700); err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := syncFolder(d); err != nil {
			return fmt.Errorf("open registry: %w", err)
		}
	}
	return nil
}

func damaged(dir string, err error) error {
	if !errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return fmt.Errorf("%w. Nothing in %s was changed: restore the data folder from a backup, or move %s away and import all files again, the newest last", err, dir, dir)
}

// isShortage tells what the system lacks from what is wrong with the store.
func isShortage(err error) bool {
	return slices.ContainsFunc([]error{syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EACCES},
		func(e error) bool { return errors.Is(err, e) })
}

func examineCopy(dir, check string, s *seal) (err error) {
	db, err := store.OpenCopy(storeOptions(check))
	if err != nil {
		return err
	}
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("a record cannot be read")
		}
		err = errors.Join(err, db.Close())
	}()
	return db.View(func(txn *badger.Txn) error {
		m, err := getMeta(txn)
		if err != nil {
			return err
		}
		if err := s.follows(m); err != nil {
			return err
		}
		st, ok, err := decided(dir)
		if err != nil {
			return err
		}
		var change digest
		if ok && st.ID != m.Import {
			m.Records.add(st.Change)
			change, err = stillToCome(txn, dir, st)
		}
		if err != nil {
			return err
		}
		return examineRecords(db, txn, m, change)
	})
}

// stillToCome gives what carrying out the import that is under way, of which a
// part may have been done, changes the digest of all records by.
func stillToCome(txn *badger.Txn, dir string, st state) (change digest, err error) {
	err = st.each(filepath.Join(dir, stagedName), func(key, value []byte) error {
		if len(value) > 0 {
			change.mix(key, value)
		}
		old, err := getValue(txn, key)
		if err == nil && old != nil {
			change.mix(key, old)
		}
		return err
	})
	return change, err
}

// errOlderForm says that records are stored as they once were: customers as JSON,
// terminals as active or blocked, and the import under way in the store.
var errOlderForm = errors.New("the registry is of an older form, which this version does not read")

// examineRecords compares all records, with a change that is still to come, to
// what the store says of itself.
func examineRecords(db *badger.DB, txn *badger.Txn, m meta, change digest) error {
	spans := allSpans(db)
	digests := make([]digest, len(spans))
	err := eachIn(txn, db.Opts().Dir, spans, allReaders(), func(n int, key, value []byte) error {
		if isOlderForm(key, value) {
			return errOlderForm
		}
		if isRecord(key) {
			digests[n].mix(key, value)
		}
		return nil
	}, nil)
	for _, d := range digests {
		change.add(d)
	}
	if err == nil && change != m.Records {
		err = fmt.Errorf("its records are not those of version %d: some are lost or altered", m.Version)
	}
	return err
}

func isOlderForm(key, value []byte) bool {
	switch {
	case bytes.HasPrefix(key, []byte(customers.KeyPrefix)):
		return bytes.HasPrefix(value, []byte("{"))
	case bytes.HasPrefix(key, []byte(terminalPrefix)):
		return bytes.Contains(value, []byte(`"status":"active"`)) || bytes.Contains(value, []byte(`"status":"blocked"`))
	}
	return bytes.Equal(key, []byte("meta/import"))
}

// isRecord tells records from what the store keeps about itself.
func isRecord(key []byte) bool {
	return !bytes.Equal(key, metaKey)
}
