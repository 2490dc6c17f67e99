package phones

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"kessai"
	"kessai/customers"
	"kessai/store"
)

// The limits of what is kept for one customer.
const (
	MaxDevices  = 10
	MaxPasskeys = 10
	maxRecord   = 256 << 10 // bytes
)

// Store keeps the devices, sessions, passkeys, push subscriptions and invitations
// of all customers, in a badger store of its own. What it has said is on disk.
type Store struct {
	lock    *os.File
	db      *badger.DB
	seed    maphash.Seed
	stripes [64]sync.Mutex // one customer's record has one writer; different ones sync together
	adding  sync.Mutex     // held by whoever adds a card reader, which is nobody else's
}

// Folder gives the place of the store in a data folder.
func Folder(data string) string { return filepath.Join(data, "phones") }

// Open opens the store in a folder, which is made when it is missing. An error
// that wraps [store.ErrLocked] means that another process has it open.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := store.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("phones: %w", err)
	}
	// Opening a damaged store would make badger cut it off at the damage. It has a
	// folder of its own, because badger locks that too, without saying so.
	files := filepath.Join(dir, "store")
	if err = store.Check(files); err != nil {
		return nil, errors.Join(fmt.Errorf("phones: the store in %s is damaged: %w", dir, err), lock.Close())
	}
	db, err := store.Open(badger.DefaultOptions(files).
		WithLogger(nil).
		WithMetricsEnabled(false).
		WithSyncWrites(true).
		WithDetectConflicts(false). // see stripes
		WithCompression(options.None).
		WithMemTableSize(8 << 20).
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(6).
		WithNumCompactors(2).
		WithBlockCacheSize(0).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(1 << 20))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("phones: %w", err), lock.Close())
	}
	return &Store{lock: lock, db: db, seed: maphash.MakeSeed()}, nil
}

// Close closes the store. Nobody may use it any more.
func (s *Store) Close() error { return errors.Join(s.db.Close(), s.lock.Close()) }

// record is everything that is kept for one customer.
type record struct {
	Devices   []Device   `json:"devices,omitempty"`
	Passkeys  []Passkey  `json:"passkeys,omitempty"`
	Invited   *invited   `json:"invited,omitempty"`
	Readers   []Reader   `json:"readers,omitempty"`
	Enrolment *enrolment `json:"enrolment,omitempty"`
}

// invited is an invitation that is open. Of its code only the hash is kept.
type invited struct {
	Hash  hash      `json:"hash"`
	Until time.Time `json:"until"`
}

// The keys of the store. Those under which a customer is found lead to its ID.
const (
	customerPrefix = "customer/"
	devicePrefix   = "device/"
	sessionPrefix  = "session/"
	passkeyPrefix  = "passkey/"
	invitePrefix   = "invite/"
	readerPrefix   = "reader/"
)

// found gives all the keys under which the record is found.
func (r *record) found() map[string]bool {
	keys := make(map[string]bool)
	for _, d := range r.Devices {
		keys[devicePrefix+d.ID] = true
		if d.Session != nil {
			keys[sessionPrefix+string(d.Session.Hash[:])] = true
		}
	}
	for _, p := range r.Passkeys {
		keys[passkeyKey(p.Credential.ID)] = true
	}
	if r.Invited != nil {
		keys[invitePrefix+string(r.Invited.Hash[:])] = true
	}
	for _, x := range r.Readers {
		keys[readerPrefix+kessai.ReaderIDOf(x.Key).String()] = true
	}
	return keys
}

// read gives the record of a customer; an empty one where there is none.
func (s *Store) read(id customers.ID) (r record, err error) {
	value, err := s.get(customerPrefix + string(id))
	if err != nil || value == nil {
		return record{}, err
	}
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}, fmt.Errorf("phones: the record of a customer cannot be read: %w", err)
	}
	return r, nil
}

// get gives a value; nil where there is none.
func (s *Store) get(key string) (value []byte, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte(key))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err == nil {
			value, err = item.ValueCopy(nil)
		}
		return err
	})
	return value, err
}

// find gives the customer whose record is found under a key, with that record;
// ErrGone where there is none.
func (s *Store) find(key string) (customers.ID, record, error) {
	value, err := s.get(key)
	if err != nil {
		return "", record{}, err
	}
	if value == nil {
		return "", record{}, ErrGone
	}
	id := customers.ID(value)
	r, err := s.read(id)
	if err == nil && !r.found()[key] {
		err = ErrGone // it was removed between the two reads
	}
	return id, r, err
}

// update changes a customer's record, and what it is found under, in one step.
// Where change gives an error, nothing is changed.
func (s *Store) update(id customers.ID, change func(*record) error) error {
	stripe := &s.stripes[maphash.String(s.seed, string(id))%uint64(len(s.stripes))]
	stripe.Lock()
	defer stripe.Unlock()
	r, err := s.read(id)
	if err != nil {
		return err
	}
	before := r.found()
	if err := change(&r); err != nil {
		return err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(value) > maxRecord {
		return fmt.Errorf("%w: more than %d bytes for one customer", ErrFull, maxRecord)
	}
	return s.db.Update(func(txn *badger.Txn) error {
		after := r.found()
		for key := range before {
			if !after[key] {
				if err := txn.Delete([]byte(key)); err != nil {
					return err
				}
			}
		}
		for key := range after {
			if !before[key] {
				if err := txn.Set([]byte(key), []byte(id)); err != nil {
					return err
				}
			}
		}
		return txn.Set([]byte(customerPrefix+string(id)), value)
	})
}
