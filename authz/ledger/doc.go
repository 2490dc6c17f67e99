// Package ledger is the book: double entry, hash-chained, durable; what is
// pending becomes posted or ends, and one attempt has one outcome.
//
// What it is for: deciding, atomically and at commit, what only the commit can
// know (is this a repeat, is the money there, is a running limit reached, has
// someone else already ended this hold), and making sure that it is on disk
// before anyone is told. What it is not for: judging cards and terminals
// (authz), or knowing what a merchant is (merchants).
//
// Start reading with [Op] and [Tx] in op.go, then decide.go (what is decided),
// apply.go (what moves), commit.go (how it becomes durable). DESIGN.md tells
// how the parts fit, which goroutines there are, and what must stay true.
package ledger
