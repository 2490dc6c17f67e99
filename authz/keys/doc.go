// Package keys issues a key pair for one transaction and opens what a card reader
// sealed with it (HPKE, RFC 9180). When the transaction has ended, in whatever way,
// nothing of the private half is left in the process's memory.
//
// What it is for: [Keeper.Issue] makes a pair, [Key.Open] opens a sealed card or
// PIN, [Key.Keep] holds the card number between the two, [Key.Destroy] ends it.
// Private halves stand in memory that the system is asked not to swap, not to put
// into core dumps, and not to hand to child processes.
//
// What it is not for: it knows no sales, no readers and no messages (kessai/authz,
// kessai/pos/tether), and it keeps no keys beyond the process: after a restart a
// new pair is issued.
//
// Where to start: Keeper. What the standard library copies of a private half, and how
// each copy is overwritten, stands in wipe.go (the heap), quiet.go (the stack) and
// signals_linux.go (the registers).
package keys
