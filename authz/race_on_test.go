//go:build race

package authz

// raceEnabled: everything takes ten times as long, and there is less of it.
const raceEnabled = true
