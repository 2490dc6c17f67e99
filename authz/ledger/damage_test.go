package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/store"
)

// writeSample makes a closed book with a number of blocks and gives its report.
func writeSample(t *testing.T, dir string, blocks int) Report {
	t.Helper()
	b := must(Open(Options{Dir: dir}))
	shop, c := people(t, b, 1_000_000)
	for i := range uint64(blocks - 1) {
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

// spots finds where each block lies in the store's files.
func spots(t *testing.T, dir string) []spot {
	t.Helper()
	var all []spot
	found := make(map[uint64]bool)
	db := must(store.OpenCopy(storeOptions(copyOfStore(t, dir), false, nil)))
	defer db.Close()
	_, _, err := readBlocks(db, func(*block, [32]byte, int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range must(os.ReadDir(blocksDir(dir))) {
		file := filepath.Join(blocksDir(dir), e.Name())
		content := must(os.ReadFile(file))
		for n := uint64(1); ; n++ {
			_, _, raw, err := getBlock(db, n)
			if err != nil {
				break
			}
			if at := bytes.Index(content, raw); at >= 0 {
				found[n] = true
				for i := range raw {
					all = append(all, spot{file, int64(at + i), n})
				}
			}
		}
	}
	if len(found) == 0 {
		t.Fatal("no block was found on disk")
	}
	return all
}

func copyOfStore(t *testing.T, dir string) string {
	to := filepath.Join(t.TempDir(), "store")
	if err := store.Copy(blocksDir(dir), to); err != nil {
		t.Fatal(err)
	}
	return to
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

// inChildren runs the rest of a test in processes of its own, a few rounds each,
// because badger gives nothing back of what a failed opening took. In the child
// it gives the seed; in the parent it reports that the work is done.
func inChildren(t *testing.T, children int) (rnd *rand.Rand, done bool) {
	t.Helper()
	const env = "KESSAI_TEST_SEED"
	if seed, err := strconv.ParseUint(os.Getenv(env), 10, 64); err == nil {
		return rand.New(rand.NewPCG(seed, 7)), false
	}
	switch {
	case raceEnabled:
		children = 1
	case os.Getenv("KESSAI_SOAK") != "":
		children *= 20
	}
	var running sync.WaitGroup
	places := make(chan struct{}, 2*runtime.NumCPU()) // they wait for the disk half of the time
	for i := range children {
		places <- struct{}{}
		running.Go(func() {
			c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
			c.Env = append(os.Environ(), fmt.Sprintf("%s=%d", env, i))
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("seed %d: %v\n%s", i, err, out)
			}
			<-places
		})
	}
	running.Wait()
	return nil, true
}

// TestFlippedByte flips one bit at a time, at random places of the block data on
// disk (1,000 places in all). Verify has to find it and Open has to refuse it,
// naming the block; only where it hits the very last block may the witness put
// it right.
func TestFlippedByte(t *testing.T) {
	rnd, done := inChildren(t, 10)
	if done {
		return
	}
	const blocks = 60
	flips := 50
	if raceEnabled { // make test runs it once more, in full
		flips = 10
	}
	for _, unclean := range []bool{false, true} { // in a table; in the log that a crash leaves
		dir := t.TempDir()
		want := writeSample(t, dir, blocks)
		if unclean {
			dir = crashed(t, dir)
		}
		all := spots(t, dir)
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

// crashed makes the folder that a killed gateway leaves: the blocks are in
// badger's log and not in a table yet.
func crashed(t *testing.T, clean string) string {
	t.Helper()
	dir := t.TempDir()
	b := must(Open(Options{Dir: dir}))
	db := must(store.OpenCopy(storeOptions(copyOfStore(t, clean), false, nil)))
	defer db.Close()
	for n := uint64(1); ; n++ {
		_, _, raw, err := getBlock(db, n)
		if err != nil {
			break
		}
		if err := b.sync(n, raw); err != nil {
			t.Fatal(err)
		}
	}
	killed := copyTree(t, dir) // what is in the files while the process runs
	withoutSnapshot(t, killed)
	b.fail(errors.New("killed")) // so that closing writes nothing
	b.Close()
	return killed
}

// checkDamage checks what is said of one damaged block.
func checkDamage(t *testing.T, dir string, damaged, last uint64, want Report) {
	t.Helper()
	r, err := Verify(dir, nil)
	if err == nil {
		if damaged != last || r.LastHash != want.LastHash || r.PutBack != last {
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
	rnd, done := inChildren(t, 3)
	if done {
		return
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
	for range 50 {
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

// TestCutTail takes blocks away from the end. One that was being written when
// the gateway stopped is put back from the witness; more are refused.
func TestCutTail(t *testing.T) {
	for _, c := range []struct {
		cut     int
		refused uint64
	}{{1, 0}, {2, 19}, {5, 16}, {20, 1}} {
		dir := t.TempDir()
		want := writeSample(t, dir, 20)
		db := must(store.Open(storeOptions(blocksDir(dir), true, nil)))
		err := db.Update(func(txn *badger.Txn) error {
			for i := range c.cut {
				if err := txn.Delete(blockKey(uint64(20 - i))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
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

// TestWitness damages the witness instead of the store.
func TestWitness(t *testing.T) {
	dir := t.TempDir()
	want := writeSample(t, dir, 9) // block 9 is in slot 1, block 8 in slot 0
	for _, c := range []struct {
		name  string
		spoil func(dir string)
		fine  bool
	}{
		{"newest slot torn", func(d string) { flip(t, witnessPath(d), slotSize+100, 1) }, true},
		{"older slot torn", func(d string) { flip(t, witnessPath(d), 100, 1) }, true},
		{"both torn", func(d string) { flip(t, witnessPath(d), 100, 1); flip(t, witnessPath(d), slotSize+100, 1) }, false},
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
func TestHoldExpiresWhileDown(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	tx := wantCode(t, commit(t, b, Op{Kind: kessai.PreAuthorization, Names: named1(1), Customer: c[0], Shop: shop, Amount: 400, HoldFor: time.Second}), kessai.Approved)
	wantBalance(t, b, c[0], 1_000, 400)
	b = reopen(t, b)
	for now, _ := b.Find(Ref{ID: tx.ID}); now.Status != Expired; now, _ = b.Find(Ref{ID: tx.ID}) {
		time.Sleep(time.Millisecond)
	}
	wantBalance(t, b, c[0], 1_000, 0)
	wantCode(t, commit(t, b, Op{Kind: kessai.Completion, Names: named1(2), Original: Ref{ID: tx.ID}, Amount: 400}), kessai.TooLate)
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
