package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"regexp"
	"syscall"

	"github.com/spf13/cobra"

	"kessai/authz/ledger"
	"kessai/merchants"
)

// The exit codes, the same for every command.
const (
	exitFine    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitConfig  = 3
	exitConnect = 4 // cannot connect or bind
	exitStore   = 5 // locked or damaged
	exitMissed  = 6 // a threshold was missed
)

// exitError is how every command ends badly: what happened, why, and what to do
// next, one sentence each.
type exitError struct {
	code            int
	what, why, next string
}

func (e *exitError) Error() string { return e.what + ": " + e.why }

// fail ends a command with exit code 1.
func fail(what string, why error, next string) error {
	return &exitError{exitFailed, what, why.Error(), next}
}

func usage(what, why, next string) error { return &exitError{exitUsage, what, why, next} }

// report prints an error of a command and gives the exit code. Errors that are no
// exitError come from cobra, which speaks up only about how the command was called.
func report(w io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitFine
	}
	e, ok := errors.AsType[*exitError](err)
	if !ok {
		why := cardNumbers.ReplaceAllString(err.Error(), "****$1")
		if !cmd.HasSubCommands() {
			why += "; the command is " + cmd.UseLine()
		}
		e = &exitError{exitUsage, "the command line is not understood", why, "see " + cmd.CommandPath() + " --help"}
	}
	fmt.Fprintf(w, "error: %s\n  why: %s\n next: %s\n", e.what, e.why, e.next)
	return e.code
}

// cardNumbers finds what may be a card number in cobra's errors, which repeat what was
// typed: somebody may take a card number for an argument.
var cardNumbers = regexp.MustCompile(`\d(?:[ -]?\d){7,14}[ -]?(\d{4})`)

// storeError says why the book or the registry would not open.
func storeError(dir string, err error) error {
	what := "cannot open the store in " + dir
	switch {
	case errors.Is(err, ledger.ErrLocked), errors.Is(err, merchants.ErrLocked):
		return &exitError{exitStore, what, err.Error(),
			"stop the gateway that runs on this folder, or choose another folder with --data"}
	case errors.Is(err, ledger.ErrDamaged), errors.Is(err, merchants.ErrDamaged):
		return &exitError{exitStore, what, err.Error(),
			"keep the folder as it is, see the whole extent with kessai verify --data " + dir +
				", and restore the folder from a backup or a copy"}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return &exitError{exitConfig, what, err.Error(),
			"choose a folder that this user can write to with --data or the setting data"}
	}
	return fail(what, err, "put right what it says and start again")
}

// bindError says why a listener could not be opened.
func bindError(setting, address string, err error) error {
	next := "choose another address with the setting " + setting
	if errors.Is(err, syscall.EADDRINUSE) {
		next = "stop what listens there, or choose another address with the setting " + setting
	}
	return &exitError{exitConnect, "cannot listen on " + address, plainNet(err), next}
}

// plainNet leaves out of a network error the operation and address that the
// sentence before it has said already.
func plainNet(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	return err.Error()
}
