//go:build !race

package sale_test

const raceEnabled = false
