package ledger

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"kessai"
)

// pending is an operation on its way through the committer. Either op or specs
// is set.
type pending struct {
	op    *Op
	specs []AccountSpec

	out  Outcome
	ids  []AccountID
	err  error
	done chan struct{} // holds one token when the outcome is on disk
}

var pendingPool = sync.Pool{New: func() any { return &pending{done: make(chan struct{}, 1)} }}

// batch is the block that is being made.
type batch struct {
	block
	waiting []*pending
	raw     []byte // the encoded block, reused
	slot    []byte // scratch space of the witness, reused
}

// bodyFull is the size at which a block is closed. One more operation, be it one
// with the longest note or a chunk of accounts, still fits below maxBlock.
const bodyFull = maxBlock - 128<<10

// commitLoop is the only goroutine that changes the state. It takes what is
// waiting, applies it in order, writes it as one block, and lets the callers go.
// While a block syncs, the next one gathers in the queue: groups form by
// themselves, and an operation that comes alone does not wait for company.
//
// Tried and left: a pool of committers over sharded accounts (a sale always
// touches two accounts, and the sync is what costs), and applying the next block
// while the last one syncs (a reader would see what is not on disk yet).
func (b *Book) commitLoop() {
	defer b.done.Done()
	var t batch
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var first *pending
		select {
		case p, ok := <-b.queue:
			if !ok {
				return
			}
			first = p
		case <-timer.C:
		}
		next, err := b.commitBlock(&t, first)
		if err != nil {
			b.refuse()
			return
		}
		timer.Reset(next)
	}
}

// commitBlock makes and writes one block, and gives the time until the next
// hold's deadline.
func (b *Book) commitBlock(t *batch, first *pending) (next time.Duration, err error) {
	if err := b.roomOnDisk(); err != nil {
		if first != nil {
			first.err = ErrClosed // nothing was done with it
			first.done <- struct{}{}
		}
		b.fail(err)
		return 0, err
	}
	b.mu.Lock()
	now := time.Now()
	b.state.begin(now.UnixNano(), b.o.BusinessDay(now))
	t.begin(b.state)
	if err = t.expire(b.state); err == nil && first != nil {
		err = b.gather(t, first)
	}
	if err == nil && t.count > 0 {
		err = b.write(t)
	}
	_, due := b.state.due(b.state.time)
	if err != nil {
		b.fail(err) // before anyone can read a state that is not on disk
	}
	b.mu.Unlock()
	t.answer(err)
	if err != nil {
		return 0, err
	}
	b.lastOps.Store(int64(t.count))
	b.follow.wake()
	b.snapshotIfDue()
	if next = time.Hour; due != 0 {
		next = min(next, time.Until(time.Unix(0, due)))
	}
	return max(next, 0), nil
}

func (t *batch) begin(s *state) {
	t.block = block{number: s.block + 1, time: s.time, day: s.day, prev: s.hash, body: t.body[:0]}
	t.waiting = t.waiting[:0]
}

func (t *batch) full(max int) bool { return len(t.waiting) >= max || len(t.body) >= bodyFull }

// expire ends the holds whose deadline has passed, before anything else is done
// in the block: a completion that comes with its deadline is too late.
func (t *batch) expire(s *state) error {
	for len(t.body) < bodyFull {
		id, _ := s.due(s.time)
		if id == 0 {
			return nil
		}
		if err := s.expire(id); err != nil {
			return err
		}
		t.body = appendExpire(t.body, id)
		t.count++
	}
	return nil
}

// gather does the operations that are waiting.
func (b *Book) gather(t *batch, p *pending) error {
	for {
		t.waiting = append(t.waiting, p)
		if err := t.do(b.state, p); err != nil {
			return err
		}
		if t.full(b.o.MaxBlock) {
			return nil
		}
		select {
		case next, ok := <-b.queue:
			if !ok {
				return nil
			}
			p = next
		default:
			return nil
		}
	}
}

func (t *batch) do(s *state, p *pending) error {
	if p.op == nil {
		return t.openAccounts(s, p)
	}
	out, again := s.repeat(p.op)
	if again {
		p.out = out
		return t.alias(s, p)
	}
	if p.op.Verdict == kessai.SystemMalfunction {
		// It could not be judged. It leaves no name, so that the same message,
		// sent again when it can be, is judged then.
		p.out.Tx.Code = kessai.SystemMalfunction
		return nil
	}
	tx := s.decide(p.op)
	if err := s.apply(&tx); err != nil {
		return err
	}
	p.out.Tx = tx
	t.body = appendTx(t.body, &tx, p.op.Note)
	t.count++
	return nil
}

// alias remembers the second name under which an attempt came again.
func (t *batch) alias(s *state, p *pending) error {
	for _, n := range p.op.Names {
		if _, known := s.keys[n.Key]; known || p.out.Conflict || n.Key == (Key{}) {
			continue
		}
		if names := s.txs.get(uint64(p.out.Tx.ID)).Names; names[0].Key != (Key{}) && names[1].Key != (Key{}) {
			continue
		}
		if err := s.alias(p.out.Tx.ID, n); err != nil {
			return err
		}
		t.body = appendAlias(t.body, p.out.Tx.ID, n)
		t.count++
	}
	return nil
}

// write encodes the block and writes it to the store and to the witness, side by
// side. It returns when both are on disk.
func (b *Book) write(t *batch) error {
	t.raw, b.state.hash = t.block.append(t.raw[:0])
	if len(t.raw) > maxBlock {
		return fmt.Errorf("block %d has %d bytes, more than the %d that the witness holds", t.number, len(t.raw), maxBlock)
	}
	b.state.block = t.number
	started := time.Now()
	err := b.persist(t.number, t.raw, &t.slot)
	b.syncNanos.Add(int64(time.Since(started)))
	return err
}

// sync puts a block on disk, in the store and in the witness.
func (b *Book) sync(number uint64, raw []byte, slot *[]byte) error {
	seen := make(chan error, 1)
	go func() {
		var err error
		*slot, err = b.witness.put(number, raw, *slot)
		seen <- err
	}()
	err := b.storeBlock(number, raw)
	if werr := <-seen; err == nil {
		err = werr
	}
	return err
}

// answer lets the callers go.
func (t *batch) answer(err error) {
	for i, p := range t.waiting {
		if err != nil {
			p.out, p.ids, p.err = Outcome{}, nil, ErrUnknown
		}
		t.waiting[i] = nil
		p.done <- struct{}{}
	}
}

// roomOnDisk refuses to go on when the disk is nearly full. Badger writes into
// files that it has mapped; when the disk has no room for a page of them the
// kernel kills the process, and nobody would hear why.
func (b *Book) roomOnDisk() error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(b.o.Dir, &st); err != nil {
		return fmt.Errorf("asking for the room on the disk: %w", err)
	}
	if free, need := int64(st.Bavail)*st.Bsize, 8*memTable; free < need {
		return fmt.Errorf("the disk that %s is on has %d MiB left; the book needs %d MiB to go on safely", b.o.Dir, free>>20, need>>20)
	}
	return nil
}

// fail records that the book can no longer write. What is in memory may be ahead
// of the disk from here on, so nothing is done any more: the process must stop.
func (b *Book) fail(err error) {
	if b.failure.CompareAndSwap(nil, &err) {
		close(b.failed)
		b.follow.finish(ErrClosed)
	}
}

// refuse answers what is still queued after a failure: nothing was done with it.
func (b *Book) refuse() {
	for p := range b.queue {
		p.err = ErrClosed
		p.done <- struct{}{}
	}
}
