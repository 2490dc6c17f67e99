//go:build !race

package kessai_test

const raceEnabled = false
