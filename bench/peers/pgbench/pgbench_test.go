package pgbench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kessai/bench/peers/postgres"
)

// folder is one that the user postgres can reach into too. Those of t.TempDir
// are closed to others.
func folder(t *testing.T) string {
	t.Helper()
	if _, ok := postgres.Found(); !ok {
		t.Skip("PostgreSQL is not installed")
	}
	dir, err := os.MkdirTemp("", "kessai-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// running gives the command lines of the processes that have to do with a folder.
func running(t *testing.T, dir string) (all []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), dir) {
			all = append(all, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return all
}

// nothingLeft checks that neither a folder nor a process of the run is there.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
}

func TestRun(t *testing.T) {
	dir := folder(t)
	var said []string
	r, err := Run(t.Context(), Options{Dir: dir, Clients: 2, Scale: 1, Duration: time.Second, Progress: func(s string) { said = append(said, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if r.TPS <= 0 || r.LatencyMS <= 0 || r.Clients != 2 || r.Version == "" || strings.Contains(r.Version, "postgres") {
		t.Errorf("the result is %+v", r)
	}
	if len(said) != 3 {
		t.Errorf("it said %q", said)
	}
	nothingLeft(t, dir)
}

// TestCancel: whatever is running, it ends and leaves nothing.
func TestCancel(t *testing.T) {
	programs := []string{"bin/initdb ", "bin/postgres ", "bin/pgbench --initialize", "bin/pgbench --protocol"} // in their order
	for i, program := range programs {
		t.Run(program, func(t *testing.T) {
			for try := 1; !cancelDuring(t, program, programs[i+1:]); try++ {
				if try == 10 {
					t.Fatal("it always ended before it was seen running")
				}
			}
		})
	}
}

// cancelDuring cancels a run while a program is running. It is false where one of
// those that follow came first.
func cancelDuring(t *testing.T, program string, later []string) (seen bool) {
	t.Helper()
	dir := folder(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	end := make(chan error, 1)
	go func() {
		_, err := Run(ctx, Options{Dir: dir, Clients: 2, Scale: 2, Duration: time.Hour})
		end <- err
	}()
	runs := func(all []string, program string) bool {
		return slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, program) })
	}
	for past := false; !seen && !past; {
		select {
		case err := <-end:
			t.Fatalf("it ended before it was seen running: %v", err)
		case <-time.After(time.Millisecond):
		}
		all := running(t, dir)
		seen = runs(all, program)
		past = slices.ContainsFunc(later, func(one string) bool { return runs(all, one) })
	}
	cancel()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	nothingLeft(t, dir)
	return seen
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Clients: -1, Duration: time.Second}, "clients"},
		{Options{Clients: MaxClients + 1, Duration: time.Second}, "clients"},
		{Options{Scale: MaxScale + 1, Duration: time.Second}, "scale"},
		{Options{Duration: 1500 * time.Millisecond}, "whole seconds"},
		{Options{}, "whole seconds"},
	} {
		if _, err := Run(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want something about %s", c.o, err, c.want)
		}
	}
}

// TestClosedFolder: root can make a folder where the user postgres cannot go.
func TestClosedFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs PostgreSQL as somebody else")
	}
	dir := folder(t)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Options{Dir: dir, Clients: 1, Duration: time.Second}); err == nil || !strings.Contains(err.Error(), "choose a folder") {
		t.Errorf("it ended with %v", err)
	}
	nothingLeft(t, dir)
}

const report = `pgbench (15.8 (Debian 15.8-0+deb12u1))
transaction type: <builtin: TPC-B (sort of)>
number of transactions actually processed: 12345
number of failed transactions: 0 (0.000%)
latency average = 5.123 ms
initial connection time = 30.456 ms
tps = 6201.123456 (without initial connection time)
`

func TestReport(t *testing.T) {
	var r Result
	if err := r.read(report); err != nil || r.TPS != 6201.123456 || r.LatencyMS != 5.123 {
		t.Errorf("read %+v, %v", r, err)
	}
	for _, c := range [][2]string{{"tps = 6201.123456", "tps = many"}, {"latency average", "latency"}, {"transactions: 0", "transactions: 3"}} {
		if err := r.read(strings.Replace(report, c[0], c[1], 1)); err == nil {
			t.Errorf("a report with %q was taken", c[1])
		}
	}
}
