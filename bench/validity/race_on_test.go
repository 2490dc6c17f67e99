//go:build race

package validity

// raceEnabled: under the race detector a sync.Pool drops what it holds at
// random, so allocations are not counted.
const raceEnabled = true
