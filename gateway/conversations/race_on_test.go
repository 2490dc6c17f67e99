//go:build race

package conversations

// raceEnabled: the race detector makes all of this many times slower.
const raceEnabled = true
