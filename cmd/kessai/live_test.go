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

	"kessai"
	"kessai/gateway"
	"kessai/pos/sim"
)

// liveGateway is a real process with the sample data, and a configuration that
// can be changed.
type liveGateway struct {
	args []string // more of its command line
	*crashGateway
	dir, config, data string
	stan              atomic.Uint32
}

const liveAdminKey = "admin_key_of_a_process_0123456789"

func startLive(t *testing.T) *liveGateway {
	t.Helper()
	dir := t.TempDir()
	g := &liveGateway{dir: dir, config: filepath.Join(dir, "k.yaml"), data: filepath.Join(dir, "data")}
	if out, err := exec.Command("kessai", "import", "--data", g.data, "../../configs/demo.yaml").CombinedOutput(); err != nil {
		t.Fatalf("kessai import: %v\n%s", err, out)
	}
	g.configure(t, "both")
	g.start(t)
	return g
}

func (g *liveGateway) start(t *testing.T) {
	t.Helper()
	t.Setenv("KESSAI_KEYS_ADMIN", liveAdminKey)
	var err error
	if g.crashGateway, err = launch("kessai", g.dir, append([]string{"--config", g.config}, g.args...)...); err == nil {
		err = g.ready()
	}
	if err != nil {
		t.Fatal(err)
	}
	running := g.crashGateway
	t.Cleanup(func() {
		_ = running.cmd.Process.Kill()
		<-running.exited // until then it may write into the folder that is removed next
	})
}

func (g *liveGateway) configure(t *testing.T, mode string) {
	t.Helper()
	writeTest(t, g.config, fmt.Sprintf("data: %s\niso: {listeners: [{address: '127.0.0.1:0'}]}\ncache: {mode: %s}\n", g.data, mode))
}

// run runs a command of the same binary for the gateway's data folder.
func (g *liveGateway) run(t *testing.T, stdin, command string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("kessai", append([]string{command, "--data", g.data}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (g *liveGateway) dial(t *testing.T) *sim.Client {
	t.Helper()
	conn, err := net.Dial("tcp", g.ISO[0])
	if err != nil {
		t.Fatal(err)
	}
	client := sim.New(conn, sim.Options{Timeout: patience})
	t.Cleanup(func() { client.Close() })
	return client
}

// buy makes a purchase and gives its response code.
func (g *liveGateway) buy(client *sim.Client, terminal, card string) (string, error) {
	pan, err := kessai.ParsePAN(card)
	if err != nil {
		return "", err
	}
	sale := sim.Sale{Terminal: terminal, PAN: pan, Expiry: "2912", Amount: 1, Currency: kessai.JPY,
		STAN: kessai.STAN(g.stan.Add(1) % 1_000_000), Time: time.Now()}
	reply, err := client.Do(context.Background(), sale.Purchase())
	if err != nil {
		return "", err
	}
	return string(reply.Get(39)), nil
}

func (g *liveGateway) expectCode(t *testing.T, client *sim.Client, terminal, card, want string) {
	t.Helper()
	if got, err := g.buy(client, terminal, card); err != nil || got != want {
		t.Errorf("terminal %s, card ****%s: %s, %v; want %s", terminal, card[len(card)-4:], got, err, want)
	}
}

// TestV1_ReloadUnderLoad changes the mode again and again, by signal and by
// command, while requests come over both wires. Nobody notices: every request has
// an answer, every answer is the one that it is in every mode, and readiness
// never drops.
func TestV1_ReloadUnderLoad(t *testing.T) {
	g := startLive(t)
	done := make(chan struct{})
	var asking sync.WaitGroup
	var answers atomic.Int64
	ask := func(want string, one func() (string, error)) {
		asking.Go(func() {
			for {
				got, err := one()
				if err != nil || got != want {
					t.Errorf("answer %d: %q, %v; want %q", answers.Load(), got, err, want)
					return
				}
				answers.Add(1)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := range 2 {
		client := g.dial(t)
		for _, c := range []struct{ terminal, card, want string }{
			{"AOI00001", "4242424242424242", "00"},
			{"AOI00001", "4242424242424242", "00"},
			{"AOI00001", "4000000000000002", "43"},
			{"AOI00001", "4000000000000044", "41"},
			{"AOI00001", "5105105105105100", "14"},
			{"AOI00009", "4242424242424242", "58"},
		} {
			ask(c.want, func() (string, error) { return g.buy(client, c.terminal, c.card) })
		}
		key := 0
		ask("201 Created", func() (string, error) {
			key++
			status, err := pay(g.HTTP, fmt.Sprintf("reload-%d-%d", n, key))
			return fmt.Sprint(status, " ", http.StatusText(status)), err
		})
		ask("200 OK", func() (string, error) {
			res, err := http.Get("http://" + g.HTTP + "/readyz")
			if err != nil {
				return "", err
			}
			defer res.Body.Close()
			_, err = io.Copy(io.Discard, res.Body)
			return res.Status, err
		})
	}
	modes := []string{"media-only", "filter", "terminals-only", "both"}
	for round := range 2 * len(modes) {
		mode, before := modes[round%len(modes)], answers.Load()
		g.configure(t, mode)
		if round%2 == 0 {
			if out, err := g.run(t, "", "reload"); err != nil || !strings.Contains(out, "-> "+mode+"\n") {
				t.Fatalf("kessai reload: %v\n%s", err, out)
			}
		} else if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		g.await(t, mode, func() bool { return answers.Load() > before+50 || t.Failed() })
	}
	close(done)
	asking.Wait()
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	t.Logf("%d answers", answers.Load())
}

// TestV1_WhatIsTooOldApprovesNothing: a shorter max_age takes effect on reload.
// Nothing is approved, and readiness says so, until it is longer again.
func TestV1_WhatIsTooOldApprovesNothing(t *testing.T) {
	g := startLive(t)
	client := g.dial(t)
	for _, c := range []struct {
		maxAge, code string
		ready        int
	}{{"10m", "00", http.StatusOK}, {"1ns", "96", http.StatusServiceUnavailable}, {"1h", "00", http.StatusOK}} {
		writeTest(t, g.config, fmt.Sprintf("data: %s\niso: {listeners: [{address: '127.0.0.1:0'}]}\ncache: {max_age: %s}\n", g.data, c.maxAge))
		if out, err := g.run(t, "", "reload"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		g.expectCode(t, client, "AOI00001", "4242424242424242", c.code)
		code, body, err := g.admin("GET", "/readyz", "")
		if err != nil || code != c.ready || (code != http.StatusOK) != strings.Contains(body, "nothing is approved any more") {
			t.Errorf("max_age %s: /readyz answers %d %s, %v", c.maxAge, code, body, err)
		}
		if _, body, err := g.admin("GET", "/v1/admin/validity", ""); err != nil || strings.Contains(body, `"stale":true`) != (c.code == "96") {
			t.Errorf("max_age %s: %s, %v", c.maxAge, body, err)
		}
	}
}

// await waits until the gateway works in a mode, and for something besides.
func (g *liveGateway) await(t *testing.T, mode string, besides func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		v, err := gateway.AdminValidity(t.Context(), filepath.Join(g.data, "admin.sock"))
		switch {
		case err != nil:
			t.Fatalf("%v; the gateway said:\n%s", err, g.said())
		case v.Mode == mode && besides():
			return
		case time.Now().After(deadline):
			t.Fatalf("the mode is %s and not %s; the gateway said:\n%s", v.Mode, mode, g.said())
		}
	}
}

// TestV1_WhatIsFedReachesTheNextDecision, through every door and in every mode.
func TestV1_WhatIsFedReachesTheNextDecision(t *testing.T) {
	g := startLive(t)
	client := g.dial(t)
	const card = "4242424242424242"
	line := func(status string) string {
		return `{"medium":{"pan":"` + card + `","status":"` + status + `"}}` + "\n"
	}
	socket := filepath.Join(g.data, "admin.sock")
	feeds := map[string]func(status string) error{
		"file": func(status string) error {
			_, err := gateway.AdminChanges(t.Context(), socket, false, strings.NewReader(line(status)), nil)
			return err
		},
		"stream": func(status string) error {
			return gateway.AdminFeed(t.Context(), socket, strings.NewReader(line(status)), func(a gateway.FeedAnswer) error {
				if a.Error != "" {
					return errors.New(a.Error)
				}
				return nil
			})
		},
		"HTTP": func(status string) error {
			code, body, err := g.admin("POST", "/v1/admin/changes", line(status))
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("%d %s", code, body)
			}
			return err
		},
	}
	for _, mode := range []string{"both", "media-only", "terminals-only", "filter"} {
		g.configure(t, mode)
		if out, err := g.run(t, "", "reload"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for door, feed := range feeds {
			for _, c := range []struct{ status, code string }{{"stolen", "43"}, {"lost", "41"}, {"withdrawn", "04"}, {"issued", "05"}, {"active", "00"}} {
				if err := feed(c.status); err != nil {
					t.Fatalf("%s, %s: %v", mode, door, err)
				}
				g.expectCode(t, client, "AOI00001", card, c.code)
			}
		}
	}
	if code, body, err := g.admin("POST", "/v1/admin/changes", `{"terminal":{"id":"AOI00001","status":"suspended"}}`); err != nil || code != http.StatusOK {
		t.Errorf("%d %s %v", code, body, err)
	}
	g.expectCode(t, client, "AOI00001", card, "58")
	if said := g.said(); strings.Contains(said, card) || strings.Contains(said, liveAdminKey) {
		t.Error("a secret stands in the log")
	}
}

// admin asks the admin API over HTTP.
func (g *liveGateway) admin(method, path, body string) (int, string, error) {
	req, err := http.NewRequest(method, "http://"+g.HTTP+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+liveAdminKey)
	req.Header.Set("Content-Type", "application/jsonl")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// TestAFeedOutlivesNoGatewaySilently: when the gateway is killed, whoever feeds
// it is told what was not answered; what was answered is in force after the next
// start.
func TestAFeedOutlivesNoGatewaySilently(t *testing.T) {
	g := startLive(t)
	const first, second = "4242424242424242", "4111111111111111"
	feed := exec.Command("kessai", "feed", "--data", g.data, "-")
	stdin, err := feed.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := feed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	feed.Stderr = &stderr
	if err := feed.Start(); err != nil {
		t.Fatal(err)
	}
	defer feed.Process.Kill()
	fmt.Fprintf(stdin, `{"medium":{"pan":"%s","status":"stolen"}}`+"\n", first)
	answers := bufio.NewScanner(stdout)
	var a gateway.FeedAnswer
	if !answers.Scan() || json.Unmarshal(answers.Bytes(), &a) != nil || a.Line != 1 || a.Error != "" {
		t.Fatalf("the first line is answered with %s", answers.Bytes())
	}
	fmt.Fprintf(stdin, `{"medium":{"pan":"%s","sta`, second) // a half line
	if err := g.kill(); err != nil {
		t.Fatal(err)
	}
	for answers.Scan() {
		t.Errorf("after the end: %s", answers.Bytes())
	}
	if err := feed.Wait(); err == nil || feed.ProcessState.ExitCode() != exitFailed ||
		!strings.Contains(stderr.String(), "line 1 was the last to be answered") || strings.Contains(stderr.String(), second) {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	if err := os.Remove(g.log); err != nil {
		t.Fatal(err)
	}
	g.start(t)
	client := g.dial(t)
	g.expectCode(t, client, "AOI00001", first, "43")
	g.expectCode(t, client, "AOI00001", second, "00")
}
