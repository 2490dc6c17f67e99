package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/pos/iso8583"
	"kessai/pos/sim"
)

// The purchases that are sent over each wire. Two in a hundred over ISO 8583 have
// a fault in their form and are not recorded; 100,000 are, and some more.
const (
	secretsOverISO  = 92_000
	secretsOverJSON = 10_000
)

// TestSecrets_NoCardNumberLeavesMemory sends 100,000 purchases with random card
// numbers to the real binary at its most talkative, over both wires, and among
// them what is wrong in many ways and holds numbers too. Then it looks for each
// number in all files that the process has made, while it runs and after its
// end, in its logs, its metrics, and in everything that it answered.
func TestSecrets_NoCardNumberLeavesMemory(t *testing.T) {
	s := newSecretsRun(t)
	s.importCards(t)
	s.serve(t)
	started := time.Now()
	s.purchases(t)
	s.feeds(t)
	s.nonsense(t)
	s.scrape(t)
	asked := time.Since(started)
	s.search(t, "while it runs")
	if err := s.gateway.stop(); err != nil {
		t.Fatal(err)
	}
	s.search(t, "after its end")
	t.Logf("asked in %v, done in %v", asked.Round(time.Millisecond), time.Since(started).Round(time.Millisecond))
	if n, err := verified(s.binary, s.data); err != nil || n < 100_000 {
		t.Errorf("%d transactions were recorded: %v", n, err)
	}
}

// secretsRun is a gateway that is told many card numbers.
type secretsRun struct {
	binary  string
	dir     string // all that is searched: data, logs, what it answered
	data    string
	secret  string // what is not: the file with the cards
	random  *rand.Rand
	gateway *crashGateway
	set     *panSet
	good    []string // in the registry
	bad     []string // mistyped
	unknown []string
}

func newSecretsRun(t *testing.T) *secretsRun {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := &secretsRun{binary: buildKessai(t, ""), dir: t.TempDir(), secret: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0)), set: newPANSet()}
	s.data = filepath.Join(s.dir, "data")
	s.good = s.numbers(200, 16)
	for _, digits := range []int{13, 15, 16, 16, 16, 19} {
		s.unknown = append(s.unknown, s.numbers((secretsOverISO+secretsOverJSON)/6, digits)...)
	}
	for _, n := range s.numbers(5_000, 16) {
		b := []byte(n)
		b[15] = '0' + (b[15]-'0'+1)%10
		s.bad = append(s.bad, string(b))
		s.set.add(string(b))
	}
	s.random.Shuffle(len(s.unknown), func(i, j int) { s.unknown[i], s.unknown[j] = s.unknown[j], s.unknown[i] })
	return s
}

// numbers makes up card numbers that the search knows from then on.
func (s *secretsRun) numbers(count, digits int) (numbers []string) {
	for range count {
		n := randomCard(s.random, digits)
		s.set.add(n)
		numbers = append(numbers, n)
	}
	return numbers
}

// importCards fills the registry, from a file with faults at first, which the
// import refuses in words.
func (s *secretsRun) importCards(t *testing.T) {
	t.Helper()
	shop := "merchants:\n  - {id: " + crashMerchant + ", name: Shop, mcc: \"5814\", currency: JPY}\n" +
		"terminals:\n  - {id: SECRET01, merchant: " + crashMerchant + ", operation: attended}\n" +
		"api_keys:\n  - {merchant: " + crashMerchant + ", key: " + crashKey + "}\n" +
		"customers:\n  - {id: c1, name: Customer, currency: JPY, opening_balance: 1000000000}\n"
	media := "pan,customer,expiry\n" + strings.Join(s.good, ",c1,9912\n") + ",c1,9912\n"
	for _, f := range []struct {
		name, content string
		fine          bool
	}{
		{"shop.yaml", shop, true},
		{"bad.csv", media + s.bad[0] + ",c1,9912\n", false},
		{"worse.csv", "pan,customer,expiry\n" + s.good[0] + "," + s.good[1] + "," + s.good[2] + "\n", false},
		{"media.csv", media, true},
	} {
		path := filepath.Join(s.secret, f.name)
		if err := os.WriteFile(path, []byte(f.content), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(s.binary, "import", "--data", s.data, path).CombinedOutput()
		if (err == nil) != f.fine {
			t.Fatalf("kessai import %s: %v", f.name, err)
		}
		s.write(t, "import-"+f.name+".out", out)
	}
}

// feeds has cards changed, as a file and as a stream, among them some that are
// not there and some that are none.
func (s *secretsRun) feeds(t *testing.T) {
	t.Helper()
	var changes strings.Builder
	for i := range 50 {
		fmt.Fprintf(&changes, `{"medium":{"pan":"%s","expiry":"9911"}}`+"\n", s.good[i])
		fmt.Fprintf(&changes, `{"medium":{"pan":"%s","status":"lost"}}`+"\n", s.unknown[i])
		fmt.Fprintf(&changes, `{"medium":{"pan":"%s","status":"%s"}}`+"\n%s\n", s.bad[i], s.unknown[i], s.good[i])
	}
	path := filepath.Join(s.secret, "changes.jsonl")
	if err := os.WriteFile(path, []byte(changes.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{path, "-"} {
		cmd := exec.Command(s.binary, "feed", "--data", s.data, "--skip-bad", from)
		cmd.Stdin = strings.NewReader(changes.String())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("kessai feed: %v", err)
		}
		s.write(t, "feed-"+filepath.Base(from)+".out", out)
	}
}

func (s *secretsRun) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *secretsRun) serve(t *testing.T) {
	t.Helper()
	temp := filepath.Join(s.dir, "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temp) // a file that the process makes there is searched too
	g, err := launch(s.binary, s.dir, "--data", s.data, "--set", "log.level=debug",
		"--set", `iso.listeners=[{address: "127.0.0.1:0"}, {address: "127.0.0.1:0", dialect: iso87-bcd}]`)
	if err != nil {
		t.Fatal(err)
	}
	s.gateway = g
	t.Cleanup(func() { _ = g.kill() })
	if err := g.ready(); err != nil {
		t.Fatal(err)
	}
}

// purchase makes purchase number i: with one of the registry's cards, a mistyped
// number, or one that nobody knows.
func (s *secretsRun) purchase(i int) sim.Sale {
	number := s.unknown[i%len(s.unknown)]
	switch i % 20 {
	case 0:
		number = s.good[i/20%len(s.good)]
	case 1:
		number = s.bad[i/20%len(s.bad)]
	}
	pan, _ := kessai.ParsePAN(number) // the digits are there though the check digit is wrong
	return sim.Sale{Terminal: "SECRET01", PAN: pan, Expiry: "9912", Amount: 1, Currency: kessai.JPY,
		STAN: kessai.STAN(i), Time: time.Now()}
}

// expect is the response code that purchase number i has to be answered with.
func (s *secretsRun) expect(i int) string {
	if i%20 == 0 {
		return "00"
	}
	return "14"
}

// purchases sends all the purchases, many at once.
func (s *secretsRun) purchases(t *testing.T) {
	t.Helper()
	const connections, atOnce = 8, 48
	var running sync.WaitGroup
	failed := make(chan error, 1)
	share := func(n, parts, part int, ask func(i int) error) {
		running.Go(func() {
			for i := part; i < n; i += parts {
				if err := ask(i); err != nil {
					select {
					case failed <- fmt.Errorf("purchase %d: %w", i, err):
					default:
					}
					return
				}
			}
		})
	}
	for c := range connections {
		client := s.terminal(t, c%2)
		defer client.Close()
		for n := range atOnce {
			share(secretsOverISO, connections*atOnce, c*atOnce+n, func(i int) error { return s.askISO(client, i) })
		}
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: patience}
	defer client.CloseIdleConnections()
	for n := range 16 {
		share(secretsOverJSON, 16, n, func(i int) error { return s.askJSON(client, secretsOverISO+i) })
	}
	running.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
}

// terminal connects to one of the listeners. All that comes back is searched.
func (s *secretsRun) terminal(t *testing.T, listener int) *sim.Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.gateway.ISO[listener])
	if err != nil {
		t.Fatal(err)
	}
	dialect, ok := iso8583.ByName([]string{"iso87-ascii", "iso87-bcd"}[listener])
	if !ok {
		t.Fatal("no such dialect")
	}
	heard := &heardConn{Conn: conn, scanner: newPANScanner(s.set)}
	t.Cleanup(func() {
		if heard.scanner.found != "" {
			t.Errorf("answers over ISO 8583: %s", heard.scanner.found)
		}
	})
	return sim.New(heard, sim.Options{Dialect: dialect, Timeout: patience})
}

// heardConn searches what is read from a connection.
type heardConn struct {
	net.Conn
	scanner *panScanner
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	_, _ = c.scanner.Write(b[:n])
	return n, err
}

func (s *secretsRun) askISO(c *sim.Client, i int) error {
	sale := s.purchase(i)
	m := sale.Purchase()
	want := s.expect(i)
	switch {
	case i%50 == 3: // a fault, and the number in fields that nobody asked for
		m.SetString(49, "999")
		m.SetString(48, "card "+sale.PAN.Reveal())
		want = "30"
	case i%7 == 0: // as read from the stripe
		m.Unset(2)
		m.Unset(14)
		m.SetString(35, sale.PAN.Reveal()+"=9912101123456789")
	case i%7 == 1: // track 2 beside the number
		m.SetString(35, sale.PAN.Reveal()+"=9912101123456789")
	}
	r, err := c.Do(context.Background(), m)
	if err == nil && string(r.Get(39)) != want {
		err = fmt.Errorf("answered with %s, not %s", r.Get(39), want)
	}
	return err
}

func (s *secretsRun) askJSON(c *http.Client, i int) error {
	sale := s.purchase(i)
	body := fmt.Sprintf(`{"kind":"purchase","terminal":%q,"amount":{"value":1,"currency":"JPY"},"medium":{"pan":%q,"expiry":"9912"}}`,
		sale.Terminal, sale.PAN.Reveal())
	status, answer, err := s.post(c, "/v1/payments", fmt.Sprintf("secret-%d", i), body)
	if err != nil {
		return err
	}
	var p crashPayment
	if err := json.Unmarshal(answer, &p); err != nil || status != http.StatusCreated || p.ResponseCode != s.expect(i) {
		return fmt.Errorf("status %d, %q, not %s: %v", status, p.ResponseCode, s.expect(i), err)
	}
	return nil
}

func (s *secretsRun) post(c *http.Client, path, key, body string) (int, []byte, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+s.gateway.HTTP+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+crashKey)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, errors.Join(err, s.clean("an answer over JSON", b))
}

// clean gives an error where a card number stands in b.
func (s *secretsRun) clean(what string, b []byte) error {
	if found := scan(b, s.set); found != "" {
		return fmt.Errorf("%s: %s", what, found)
	}
	return nil
}

// nonsense sends what is no good message, with a card number in it: to each
// wire, in each place that could be repeated in an error, a log or a label.
func (s *secretsRun) nonsense(t *testing.T) {
	t.Helper()
	for i, n := range s.numbers(20, 16) {
		s.nonsenseISO(t, n)
		s.nonsenseHTTP(t, i, n)
	}
}

func (s *secretsRun) nonsenseISO(t *testing.T, n string) {
	t.Helper()
	pan, err := kessai.ParsePAN(n)
	if err != nil {
		t.Fatal(err)
	}
	dialect, _ := iso8583.ByName(iso8583.ASCII)
	sale := sim.Sale{Terminal: "SECRET01", PAN: pan, Expiry: "9912", Amount: 1, Currency: kessai.JPY, Time: time.Now()}
	whole, err := dialect.Append(nil, sale.Purchase())
	if err != nil {
		t.Fatal(err)
	}
	frame := func(b []byte) []byte { return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...) }
	for _, raw := range [][]byte{
		frame(whole[:len(whole)-5]),             // ends inside a field
		frame(append(bytes.Clone(whole), n...)), // more than there should be
		frame(bytes.Replace(whole, []byte("0200"), []byte(n[:4]), 1)),
		frame([]byte(n)),                 // no message at all
		frame([]byte("0200" + n + n)),    // a bitmap that is none
		[]byte(n + n + n),                // not even a frame
		append([]byte{0, 200}, whole...), // cut off
		[]byte("GET /" + n + " HTTP/1.1\r\nHost: " + n + "\r\n\r\n"),
		frame(append([]byte("0210"), whole[4:]...)), // an answer
	} {
		for _, address := range append(s.gateway.ISO, s.gateway.HTTP) {
			s.shout(t, address, raw)
		}
	}
}

// shout sends bytes on a connection of their own, and reads until its end.
func (s *secretsRun) shout(t *testing.T, address string, raw []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // fails where the gateway has ended the connection already
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the gateway keeps a connection whose other side has ended")
	}
	if err := s.clean("an answer to nonsense", b); err != nil {
		t.Error(err)
	}
}

func (s *secretsRun) nonsenseHTTP(t *testing.T, i int, n string) {
	t.Helper()
	for k, body := range []string{
		`{"kind":"` + n + `"}`, `{"` + n + `":1}`, `{"medium":{"pan":"` + n + `x"}}`, `{"medium":{"pan":` + n + `}}`,
		`{"kind":"purchase","terminal":"SECRET01","amount":{"value":` + n + `,"currency":"JPY"},"medium":{"pan":"` + n + `"}}`,
		`{"kind":"purchase","terminal":"` + n + `","medium":{"pan":"` + n + `"}}`,
		`{"kind":"purchase","stan":"` + n + `","transmitted_at":"` + n + `","terminal":"SECRET01","medium":{"pan":"` + n + `","expiry":"` + n + `"}}`,
		`{"kind":"purchase","terminal":"SECRET01","amount":{"value":1,"currency":"` + n + `"},"medium":{"pan":"` + n + `"}} ` + n, n,
	} {
		status, _, err := s.post(http.DefaultClient, "/v1/payments", fmt.Sprintf("nonsense-%d-%d", i, k), body)
		if err != nil || status < 400 {
			t.Errorf("body %d: status %d, %v", k, status, err)
		}
	}
	for _, path := range []string{"/" + n, "/v1/payments/" + n, "/v1/payments?" + n + "=1", "/v1/payments?last4=" + n, "/v1/payments?cursor=" + n} {
		s.shout(t, s.gateway.HTTP, fmt.Appendf(nil,
			"GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Request-Id: card-%s\r\nConnection: close\r\n\r\n", path, crashKey, n))
	}
	for _, head := range []string{
		n + " / HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/" + n + "\r\nHost: x\r\n", "GET /livez HTTP/1.1\r\n" + n + "\r\n",
		"GET /v1/payments HTTP/1.1\r\nHost: " + n + "\r\nAuthorization: Bearer " + n + "\r\n",
		"POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: " + n + "\r\n",
		"POST /v1/payments HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + n + "\r\n",
		"POST /v1/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + crashKey + "\r\nIdempotency-Key: " + n + "\r\nContent-Type: " + n + "\r\nContent-Length: 2\r\n",
	} {
		s.shout(t, s.gateway.HTTP, []byte(head+"\r\n{}"))
	}
}

// scrape keeps what /metrics says beside the logs.
func (s *secretsRun) scrape(t *testing.T) {
	t.Helper()
	res, err := http.Get("http://" + s.gateway.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Contains(b, []byte(`code="14"`)) {
		t.Fatalf("metrics without a sign of what was asked: %v", err)
	}
	s.write(t, "metrics.txt", b)
}

// search looks for every card number in everything below the run's folder.
func (s *secretsRun) search(t *testing.T, when string) {
	t.Helper()
	did, err := scanTree(s.dir, s.set)
	if err != nil {
		t.Errorf("%s: %v", when, err)
	}
	t.Logf("%s: %d files, %d bytes, %d card numbers", when, did.files, did.bytes, s.set.size())
	if did.bytes < 10<<20 {
		t.Errorf("%s: only %d bytes were searched", when, did.bytes)
	}
	said := s.gateway.said()
	if strings.Count(said, "ISO 8583 request answered") < secretsOverISO || !strings.Contains(said, "http request") {
		t.Errorf("%s: the log does not tell of all requests", when)
	}
}
