package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"kessai"
)

// pending is what one caller waits for on its way through the committer: its
// operations, or accounts to open.
type pending struct {
	tasks []Task
	next  int // the first task that is not done yet
	specs []AccountSpec

	ids  []AccountID
	err  error
	done chan struct{} // holds one token when the outcome of all is on disk
}

// Task is an operation with its outcome.
type Task struct {
	Op      Op
	Outcome Outcome
	Err     error // the operation makes no sense: nothing was done
}

// Commit does one operation: see [Book.CommitAll].
func (b *Book) Commit(ctx context.Context, op *Op) (Outcome, error) {
	one := []Task{{Op: *op}}
	if err := b.CommitAll(ctx, one); err != nil {
		return Outcome{}, err
	}
	return one[0].Outcome, one[0].Err
}

// CommitAll does operations, one after another: it decides what only the book
// can know, and returns when the outcome of all is on disk. It blocks; call it
// from many goroutines. Operations that came together share the way through the
// committer, which is a good part of what a single one costs.
//
// ErrBusy and ErrClosed mean that nothing was done; ErrUnknown that nobody
// knows, and that the process must stop. The context counts only until the
// operations are queued: what is queued will be done.
func (b *Book) CommitAll(ctx context.Context, tasks []Task) error {
	if err := ctx.Err(); err != nil || len(tasks) == 0 {
		return err
	}
	for i := range tasks {
		tasks[i].Err = tasks[i].Op.check()
	}
	p, _ := b.asked.Get().(*pending)
	if p == nil {
		p = &pending{done: make(chan struct{}, 1)}
	}
	p.tasks = tasks
	err := b.commitNow(p)
	if err == errOthers {
		err = b.send(p)
	}
	if err == nil {
		<-p.done
		err = p.err
	}
	*p = pending{done: p.done}
	b.asked.Put(p)
	return err
}

// errOthers says that others are before a caller.
var errOthers = errors.New("others are waiting")

// commitNow makes a block of what a caller wants in the caller's own goroutine,
// where nobody else is making one and nobody waits. Handing it over and being
// woken again would take as long as all the rest but the disk.
func (b *Book) commitNow(p *pending) error {
	b.gate.RLock()
	defer b.gate.RUnlock()
	if b.closed || b.Err() != nil {
		return ErrClosed
	}
	if b.queued.Load() > 0 || !b.maker.TryLock() {
		return errOthers
	}
	defer b.maker.Unlock()
	if b.Err() != nil { // who had it before failed
		return ErrClosed
	}
	due := b.making.due
	for rest := p; rest != nil; rest = b.making.rest {
		if err := b.commitBlock(&b.making, rest, false); err != nil {
			return nil // p has been told
		}
	}
	if b.making.due != due {
		select {
		case b.early <- struct{}{}:
		default:
		}
	}
	return nil
}

// send puts what a caller wants behind what is waiting already.
func (b *Book) send(p *pending) error {
	b.gate.RLock()
	defer b.gate.RUnlock()
	if b.closed || b.Err() != nil {
		return ErrClosed
	}
	n := p.size()
	if q := b.queued.Add(n); q > int64(b.o.MaxQueue) && q != n {
		b.queued.Add(-n)
		return ErrBusy
	}
	b.queue <- p // it has room for MaxQueue callers, so nobody waits here
	return nil
}

// size is what a caller counts for in the queue.
func (p *pending) size() int64 { return int64(max(1, len(p.tasks))) }

// batch is the block that is being made.
type batch struct {
	block
	ops     int        // operations done in it
	waiting []*pending // those that hear when it is on disk
	rest    *pending   // one that did not fit in whole: it goes on in the next block
	raw     []byte     // the encoded block, reused
	due     int64      // when the next hold ends by itself, Unix nanoseconds; zero: there is none
	late    bool       // more holds are due than one block ends
}

// bodyFull is the size at which a block is closed. One more operation, be it one
// with the longest note or a chunk of accounts, still fits below maxBlock.
const bodyFull = maxBlock - 64<<10

// commitLoop takes what is waiting, applies it in order, writes it as one block,
// and lets the callers go. While a block syncs, the next one gathers in the
// queue: groups form by themselves, and an operation that comes alone does not
// wait for company (see commitNow). Whoever holds maker makes a block, and is
// the only one that changes the state.
//
// Tried and left: a pool of committers over sharded accounts (a sale always
// touches two accounts, and the sync is what costs), and applying the next block
// while the last one syncs (a reader would see what is not on disk yet).
func (b *Book) commitLoop() {
	defer b.done.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var first *pending
		select {
		case p, ok := <-b.queue:
			if !ok {
				return
			}
			b.queued.Add(-p.size())
			first = p
		case <-timer.C:
		case <-b.early:
		}
		next, err := b.commitWaiting(first)
		if err != nil {
			b.refuse()
			return
		}
		timer.Reset(next)
	}
}

// commitWaiting makes blocks until first is done, if there is one, and gives the
// time until the next hold ends by itself.
func (b *Book) commitWaiting(first *pending) (next time.Duration, err error) {
	b.maker.Lock()
	defer b.maker.Unlock()
	if err := b.Err(); err != nil { // the last block, which a caller made
		if first != nil {
			first.end(ErrClosed)
		}
		return 0, err
	}
	for {
		if err := b.commitBlock(&b.making, first, true); err != nil {
			return 0, err
		}
		if first = b.making.rest; first == nil {
			break
		}
	}
	if next = time.Hour; b.making.due != 0 {
		next = min(next, time.Until(time.Unix(0, b.making.due)))
	}
	return max(next, 0), nil
}

// commitBlock makes and writes one block, of what first asks, if there is one,
// and perhaps of what else waits.
func (b *Book) commitBlock(t *batch, first *pending, others bool) (err error) {
	if err := cmp.Or(b.Err(), b.roomOnDisk()); err != nil { // the witness may have failed
		if first != nil {
			first.end(first.untouched()) // nothing was done in this block
		}
		b.fail(err)
		return err
	}
	b.mu.Lock()
	now := time.Now()
	b.state.begin(now.UnixNano(), b.o.BusinessDay(now))
	t.begin(b.state)
	if err = t.expire(b.state); err != nil || t.late {
		t.rest = first // behind all holds that are due
	} else if first != nil {
		err = b.gather(t, first, others)
	}
	if err == nil && t.count > 0 {
		err = b.write(t)
	}
	_, t.due = b.state.due(b.state.time)
	if err != nil {
		err = cmp.Or(b.state.lost(), err) // the cause
		b.fail(err)                       // before anyone can read a state that is not on disk
	}
	ended := b.state.stood()
	b.mu.Unlock()
	if err == nil {
		b.tellEnded(ended)
	}
	t.answer(err)
	if err != nil {
		return err
	}
	b.lastOps.Store(int64(t.count))
	b.follow.wake()
	b.snapshotIfDue()
	if err = b.awaitRoom(); err != nil && t.rest != nil {
		t.rest.end(t.rest.untouched())
		t.rest = nil
	}
	return err
}

// awaitRoom waits where far more changed pages are in memory than may stay there:
// the disk is slower than the processor. The callers wait with it.
func (b *Book) awaitRoom() error {
	flooded := func() bool {
		b.mu.RLock()
		defer b.mu.RUnlock()
		return b.state.flooded()
	}
	for patience := time.Now().Add(floodPatience); flooded(); time.Sleep(time.Millisecond) {
		b.snapshotIfDue()
		if time.Now().After(patience) {
			err := fmt.Errorf("the pages of the book could not be saved for %v", floodPatience)
			b.fail(err)
			return err
		}
	}
	return nil
}

// floodPatience is how long the book waits for its pages to be saved before it
// would rather stop.
const floodPatience = time.Minute

func (t *batch) begin(s *state) {
	t.block = block{number: s.block + 1, time: s.time, day: s.day, prev: s.hash, body: t.body[:0]}
	t.ops, t.waiting, t.rest = 0, t.waiting[:0], nil
}

func (t *batch) full(max int) bool { return t.ops >= max || len(t.body) >= bodyFull }

// maxExpired bounds the holds that one block ends: each may have to be read back.
const maxExpired = 1024

// expire ends the holds whose deadline has passed, before anything else is done
// in the block: a completion that comes with its deadline is too late.
func (t *batch) expire(s *state) error {
	for t.late = false; ; {
		id, _ := s.due(s.time)
		if id == 0 {
			return nil
		}
		if t.count == maxExpired {
			t.late = true
			return nil
		}
		if err := s.expire(id); err != nil {
			return err
		}
		t.body = appendExpire(t.body, id)
		t.count++
	}
}

// gather does the operations that are waiting, as many as one block takes.
func (b *Book) gather(t *batch, p *pending, others bool) error {
	for {
		if err := t.do(b.state, p, b.o.MaxBlock); err != nil {
			t.waiting = append(t.waiting, p)
			return err
		}
		if p.next < len(p.tasks) {
			t.rest = p
			return nil
		}
		t.waiting = append(t.waiting, p)
		if !others || t.full(b.o.MaxBlock) {
			return nil
		}
		select {
		case next, ok := <-b.queue:
			if !ok {
				return nil
			}
			b.queued.Add(-next.size())
			p = next
		default:
			return nil
		}
	}
}

// do does what one caller asks, or as much of it as the block has room for.
func (t *batch) do(s *state, p *pending, most int) error {
	if p.specs != nil {
		t.ops++
		return t.openAccounts(s, p)
	}
	for ; p.next < len(p.tasks) && !t.full(most); p.next++ {
		if task := &p.tasks[p.next]; task.Err == nil {
			t.ops++
			if err := cmp.Or(t.one(s, &task.Op, &task.Outcome), s.lost()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *batch) one(s *state, op *Op, out *Outcome) (err error) {
	var again bool
	if *out, again = s.repeat(op); again {
		return t.alias(s, op, out)
	}
	if op.Verdict == kessai.SystemMalfunction {
		// It could not be judged. It leaves no name, so that the same message,
		// sent again when it can be, is judged then.
		out.Tx.Code = kessai.SystemMalfunction
		return nil
	}
	if op.Foreign.Currency != 0 {
		if err := t.openExchange(s, op); err != nil {
			return err
		}
	}
	if first, ok := s.settles(op); ok {
		if err := t.enter(s, &first, nil); err != nil {
			return err
		}
		s.heard(op.Purse, &first)
	}
	out.Tx = s.decide(op)
	if err := t.enter(s, &out.Tx, op.Note); err != nil {
		return err
	}
	s.heard(op.Purse, &out.Tx)
	return nil
}

// enter carries out a transaction that was decided, and puts it into the block.
func (t *batch) enter(s *state, tx *Tx, note []byte) error {
	if err := s.apply(tx); err != nil {
		return err
	}
	t.body = appendTx(t.body, tx, note)
	t.count++
	return nil
}

// alias remembers the second name under which an attempt came again.
func (t *batch) alias(s *state, op *Op, out *Outcome) error {
	for _, n := range op.Names {
		if out.Conflict || n.Key == (Key{}) || s.attempt(n.Key) != nil {
			continue
		}
		if names := out.Tx.Names; names[0].Key != (Key{}) && names[1].Key != (Key{}) {
			continue
		}
		if err := s.alias(out.Tx.ID, n); err != nil {
			return err
		}
		t.body = appendAlias(t.body, out.Tx.ID, n)
		t.count++
	}
	return nil
}

// write encodes the block and returns when it is on disk.
func (b *Book) write(t *batch) error {
	t.raw, b.state.hash = t.block.append(t.raw[:0])
	if len(t.raw) > maxBlock {
		return fmt.Errorf("block %d has %d bytes, more than the %d that are allowed", t.number, len(t.raw), maxBlock)
	}
	b.state.block = t.number
	started := time.Now()
	err := b.persist(t.number, t.raw)
	b.syncNanos.Add(int64(time.Since(started)))
	return err
}

// sync puts a block on disk. The witness hears of it later.
func (b *Book) sync(number uint64, raw []byte) error {
	err := b.log.write(number, raw)
	if err == nil {
		token(b.unseen)
	}
	return err
}

// answer lets the callers go. After a failure the one that did not fit in whole
// goes with them.
func (t *batch) answer(err error) {
	if err != nil {
		if t.rest != nil {
			t.waiting, t.rest = append(t.waiting, t.rest), nil
		}
		err = ErrUnknown
	}
	for i, p := range t.waiting {
		t.waiting[i] = nil
		if err != nil {
			p.ids = nil
			p.end(err)
			continue
		}
		p.done <- struct{}{}
	}
}

// end answers a caller that gets no outcome.
func (p *pending) end(err error) {
	for i := range p.tasks {
		p.tasks[i].Outcome = Outcome{}
	}
	p.err = err
	p.done <- struct{}{}
}

// untouched says what is known of one that gets no further: nothing was done, or
// a part of it was.
func (p *pending) untouched() error {
	if p.next > 0 {
		return ErrUnknown
	}
	return ErrClosed
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
		p.end(ErrClosed)
	}
}
