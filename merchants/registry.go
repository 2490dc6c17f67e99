package merchants

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"kessai"
	"kessai/authz/ledger"
	"kessai/customers"
	"kessai/store"
)

// Options configures a registry. All of it is needed, but for what says otherwise.
type Options struct {
	Dir string // the data folder; the registry keeps its own folder in it

	// What the registry needs of the book: its OpenAccounts, its AccountByName and
	// its AccountNumbers. Without the last, each account is asked for by itself.
	OpenAccounts   func([]ledger.AccountSpec) ([]ledger.AccountID, error)
	Account        func(name string) (ledger.Account, bool)
	AccountNumbers func(names []string) []ledger.AccountID

	Hasher       *kessai.MediumHasher // turns card numbers into medium IDs
	APIKeySecret []byte               // API keys are hashed with it; at least 32 bytes

	PINKey *customers.PINKey // makes the verifiers of PINs; nil: no medium can get one
}

// The errors of the registry. Faults in a file are of type [*FileError].
var (
	ErrLocked     = errors.New("the registry is in use by another process")
	ErrDamaged    = errors.New("the registry is damaged")
	ErrClosed     = errors.New("the registry is closed")
	ErrImporting  = errors.New("another import is running: nothing was imported, try again when it is done")
	ErrUnfinished = errors.New("an import is on disk but not yet carried out")
)

// Registry is the stored list of merchants, terminals, API keys, customers and
// media. It may be used from many goroutines at once.
//
// Merchants and API keys are answered from memory; terminals, customers, media and
// items, of which there may be many, are read from the store.
type Registry struct {
	dir  string // the registry's own
	db   *badger.DB
	seal seal
	lock *os.File
	o    Options

	importing sync.Mutex    // held by the one import that runs
	writing   chan struct{} // full while somebody changes what the store says of itself; guards seal, broken and underWay
	broken    error         // what made it unknown what the store has; nothing is changed any more
	queue     queue         // of changes

	viewing  sync.RWMutex // held for moments: guards pinned, underWay, and what readers are let in
	pinned   *pinned      // what is read while an import puts its records in their places
	underWay bool         // an import is, or was when the store was left: changes go, or are, beside the records
	readers  sync.WaitGroup

	loading sync.Mutex // held by the one load that runs
	follow  follow

	known      atomic.Pointer[known]
	unfinished atomic.Bool // an import is decided and could not be carried out
	closing    atomic.Bool // long work is to end
	closed     atomic.Bool

	batch int          // records in one write to the store
	step  func(string) // told of each step of an import, before the next; for tests
}

// known is what the registry keeps in memory. It never changes once it is made.
type known struct {
	meta      meta
	merchants map[kessai.MerchantID]Merchant
	apiKeys   map[[32]byte]APIKey
}

// meta is what the store says about itself. It is written in one transaction
// with each change, and with the last step of each import.
type meta struct {
	Version uint64 `json:"version"` // counts what changed something
	Counts  Counts `json:"counts"`
	Records digest `json:"records"` // of all records
	Digest  digest `json:"digest"`  // Records, chained to the version before
	Import  digest `json:"import"`  // names the last import that was carried out
	Phones  bool   `json:"phones"`  // phone numbers are indexed; not so in older registries
}

// Counts are numbers of records.
type Counts struct {
	Merchants int `json:"merchants"`
	Terminals int `json:"terminals"`
	APIKeys   int `json:"api_keys"`
	Customers int `json:"customers"`
	Media     int `json:"media"`
	Items     int `json:"items"`
}

func (c *Counts) add(o Counts) {
	c.Merchants += o.Merchants
	c.Terminals += o.Terminals
	c.APIKeys += o.APIKeys
	c.Customers += o.Customers
	c.Media += o.Media
	c.Items += o.Items
}

func (c Counts) total() int {
	return c.Merchants + c.Terminals + c.APIKeys + c.Customers + c.Media + c.Items
}

var metaKey = []byte("meta/registry")

// defaultBatch bounds the memory that one write to the store takes.
const defaultBatch = 4096

// OpenRegistry opens the registry in a folder, or begins a new one, and carries
// out an import that a crash left behind. ErrLocked and ErrDamaged say
// (errors.Is) why it would not; then nothing was changed.
func OpenRegistry(o Options) (*Registry, error) { return open(o, defaultBatch, func(string) {}) }

func open(o Options, batch int, step func(string)) (*Registry, error) {
	if o.Dir == "" || o.OpenAccounts == nil || o.Account == nil || o.Hasher == nil {
		return nil, errors.New("the registry needs a folder, the book's accounts and a hasher of card numbers")
	}
	if len(o.APIKeySecret) < kessai.MinKeyBytes {
		return nil, fmt.Errorf("the key that API keys are hashed with has %d bytes; it needs at least %d", len(o.APIKeySecret), kessai.MinKeyBytes)
	}
	r, err := openFiles(o, batch, step)
	if err != nil {
		return nil, err
	}
	if err = r.recover(); err == nil {
		err = r.indexNumbers()
	}
	if err == nil {
		err = r.view(func(v reading) error {
			k, err := loadKnown(v.base)
			r.known.Store(k)
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(err, r.closeFiles())
	}
	return r, nil
}

// openFiles takes the lock, and opens the store if it is what the seal says.
func openFiles(o Options, batch int, step func(string)) (_ *Registry, err error) {
	dir := filepath.Join(o.Dir, "registry")
	r := &Registry{
		o: o, dir: dir, batch: batch, step: step,
		seal: seal{path: filepath.Join(dir, "seal")}, writing: make(chan struct{}, 1), underWay: true,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.closeFiles())
		}
	}()
	r.known.Store(new(known))
	if r.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	if err = examine(dir, &r.seal); err != nil {
		return nil, err
	}
	if r.db, err = store.Open(storeOptions(filepath.Join(dir, "store"))); err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	return r, nil
}

func (r *Registry) closeFiles() (err error) {
	if r.db != nil {
		err = r.db.Close()
	}
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
	}
	return err
}

// memTable is badger's share of memory and the size of its log files. Tests, which
// open hundreds of stores, make it smaller.
var memTable int64 = 16 << 20

// storeOptions has badger use as little memory as it does well with: records
// are small, writes come in batches, and reads that must be fast do not come
// here.
func storeOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(nil).
		WithMetricsEnabled(false).
		WithSyncWrites(true).
		WithDetectConflicts(false). // there is one writer
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnBlockRead). // examine has read the tables whole
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(6).
		WithNumCompactors(2).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithValueThreshold(64 << 10). // bytes; no record is near it
		WithValueLogFileSize(1 << 20) // nothing goes there
}

// Merchant finds a merchant.
func (r *Registry) Merchant(id kessai.MerchantID) (Merchant, bool) {
	m, ok := r.known.Load().merchants[id]
	return m, ok
}

// MerchantByAPIKey finds the merchant that a key speaks for; false where the key
// is unknown or blocked. A blocked merchant is found, with its status: it may
// see what it sold, and the rest is refused where requests are judged.
//
// How long it takes tells nothing about stored keys: what is compared are HMACs
// under a secret that the caller does not have, so he cannot choose a key whose
// hash comes near another's.
func (r *Registry) MerchantByAPIKey(key kessai.Secret) (Merchant, bool) {
	k := r.known.Load()
	found, ok := k.apiKeys[r.hashAPIKey(key)]
	if !ok || found.Status != Active {
		return Merchant{}, false
	}
	m, ok := k.merchants[found.Merchant]
	return m, ok
}

func (r *Registry) hashAPIKey(key kessai.Secret) (h [32]byte) {
	mac := hmac.New(sha256.New, r.o.APIKeySecret)
	mac.Write([]byte(key.Reveal()))
	mac.Sum(h[:0])
	return h
}

// Version counts the imports and changes that changed something.
func (r *Registry) Version() uint64 { return r.known.Load().meta.Version }

// Stats are the registry's sizes.
type Stats struct {
	Version   uint64
	Counts    Counts
	DiskBytes int64
}

// Stats gives the sizes at this moment; those on disk as of the last minute.
func (r *Registry) Stats() Stats {
	k := r.known.Load()
	s := Stats{Version: k.meta.Version, Counts: k.meta.Counts}
	if r.closed.Load() {
		return s
	}
	lsm, vlog := r.db.Size()
	s.DiskBytes = lsm + vlog
	return s
}

// Close waits for a running import and the changes under way, ends the follower
// and closes the store.
func (r *Registry) Close() error {
	r.importing.Lock()
	defer r.importing.Unlock()
	r.unfollow()
	r.writing <- struct{}{}
	defer func() { <-r.writing }()
	r.viewing.Lock()
	closed := r.closed.Swap(true)
	r.viewing.Unlock()
	if closed {
		return ErrClosed
	}
	r.readers.Wait()
	r.unpin() // nobody is left to hold viewing
	return r.closeFiles()
}

func loadKnown(txn *badger.Txn) (*known, error) {
	k := &known{
		merchants: make(map[kessai.MerchantID]Merchant),
		apiKeys:   make(map[[32]byte]APIKey),
	}
	var err error
	if k.meta, err = getMeta(txn); err != nil {
		return k, err
	}
	err = each(txn, merchantPrefix, func(key, value []byte) error {
		m, err := decodeMerchant(key, value)
		k.merchants[m.ID] = m
		return err
	})
	if err == nil {
		err = each(txn, apiKeyPrefix, func(key, value []byte) error {
			a, err := decodeAPIKey(key, value)
			k.apiKeys[a.Hash] = a
			return err
		})
	}
	if err != nil {
		return k, err
	}
	c := k.meta.Counts
	if len(k.merchants) != c.Merchants || len(k.apiKeys) != c.APIKeys {
		return k, fmt.Errorf("%w: it has %d merchants and %d API keys where it should have %d and %d: import the files again into a new registry",
			ErrDamaged, len(k.merchants), len(k.apiKeys), c.Merchants, c.APIKeys)
	}
	return k, nil
}

func getMeta(txn *badger.Txn) (m meta, err error) { return m, getJSON(txn, metaKey, &m) }

// getJSON reads a record into v, and leaves v alone where there is none.
func getJSON(txn *badger.Txn, key []byte, v any) error {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return item.Value(func(b []byte) error { return unreadable(string(key), json.Unmarshal(b, v)) })
}
