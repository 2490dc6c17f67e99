package ledger

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kessai"
)

// TestFrozenTableDoesNotChange changes a table while a freeze of it is read, and
// settles it as saved and as not saved.
func TestFrozenTableDoesNotChange(t *testing.T) {
	for _, saved := range []bool{true, false} {
		var tab table[accountRow]
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range 3*pageSize + 5 {
			tab.add(accountRow{balance: int64(i)})
		}
		f := tab.freeze(false)
		before := slices.Clone(f[0].p.rows)
		f[1].p.written.Store(true) // this one need not be kept any longer
		for range 100 {
			tab.edit(uint64(1+rnd.IntN(2*pageSize))).balance++
		}
		if !slices.Equal(before, f[0].p.rows) {
			t.Fatal("a frozen page changed")
		}
		if tab.pages[1] != f[1].p {
			t.Error("a page was copied that nobody reads any more")
		}
		for i := range f {
			f[i].at = places{page: place(i + 1), brief: place(i + 1)}
		}
		tab.settle(f, saved)
		want := []uint64{0, 1} // changed since
		if !saved {
			want = []uint64{0, 1, 2, 3}
		}
		slices.Sort(tab.changed)
		if !slices.Equal(tab.changed, want) {
			t.Errorf("saved %v: pages %v are to be saved, want %v", saved, tab.changed, want)
		}
		if g := tab.freeze(true); len(g) != len(want)-map[bool]int{true: 0, false: 1}[saved] {
			t.Errorf("saved %v: %d whole pages are to be saved", saved, len(g))
		}
	}
}

// paged opens a book that keeps nearly nothing in memory, with sales in it.
func paged(t *testing.T, sales uint64) (b *Book, shop, customer AccountID, all []Tx) {
	t.Helper()
	b = openTest(t, Options{Dir: t.TempDir(), Resident: 1, SnapshotEvery: 1 << 30})
	shop, c := people(t, b, kessai.MaxAmount)
	tasks := make([]Task, sales)
	for i := range tasks {
		tasks[i].Op = *purchaseOp(uint64(i)+1, c[0], shop, 100)
	}
	if err := b.CommitAll(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	for i := range tasks {
		all = append(all, tasks[i].Outcome.Tx)
	}
	if err := b.save(false); err != nil {
		t.Fatal(err)
	}
	if n := len(b.state.txs.loaded); n != b.state.txs.most {
		t.Fatalf("%d pages are in memory, want %d", n, b.state.txs.most)
	}
	return b, shop, c[0], all
}

// TestWhatLeftMemoryIsStillThere repeats, reverses and refunds sales whose pages
// have left memory, and reads them.
func TestWhatLeftMemoryIsStillThere(t *testing.T) {
	b, shop, customer, all := paged(t, 20*pageSize)
	for n := range uint64(3 * pageSize) {
		again := commit(t, b, *purchaseOp(n*5+1, customer, shop, 100))
		if !again.Replayed || again.Tx != all[n*5] {
			t.Fatalf("a repeat got %+v, want %+v", again, all[n*5])
		}
	}
	other := *purchaseOp(8, customer, shop, 100)
	other.Names[0].Digest[0] = 1
	if out := commit(t, b, other); !out.Conflict {
		t.Error("the same name with other content was no conflict")
	}
	wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Names: named1(1 << 40), Original: Ref{Key: keyOf(3)}}), kessai.Approved)
	wantCode(t, commit(t, b, Op{Kind: kessai.Refund, Names: named1(1<<40 + 1), Original: Ref{ID: all[9*pageSize].ID}, Amount: 30}), kessai.Approved)
	if s := b.Stats(); s.Resident > uint64(b.state.txs.most+2)*pageSize || s.PagesRead == 0 {
		t.Errorf("%d transactions are in memory, %d pages were read", s.Resident, s.PagesRead)
	}
	for round := range 3 {
		if tx, _ := b.Find(Ref{Key: keyOf(3)}); tx.Status != Reversed {
			t.Errorf("round %d: the reversed sale is %v", round, tx.Status)
		}
		if tx, _ := b.Find(Ref{ID: all[9*pageSize].ID}); tx.Refunded != 30 {
			t.Errorf("round %d: %d refunded", round, tx.Refunded)
		}
		if tx, ok := b.Find(Ref{Key: keyOf(77)}); !ok || tx != all[76] {
			t.Errorf("round %d: sale 77 is %+v", round, tx)
		}
		switch round {
		case 0:
			if err := b.snapshot(); err != nil {
				t.Fatal(err)
			}
		case 1:
			b = reopen(t, b)
		}
	}
}

// TestKilledBetweenSnapshots opens what a killed gateway leaves that has saved
// pages, and changed and saved them again, since the last snapshot.
func TestKilledBetweenSnapshots(t *testing.T) {
	b, shop, customer, all := paged(t, 10*pageSize)
	if err := b.snapshot(); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(10) { // one sale of each page
		wantCode(t, commit(t, b, Op{Kind: kessai.Reversal, Names: named1(1<<40 + n), Original: Ref{ID: all[n*pageSize+n].ID}}), kessai.Approved)
		if n%4 == 3 {
			if err := b.save(false); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range uint64(3 * pageSize) {
		commit(t, b, *purchaseOp(1<<41+n, customer, shop, 1))
	}
	if err := b.save(false); err != nil {
		t.Fatal(err)
	}
	killed := openTest(t, Options{Dir: copyTree(t, b.o.Dir), Resident: 1})
	for id := kessai.TxID(1); id <= kessai.TxID(b.state.txs.n); id++ {
		want, _ := b.Find(Ref{ID: id})
		if got, ok := killed.Find(Ref{ID: id}); !ok || got != want {
			t.Fatalf("transaction %d became %+v, was %+v", id, got, want)
		}
	}
}

// TestPageThatCannotBeRead spoils the pages on disk while a gateway runs. Whoever
// needs one hears that the outcome is unknown, and the book stops; the next
// opening makes the pages anew, and everything is remembered.
func TestPageThatCannotBeRead(t *testing.T) {
	b, shop, customer, all := paged(t, 10*pageSize)
	if err := b.snapshot(); err != nil {
		t.Fatal(err)
	}
	spoilPages(t, b)
	if _, ok := b.Find(Ref{ID: all[5].ID}); ok {
		t.Error("a transaction on a damaged page was found")
	}
	if _, err := b.List(Query{Merchant: aoi, Limit: 10_000}); !errors.Is(err, errSeal) {
		t.Errorf("listing over damaged pages: %v", err)
	}
	wantCode(t, commit(t, b, *purchaseOp(1<<40, customer, shop, 1)), kessai.Approved) // nobody needed a page
	if _, err := b.Commit(t.Context(), purchaseOp(6, customer, shop, 100)); !errors.Is(err, ErrUnknown) {
		t.Fatalf("a repeat whose page cannot be read: %v, want ErrUnknown", err)
	}
	if <-b.Failed(); !errors.Is(b.Err(), errSeal) {
		t.Errorf("the book failed of %v", b.Err())
	}
	again := openTest(t, Options{Dir: copyTree(t, b.o.Dir), Resident: 1})
	if out := commit(t, again, *purchaseOp(6, customer, shop, 100)); !out.Replayed || out.Tx != all[5] {
		t.Errorf("after opening again the repeat got %+v", out)
	}
	wantBalance(t, again, shop, int64(len(all))*100+1, 0)
}

// TestFilesOfPagesDoNotPileUp changes pages all over and again, with a snapshot
// each time: files of which little counts have to go.
func TestFilesOfPagesDoNotPileUp(t *testing.T) {
	b, _, _, all := paged(t, 40*pageSize)
	size := func() (sum int64) { return diskBytes(pagesDir(b.o.Dir)) }
	if err := b.snapshot(); err != nil {
		t.Fatal(err)
	}
	first := size()
	for n := range uint64(60) {
		for page := range uint64(40) {
			commit(t, b, Op{Kind: kessai.Refund, Names: named1(1<<40 + n<<20 + page), Original: Ref{ID: all[page*pageSize].ID}, Amount: 1})
		}
		if err := b.snapshot(); err != nil {
			t.Fatal(err)
		}
	}
	if now := size(); now > first+first/2+4*fileSize {
		t.Errorf("the pages took %d bytes and take %d", first, now)
	}
	b = reopen(t, b)
	for page := range uint64(40) {
		if tx, ok := b.Find(Ref{ID: all[page*pageSize].ID}); !ok || tx.Refunded != 60 {
			t.Fatalf("page %d: %d refunded", page, tx.Refunded)
		}
	}
}

// TestList asks for lists in all ways and compares them with what a walk through
// all transactions finds.
func TestList(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir(), Resident: 1, SnapshotEvery: 500, SnapshotPause: 1})
	shop, c := people(t, b, kessai.MaxAmount)
	rnd := rand.New(rand.NewPCG(3, 4))
	merchants := []kessai.MerchantID{aoi, {'B'}, {'C'}}
	var all []Tx
	for n := range 100 {
		tasks := make([]Task, 1+rnd.IntN(80))
		for i := range tasks {
			tasks[i].Op = *purchaseOp(uint64(n<<20+i+1), c[0], shop, 1)
			tasks[i].Op.Merchant = merchants[rnd.IntN(len(merchants))]
		}
		if err := b.CommitAll(t.Context(), tasks); err != nil {
			t.Fatal(err)
		}
		for i := range tasks {
			all = append(all, tasks[i].Outcome.Tx)
		}
		q := Query{Merchant: merchants[rnd.IntN(len(merchants))], Limit: 1 + rnd.IntN(300)}
		if rnd.IntN(2) == 0 {
			q.Before = all[rnd.IntN(len(all))].ID
		}
		if rnd.IntN(3) == 0 {
			q.From = time.Unix(0, all[rnd.IntN(len(all))].Time)
		}
		if rnd.IntN(3) == 0 {
			q.To = time.Unix(0, all[rnd.IntN(len(all))].Time)
		}
		if rnd.IntN(4) == 0 {
			q.Match = func(t *Tx) bool { return t.ID%3 == 0 }
		}
		var want []Tx
		for _, tx := range slices.Backward(all) {
			made := time.Unix(0, tx.Time)
			if tx.Merchant == q.Merchant && (q.Before == 0 || tx.ID < q.Before) && !made.Before(q.From) &&
				(q.To.IsZero() || made.Before(q.To)) && (q.Match == nil || q.Match(&tx)) && len(want) < q.Limit {
				want = append(want, tx)
			}
		}
		if got, err := b.List(q); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%+v: %d listed, want %d; %v", q, len(got), len(want), err)
		}
		if n%30 == 29 {
			b = reopen(t, b)
		}
	}
}

// TestAccountNamesLeaveMemory asks for accounts whose names are on disk.
func TestAccountNamesLeaveMemory(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir(), Resident: 1, SnapshotEvery: 1 << 30})
	_, customers := people(t, b, make([]int64, 20*pageSize)...)
	for range 2 {
		if err := b.snapshot(); err != nil {
			t.Fatal(err)
		}
		if n := len(b.state.labels.loaded); n > b.state.labels.most+1 {
			t.Fatalf("the names of %d pages are in memory", n)
		}
		for i := 0; i < len(customers); i += 50 {
			a, ok := b.Account(customers[i])
			if byName, found := b.AccountByName(a.Name); !ok || !found || byName.ID != customers[i] || a.ID != customers[i] {
				t.Fatalf("account %d is %+v, and by its name %+v", customers[i], a, byName)
			}
			if ids := b.AccountNumbers([]string{"", a.Name, "customer/nobody"}); !slices.Equal(ids, []AccountID{0, a.ID, 0}) {
				t.Fatalf("account %d, asked for with others, is %v", customers[i], ids)
			}
		}
		b = reopen(t, b)
	}
	// A name that only looks like another by its digest is refused.
	b.mu.Lock()
	id := b.state.accountNumber("customer/5")
	hash, rest := nameDigest("customer/other")
	b.state.byName.add(hash, uint64(id))
	b.state.accounts.edit(uint64(id)).rest = rest
	b.mu.Unlock()
	_, err := b.OpenAccounts([]AccountSpec{{Name: "customer/other", Kind: CustomerAccount, Currency: kessai.JPY}})
	if err == nil || b.Err() != nil {
		t.Fatalf("an account with the digest of another was opened (%v)", err)
	}
}

// TestCutPages cuts the end off a file of pages, as a power cut may: the book is
// read from its blocks instead.
func TestCutPages(t *testing.T) {
	for _, name := range []string{"transactions", "briefs", "labels", "accounts", "head"} {
		b, shop, customer, all := paged(t, 5*pageSize)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		for _, f := range must(filepath.Glob(filepath.Join(pagesDir(b.o.Dir), name+"*"))) {
			if err := os.Truncate(f, must(os.Stat(f)).Size()/2); err != nil {
				t.Fatal(err)
			}
		}
		again := openTest(t, Options{Dir: b.o.Dir})
		if out := commit(t, again, *purchaseOp(7, customer, shop, 100)); !out.Replayed || out.Tx != all[6] {
			t.Errorf("with %s cut, a repeat got %+v", name, out)
		}
	}
}

// TestIndexOfALaterTime lists a book whose index knows transactions that its
// blocks do not have: one of another day was put in the place of its blocks.
func TestIndexOfALaterTime(t *testing.T) {
	old, _, _, _ := paged(t, 5*pageSize)
	late, _, _, _ := paged(t, 8*pageSize)
	for _, b := range []*Book{old, late} {
		if err := errors.Join(b.follow.await(b.state.txs.n), b.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.RemoveAll(indexDir(old.o.Dir)), os.Rename(indexDir(late.o.Dir), indexDir(old.o.Dir))); err != nil {
		t.Fatal(err)
	}
	b := openTest(t, Options{Dir: old.o.Dir})
	if list, err := b.List(Query{Merchant: aoi, Limit: 1_000}); err != nil || len(list) != 5*pageSize {
		t.Fatalf("%d listed, want %d; %v", len(list), 5*pageSize, err)
	}
}

// TestBookGrowsWhileFilesAreTidied moves the list of places, as growing does,
// whenever a snapshot that writes pages again leaves the lock: what the running
// book and the head say of where pages are must be so.
func TestBookGrowsWhileFilesAreTidied(t *testing.T) {
	b, _, _, all := paged(t, 40*pageSize)
	lock := func() error {
		b.mu.Lock()
		b.state.txs.saved = slices.Clone(b.state.txs.saved)
		return nil
	}
	for round := range uint64(4) {
		for page := range uint64(36) { // the others stay where they are
			commit(t, b, Op{Kind: kessai.Refund, Names: named1(1<<40 + round<<20 + page), Original: Ref{ID: all[page*pageSize].ID}, Amount: 1})
		}
		b.saving.Lock() // no other save runs while the files are looked at
		if _, err := b.state.save(true, lock, b.mu.Unlock); err != nil {
			t.Fatal(err)
		}
		head, err := readHead(must(openPages(pagesDir(copyTree(t, b.o.Dir)))), 1)
		if err == nil {
			err = head.fill()
		}
		if err != nil {
			t.Fatalf("round %d: the head cannot be used: %v", round, err)
		}
		for _, s := range []*state{b.state, head} {
			for no, at := range s.txs.saved {
				_, err1 := s.files.txs.read(uint64(no), at.page, nil)
				_, err2 := s.files.briefs.read(uint64(no), at.brief, nil)
				if err := errors.Join(err1, err2); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
		}
		b.saving.Unlock()
		if err := head.close(); err != nil {
			t.Fatal(err)
		}
	}
}
