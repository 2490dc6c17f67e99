//go:build race

package merchants

// raceEnabled: the race detector makes everything some ten times slower, so tests
// of size do less of it.
const raceEnabled = true
