package floor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// serveEnv makes the test binary a server: its value is the folder. The server
// must not share a scheduler with its load.
const serveEnv = "KESSAI_TEST_FLOOR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		os.Exit(serveFor(dir))
	}
	os.Exit(m.Run())
}

func serveFor(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Println(l.Addr())
		err = Serve(ctx, l, dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// startServer runs a server in a process of its own and gives its address.
func startServer(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+b.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			b.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		b.Fatal(err)
	}
	return addr
}

// BenchmarkServe has b.N messages answered, on so many connections with so many
// in flight on each.
func BenchmarkServe(b *testing.B) {
	for _, c := range []struct{ connections, inFlight int }{{1, 1}, {64, 1}, {64, 16}, {64, 64}} {
		b.Run(fmt.Sprintf("%dx%d", c.connections, c.inFlight), func(b *testing.B) {
			addr := startServer(b)
			var left atomic.Int64
			left.Store(1) // the first answer says that the server is ready
			if err := load(addr, 1, &left); err != nil {
				b.Fatal(err)
			}
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ResetTimer()
			start := time.Now()
			for range c.connections {
				all.Go(func() {
					if err := load(addr, c.inFlight, &left); err != nil {
						b.Error(err)
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "messages/s")
		})
	}
}

// load keeps inFlight messages in flight on one connection until none are left.
func load(addr string, inFlight int, left *atomic.Int64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	one := frame("0200" + string(bytes.Repeat([]byte{'1'}, 116)))
	requests := bytes.Repeat(one, inFlight)
	answers := make([]byte, len(requests))
	take := func(n int) int { return int(max(0, min(int64(n), left.Add(-int64(n))+int64(n)))) }
	send := take(inFlight)
	for waiting := 0; send+waiting > 0; {
		if _, err := c.Write(requests[:send*len(one)]); err != nil {
			return err
		}
		waiting += send
		n, err := io.ReadAtLeast(c, answers, len(one))
		if err == nil && n%len(one) != 0 {
			var m int
			m, err = io.ReadFull(c, answers[n:n+len(one)-n%len(one)])
			n += m
		}
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(answers[2:], []byte("0210")) {
			return fmt.Errorf("answered %q", answers[2:6])
		}
		waiting -= n / len(one)
		send = take(n / len(one))
	}
	return nil
}

func frame(body string) []byte { return append([]byte{byte(len(body) >> 8), byte(len(body))}, body...) }
