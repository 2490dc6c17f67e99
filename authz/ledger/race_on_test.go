//go:build race

package ledger

// raceEnabled: the race detector makes processes many times slower, and the
// damage tests have little to race.
const raceEnabled = true
