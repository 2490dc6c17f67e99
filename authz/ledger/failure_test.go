package ledger

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kessai"
)

func purchaseOp(n uint64, customer, shop AccountID, amount int64) *Op {
	return &Op{
		Kind: kessai.Purchase, Names: named1(n), Merchant: aoi, Terminal: aoiPOS, Currency: kessai.JPY,
		Customer: customer, Shop: shop, Amount: amount,
	}
}

// TestFailedSyncStopsTheBook makes the disk fail under the book, with a snapshot
// waiting behind the block that fails. The caller hears that the outcome is
// unknown, nothing is done afterwards, nobody can read what is not on disk, and
// no snapshot keeps it.
func TestFailedSyncStopsTheBook(t *testing.T) {
	b := must(Open(Options{Dir: t.TempDir(), Logf: t.Logf}))
	shop, c := people(t, b, 1_000)
	b.log.f.Close() // writes fail from now on
	b.mu.RLock()    // the committer and the snapshot wait
	unknown, snap := make(chan error, 1), make(chan error, 1)
	go func() { _, err := b.Commit(t.Context(), purchaseOp(1, c[0], shop, 500)); unknown <- err }()
	for len(b.queue) > 0 || b.mu.TryRLock() {
		if len(b.queue) == 0 {
			b.mu.RUnlock()
		}
		time.Sleep(time.Millisecond) // until the committer asks for the lock
	}
	go func() { snap <- b.snapshot() }()
	b.mu.RUnlock()
	if err := <-unknown; !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v, want ErrUnknown", err)
	}
	if err := <-snap; !errors.Is(err, os.ErrClosed) {
		t.Fatalf("the snapshot that waited: %v, want the cause of the failure", err)
	}
	<-b.Failed()
	if err := b.Err(); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("the cause is %v", err)
	}
	if _, err := b.Commit(t.Context(), purchaseOp(2, c[0], shop, 1)); !errors.Is(err, ErrClosed) {
		t.Fatalf("after the failure: %v, want ErrClosed", err)
	}
	if _, ok := b.Find(Ref{Key: keyOf(1)}); ok {
		t.Error("a transaction whose outcome is unknown can be read")
	}
	if _, err := b.List(Query{Merchant: aoi, Limit: 5}); !errors.Is(err, ErrClosed) {
		t.Errorf("listing after a failure: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCloseWithWorkInFlight closes the book under load: what was acknowledged is
// there afterwards, and nobody waits for ever.
func TestCloseWithWorkInFlight(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir(), SnapshotEvery: 500, SnapshotPause: 1, Resident: 1_000})
	shop, c := people(t, b, kessai.MaxAmount)
	var told sync.Map
	var busy sync.WaitGroup
	started := make(chan struct{}, 64)
	for g := range uint64(64) {
		busy.Go(func() {
			for n := g << 32; ; n++ {
				_, err := b.Commit(t.Context(), purchaseOp(n+1, c[0], shop, 1))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				told.Store(n+1, true)
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 64 {
		<-started
	}
	again := reopen(t, b)
	busy.Wait()
	told.Range(func(n, _ any) bool {
		if _, ok := again.Find(Ref{Key: keyOf(n.(uint64))}); !ok {
			t.Errorf("attempt %x was acknowledged and is gone", n)
		}
		return true
	})
}

// TestFollowUpOfForgottenTransactions reverses a refund and an increment whose
// originals have left memory.
func TestFollowUpOfForgottenTransactions(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir(), SnapshotEvery: 1 << 30})
	shop, c := people(t, b, 1_000_000)
	sale := commit(t, b, *purchaseOp(1, c[0], shop, 100)).Tx
	hold := commit(t, b, Op{Kind: kessai.PreAuthorization, Names: named1(2), Customer: c[0], Shop: shop, Amount: 100, HoldFor: time.Hour}).Tx
	for n := range uint64(pageSize) {
		commit(t, b, *purchaseOp(10+n, c[0], shop, 1))
	}
	refund := wantCode(t, commit(t, b, Op{Kind: kessai.Refund, Names: named1(3), Original: Ref{ID: sale.ID}, Amount: 100}), kessai.Approved)
	more := wantCode(t, commit(t, b, Op{Kind: kessai.Increment, Names: named1(4), Original: Ref{ID: hold.ID}, Amount: 10}), kessai.Approved)
	wantCode(t, commit(t, b, Op{Kind: kessai.Release, Names: named1(5), Original: Ref{ID: hold.ID}}), kessai.Approved)
	if err := errors.Join(b.snapshot(), b.follow.await(b.state.txs.n)); err != nil {
		t.Fatal(err)
	}
	if err := b.forget(time.Now()); err != nil {
		t.Fatal(err)
	}
	if b.state.txs.get(uint64(sale.ID)) != nil || b.state.txs.get(uint64(refund.ID)) == nil {
		t.Fatal("want the first page forgotten and the second in memory")
	}
	wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Names: named1(6), Original: Ref{ID: refund.ID}}), kessai.NoSuchRecord)
	if tx := wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Names: named1(7), Original: Ref{ID: more.ID}}), kessai.Approved); tx.Amount != 0 {
		t.Errorf("reversing what was added to a hold that has ended gave %d back", tx.Amount)
	}
}

// TestFullestBlockFits fills a block to the brim and puts the largest
// operation on top.
func TestFullestBlockFits(t *testing.T) {
	s := newState()
	tx := fullTx()
	body := make([]byte, 0, maxBlock)
	for len(body) < bodyFull {
		body = appendTx(body, &tx, make([]byte, MaxNote))
	}
	accounts := body
	for i := range accountChunk {
		spec := AccountSpec{Name: fmt.Sprintf("customer/%064d", i), Kind: CustomerAccount, Currency: kessai.JPY, Opening: kessai.MaxAmount, Overdraft: kessai.MaxAmount}
		if err := s.checkSpecs([]AccountSpec{spec}); err != nil {
			t.Fatal(err)
		}
		accounts = appendAccount(accounts, &spec)
	}
	if size := len(accounts) + blockHeader + hashSize; size > maxBlock || maxBlock+4 > slotSize || extent(maxBlock) > segmentSize(1) {
		t.Errorf("a block can have %d bytes; the witness takes %d in a slot of %d", size, maxBlock, slotSize)
	}
}

// TestNameOfATombstoneIsNotReused sends a reversal under the name of one that
// came before its original, but about something else.
func TestNameOfATombstoneIsNotReused(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	sale := commit(t, b, *purchaseOp(1, c[0], shop, 100)).Tx
	first := Op{Kind: kessai.Reversal, Names: named1(2), Original: Ref{Key: keyOf(77)}}
	wantCode(t, commit(t, b, first), kessai.Approved)
	if out := commit(t, b, first); !out.Replayed {
		t.Error("the same reversal again was not a repeat")
	}
	if out := commit(t, b, Op{Kind: kessai.Reversal, Names: named1(2), Original: Ref{ID: sale.ID}}); !out.Conflict {
		t.Errorf("the name was reused for another original: %v", out.Tx.Code)
	}
}

// TestUnjudgedLeavesNoName asks while nothing can be judged, and again when it can.
func TestUnjudgedLeavesNoName(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	op := *purchaseOp(1, c[0], shop, 100)
	op.Verdict = kessai.SystemMalfunction
	if tx := wantCode(t, commit(t, b, op), kessai.SystemMalfunction); tx.ID != 0 {
		t.Errorf("it was recorded as %v", tx.ID)
	}
	op.Verdict = kessai.Approved
	wantCode(t, commit(t, b, op), kessai.Approved)
	op.Verdict = kessai.SystemMalfunction
	if out := commit(t, b, op); !out.Replayed || out.Tx.Code != kessai.Approved {
		t.Errorf("a repeat of what was decided got %v", out.Tx.Code)
	}
}

// TestNameThatIsUsedAgain uses the name of an attempt again that was forgotten.
// A crash brings the old one back, but the name stays that of the new one.
func TestNameThatIsUsedAgain(t *testing.T) {
	b, shop, customer, _ := paged(t, 10*pageSize)
	if err := errors.Join(b.snapshot(), b.forget(time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	sale := commit(t, b, *purchaseOp(7, customer, shop, 300))
	if sale.Replayed {
		t.Fatal("what was to be forgotten is remembered")
	}
	killed, read := copyTree(t, b.o.Dir), copyTree(t, b.o.Dir)
	withoutSnapshot(t, read)
	for _, dir := range []string{killed, read} {
		b := openTest(t, Options{Dir: dir, Resident: 1})
		if again := commit(t, b, *purchaseOp(7, customer, shop, 300)); !again.Replayed || again.Tx != sale.Tx {
			t.Errorf("a repeat of %d got %d", sale.Tx.ID, again.Tx.ID)
		}
		if found, _ := b.Find(Ref{Key: keyOf(7)}); found.ID != sale.Tx.ID {
			t.Errorf("the name of %d finds %d", sale.Tx.ID, found.ID)
		}
		back := commit(t, b, Op{Kind: kessai.Reversal, Names: named1(1 << 40), Original: Ref{Key: keyOf(7)}})
		if back.Tx.Original != sale.Tx.ID || back.Tx.Amount != 300 {
			t.Errorf("the reversal of %d gave %d of %d back", sale.Tx.ID, back.Tx.Amount, back.Tx.Original)
		}
	}
}

// TestCloseDoesNotWaitForTheIndex closes a book whose index has everything before
// it, and opens it again.
func TestCloseDoesNotWaitForTheIndex(t *testing.T) {
	b, _, _, all := paged(t, 5*pageSize)
	if err := errors.Join(b.Close(), os.RemoveAll(indexDir(b.o.Dir))); err != nil {
		t.Fatal(err)
	}
	behind := must(open(Options{Dir: b.o.Dir}))
	close(behind.stop)
	for range 20 { // it may hear of the end first
		behind.done.Add(1)
		token(behind.follow.hurry)
		behind.follow.run()
	}
	if n := behind.follow.cursor.Load(); n != 0 {
		t.Errorf("%d transactions were indexed after the end was told", n)
	}
	if err := behind.release(); err != nil {
		t.Fatal(err)
	}
	again := openTest(t, Options{Dir: b.o.Dir})
	if list, err := again.List(Query{Merchant: aoi, Limit: 1_000}); err != nil || len(list) != len(all) {
		t.Errorf("%d listed, want %d; %v", len(list), len(all), err)
	}
}

// TestNothingIsDoneAfterTheWitnessFails makes the witness fail while a caller is
// between two blocks: the next one is not made.
func TestNothingIsDoneAfterTheWitnessFails(t *testing.T) {
	b := must(Open(Options{Dir: t.TempDir(), Logf: t.Logf}))
	shop, c := people(t, b, 1_000)
	b.maker.Lock()
	newest := b.log.newest()
	b.fail(os.ErrClosed)
	p := &pending{tasks: []Task{{Op: *purchaseOp(1, c[0], shop, 1)}}, done: make(chan struct{}, 1)}
	if err := b.commitBlock(&b.making, p, false); !errors.Is(err, os.ErrClosed) || !errors.Is(p.err, ErrClosed) || b.log.newest() != newest {
		t.Errorf("block %d was made after block %d: %v, the caller heard %v", b.log.newest(), newest, err, p.err)
	}
	b.maker.Unlock()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNoFilesLeftIsNotDamage reads a block when the process may open no more
// files. The book is whole, and nobody is told otherwise.
func TestNoFilesLeftIsNotDamage(t *testing.T) {
	dir := t.TempDir()
	writeSegments(t, dir, 3)
	b := must(open(Options{Dir: dir})) // nobody else works in it
	var all unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &all); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: all.Max}); err != nil {
		t.Fatal(err)
	}
	_, _, _, err := b.log.block(2)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &all); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.EMFILE) || errors.Is(err, ErrDamaged) {
		t.Errorf("reading a block gave %v", err)
	}
	if err := b.release(); err != nil {
		t.Fatal(err)
	}
}
