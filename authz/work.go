package authz

import (
	"context"
	"time"

	"kessai"
	"kessai/authz/ledger"
)

// Ask is a request with what became of it: a reply, or an error where there is
// none.
type Ask struct {
	Request Request
	Reply   Reply
	Err     error
}

// AuthorizeOne carries out a request that came alone: see [Engine.Authorize]. It
// fills in what judging did.
func (e *Engine) AuthorizeOne(ctx context.Context, r *Request) (Reply, error) {
	one := []Ask{{Request: *r}}
	e.Authorize(ctx, one)
	*r = one[0].Request
	return one[0].Reply, one[0].Err
}

// work is what one call of Authorize needs, kept to be used again. It holds no
// card number.
type work struct {
	e     *Engine
	tasks []ledger.Task // what the book is asked to do
	asks  []*Ask        // for whom, in the same order
	last  time.Time     // the end of the stage before
}

// maxKept bounds the memory that a work keeps, in requests.
const maxKept = 256

func (e *Engine) begin(asks []Ask) *work {
	for i := range asks {
		e.Expect(asks[i].Request.Terminal, asks[i].Request.Medium)
	}
	w := e.work.Get().(*work)
	w.e, w.last = e, time.Now()
	return w
}

func (e *Engine) end(w *work) {
	if cap(w.tasks) > maxKept {
		w.tasks, w.asks = nil, nil
	}
	clear(w.asks)
	w.tasks, w.asks = w.tasks[:0], w.asks[:0]
	e.work.Put(w)
}

// lap tells the observer how long it is since the last lap. A commit took as
// long for each request in it as for all.
func (w *work) lap(s Stage) {
	now := time.Now()
	n := 1
	if s == StageCommit {
		n = len(w.tasks)
	}
	w.e.o.Observe(s, now.Sub(w.last), n)
	w.last = now
}

// add gives room for one more operation.
func (w *work) add(a *Ask) *ledger.Op {
	if len(w.tasks) == cap(w.tasks) {
		w.tasks = append(w.tasks, ledger.Task{})
	} else {
		w.tasks = w.tasks[:len(w.tasks)+1]
	}
	w.asks = append(w.asks, a)
	return &w.tasks[len(w.tasks)-1].Op
}

// answer gives each request what the book said.
func (w *work) answer(err error) {
	for i, a := range w.asks {
		t := &w.tasks[i]
		switch {
		case err != nil:
			a.Err = err
		case t.Err != nil:
			a.Err = t.Err
		case t.Outcome.Conflict:
			a.Reply = Reply{Code: kessai.DuplicateTransmission}
		default:
			a.Reply = Reply{Tx: t.Outcome.Tx, Code: t.Outcome.Tx.Code, Replayed: t.Outcome.Replayed}
		}
		if err == nil && t.Op.Purse != nil {
			a.Reply.Order = w.e.order(&a.Reply.Tx)
		}
		t.Op.Note, t.Op.Purse = nil, nil
	}
}
