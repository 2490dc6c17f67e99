//go:build !race

package validity

const raceEnabled = false
