package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kessai"
)

// writeSegments makes a closed book of so many blocks of some 30 sectors each, about 20 to the first segment,, as
// a crash leaves it that comes before witness and snapshot have followed beyond
// its first block.
func writeSegments(t testing.TB, dir string, blocks int) []placed {
	t.Helper()
	b := must(Open(Options{Dir: dir}))
	shop, c := people(t, b, kessai.MaxAmount)
	for n := range uint64(blocks - 1) {
		tasks := make([]Task, 200)
		for i := range tasks {
			tasks[i].Op = *purchaseOp(n<<20+uint64(i)+1, c[0], shop, 1)
			tasks[i].Op.Note = fmt.Append(nil, "item ", n)
		}
		if err := b.CommitAll(t.Context(), tasks); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	all := lie(t, dir)
	if len(all) != blocks {
		t.Fatalf("%d blocks, want %d", len(all), blocks)
	}
	withoutSnapshot(t, dir)
	setWitness(t, dir, all[0].raw)
	return all
}

// wantEnd opens a book that has to end at a block, and goes on with it.
func wantEnd(t *testing.T, dir string, last int, hash []byte) {
	t.Helper()
	if r, err := Verify(dir, nil); err != nil || r.Blocks != uint64(last) || !bytes.Equal(r.LastHash[:], hash) {
		t.Fatalf("verified: %d blocks, want %d; %v", r.Blocks, last, err)
	}
	b, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if b.state.block != uint64(last) || b.witness.newest != uint64(last) {
		t.Fatalf("it ends at block %d, the witness at %d, want %d", b.state.block, b.witness.newest, last)
	}
	commit(t, b, *purchaseOp(1<<60, 3, 2, 1))
	tail := must(readTail(blocksDir(dir), b.log.end))
	if err := b.Close(); err != nil || tail.dirty {
		t.Fatalf("there are bytes behind the end (%v); %v", tail.first, err)
	}
	if r, err := Verify(dir, nil); err != nil || r.Blocks != uint64(last)+1 {
		t.Fatalf("after going on: %d blocks, %v", r.Blocks, err)
	}
}

// hashOf gives the hash of a block, which ends it.
func (p *placed) hashOf() []byte { return p.raw[len(p.raw)-hashSize:] }

func wantDamage(t *testing.T, dir string, block int) {
	t.Helper()
	var d *Damage
	if _, err := Verify(dir, nil); !errors.As(err, &d) || d.Block != uint64(block) {
		t.Fatalf("verifying gave %v, want a refusal that names block %d", err, block)
	}
	if _, err := Open(Options{Dir: dir}); !errors.As(err, &d) || d.Block != uint64(block) {
		t.Fatalf("opening gave %v, want a refusal that names block %d", err, block)
	}
}

// firstIn gives the number of the first block in a segment.
func firstIn(all []placed, segment int) int {
	return 1 + slices.IndexFunc(all, func(p placed) bool { return p.segment == segment })
}

// TestTornWrite cuts the write of the last block short at every sector, from the
// front, from the back, and anywhere. What there is of it is removed. Where the
// witness has the block, it is put back.
func TestTornWrite(t *testing.T) {
	sample := t.TempDir()
	blocks := writeSegments(t, sample, 30)
	second := firstIn(blocks, 2)
	for _, count := range []int{5, second} { // the last one in the first segment, and the first in the second
		dir := copyTree(t, sample)
		all := blocks[:count]
		wipe(t, dir, blocks[count:])
		last := all[count-1]
		whole := append(appendPrefix(nil, len(last.raw)), last.raw...)
		whole = append(whole, make([]byte, int(last.size)-len(whole))...)
		rnd := rand.New(rand.NewPCG(1, 2))
		sectors := int(last.size / sector)
		step := 1
		if raceEnabled {
			step = 7
		}
		for n := 0; n < sectors; n += step {
			for way := range 3 {
				cut := bytes.Clone(whole)
				for s := range sectors {
					if way == 0 && s >= n || way == 1 && s <= n || way == 2 && (s == n || rnd.IntN(2) == 0) {
						clear(cut[s*sector : (s+1)*sector])
					}
				}
				d := copyTree(t, dir)
				write(t, d, last.position, cut)
				if way == 2 && n%5 == 0 {
					setWitness(t, d, last.raw)
					wantEnd(t, d, count, last.hashOf())
				} else {
					wantEnd(t, d, count-1, all[count-2].hashOf())
				}
			}
		}
	}
}

// TestNotTorn damages the last block in ways in which no write is cut short. It is
// refused, because somebody may have been told of it.
func TestNotTorn(t *testing.T) {
	dir := t.TempDir()
	all := writeSegments(t, dir, 5)
	last := all[4]
	for name, spoil := range map[string]func(d string){
		"a part of a sector": func(d string) { write(t, d, position{1, last.at + 700}, make([]byte, 100)) },
		"the length longer":  func(d string) { flip(t, segmentPath(blocksDir(d), 1), last.at+2, 1) },
		"the length gone":    func(d string) { write(t, d, last.position, make([]byte, prefixSize)) },
		"half a sector, and more behind it": func(d string) {
			write(t, d, position{1, last.at + 2*sector}, make([]byte, 3*sector))
			write(t, d, position{1, last.at + last.size}, []byte{1})
		},
		"a byte in the next segment": func(d string) {
			write(t, d, position{1, last.at + 2*sector}, make([]byte, 3*sector))
			write(t, d, position{2, 0}, []byte{1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := copyTree(t, dir)
			b := must(openLog(blocksDir(d), &loaded{chain: chain{end: position{2, 0}}}, true)) // makes the second segment
			b.halt()
			if err := b.close(); err != nil {
				t.Fatal(err)
			}
			spoil(d)
			wantDamage(t, d, 5)
		})
	}
}

// TestBytesBehindTheEnd: where nothing was written there must be zeros. What may
// have been a block that was being written is removed; anything else is refused.
func TestBytesBehindTheEnd(t *testing.T) {
	dir := t.TempDir()
	all := writeSegments(t, dir, 2)
	end := all[1].at + all[1].size
	for _, c := range []struct {
		at   int64
		fine bool
	}{{end, false}, {end + sector - 1, false}, {end + sector, true}, {end + 200*sector, true}, {end + extent(maxBlock), false}, {segmentSize(1) - 1, false}} {
		d := copyTree(t, dir)
		flip(t, segmentPath(blocksDir(d), 1), c.at, 4)
		if c.fine {
			wantEnd(t, d, 2, all[1].hashOf())
		} else {
			wantDamage(t, d, 3)
		}
	}
}

// TestDamagedSegments takes segments away, swaps them, cuts them off, and puts
// those of another book in their place.
func TestDamagedSegments(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	all := writeSegments(t, dir, 120)
	writeSegments(t, other, 120)
	second, third := firstIn(all, 2), firstIn(all, 3)
	if second == 0 || third == 0 || firstIn(all, 4) == 0 || segmentSize(2) != segmentSize(3) {
		t.Fatal("want four segments, two of one size")
	}
	path := func(d string, n int) string { return segmentPath(blocksDir(d), n) }
	for name, c := range map[string]struct {
		spoil func(d string) error
		block int
	}{
		"the first is missing": {func(d string) error { return os.Remove(path(d, 1)) }, 1},
		"one is missing":       {func(d string) error { return os.Remove(path(d, 2)) }, second},
		"two are swapped": {func(d string) error {
			return errors.Join(os.Rename(path(d, 2), path(d, 9)), os.Rename(path(d, 3), path(d, 2)), os.Rename(path(d, 9), path(d, 3)))
		}, second},
		"one is another's": {func(d string) error { return os.Rename(path(other, 3), path(d, 3)) }, third},
		"one is cut off":   {func(d string) error { return os.Truncate(path(d, 2), segmentSize(2)-sector) }, second},
		"one is twice there": {func(d string) error {
			return os.WriteFile(path(d, 3), must(os.ReadFile(path(d, 2))), 0o600)
		}, third},
		"zeros in the middle": {func(d string) error { wipe(t, d, all[19:20]); return nil }, 20},
		"zeros at the end of a segment": {func(d string) error {
			wipe(t, d, all[third-3:third-1])
			return nil
		}, third - 2},
		"zeros at its beginning": {func(d string) error { wipe(t, d, all[third-1:third]); return nil }, third},
		"a sector of the middle": {func(d string) error {
			write(t, d, position{all[19].segment, all[19].at + 3*sector}, make([]byte, sector))
			return nil
		}, 20},
		"two blocks swapped": {func(d string) error {
			write(t, d, all[10].position, must(os.ReadFile(path(dir, all[11].segment)))[all[11].at:all[11].at+all[11].size])
			return nil
		}, 11},
	} {
		t.Run(name, func(t *testing.T) {
			d := copyTree(t, dir)
			if err := c.spoil(d); err != nil {
				t.Fatal(err)
			}
			wantDamage(t, d, c.block)
		})
	}
}

// TestCrashBetweenSegments ends a book with each block around the ends of segments,
// with and without the next one prepared, or half of it.
func TestCrashBetweenSegments(t *testing.T) {
	dir := t.TempDir()
	all := writeSegments(t, dir, 80)
	for n := 2; n < len(all); n++ {
		if s, t := firstIn(all, 2), firstIn(all, 3); min(max(n-s, s-n), max(n-t, t-n)) > 4 {
			continue
		}
		d := copyTree(t, dir)
		wipe(t, d, all[n:])
		next := segmentPath(blocksDir(d), all[n-1].segment+1)
		switch n % 3 {
		case 0:
			if err := os.RemoveAll(next); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := errors.Join(os.RemoveAll(next), os.WriteFile(next+".new", make([]byte, 1000), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		for later := all[n-1].segment + 2; n%3 < 2; later++ {
			if os.Remove(segmentPath(blocksDir(d), later)) != nil {
				break
			}
		}
		wantEnd(t, d, n, all[n-1].hashOf())
	}
}

// TestWitnessIsBehind: the blocks may be ahead of the witness by any number.
func TestWitnessIsBehind(t *testing.T) {
	dir := t.TempDir()
	all := writeSegments(t, dir, 12)
	for n := range all {
		d := copyTree(t, dir)
		setWitness(t, d, all[n].raw)
		wantEnd(t, d, 12, all[11].hashOf())
	}
	d := copyTree(t, dir) // by all of them
	setWitness(t, d, all[0].raw)
	w := must(openWitness(witnessPath(d), nil))
	if err := errors.Join(w.begin(), w.close()); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, d, 12, all[11].hashOf())
}

// TestWitnessFollows: without another block the witness soon knows the last one.
func TestWitnessFollows(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	for n := range uint64(3) {
		commit(t, b, *purchaseOp(n+1, c[0], shop, 1))
		for last := b.log.newest(); ; time.Sleep(time.Millisecond) {
			slots := must(readWitness(witnessPath(b.o.Dir)))
			if len(slots) > 0 && slots[len(slots)-1].number == last {
				break
			}
		}
	}
}

// TestOlderBuildIsRefused: a book whose blocks are in badger is left alone.
func TestOlderBuildIsRefused(t *testing.T) {
	for _, name := range []string{"MANIFEST", "000001.sst", "00001.mem"} {
		dir := t.TempDir()
		if err := errors.Join(os.MkdirAll(blocksDir(dir), 0o700), os.WriteFile(filepath.Join(blocksDir(dir), name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{Dir: dir})
		_, err2 := Verify(dir, nil)
		for _, err := range []error{err, err2} {
			if !errors.Is(err, errBadger) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "older build") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if files := must(os.ReadDir(blocksDir(dir))); len(files) != 1 {
			t.Errorf("%s: the folder was changed", name)
		}
	}
}

// TestSegmentThatCannotBeMade: when there is no next segment the block that needs
// it fails, and the book stops.
func TestSegmentThatCannotBeMade(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, kessai.MaxAmount)
	if err := os.MkdirAll(segmentPath(blocksDir(b.o.Dir), 2)+".new/x", 0o700); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); ; n++ {
		tasks := make([]Task, 200)
		for i := range tasks {
			tasks[i].Op = *purchaseOp(n<<20+uint64(i), c[0], shop, 1)
		}
		if err := b.CommitAll(t.Context(), tasks); err != nil {
			if !errors.Is(err, ErrUnknown) || b.log.end.segment != 1 || n < 15 {
				t.Errorf("after %d blocks: %v", n, err)
			}
			break
		}
	}
	<-b.Failed()
	if !strings.Contains(b.Err().Error(), "next segment") {
		t.Errorf("the reason is %v", b.Err())
	}
}

// TestNotesOfAllSegments reads what was kept with transactions, wherever they are,
// before and after the book is opened again.
func TestNotesOfAllSegments(t *testing.T) {
	dir := t.TempDir()
	all := writeSegments(t, dir, 30)
	b := openTest(t, Options{Dir: dir})
	for range 2 {
		for n := range uint64(len(all) - 1) {
			tx := commit(t, b, func() Op { op := *purchaseOp(1<<50+n, 3, 2, 1); op.Note = []byte("new"); return op }()).Tx
			if note, err := b.Note(tx.ID); err != nil || string(note) != "new" {
				t.Fatalf("a new note is %q, %v", note, err)
			}
			if note, err := b.Note(kessai.TxID(200*n + 77)); err != nil || string(note) != fmt.Sprint("item ", n) {
				t.Fatalf("the note in block %d is %q, %v", n+2, note, err)
			}
		}
		b = reopen(t, b)
	}
}

// FuzzTail puts arbitrary bytes behind the blocks of a book. It ends where it
// ended, or is refused.
func FuzzTail(f *testing.F) {
	dir := f.TempDir()
	all := writeSegments(f, dir, 2)
	end := all[1].at + all[1].size
	f.Add(uint32(0), appendPrefix(nil, 1000))
	f.Add(uint32(0), append(appendPrefix(nil, 600), 1))
	f.Add(uint32(700), []byte{1})
	f.Add(uint32(1<<18), []byte("far"))
	f.Add(uint32(0), append(appendPrefix(nil, len(all[1].raw)), all[1].raw...))
	f.Fuzz(func(t *testing.T, at uint32, b []byte) {
		place := position{1, end + int64(at)}
		if place.at+int64(len(b)) > segmentSize(1) {
			return
		}
		write(t, dir, place, b)
		defer write(t, dir, place, make([]byte, len(b)))
		l := &loaded{}
		var err error
		if l.chain, err = readBlocks(blocksDir(dir), func(*block, [32]byte, position) error { return nil }); err == nil {
			l.slots = must(readWitness(witnessPath(dir)))
			err = l.judge(blocksDir(dir))
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		if l.last != 2 || l.end != (position{1, end}) || l.putBack != nil {
			t.Fatalf("the book ends at block %d, %v", l.last, l.end)
		}
		if zero := len(bytes.Trim(b, "\x00")) == 0; err == nil && zero == l.tail.dirty {
			t.Fatalf("%d bytes that are zeros (%v) are dirty: %v", len(b), zero, l.tail.dirty)
		}
	})
}

// FuzzWitness reads arbitrary bytes as a witness: no panic.
func FuzzWitness(f *testing.F) {
	raw, _ := (&block{number: 5}).append(nil)
	f.Add(append([]byte{0, 0, 0, byte(len(raw))}, raw...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	path := filepath.Join(f.TempDir(), "witness")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if slots, err := readWitness(path); err != nil || len(slots) > 2 {
			t.Fatal(len(slots), err)
		}
	})
}
