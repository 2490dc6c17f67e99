package ledger

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kessai"
)

// writeSample makes a closed book with a number of blocks and gives its report.
func writeSample(t *testing.T, dir string, blocks int) Report {
	t.Helper()
	b := must(Open(Options{Dir: dir}))
	shop, c := people(t, b, 1_000_000)
	for i := range uint64(blocks - 1) {
		if i%5 == 3 {
			op := asking(i, c[0], shop, 7)
			op.WaitFor = MaxWait
			commit(t, b, op)
			continue
		}
		if i%5 == 4 {
			wantCode(t, commit(t, b, ofCustomer(kessai.Approval, kessai.TxID(i), c[0])), kessai.Approved)
			continue
		}
		commit(t, b, Op{Kind: kessai.Purchase, Names: named1(i), Customer: c[0], Shop: shop, Amount: 7, Note: []byte("item")})
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(dir, nil)
	if err != nil || r.Blocks != uint64(blocks) {
		t.Fatalf("the sample: %+v, %v", r, err)
	}
	return r
}

func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// spot is a byte of block data on disk, and the block that it belongs to.
type spot struct {
	file   string
	offset int64
	block  uint64
}

// spots gives every byte that was written of a book's blocks.
func spots(t *testing.T, dir string) (all []spot) {
	t.Helper()
	for i, p := range lie(t, dir) {
		for at := range p.size {
			all = append(all, spot{segmentPath(blocksDir(dir), p.segment), p.at + at, uint64(i + 1)})
		}
	}
	return all
}

// placed is where a block lies, and what it takes.
type placed struct {
	position
	size int64
	raw  []byte
}

// lie gives the places of all blocks of a book.
func lie(t testing.TB, dir string) (all []placed) {
	t.Helper()
	c, err := readBlocks(blocksDir(dir), func(b *block, _ [32]byte, at position) error {
		raw, _ := b.append(nil)
		all = append(all, placed{at, extent(len(raw)), raw})
		return nil
	})
	if err != nil || c.bad != nil || len(all) == 0 {
		t.Fatal(len(all), c.bad, err)
	}
	return all
}

// setWitness makes the witness what it is after a block, as a crash leaves it
// that comes before it has followed.
func setWitness(t testing.TB, dir string, raw []byte) {
	t.Helper()
	if err := os.Remove(witnessPath(dir)); err != nil {
		t.Fatal(err)
	}
	w := must(openWitness(witnessPath(dir), nil))
	if err := errors.Join(w.begin(), w.put(0, raw), w.close()); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, file string, at int64, bit byte) {
	t.Helper()
	f := must(os.OpenFile(file, os.O_RDWR, 0))
	defer f.Close()
	var b [1]byte
	must(f.ReadAt(b[:], at))
	b[0] ^= bit
	must(f.WriteAt(b[:], at))
}

// TestFlippedByte flips one bit at a time, at random places of the block data on
// disk (1,000 places in all). Verify has to find it and Open has to refuse it,
// naming the block; only where it hits the very last block may the witness put
// it right, if it has come so far.
func TestFlippedByte(t *testing.T) {
	const blocks = 60
	flips := 500
	switch {
	case raceEnabled: // make test runs it once more, in full
		flips = 20
	case os.Getenv("KESSAI_SOAK") != "":
		flips *= 20
	}
	for _, behind := range []bool{false, true} { // a witness that lacks the last block
		dir := t.TempDir()
		want := writeSample(t, dir, blocks)
		all := spots(t, dir)
		if behind {
			withoutSnapshot(t, dir)
			setWitness(t, dir, lie(t, dir)[blocks-2].raw)
		}
		rnd := rand.New(rand.NewPCG(7, uint64(flips)))
		for range flips {
			p := all[rnd.IntN(len(all))]
			bit := byte(1) << rnd.IntN(8)
			flip(t, p.file, p.offset, bit)
			checkDamage(t, dir, p.block, blocks, want)
			flip(t, p.file, p.offset, bit)
		}
		if r, err := Verify(dir, nil); err != nil || r.LastHash != want.LastHash {
			t.Fatalf("with everything flipped back: %+v, %v", r, err)
		}
	}
}

// checkDamage checks what is said of one damaged block.
func checkDamage(t *testing.T, dir string, damaged, last uint64, want Report) {
	t.Helper()
	r, err := Verify(dir, nil)
	if err == nil {
		if slots := must(readWitness(witnessPath(dir))); damaged != last || slots[len(slots)-1].number != last || r.LastHash != want.LastHash || r.PutBack != last {
			t.Fatalf("damage to block %d was not found", damaged)
		}
		return
	}
	var d *Damage
	if !errors.As(err, &d) || !errors.Is(err, ErrDamaged) || d.Block != damaged {
		t.Fatalf("damage to block %d of %d was reported as %v", damaged, last, err)
	}
	before := listing(t, blocksDir(dir))
	if b, err := Open(Options{Dir: dir}); !errors.As(err, &d) || d.Block != damaged {
		if err == nil {
			b.Close()
		}
		t.Fatalf("opening with damage to block %d gave %v", damaged, err)
	}
	if after := listing(t, blocksDir(dir)); after != before {
		t.Fatalf("a refused opening changed the store:\n%s\nbecame\n%s", before, after)
	}
}

func listing(t *testing.T, dir string) string {
	var b strings.Builder
	for _, e := range must(os.ReadDir(dir)) {
		info := must(e.Info())
		b.WriteString(e.Name() + " " + info.ModTime().String() + "\n")
	}
	return b.String()
}

// TestFlippedAnywhere flips bits in every file of the book. Whatever it hits, the
// book is either refused or whole.
func TestFlippedAnywhere(t *testing.T) {
	rnd, rounds := rand.New(rand.NewPCG(7, 8)), 150
	if raceEnabled {
		rounds = 30
	}
	clean := t.TempDir()
	want := writeSample(t, clean, 40)
	var files []string
	for _, dir := range []string{"blocks", "index", "pages", ""} {
		for _, e := range must(os.ReadDir(filepath.Join(clean, "book", dir))) {
			if !e.IsDir() && e.Name() != "LOCK" && e.Name() != "lock" {
				files = append(files, filepath.Join("book", dir, e.Name()))
			}
		}
	}
	for range rounds {
		dir := copyTree(t, clean)
		file := filepath.Join(dir, files[rnd.IntN(len(files))])
		size := must(os.Stat(file)).Size()
		if size == 0 {
			continue
		}
		flip(t, file, rnd.Int64N(size), 1<<rnd.IntN(8))
		b, err := Open(Options{Dir: dir})
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s: refused without saying that the book is damaged: %v", file, err)
			}
			continue
		}
		if b.state.hash != want.LastHash || b.state.txs.n != want.Transactions {
			t.Fatalf("%s: opened with another content", file)
		}
		if err := b.Close(); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
}

// TestCutTail takes blocks away from the end, as if they had never been written.
// The last one is put back from the witness; more are refused.
func TestCutTail(t *testing.T) {
	for _, c := range []struct {
		cut     int
		refused uint64
	}{{1, 0}, {2, 19}, {5, 16}, {20, 1}} {
		dir := t.TempDir()
		want := writeSample(t, dir, 20)
		wipe(t, dir, lie(t, dir)[20-c.cut:])
		b, err := Open(Options{Dir: dir})
		if c.refused == 0 {
			if err != nil || b.state.hash != want.LastHash {
				t.Fatalf("cut by %d: %v", c.cut, err)
			}
			b.Close()
			if r, err := Verify(dir, nil); err != nil || r.PutBack != 0 || r.LastHash != want.LastHash {
				t.Fatalf("after putting back: %+v, %v", r, err)
			}
			continue
		}
		var d *Damage
		if !errors.As(err, &d) || d.Block != c.refused {
			t.Fatalf("cut by %d: %v, want a refusal that names block %d", c.cut, err, c.refused)
		}
	}
}

// wipe writes zeros over blocks.
func wipe(t testing.TB, dir string, blocks []placed) {
	t.Helper()
	for _, p := range blocks {
		write(t, dir, p.position, make([]byte, p.size))
	}
}

// write changes what lies in a segment.
func write(t testing.TB, dir string, p position, b []byte) {
	t.Helper()
	f := must(os.OpenFile(segmentPath(blocksDir(dir), p.segment), os.O_WRONLY, 0))
	if _, err := f.WriteAt(b, p.at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWitness damages the witness instead of the store.
func TestWitness(t *testing.T) {
	dir := t.TempDir()
	want := writeSample(t, dir, 9)
	newest := must(readWitness(witnessPath(dir)))[1].slot
	for _, c := range []struct {
		name  string
		spoil func(dir string)
		fine  bool
	}{
		{"newest slot torn", func(d string) { flip(t, witnessPath(d), int64(newest)*slotSize+50, 1) }, true},
		{"older slot torn", func(d string) { flip(t, witnessPath(d), int64(1-newest)*slotSize+50, 1) }, true},
		{"both torn", func(d string) { flip(t, witnessPath(d), 50, 1); flip(t, witnessPath(d), slotSize+50, 1) }, false},
		{"gone", func(d string) { os.Remove(witnessPath(d)) }, false},
		{"of another book", func(d string) {
			other := t.TempDir()
			writeSample(t, other, 9)
			if err := os.WriteFile(witnessPath(d), must(os.ReadFile(witnessPath(other))), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"of an earlier time", func(d string) {
			other := t.TempDir()
			writeSample(t, other, 5)
			if err := os.WriteFile(witnessPath(d), must(os.ReadFile(witnessPath(other))), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		d := copyTree(t, dir)
		c.spoil(d)
		b, err := Open(Options{Dir: d})
		switch {
		case c.fine && err != nil, c.fine && b.state.hash != want.LastHash:
			t.Errorf("%s: %v", c.name, err)
		case !c.fine && !errors.Is(err, ErrDamaged):
			t.Errorf("%s: opened (%v)", c.name, err)
		}
		if err == nil {
			b.Close()
			if slots := must(readWitness(witnessPath(d))); len(slots) == 0 || slots[len(slots)-1].hash != want.LastHash {
				t.Errorf("%s: the witness was not put right", c.name)
			}
		}
	}
}

// TestHoldExpiresWhileDown lets a deadline pass while no gateway runs.
func TestHoldExpiresWhileDown(t *testing.T) { inTime(t, holdExpiresWhileDown) }

func holdExpiresWhileDown(t *testing.T, holdFor time.Duration) bool {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	tx := wantCode(t, commit(t, b, Op{Kind: kessai.PreAuthorization, Names: named1(1), Customer: c[0], Shop: shop, Amount: 400, HoldFor: holdFor}), kessai.Approved)
	if a, _ := b.Account(c[0]); a.Balance != 1_000 || a.Held != 400 {
		if time.Now().Before(deadline(&tx, holdFor)) {
			t.Fatalf("there are %d, and %d held; want 1000 and 400 held", a.Balance, a.Held)
		}
		return false
	}
	b = reopen(t, b)
	for now, _ := b.Find(Ref{ID: tx.ID}); now.Status != Expired; now, _ = b.Find(Ref{ID: tx.ID}) {
		time.Sleep(time.Millisecond)
	}
	wantBalance(t, b, c[0], 1_000, 0)
	wantCode(t, commit(t, b, Op{Kind: kessai.Completion, Names: named1(2), Original: Ref{ID: tx.ID}, Amount: 400}), kessai.TooLate)
	return true
}

// TestForgottenTransactionsStayReadable drops old transactions from memory.
func TestForgottenTransactionsStayReadable(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir(), SnapshotEvery: 1 << 30})
	shop, c := people(t, b, 1_000_000)
	var want []Tx
	for i := range uint64(3 * pageSize) {
		want = append(want, commit(t, b, Op{Kind: kessai.Purchase, Names: named1(i), Customer: c[0], Shop: shop, Amount: 1}).Tx)
	}
	if err := b.follow.await(uint64(len(want))); err != nil {
		t.Fatal(err)
	}
	if err := b.snapshot(); err != nil {
		t.Fatal(err)
	}
	if err := b.forget(time.Unix(0, want[2*pageSize].Time)); err != nil {
		t.Fatal(err)
	}
	if b.state.txs.get(1) != nil || b.state.txs.get(pageSize+1) != nil || b.state.txs.get(2*pageSize+1) == nil || b.Stats().Attempts != pageSize {
		t.Fatal("want the first two pages forgotten and the third not")
	}
	for round := range 2 {
		for _, tx := range want {
			if got, ok := b.Find(Ref{ID: tx.ID}); !ok || got != tx {
				t.Fatalf("round %d: transaction %d is %+v", round, tx.ID, got)
			}
		}
		if list, err := b.List(Query{Merchant: aoi, Limit: 10_000}); err != nil || len(list) != len(want) || !slices.IsSortedFunc(list, func(a, b Tx) int { return int(b.ID) - int(a.ID) }) {
			t.Fatalf("%d listed, %v", len(list), err)
		}
		if out := commit(t, b, Op{Kind: kessai.Purchase, Names: named1(2*pageSize + 5), Customer: c[0], Shop: shop, Amount: 1}); !out.Replayed {
			t.Fatal("an attempt that is remembered was made again")
		}
		b = reopen(t, b)
	}
}
