package main

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progressBar shows long work on a terminal, and nothing where w is none.
func progressBar(w io.Writer) func(what string, done, total uint64) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	var bar *progressbar.ProgressBar
	var current string
	return func(what string, done, total uint64) {
		if bar == nil || what != current {
			current = what
			most := int64(total)
			if most == 0 {
				most = -1 // not known: a spinner
			}
			bar = progressbar.NewOptions64(most, progressbar.OptionSetWriter(w),
				progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set64(int64(done)) // a progress bar that cannot be drawn is no reason to stop
	}
}

// plainPath leaves out of a file error the operation and path that the sentence
// before it has said already.
func plainPath(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}
