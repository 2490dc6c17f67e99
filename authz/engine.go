// Package authz is the transaction on one page: engine.go is the order of
// steps, decide.go judges what memory knows, and authz/ledger decides what only
// the commit can know.
//
// What it is for: turning a [Request] into a [Reply], whichever wire it came
// over. What it is not for: wires (gateway), storage (authz/ledger), keeping
// the registry (merchants, customers). Start reading with [Engine.Authorize].
package authz

import (
	"context"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
)

// Options configures an engine.
type Options struct {
	Acquirer kessai.AcquirerID                  // takes the place of a missing DE32
	HoldFor  time.Duration                      // how long a pre-authorization stands
	MaxAge   time.Duration                      // a cache older than this approves nothing; zero: any age will do
	Observe  func(stage Stage, d time.Duration) // told how long each stage took; may be nil
}

// Engine carries out transactions. It may be used from many goroutines at once.
type Engine struct {
	book  *ledger.Book
	valid *cache.Cache
	o     Options
}

// New makes an engine on a book and a cache.
func New(book *ledger.Book, valid *cache.Cache, o Options) *Engine {
	if o.Observe == nil {
		o.Observe = func(Stage, time.Duration) {}
	}
	return &Engine{book: book, valid: valid, o: o}
}

// Authorize carries out one request and returns when its outcome is on disk. An
// error means that there is no answer: ledger.ErrBusy and ledger.ErrClosed that
// nothing was done, ledger.ErrUnknown that nobody knows what was done.
func (e *Engine) Authorize(ctx context.Context, r *Request) (Reply, error) {
	lap := e.stopwatch()
	facts := e.judge(r) // memory only: who asks, with what
	lap(StageJudge)
	code := Decide(r, &facts) // pure: may it be done, as far as memory knows
	if facts.stranger(r) {
		return Reply{Code: code}, nil
	}
	op := e.op(r, &facts, code)
	lap(StageDecide)
	out, err := e.book.Commit(ctx, &op) // is the money there, is it a repeat; then on disk
	lap(StageCommit)
	switch {
	case err != nil:
		return Reply{}, err
	case out.Conflict:
		return Reply{Code: kessai.DuplicateTransmission}, nil
	}
	return Reply{Tx: out.Tx, Code: out.Tx.Code, Replayed: out.Replayed}, nil
}
