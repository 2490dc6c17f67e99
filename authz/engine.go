// Package authz is the transaction on one page: engine.go is the order of
// steps, decide.go judges what memory knows, and authz/ledger decides what only
// the commit can know.
//
// What it is for: turning a [Request] into a [Reply], whichever wire it came
// over, and the dialogue that may come before ([Engine.Open]). What it is not for:
// wires (gateway), storage (authz/ledger), keeping the registry (merchants,
// customers). Start reading with [Engine.Authorize].
package authz

import (
	"context"
	"sync"

	"kessai/authz/confirm"
	"kessai/authz/ledger"
	"kessai/cache"
)

// Engine carries out transactions. It may be used from many goroutines at once.
type Engine struct {
	book    *ledger.Book
	valid   *cache.Cache
	o       Options
	work    sync.Pool // of *work
	talks   *dialogues
	room    *confirm.Room[ledger.Tx] // who waits for a customer's word
	readers *readers                 // and for the card in their reader; nil: nobody can
	count   phoneCounts
	limit   ageLimit
}

// New makes an engine on a book and a cache.
func New(book *ledger.Book, valid *cache.Cache, o Options) *Engine {
	o.defaults()
	e := &Engine{
		book: book, valid: valid, o: o, talks: newDialogues(o.Dialogue),
		work: sync.Pool{New: func() any { return new(work) }},
	}
	e.SetMaxAge(o.MaxAge)
	e.openRoom()
	return e
}

// Authorize carries out requests that came together, each for itself, and
// returns when the outcome of all is on disk. Each gets its reply or an error,
// which means that there is no answer: ledger.ErrBusy and ledger.ErrClosed that
// nothing was done, ledger.ErrUnknown that nobody knows what was done.
func (e *Engine) Authorize(ctx context.Context, asks []Ask) {
	w := e.begin(asks)
	defer e.end(w)
	for i := range asks {
		a := &asks[i]
		facts := e.judge(&a.Request) // who asks, with what: memory, and the registry for what it lacks
		w.lap(StageJudge)
		code := Decide(&a.Request, &facts)                     // pure: may it be done, as far as that tells
		if facts.stranger(&a.Request) || !e.prompt(a, &code) { // what a customer is to confirm, and room to wait
			a.Reply.Code = code
			continue
		}
		e.op(w.add(a), &a.Request, &facts, code)
		w.lap(StageDecide)
	}
	err := e.book.CommitAll(ctx, w.tasks) // is the money there, is it a repeat; then on disk
	w.lap(StageCommit)
	w.answer(err)
	e.tell(asks)         // the holds are on disk: now the customers are asked, and the terminals wait
	e.talks.settle(asks) // a dialogue ends with its transaction
}
