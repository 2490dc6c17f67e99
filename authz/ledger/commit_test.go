package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"kessai"
)

// spoilPages changes every byte of the transactions' pages on disk.
func spoilPages(t *testing.T, b *Book) {
	for _, f := range must(filepath.Glob(filepath.Join(pagesDir(b.o.Dir), "transactions-*"))) {
		content := must(os.ReadFile(f))
		for i := range content {
			content[i] ^= 1
		}
		if err := os.WriteFile(f, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// inTime tries something that must be ready before a hold's deadline, with longer
// and longer ones until the machine is quick enough for it.
func inTime(t *testing.T, try func(t *testing.T, holdFor time.Duration) (ready bool)) {
	t.Helper()
	for holdFor := time.Second; !try(t, holdFor); holdFor *= 4 {
		if holdFor > time.Minute {
			t.Fatal("it takes more than a minute to prepare")
		}
	}
}

// deadline gives when a hold that was just made ends.
func deadline(tx *Tx, holdFor time.Duration) time.Time { return time.Unix(0, tx.Time).Add(holdFor) }

// TestDueHoldThatCannotBeReadBack: a block that cannot end a hold answers those
// who wait for it, and says why.
func TestDueHoldThatCannotBeReadBack(t *testing.T) { inTime(t, dueHoldThatCannotBeReadBack) }

func dueHoldThatCannotBeReadBack(t *testing.T, holdFor time.Duration) bool {
	b := openTest(t, Options{Dir: t.TempDir(), Resident: 1, SnapshotEvery: 1 << 30})
	shop, c := people(t, b, kessai.MaxAmount)
	tasks := make([]Task, 10*pageSize)
	for i := range tasks {
		tasks[i].Op = *purchaseOp(uint64(i)+1, c[0], shop, 100)
	}
	tasks[5].Op.Kind, tasks[5].Op.HoldFor = kessai.PreAuthorization, holdFor
	if err := b.CommitAll(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	if err := b.snapshot(); err != nil {
		t.Fatal(err)
	}
	b.mu.RLock() // the committer waits until the deadline has passed
	due := deadline(&tasks[5].Outcome.Tx, holdFor)
	if !time.Now().Before(due) {
		b.mu.RUnlock()
		return false
	}
	spoilPages(t, b)
	got := make(chan error, 1)
	go func() {
		_, err := b.Commit(t.Context(), purchaseOp(1<<40, c[0], shop, 1))
		got <- err
	}()
	time.Sleep(time.Until(due) + 500*time.Millisecond)
	b.mu.RUnlock()
	select {
	case err := <-got:
		if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrClosed) {
			t.Errorf("the caller is told: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the caller is never answered")
	}
	<-b.Failed()
	return true
}

// TestManyHoldsDue: when more holds are due than one block ends, a completion
// still comes after all of them.
func TestManyHoldsDue(t *testing.T) { inTime(t, manyHoldsDue) }

func manyHoldsDue(t *testing.T, holdFor time.Duration) bool {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, kessai.MaxAmount)
	tasks := make([]Task, 2*maxExpired+10)
	for i := range tasks {
		tasks[i].Op = *purchaseOp(uint64(i)+1, c[0], shop, 1)
		tasks[i].Op.Kind, tasks[i].Op.HoldFor = kessai.PreAuthorization, holdFor
	}
	if err := b.CommitAll(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	last := tasks[len(tasks)-1].Outcome.Tx
	b.mu.RLock() // nothing is committed until all are due
	if !time.Now().Before(deadline(&tasks[0].Outcome.Tx, holdFor)) {
		b.mu.RUnlock()
		return false
	}
	got := make(chan Outcome, 1)
	go func() {
		op := purchaseOp(1<<40, c[0], shop, 1)
		op.Kind, op.Original = kessai.Completion, Ref{ID: last.ID}
		out, _ := b.Commit(t.Context(), op)
		got <- out
	}()
	time.Sleep(time.Until(deadline(&last, holdFor)) + 500*time.Millisecond)
	blocks := b.state.block
	b.mu.RUnlock()
	if out := <-got; out.Tx.Code.IsApproval() {
		t.Errorf("a completion that came after the deadline: %v", out.Tx.Code)
	}
	st := b.Stats()
	if st.HoldsOpen != 0 || st.Blocks < blocks+3 {
		t.Errorf("%d holds are open after %d blocks, want none after three or more", st.HoldsOpen, st.Blocks-blocks)
	}
	return true
}

// TestNothingAfterAFailure: whoever comes to make a block after one has failed is
// told that nothing was done, and none is made.
func TestNothingAfterAFailure(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, kessai.MaxAmount)
	commit(t, b, *purchaseOp(1, c[0], shop, 1))
	blocks := b.state.block
	b.maker.Lock() // somebody makes a block
	got := make(chan error, 2)
	for n := range uint64(2) {
		go func() {
			_, err := b.Commit(t.Context(), purchaseOp(2+n, c[0], shop, 1))
			got <- err
		}()
	}
	time.Sleep(20 * time.Millisecond)
	b.fail(errors.New("the disk is gone"))
	b.maker.Unlock()
	for range 2 {
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("the caller is told: %v", err)
		}
	}
	if b.state.block != blocks {
		t.Errorf("%d blocks were made", b.state.block-blocks)
	}
}

// TestReadersAndClose: what reads the stores while the book closes is refused, or
// done before.
func TestReadersAndClose(t *testing.T) {
	for range 5 {
		b, _, _, all := paged(t, 4*pageSize)
		var reading sync.WaitGroup
		for range 4 {
			reading.Go(func() {
				for i := 0; ; i++ {
					_, err := b.List(Query{Merchant: aoi, Limit: 100})
					_, err2 := b.Note(all[i%len(all)].ID)
					if errors.Join(err, err2) != nil {
						return
					}
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		reading.Wait()
	}
}

// TestQueueIsCountedEvenly: after all is answered nothing is counted as waiting.
func TestQueueIsCountedEvenly(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir(), MaxBlock: 7})
	shop, c := people(t, b, kessai.MaxAmount)
	var all sync.WaitGroup
	for g := range uint64(8) {
		all.Go(func() {
			for i := range uint64(20) {
				tasks := make([]Task, 1+i%10)
				for k := range tasks {
					tasks[k].Op = *purchaseOp(1+g<<20+i<<10+uint64(k), c[0], shop, 1)
				}
				if err := b.CommitAll(t.Context(), tasks); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if q := b.queued.Load(); q != 0 {
		t.Errorf("%d operations are counted as waiting", q)
	}
}
