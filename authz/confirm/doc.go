// Package confirm is the waiting room: who waits for which payment, which phones
// are open, and how often an account was asked.
//
// What it is for: bounds on all of that, one call for each who waits when a
// payment has ended, and a word to each phone that is open. Nobody who waits costs
// a goroutine. What it is not for: what becomes of a payment. The book decides
// that, the room only hears of it; nothing here is on disk, and after a restart it
// is filled from the book. Start reading with [Room.Reserve].
package confirm
