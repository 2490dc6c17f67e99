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
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
)

// Options configures an engine.
type Options struct {
	Acquirer kessai.AcquirerID                         // takes the place of a missing DE32
	HoldFor  time.Duration                             // how long a pre-authorization stands
	MaxAge   time.Duration                             // a cache older than this approves nothing; zero: any age will do
	Observe  func(stage Stage, d time.Duration, n int) // told how long a stage took for n requests; may be nil
	Registry Registry                                  // asked for what memory does not know
	Dialogue DialogueOptions
	Purse    PurseOptions
}

// Engine carries out transactions. It may be used from many goroutines at once.
type Engine struct {
	book  *ledger.Book
	valid *cache.Cache
	o     Options
	work  sync.Pool // of *work
	talks *dialogues
	limit ageLimit
}

// New makes an engine on a book and a cache.
func New(book *ledger.Book, valid *cache.Cache, o Options) *Engine {
	if o.Observe == nil {
		o.Observe = func(Stage, time.Duration, int) {}
	}
	e := &Engine{
		book: book, valid: valid, o: o, talks: newDialogues(o.Dialogue),
		work: sync.Pool{New: func() any { return new(work) }},
	}
	e.SetMaxAge(o.MaxAge)
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
		code := Decide(&a.Request, &facts) // pure: may it be done, as far as that tells
		if facts.stranger(&a.Request) {
			a.Reply = Reply{Code: code}
			continue
		}
		e.op(w.add(a), &a.Request, &facts, code)
		w.lap(StageDecide)
	}
	err := e.book.CommitAll(ctx, w.tasks) // is the money there, is it a repeat; then on disk
	w.lap(StageCommit)
	w.answer(err)
	e.talks.settle(asks) // a dialogue ends with its transaction
}
