package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"kessai/customers"
	"kessai/customers/phones"
	"kessai/merchants"
	"kessai/pos/sim"
)

// seenRun is a gateway at which a great many customers pay with card readers. All that
// goes over its wires, and over the lines between phones and readers, is looked at.
type seenRun struct {
	t        *testing.T
	searched *searched
	people   []seenCustomer
	dir      string
	log      *seen
	stores   *stores
	at       addresses
	client   *http.Client
	till     *sim.Client
	ended    [100]atomic.Int64 // payments, by response code
	errs     chan error
}

type seenCustomer struct{ id, phone, card, data, pin string }

// seenControl is a card that is seen: the shop sends its number in clear, at the end.
const seenControl = "4012888888881881"

// seenService is the service code of the cards. It stands before the issuer's own data,
// which alone is so short that thousands of them would be found by chance.
const seenService = "101"

// A customer may be asked three times in five minutes.
const seenEach = 3

// TestR_NothingIsSeen makes 10,000 payments with card readers, over both wires, of
// which most are settled and the others end in every way in which they can. No card
// number, nothing else of track 2 and no PIN is in anything that shop, phone and a
// recorder on the network see, in the log, the metrics or the data folder, in any form.
func TestR_NothingIsSeen(t *testing.T) {
	payments := 10_000
	if raceEnabled || testing.Short() {
		payments = 300
	}
	r := newSeenRun(t, (payments+seenEach-1)/seenEach)
	stop := r.serve()
	var next atomic.Int64
	var paying sync.WaitGroup
	for range 24 {
		paying.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(r.people) && len(r.errs) == 0; i = int(next.Add(1)) - 1 {
				if err := r.pays(i); err != nil {
					select {
					case r.errs <- fmt.Errorf("customer %d: %w", i, err):
					default:
					}
				}
			}
		})
	}
	paying.Wait()
	select {
	case err := <-r.errs:
		t.Fatal(err)
	default:
	}
	r.expectEnds(len(r.people) * seenEach)
	if metrics := string(r.get("/metrics")); !strings.Contains(metrics, "kessai_reader_keys 0\n") || !strings.Contains(metrics, `kessai_reader_payments_ended_total{code="00",step="pin"}`) {
		t.Error("the metrics do not tell of it")
	}
	if found := r.searched.sorted(); len(found) != 0 {
		t.Errorf("while it ran: %q", found)
	}

	// The controls: what is sent in clear is seen on both wires, and in the log and the
	// data folder it would be.
	r.buysInClear(seenControl)
	stop()
	slog.New(slog.NewJSONHandler(r.log, nil)).Info("planted", "number", seenControl)
	writeTest(t, filepath.Join(r.dir, "planted"), "x"+string(packed("f"+r.people[0].card)))
	did, err := r.searched.tree(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"file planted: packed", "http: ASCII", "iso8583: ASCII", "log: ASCII"}
	if found := r.searched.sorted(); !slices.Equal(found, want) {
		t.Errorf("found %q; want the controls alone, %q", found, want)
	}
	if did.files < 10 || did.bytes < 1<<20 || r.log.size < 1<<10 {
		t.Errorf("only %d files with %d bytes were searched, and %d bytes of log", did.files, did.bytes, r.log.size)
	}
}

func newSeenRun(t *testing.T, people int) *seenRun {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := &seenRun{t: t, searched: new(searched), dir: t.TempDir(), errs: make(chan error, 1)}
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = '0' + byte(random.IntN(10))
		}
		return string(b)
	}
	pins := make([]string, 20) // few, and so long that none is found by chance
	for i := range pins {
		pins[i] = digits(12)
		r.searched.add(pins[i])
	}
	r.searched.add(seenControl)
	for i := range people {
		c := seenCustomer{id: fmt.Sprintf("c%05d", i), phone: fmt.Sprintf("+8190%08d", i), card: randomCard(random, 16), data: digits(13), pin: pins[random.IntN(len(pins))]}
		r.searched.add(c.card)
		r.searched.add(seenService + c.data)
		r.people = append(r.people, c)
	}
	return r
}

// records gives the shop and the customers. All have the same password.
func (r *seenRun) records() *merchants.Import {
	r.t.Helper()
	verifier, err := phones.MakeVerifier(seenPassword, customers.MinIterations)
	if err != nil {
		r.t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("merchants:\n  - {id: " + crashMerchant + ", name: Shop, mcc: \"5814\", currency: JPY}\n" +
		"terminals:\n  - {id: SECRET01, merchant: " + crashMerchant + ", operation: attended}\n" +
		"api_keys:\n  - {merchant: " + crashMerchant + ", key: " + crashKey + "}\ncustomers:\n")
	for _, c := range r.people {
		fmt.Fprintf(&b, "  - {id: %s, name: Customer, currency: JPY, opening_balance: 10000, phone: %q, verifier: %q}\n", c.id, c.phone, verifier.Reveal())
	}
	b.WriteString("media:\n")
	for _, c := range r.people {
		fmt.Fprintf(&b, "  - {pan: %q, customer: %s, expiry: \"9912\", pin: %q}\n", c.card, c.id, c.pin)
	}
	im, err := merchants.ParseImport("people.yaml", strings.NewReader(b.String()))
	if err != nil {
		r.t.Fatal(err)
	}
	return im
}

const seenPassword = "umi-5678"

// serve starts the gateway, in this process, behind recorders. What it gives stops it.
func (r *seenRun) serve() (stop func()) {
	r.t.Helper()
	l, err := settings{flags: map[string]string{"http": "127.0.0.1:0", "data": r.dir}, set: []string{
		"iso.listeners=[{address: '127.0.0.1:0', max_in_flight_per_connection: 1000}]", "log.level=debug", "phone.iterations=4096",
		"http.max_connections=65536",
	}}.load()
	if err != nil {
		r.t.Fatal(err)
	}
	r.log = r.searched.stream("log")
	log, level := newLiveLogger(r.log, l.Log)
	ready := make(chan addresses, 1)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	names := []string{"http", "iso8583"}
	go func() {
		ended <- run(ctx, &l.Config, surroundings{
			log: log, level: level,
			listen: func(network, address string) (net.Listener, error) {
				inner, err := net.Listen(network, address)
				name := names[0]
				names = names[1:]
				return recordedListener{inner, r.searched, name}, err
			},
			prepare: func(s *stores) error {
				r.stores = s
				_, err := s.importRecords(ctx, r.records(), nil)
				return err
			},
			ready: func(a addresses) error { ready <- a; return nil },
		})
	}()
	select {
	case r.at = <-ready:
	case err := <-ended:
		r.t.Fatal(err)
	}
	r.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	conn, err := net.Dial("tcp", r.at.ISO[0])
	if err != nil {
		r.t.Fatal(err)
	}
	r.till = sim.New(conn, sim.Options{Timeout: patience})
	stop = sync.OnceFunc(func() {
		_ = r.till.Close()
		r.client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the end: %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// recordedListener looks at all that its connections carry, both ways.
type recordedListener struct {
	net.Listener
	s    *searched
	name string
}

func (l recordedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &recordedConn{c, l.s.stream(l.name), l.s.stream(l.name)}, nil
}

type recordedConn struct {
	net.Conn
	in, out *seen
}

func (c *recordedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	_, _ = c.in.Write(b[:n])
	return n, err
}

func (c *recordedConn) Write(b []byte) (int, error) {
	_, _ = c.out.Write(b)
	return c.Conn.Write(b)
}
