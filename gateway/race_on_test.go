//go:build race

package gateway

// raceEnabled: the race detector makes everything ten times slower.
const raceEnabled = true
