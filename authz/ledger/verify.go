package ledger

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"

	"kessai"
)

// Stats are the book's sizes and counts.
type Stats struct {
	Blocks, Transactions, Accounts, Attempts uint64
	HoldsOpen, Tombstones                    uint64
	Waiting                                  uint64                    // payments that wait for their customers
	Float                                    map[kessai.Currency]int64 // what is on all media, in minor units
	Purses                                   PurseStats
	Resident                                 uint64 // transactions in memory, about
	PagesRead                                uint64 // pages of transactions that were read back for the committer
	Queue, MaxQueue                          int
	FollowerLag                              uint64  // transactions that the index has not seen yet
	SnapshotBlock                            uint64  // the block at which the newest snapshot was taken
	LastBlockOps                             int     // entries in the newest block
	SyncSeconds                              float64 // total time spent in syncs
	DiskBytes                                int64
}

// Stats gives the sizes at this moment.
func (b *Book) Stats() Stats {
	b.mu.RLock()
	s := b.state
	st := Stats{
		Blocks: s.block, Transactions: s.txs.n, Accounts: s.accounts.n, Attempts: uint64(s.names.n),
		HoldsOpen: uint64(len(s.pending) - len(s.waiting)), Tombstones: uint64(s.tombs.n), Waiting: uint64(len(s.waiting)),
		Float: maps.Clone(s.float), Purses: s.told,
		Resident: uint64(len(s.txs.loaded)) * pageSize, PagesRead: s.txs.faults,
	}
	b.mu.RUnlock()
	st.Queue, st.MaxQueue = int(b.queued.Load()), b.o.MaxQueue
	st.FollowerLag = st.Transactions - min(st.Transactions, b.follow.cursor.Load())
	st.SnapshotBlock = b.snapBlock.Load()
	st.LastBlockOps = int(b.lastOps.Load())
	st.SyncSeconds = float64(b.syncNanos.Load()) / 1e9
	st.DiskBytes = diskBytes(blocksDir(b.o.Dir)) + diskBytes(indexDir(b.o.Dir)) + diskBytes(pagesDir(b.o.Dir))
	return st
}

// diskBytes adds up what a folder's files take on disk. Badger's own count is a
// minute old, and its log files are mostly holes.
func diskBytes(dir string) (sum int64) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
	}
	return sum
}

// Report is what Verify found.
type Report struct {
	Blocks, Transactions, Accounts uint64
	HoldsOpen                      uint64
	Waiting                        uint64 // payments that wait for their customers
	LastHash                       [32]byte
	Sums                           map[kessai.Currency]int64 // over all accounts of a currency; always zero
	Float                          map[kessai.Currency]int64 // what is on all media
	PutBack                        uint64                    // the block that only the witness holds; zero: none
}

// Verify checks the whole book in a data folder without changing it: every
// block's hash, the chain, the witness, every posting, every sum. It reads from
// the first block on and trusts no snapshot. The gateway must not be running.
func Verify(dir string, progress func(what string, done, total uint64)) (Report, error) {
	return Scan(dir, progress, nil)
}

// scanResident is the number of transactions that a scan keeps in memory.
const scanResident = 500_000

// Scan does what [Verify] does and then gives every transaction to each, in the
// order of their numbers, as it stands at the end of the book (see [Tx.AsDecided]
// for how it was answered). The transaction is valid during the call only. An
// error of each ends the scan and is given back with the report, which is whole
// by then. Where the book is damaged, each is never called.
func Scan(dir string, progress func(what string, done, total uint64), each func(*Tx) error) (Report, error) {
	if _, err := os.Stat(blocksDir(dir)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Report{}, &fs.PathError{Op: "verify", Path: filepath.Join(dir, "book"), Err: fs.ErrNotExist}
		}
		return Report{}, err
	}
	lock, err := lockBook(dir)
	if err != nil {
		return Report{}, err
	}
	defer lock.Close()
	s, err := emptyState(scanDir(dir), scanResident)
	if err != nil {
		return Report{}, err
	}
	defer os.RemoveAll(scanDir(dir))
	defer s.close()
	l, err := load(dir, s, progress)
	if err != nil {
		return Report{}, err
	}
	r := Report{
		Blocks: s.block, Transactions: s.txs.n, Accounts: s.accounts.n, LastHash: s.hash, Float: s.float,
		HoldsOpen: uint64(len(s.pending) - len(s.waiting)), Waiting: uint64(len(s.waiting)),
	}
	if l.putBack != nil {
		r.PutBack = l.putBack.number
	}
	if r.Sums, err = s.sums(); err != nil {
		return r, &Damage{Block: 0, What: err.Error()}
	}
	for id := uint64(1); each != nil && id <= s.txs.n; id++ {
		t := s.txs.get(id)
		if t == nil {
			return r, s.lost()
		}
		if err := each(t); err != nil {
			return r, err
		}
	}
	return r, nil
}
