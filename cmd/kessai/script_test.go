package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// TestMain puts the command into the search path as kessai, for the scripts and
// for the tests that run it as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kessai": main})
}

// patience is how long a test waits for something that comes at once on an idle
// machine. Nothing waits this long unless the test is about to fail.
const patience = 2 * time.Minute

// quickEnd keeps a process with the race detector from sleeping for a second
// before it ends.
const quickEnd = "atexit_sleep_ms=10"

// TestScripts runs testdata/script: one file for each command, with its exit
// codes and messages.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			samples, err := filepath.Abs("../../configs")
			e.Setenv("CONFIGS", samples)
			e.Setenv("GORACE", quickEnd)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"ready": ready,
			"flip":  flip,
		},
	})
}

// exits CODE COMMAND...: runs a command that must end with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// ready FILE: waits for the file that demo --ready writes, and sets $HTTP, $ISO
// and $DATA from it; or $READER, from that of sim reader --ready.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready FILE")
	}
	path := ts.MkAbs(args[0])
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(path)
		if err == nil {
			var a struct{ HTTP, ISO, Data, Reader string }
			ts.Check(json.Unmarshal(b, &a))
			if a.Reader != "" {
				ts.Setenv("READER", a.Reader)
				return
			}
			ts.Setenv("HTTP", a.HTTP)
			ts.Setenv("ISO", a.ISO)
			ts.Setenv("DATA", a.Data)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not appear: %v", args[0], err)
		}
	}
}

// flip GLOB: turns over one bit in the first half of the largest file that
// matches, not counting zeros at its end: where a segment has blocks, but not the
// last one, and a table its data, not its index.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip GLOB")
	}
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	var largest []byte
	var path string
	for _, name := range names {
		b, err := os.ReadFile(name)
		ts.Check(err)
		if len(b) > len(largest) {
			largest, path = b, name
		}
	}
	if path == "" {
		ts.Fatalf("no file matches %s", args[0])
	}
	largest[len(bytes.TrimRight(largest, "\x00"))/4] ^= 1
	ts.Check(os.WriteFile(path, largest, 0o600))
}

func TestEveryCommandHasAnExampleAndAShortText(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.Hidden && (c.Example == "" || c.Short == "") {
			t.Errorf("%s has no example or no short text", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}
