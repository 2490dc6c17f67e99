package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/pos/iso8583"
)

const (
	suzukiCard = "4242424242424242" // 1,235,000 JPY
	satoCard   = "5555555555554444" // 500 JPY
	stolenCard = "4000000000000002"
)

// isoPatience bounds every wait of these tests; none lasts that long when all
// is well.
const isoPatience = 60 * time.Second

// isoShop is an engine on a real book, with one merchant, some terminals and
// three cards.
type isoShop struct {
	book    *ledger.Book
	engine  *authz.Engine
	valid   *cache.Cache
	hasher  *kessai.MediumHasher
	metrics *Metrics
	log     *lockedBuffer
}

func newISOShop(t testing.TB, terminals ...string) *isoShop {
	t.Helper()
	w := &isoShop{metrics: NewMetrics(MetricsOptions{}), log: new(lockedBuffer)}
	var err error
	if w.hasher, err = kessai.NewMediumHasher(bytes.Repeat([]byte{7}, kessai.MinKeyBytes)); err != nil {
		t.Fatal(err)
	}
	if w.book, err = ledger.Open(ledger.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.book.Close(); err != nil {
			t.Error(err)
		}
	})
	accounts, err := w.book.OpenAccounts([]ledger.AccountSpec{
		{Name: "merchant/aoi", Kind: ledger.MerchantAccount, Currency: kessai.JPY},
		{Name: "customer/suzuki", Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 1_235_000},
		{Name: "customer/sato", Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 500},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := cache.NewBuilder(cache.Both, 3, 1+len(terminals))
	shop, _ := kessai.ParseMerchantID("AOI000000000001")
	b.AddMerchant(shop)
	for _, name := range append(terminals, "AOI00001") {
		id, err := kessai.ParseTerminalID(name)
		if err != nil {
			t.Fatal(err)
		}
		b.AddTerminal(id, cache.Terminal{
			Status: cache.TerminalRegistered, Partial: true, Merchant: shop,
			Account: uint32(accounts[0]), Currency: kessai.JPY, Allowed: kessai.AllKinds,
		})
	}
	for number, m := range map[string]cache.Medium{
		suzukiCard: {Status: cache.MediumActive, Account: uint32(accounts[1])},
		satoCard:   {Status: cache.MediumActive, Account: uint32(accounts[2])},
		stolenCard: {Status: cache.MediumStolen, Account: uint32(accounts[1])},
	} {
		m.Expiry, m.Allowed = 3912, kessai.AllKinds
		b.AddMedium(w.hasher.Medium(panOf(t, number)), m)
	}
	valid := new(cache.Cache)
	valid.Swap(b.Snapshot(time.Now(), 1))
	w.valid = valid
	w.engine = authz.New(w.book, valid, authz.Options{HoldFor: time.Hour, Observe: w.metrics.Stage, Purse: authz.PurseOptions{Master: testPurses(t)}, Phone: testPhones(w.book)})
	return w
}

func panOf(t testing.TB, number string) kessai.PAN {
	t.Helper()
	p, err := kessai.ParsePAN(number)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// options gives the options of a listener in this shop.
func (w *isoShop) options() ISOOptions {
	return ISOOptions{
		Authorize: w.engine.Authorize, Hasher: w.hasher, Metrics: w.metrics,
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// listen serves on loopback until the test ends, and gives the address.
func listenISO(t testing.TB, o ISOOptions) (*ISO, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveISO(t, o, l), l.Addr().String()
}

func serveISO(t testing.TB, o ISOOptions, l net.Listener) *ISO {
	t.Helper()
	s, err := NewISO(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), isoPatience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// isoTerminal is a terminal that speaks the default dialect.
type isoTerminal struct {
	t       testing.TB
	nc      net.Conn
	dialect *iso8583.Dialect
	framing iso8583.Framing
	tpdu    iso8583.TPDU
	frames  *iso8583.FrameReader
	stan    int
}

// fields are the values of a message by field number; field 0 is the MTI.
type fields map[int]string

func dialISO(t testing.TB, addr string) *isoTerminal {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newISOTerminal(t, nc)
}

func newISOTerminal(t testing.TB, nc net.Conn) *isoTerminal {
	t.Cleanup(func() { nc.Close() })
	d, _ := iso8583.ByName(iso8583.ASCII)
	return &isoTerminal{t: t, nc: nc, dialect: d, frames: iso8583.NewFrameReader(nc, iso8583.Framing{}, 4096)}
}

// financial gives a message with the next STAN and all that every financial
// message needs.
func (p *isoTerminal) financial(mti, processing string, more fields) fields {
	p.stan++
	f := fields{0: mti, 3: processing, 7: isoNow(), 11: fmt.Sprintf("%06d", p.stan), 41: "AOI00001", 42: "AOI000000000001"}
	for n, v := range more {
		if f[n] = v; v == "" {
			delete(f, n)
		}
	}
	return f
}

func isoNow() string { return time.Now().UTC().Format("0102150405") }

func yen(v int) string { return fmt.Sprintf("%012d", v) }

func (p *isoTerminal) message(f fields) *iso8583.Message {
	m := new(iso8583.Message)
	for n, v := range f {
		if n == 0 {
			m.MTI = iso8583.MTI([]byte(v))
			continue
		}
		m.SetString(n, v)
	}
	return m
}

func (p *isoTerminal) frame(f fields) []byte {
	p.t.Helper()
	b, err := p.framing.AppendMessage(nil, p.tpdu, p.dialect, p.message(f))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *isoTerminal) send(f fields) {
	p.t.Helper()
	p.write(p.frame(f))
}

func (p *isoTerminal) write(b []byte) {
	p.t.Helper()
	_ = p.nc.SetWriteDeadline(time.Now().Add(isoPatience))
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// receive waits for one message.
func (p *isoTerminal) receive() fields {
	p.t.Helper()
	_ = p.nc.SetReadDeadline(time.Now().Add(isoPatience))
	f, err := p.frames.Next(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if f.TPDU != p.tpdu.Swapped() && p.framing.TPDU {
		p.t.Errorf("TPDU of the answer is %x, of the request %x", f.TPDU, p.tpdu)
	}
	var m iso8583.Message
	if err := p.dialect.Decode(&m, f.Body); err != nil {
		p.t.Fatal(err)
	}
	got := fields{0: m.MTI.String()}
	for n := range m.Fields {
		got[n] = string(m.Get(n))
	}
	return got
}

func (p *isoTerminal) ask(f fields) fields {
	p.t.Helper()
	p.send(f)
	return p.receive()
}

// gone waits for the gateway to end the connection, and fails on a message.
func (p *isoTerminal) gone() {
	p.t.Helper()
	_ = p.nc.SetReadDeadline(time.Now().Add(isoPatience))
	if n, err := p.nc.Read(make([]byte, 1)); n != 0 || err != io.EOF && !strings.Contains(err.Error(), "reset") {
		p.t.Fatalf("read %d bytes and error %v, want the end of the connection", n, err)
	}
}

// originalOf gives DE90 for the message that f was.
func originalOf(f fields) string {
	return f[0] + f[11] + f[7] + fmt.Sprintf("%011s", f[32]) + strings.Repeat("0", 11)
}

// until waits for a condition that another goroutine brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(isoPatience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: waited in vain", what)
		}
	}
}

// metric adds up the samples of a metric whose labels include those given, as
// name=value pairs.
func metric(t testing.TB, m *Metrics, name string, labels ...string) float64 {
	t.Helper()
	return gathered(t, m)(name, labels...)
}

// gathered reads all metrics at one moment, and gives a function that adds up
// samples as metric does.
func gathered(t testing.TB, m *Metrics) func(name string, labels ...string) float64 {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	return func(name string, labels ...string) float64 { return sumOf(families, name, labels) }
}

func sumOf(families []*dto.MetricFamily, name string, labels []string) (sum float64) {
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, s := range f.GetMetric() {
			if hasLabels(s, labels) {
				sum += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func hasLabels(s *dto.Metric, want []string) bool {
	found := 0
	for _, l := range s.GetLabel() {
		for _, w := range want {
			if w == l.GetName()+"="+l.GetValue() {
				found++
			}
		}
	}
	return found == len(want)
}

// lockedBuffer is a buffer for logs that many goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eachAlone makes what is asked about one request an Authorize for many, all at
// the same time.
func eachAlone(one func(context.Context, *authz.Request) (authz.Reply, error)) func(context.Context, []authz.Ask) {
	return func(ctx context.Context, asks []authz.Ask) {
		var all sync.WaitGroup
		for i := range asks {
			a := &asks[i]
			all.Go(func() { a.Reply, a.Err = one(ctx, &a.Request) })
		}
		all.Wait()
	}
}
