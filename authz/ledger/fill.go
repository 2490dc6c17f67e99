package ledger

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"kessai"
)

// Filling a state from a snapshot: accounts are read whole; of transactions only
// the briefs, and what has begun to fill a page.
//
// Nearly all of the time goes into indexes and running totals: each entry lands
// in another place of memory, and waiting for memory takes ten times as long as
// the rest. So each worker gathers what goes into one shard until it is much.

// fill reads what a head points to.
func (s *state) fill() error {
	if err := s.fillAccounts(); err != nil {
		return err
	}
	s.accounts.each(func(a *accountRow) { s.floats(a, a.balance) })
	if err := s.fillBriefs(); err != nil {
		return err
	}
	if s.txs.n%pageSize == 0 {
		return nil
	}
	last := uint64(len(s.txs.pages)) - 1
	rows, _, err := readPage(s.files.txs, last, s.txs.saved[last].page, nil, (*decoder).row)
	if err == nil && len(rows) != rowsOf(last, s.txs.n) {
		err = errSeal
	}
	s.txs.pages[last] = &page[Tx]{rows: rows}
	s.txs.loaded = append(s.txs.loaded, last)
	return err
}

// rowsOf gives the rows of a page in a table of n.
func rowsOf(no, n uint64) int { return int(min(pageSize, n-no*pageSize)) }

// inParallel does work for each page, on all processors. Each worker begins with
// start, which gives it its work and what it has to do at the end.
func inParallel(pages int, start func() (work func(no uint64) error, end func())) error {
	var next atomic.Int64
	var running sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for i := range errs {
		running.Go(func() {
			work, end := start()
			defer end()
			for errs[i] == nil {
				no := next.Add(1) - 1
				if no >= int64(pages) {
					return
				}
				errs[i] = work(uint64(no))
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// filling is an index that several workers fill.
type filling struct {
	*hashIndex
	locks [1 << shardBits]sync.Mutex
}

// filler is one worker's part of it.
type filler struct {
	into    *filling
	waiting [1 << shardBits][]hashed
}

const fillAtOnce = 1_024

func (f *filler) add(hash, number uint64) {
	no := hash >> (64 - shardBits)
	f.waiting[no] = append(f.waiting[no], hashed{hash, kessai.TxID(number)})
	if len(f.waiting[no]) == fillAtOnce {
		f.put(no)
	}
}

func (f *filler) put(no uint64) {
	f.into.locks[no].Lock()
	for _, e := range f.waiting[no] {
		f.into.shards[no].add(e.hash, uint64(e.id))
	}
	f.into.locks[no].Unlock()
	f.waiting[no] = f.waiting[no][:0]
}

func (f *filler) end() {
	for no := range f.waiting {
		f.put(uint64(no))
	}
}

// end counts what the shards hold.
func (f *filling) end() {
	f.n = 0
	for i := range f.shards {
		f.n += f.shards[i].n
	}
}

// fillAccounts reads the accounts, and their names to find them by. The names do
// not stay in memory.
func (s *state) fillAccounts() error {
	s.byName.reserve(s.accounts.n)
	names := &filling{hashIndex: &s.byName}
	defer names.end()
	return inParallel(len(s.accounts.pages), func() (func(uint64) error, func()) {
		mine := &filler{into: names}
		var buf []byte
		return func(no uint64) error {
			rows, used, err := readPage(s.files.accounts, no, s.accounts.saved[no].page, buf, (*decoder).accountRow)
			if err != nil {
				return err
			}
			labels, used, err := readPage(s.files.labels, no, s.labels.saved[no].page, used, (*decoder).label)
			if err != nil {
				return err
			}
			buf = used
			if len(rows) != len(labels) || len(rows) != rowsOf(no, s.accounts.n) {
				return errSeal
			}
			for i := range rows {
				var hash uint64
				hash, rows[i].rest = nameDigest(labels[i].name)
				mine.add(hash, no*pageSize+uint64(i)+1)
			}
			s.accounts.pages[no] = &page[accountRow]{rows: rows}
			if len(labels) < pageSize {
				s.labels.pages[no] = &page[label]{rows: labels}
			}
			return nil
		}, mine.end
	})
}

// fillBriefs makes all attempts findable that are not forgotten.
func (s *state) fillBriefs() error {
	s.names.reserve(s.txs.n)
	names, tombs := &filling{hashIndex: &s.names}, &filling{hashIndex: &s.tombs}
	var holds sync.Mutex
	var totals [usageShards]sync.Mutex
	var wrong []tried
	err := inParallel(len(s.txs.pages), func() (func(uint64) error, func()) {
		mine := &filler{into: names}
		uses := &tally{s: s, locks: &totals}
		var b brief
		var buf []byte
		return func(no uint64) error {
			if s.txs.saved[no].brief == 0 {
				return nil
			}
			raw, err := s.files.briefs.read(no, s.txs.saved[no].brief, buf)
			if err != nil {
				return err
			}
			buf = raw
			d := decoder{b: raw}
			d.brief(&b, firstOf(no))
			if d.bad {
				return errSeal
			}
			for _, n := range b.names {
				mine.add(n.hash, uint64(n.id))
			}
			if len(b.pending)+len(b.tombs)+len(b.tries) > 0 {
				holds.Lock()
				for _, n := range b.tombs {
					tombs.shards[n.hash>>(64-shardBits)].add(n.hash, uint64(n.id))
				}
				for _, h := range b.pending {
					s.await(h)
				}
				for _, id := range b.waiting {
					s.waiting[id] = struct{}{}
				}
				wrong = append(wrong, b.tries...)
				holds.Unlock()
			}
			for i := range b.counts {
				if c := &b.counts[i]; c.day == s.day {
					c.each(func(who subject) { uses.add(use{who, c.amount, c.times}) })
				}
			}
			return nil
		}, func() { mine.end(); uses.end() }
	})
	names.end()
	tombs.end()
	s.tryAll(wrong)
	return err
}

// tally is one worker's part of the running totals.
type tally struct {
	s       *state
	locks   *[usageShards]sync.Mutex
	waiting [usageShards][]use
}

// use is what is added to one running total.
type use struct {
	who    subject
	amount int64
	times  int32
}

func (t *tally) add(u use) {
	no := u.who.shard()
	t.waiting[no] = append(t.waiting[no], u)
	if len(t.waiting[no]) == fillAtOnce {
		t.put(no)
	}
}

func (t *tally) put(no int) {
	t.locks[no].Lock()
	for _, u := range t.waiting[no] {
		t.s.use(u)
	}
	t.locks[no].Unlock()
	t.waiting[no] = t.waiting[no][:0]
}

func (t *tally) end() {
	for no := range t.waiting {
		t.put(no)
	}
}

// forget drops what was of another day.
func (t *tally) forget() {
	for no := range t.waiting {
		t.waiting[no] = t.waiting[no][:0]
	}
}

// bulk holds back names and running totals while many blocks are read: nothing
// asks for them meanwhile.
type bulk struct {
	names  filler
	totals tally
}

func (s *state) beginBulk() {
	s.bulk = &bulk{filler{into: &filling{hashIndex: &s.names}}, tally{s: s, locks: new([usageShards]sync.Mutex)}}
}

func (s *state) endBulk() {
	s.bulk.names.end()
	s.bulk.names.into.end()
	s.bulk.totals.end()
	s.bulk = nil
}
