//go:build !linux

package load

import "time"

// alarm wakes a pacer.
type alarm struct{}

func newAlarm() (*alarm, error) { return new(alarm), nil }

func (*alarm) pause(d time.Duration) { time.Sleep(d) }

func (*alarm) close() {}
