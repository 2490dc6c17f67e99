package main

import (
	"io"
	"log/slog"
)

// newLogger makes the logger that everything in the process writes through.
func newLogger(w io.Writer, c LogConfig) *slog.Logger {
	log, _ := newLiveLogger(w, c)
	return log
}

// newLiveLogger makes it with a level that can be changed.
func newLiveLogger(w io.Writer, c LogConfig) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	l, _ := parseLevel(c.Level) // Validate has checked it
	level.Set(l)
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, o)), level
	}
	return slog.New(slog.NewJSONHandler(w, o)), level
}
