package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/iso8583"
	"kessai/pos/sim"
)

// process is the real binary, running as a process of its own.
type process struct {
	cmd    *exec.Cmd
	stdout string      // the file that standard output goes to
	lines  chan string // of standard error
	said   strings.Builder
	HTTP   string
	ISO    string
	Data   string
}

// startDemo starts kessai demo and waits until it answers.
func startDemo(t *testing.T, args ...string) *process {
	t.Helper()
	readyFile := filepath.Join(t.TempDir(), "ready.json")
	p := start(t, append([]string{"demo", "--http", "127.0.0.1:0", "--iso", "127.0.0.1:0", "--ready", readyFile, "--log-level", "info"}, args...)...)
	p.await(t, "msg=ready")
	b, err := os.ReadFile(readyFile)
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); b, err = os.ReadFile(readyFile) {
		time.Sleep(5 * time.Millisecond)
	}
	if err == nil {
		err = json.Unmarshal(b, p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("kessai", args...), lines: make(chan string, 10_000)}
	p.stdout = filepath.Join(t.TempDir(), "stdout")
	stdout, err := os.Create(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	p.cmd.Stdout = stdout
	p.cmd.Env = append(os.Environ(), "GORACE="+quickEnd)
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// await waits for a line of standard error that holds the text.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("the process ended before it said %q; it said:\n%s", text, p.said.String())
			}
			fmt.Fprintln(&p.said, line)
			if strings.Contains(line, text) {
				return
			}
		case <-timeout:
			t.Fatalf("the process did not say %q; it said:\n%s", text, p.said.String())
		}
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end and gives the exit code and all of standard error.
func (p *process) exit(t *testing.T) (int, string) {
	t.Helper()
	hung := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer hung.Stop()
	for line := range p.lines {
		fmt.Fprintln(&p.said, line)
	}
	err := p.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode(), p.said.String()
}

// TestDrain: SIGTERM while requests are in flight. Whatever the gateway took in,
// it answers: the book has exactly as many transactions as answers were heard.
func TestDrain(t *testing.T) {
	p := startDemo(t, "--data", filepath.Join(t.TempDir(), "data"))
	load := &load{enough: make(chan struct{})}
	for n := range 4 {
		load.terminal(t, p.ISO, n)
		load.shop(p.HTTP, n)
	}
	select {
	case <-load.enough:
	case <-time.After(patience):
		t.Fatal("there were not enough answers")
	}
	p.signal(t, syscall.SIGTERM)
	load.running.Wait()
	if code, said := p.exit(t); code != exitFine {
		t.Fatalf("exit code %d; it said:\n%s", code, said)
	}
	report, err := ledger.Verify(p.Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	if heard := load.answers.Load(); uint64(heard) != report.Transactions {
		t.Errorf("%d answers were heard, the book has %d transactions", heard, report.Transactions)
	}
}

// load asks without pause until the gateway takes no more.
type load struct {
	running sync.WaitGroup
	answers atomic.Int64
	enough  chan struct{} // closed when the gateway is well under way
}

// heard counts a transaction that the gateway gave an answer to.
func (l *load) heard() {
	if l.answers.Add(1) == 300 {
		close(l.enough)
	}
}

// terminal keeps 16 purchases in flight on one ISO 8583 connection.
func (l *load) terminal(t *testing.T, address string, n int) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	client := sim.New(conn, sim.Options{Timeout: patience})
	pan, err := kessai.ParsePAN("4111111111111111")
	if err != nil {
		t.Fatal(err)
	}
	var stan atomic.Uint32
	for range 16 {
		l.running.Go(func() {
			for {
				sale := sim.Sale{Terminal: "AOI00001", PAN: pan, Expiry: "2912", Amount: 1, Currency: kessai.JPY,
					STAN: kessai.STAN(uint32(n)*100_000 + stan.Add(1)), Time: time.Now()}
				reply, err := client.Do(context.Background(), sale.Purchase())
				if err != nil {
					return // the connection was closed: nothing more is taken
				}
				if string(reply.Get(39)) == kessai.SystemMalfunction.String() {
					continue // refused: nothing was done
				}
				l.heard()
			}
		})
	}
}

// shop asks over JSON, one payment after the other.
func (l *load) shop(address string, n int) {
	l.running.Go(func() {
		for i := 0; ; i++ {
			status, err := pay(address, fmt.Sprintf("drain-%d-%d", n, i))
			if err != nil {
				return
			}
			if status == http.StatusCreated || status == http.StatusOK {
				l.heard()
			}
		}
	})
}

func pay(address, key string) (int, error) {
	body := `{"kind":"purchase","merchant":"AOI000000000001","terminal":"AOI00001","amount":{"value":1,"currency":"JPY"},"medium":{"pan":"4111111111111111","expiry":"2912"}}`
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/v1/payments", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer sk_test_aoi")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// TestSecondSignalExitsAtOnce: a request that never comes in whole keeps the
// drain waiting for as long as it is allowed to, which is longer than this test
// has patience; the second signal ends it all the same.
func TestSecondSignalExitsAtOnce(t *testing.T) {
	p := start(t, "serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--set", "log.format=text",
		"--set", "iso.listeners=[]", "--set", "http.read_timeout=1h", "--set", "shutdown.timeout=1h")
	p.await(t, "msg=ready")
	_, address, _ := strings.Cut(p.said.String(), "http=")
	address, _, _ = strings.Cut(address, " ")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// It is asked to go on: the request is surely being read, and the connection
	// not an idle one, which a drain closes at once.
	fmt.Fprint(conn, "POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	fmt.Fprint(conn, "{")
	p.signal(t, syscall.SIGTERM)
	p.await(t, "shutting down")
	p.signal(t, syscall.SIGTERM)
	if code, said := p.exit(t); code != exitFailed || strings.Contains(said, "stopped") {
		t.Errorf("exit code %d, want %d; it said:\n%s", code, exitFailed, said)
	}
}

// TestBookFailureStopsTheProcess: when the disk takes nothing any more, there is
// no answer, and the process ends with 5 and says why.
func TestBookFailureStopsTheProcess(t *testing.T) {
	p := startDemo(t, "--data", filepath.Join(t.TempDir(), "data"))
	if status, err := pay(p.HTTP, "before"); err != nil || status != http.StatusCreated {
		t.Fatalf("status %d, %v", status, err)
	}
	conn, err := net.Dial("tcp", p.ISO)
	if err != nil {
		t.Fatal(err)
	}
	client := sim.New(conn, sim.Options{Timeout: patience})
	defer client.Close()
	// No file may be written any more, at any place. The book may notice before it
	// is asked again: what follows the last block goes on beside.
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{}, nil); err != nil {
		t.Fatal(err)
	}
	purchase := &iso8583.Message{MTI: iso8583.MTI([]byte("0200"))}
	for field, value := range map[int]string{2: "4111111111111111", 3: "000000", 4: "000000000001", 7: "1122033912", 11: "000001", 14: "2912", 41: "AOI00001", 49: "392"} {
		purchase.SetString(field, value)
	}
	if reply, err := client.Do(t.Context(), purchase); err == nil {
		t.Errorf("there was an answer: %v", reply)
	}
	code, said := p.exit(t)
	if code != exitStore || !strings.Contains(said, "cannot write\n  why: ") || !strings.Contains(said, "\n next: see to the disk") {
		t.Errorf("exit code %d, want %d; it said:\n%s", code, exitStore, said)
	}
}

// TestPrintedLines runs the two lines that the demo prints, twice each, just as
// they stand.
func TestPrintedLines(t *testing.T) {
	p := startDemo(t)
	welcome, err := os.ReadFile(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	var printed []string
	for line := range strings.Lines(string(welcome)) {
		if strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "kessai iso send ") {
			printed = append(printed, strings.TrimSpace(line))
		}
	}
	if len(printed) != 2 {
		t.Fatalf("two lines to run are printed, not %d", len(printed))
	}
	for _, line := range append(printed, printed...) {
		out, err := exec.Command("bash", "-c", line).CombinedOutput()
		approved := bytes.Contains(out, []byte(`"status":"approved"`)) || bytes.Contains(out, []byte(`"39":"00"`))
		if err != nil || !approved || bytes.Contains(out, []byte("Replayed")) {
			t.Errorf("$ %s\n%s%v", line, out, err)
		}
	}
	p.signal(t, os.Interrupt)
	if code, said := p.exit(t); code != exitFine {
		t.Errorf("exit code %d; it said:\n%s", code, said)
	}
	if _, err := os.Stat(p.Data); !os.IsNotExist(err) {
		t.Errorf("the demo leaves %s behind: %v", p.Data, err)
	}
}
