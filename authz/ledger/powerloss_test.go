package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unsyncedPages counts the pages of files that the kernel has
// and the disk may not: what a power cut would take. It skips the test where the
// kernel (Linux before 6.5) or the file system cannot tell.
func unsyncedPages(t *testing.T, files ...string) (pages uint64) {
	t.Helper()
	for _, name := range files {
		f := must(os.Open(name))
		defer f.Close()
		var fs unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
			t.Skip("the file system keeps files in memory only")
		}
		var c unix.Cachestat_t
		if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &c, 0); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
			t.Skip("the kernel does not tell which pages are on disk")
		} else if err != nil {
			t.Fatal(err)
		}
		pages += c.Dirty + c.Writeback
	}
	return pages
}

// TestPowerLoss_NothingToldIsUnsynced asks the kernel after each answer whether
// anything of the blocks would be lost if the power went out now: no page may be
// waiting, and the file must be one of which no write returns before the disk has
// it (writes that pass the page cache by leave no page to ask about).
func TestPowerLoss_NothingToldIsUnsynced(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000_000)
	for n := range uint64(50) {
		commit(t, b, *purchaseOp(n+1, c[0], shop, 1))
		if pages := unsyncedPages(t, segmentPath(blocksDir(b.o.Dir), b.log.end.segment)); pages != 0 {
			t.Fatalf("after answer %d, %d pages are not on disk", n+1, pages)
		}
		if !syncs(t, b.log.f) {
			t.Fatal("blocks are written without a sync")
		}
	}
	synced := syncs(t, b.witness.f)
	if err := b.Close(); err != nil || unsyncedPages(t, witnessPath(b.o.Dir)) != 0 || !synced { // it has followed by then
		t.Error("the witness is not on disk", err)
	}
}

// syncs reports whether a write to a file returns only when it is on disk.
func syncs(t *testing.T, f *os.File) bool {
	return must(unix.FcntlInt(f.Fd(), unix.F_GETFL, 0))&unix.O_DSYNC != 0
}

// TestPowerLoss_Control shows that the questions above can be answered with no: a
// log that does not sync, and a file that is written without.
func TestPowerLoss_Control(t *testing.T) {
	dir := t.TempDir()
	unsynced := must(openLog(dir, &loaded{chain: chain{end: position{1, 0}}}, false))
	if syncs(t, unsynced.f) {
		t.Error("a log that is to be written without syncs has them")
	}
	unsynced.halt()
	if err := unsynced.close(); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "plain")
	for range 100 { // the kernel may write one back just then
		if err := os.WriteFile(plain, make([]byte, 1_000), 0o600); err != nil {
			t.Fatal(err)
		}
		if unsyncedPages(t, plain) > 0 {
			return
		}
	}
	t.Error("a write without a sync leaves nothing to lose")
}

// TestPowerLoss_WhatWasReadIsSynced opens a copy of a book that is in memory for
// the most part, as one that was put in place a moment ago: nothing of it may be
// lost either once something was told that follows it. The last block is written
// again, whatever the page cache says.
func TestPowerLoss_WhatWasReadIsSynced(t *testing.T) {
	sample := t.TempDir()
	all := writeSegments(t, sample, 40)
	dir := copyTree(t, sample)
	last := all[len(all)-1].segment
	files := []string{witnessPath(dir)}
	for n := range last {
		files = append(files, segmentPath(blocksDir(dir), n+1))
	}
	if last < 2 || unsyncedPages(t, files...) == 0 {
		t.Skip("the copy is on disk already")
	}
	before := time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(files[last], before, before); err != nil {
		t.Fatal(err)
	}
	b := openTest(t, Options{Dir: dir})
	if pages := unsyncedPages(t, files...); pages != 0 {
		t.Errorf("%d pages of what was read are not on disk", pages)
	}
	if must(os.Stat(files[last])).ModTime().Equal(before) {
		t.Error("the last block was not written again")
	}
	if raw, again := all[len(all)-1], lie(t, dir); len(again) != len(all) || !bytes.Equal(again[len(again)-1].raw, raw.raw) || again[len(again)-1].position != raw.position {
		t.Error("the last block is not what it was")
	}
	if tail := must(readTail(blocksDir(dir), b.log.end)); tail.dirty {
		t.Error("there are bytes behind the end")
	}
}
