//go:build !race

package merchants

const raceEnabled = false
