//go:build !race

package keys

const raceDetector = 0
