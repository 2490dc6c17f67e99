//go:build !race

package conversations

const raceEnabled = false
