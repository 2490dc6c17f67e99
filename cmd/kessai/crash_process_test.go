package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildKessai builds the binary as users do, with build tags or without any.
func buildKessai(t *testing.T, tags string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kessai")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-tags", tags, "-o", path, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// crashGateway is a gateway in a process of its own, which these tests end in
// whatever way they like.
type crashGateway struct {
	cmd    *exec.Cmd
	log    string // the file that everything it says goes to
	HTTP   string
	ISO    []string
	exited chan struct{}
}

// launch starts kessai serve and does not wait for it to be ready. What it says
// goes to a new file in the folder logs.
func launch(binary, logs string, args ...string) (*crashGateway, error) {
	f, err := os.CreateTemp(logs, "serve-*.log")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	args = append([]string{"serve", "--http", "127.0.0.1:0", "--set", "log.format=text"}, args...)
	g := &crashGateway{cmd: exec.Command(binary, args...), log: f.Name(), exited: make(chan struct{})}
	g.cmd.Stdout, g.cmd.Stderr = f, f
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = g.cmd.Wait() // how it ended stands in its ProcessState
		close(g.exited)
	}()
	return g, nil
}

var readyLine = regexp.MustCompile(`msg=ready http=(\S+) iso="?\[([^\]]*)\]`)

// ready waits until the gateway answers, and notes where.
func (g *crashGateway) ready() error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if m := readyLine.FindStringSubmatch(g.said()); m != nil {
			g.HTTP, g.ISO = m[1], strings.Fields(m[2])
			return nil
		}
		select {
		case <-g.exited:
			return fmt.Errorf("the gateway did not start: %s; it said:\n%s", g.cmd.ProcessState, g.said())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return fmt.Errorf("the gateway was not ready in time; it said:\n%s", g.said())
}

func (g *crashGateway) said() string {
	b, _ := os.ReadFile(g.log)
	return string(b)
}

// kill ends the process with SIGKILL. An error says that it was dead before.
func (g *crashGateway) kill() error {
	err := g.cmd.Process.Kill()
	<-g.exited
	if status, ok := g.cmd.ProcessState.Sys().(syscall.WaitStatus); err == nil && (!ok || !status.Signaled()) {
		err = errors.New(g.cmd.ProcessState.String())
	}
	if err != nil {
		return fmt.Errorf("the gateway had ended before it was killed: %w; it said:\n%s", err, g.said())
	}
	return nil
}

// stop ends the process with SIGTERM, which it has to follow.
func (g *crashGateway) stop() error {
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-g.exited:
	case <-time.After(patience):
		_ = g.kill()
		return fmt.Errorf("SIGTERM did not end the gateway; it said:\n%s", g.said())
	}
	if code := g.cmd.ProcessState.ExitCode(); code != exitFine {
		return fmt.Errorf("the gateway ended with exit code %d; it said:\n%s", code, g.said())
	}
	return nil
}

var wholeLine = regexp.MustCompile(`(?s)the book is whole: \d+ blocks, (\d+) transactions.*sum over all accounts: (-?\d+) JPY`)

// verified runs kessai verify, which must find the book whole and its sum zero,
// and gives the number of transactions in it.
func verified(binary, data string) (transactions uint64, err error) {
	out, err := exec.Command(binary, "verify", "--data", data).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("kessai verify: %w\n%s", err, out)
	}
	m := wholeLine.FindSubmatch(bytes.TrimSpace(out))
	if m == nil || string(m[2]) != "0" {
		return 0, fmt.Errorf("kessai verify finds no sum of zero:\n%s", out)
	}
	_, err = fmt.Sscan(string(m[1]), &transactions)
	return transactions, err
}
