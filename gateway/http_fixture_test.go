package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/cache"
)

// The keys, cards and terminals of the fixture.
const (
	httpKeyAoi  = "sk_test_aoi"
	httpKeyVend = "sk_test_vend"
	httpCard    = "4242424242424242" // 1,235,000 JPY
	httpPoor    = "5555555555554444" // 500 JPY
	httpStolen  = "4000000000000002"
	httpLost    = "4000000000000044"
	httpExpired = "4000000000000069"
)

// httpFixture is a server on a loopback listener with a book of its own.
type httpFixture struct {
	t      testing.TB
	server *HTTP
	book   *ledger.Book
	engine *authz.Engine
	hasher *kessai.MediumHasher
	url    string
	log    *httpLog
	client *http.Client
	stop   func() // ends the server, then the book
}

// httpLog keeps what is logged.
type httpLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *httpLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *httpLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func httpMust[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newHTTPFixture starts a server; change may alter its options.
func newHTTPFixture(t testing.TB, change func(*HTTPOptions)) *httpFixture {
	t.Helper()
	return newHTTPFixtureOn(t, ledger.Options{Dir: t.TempDir()}, nil, change)
}

// newHTTPFixtureOn starts a server with a certain book; engine may alter the
// engine's options, once the card numbers can be hashed.
func newHTTPFixtureOn(t testing.TB, book ledger.Options, engine func(*httpFixture, *authz.Options), change func(*HTTPOptions)) *httpFixture {
	t.Helper()
	// What is too large is answered and the connection closed before it is read
	// to its end. A client that is still writing then may not see the answer, so
	// this one has room to write every request of the tests in one go.
	f := &httpFixture{t: t, log: new(httpLog), client: &http.Client{
		Transport:     &http.Transport{DisableCompression: true, WriteBufferSize: 128 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	f.book = httpMust[*ledger.Book](t)(ledger.Open(book))
	t.Cleanup(func() { _ = f.book.Close() })
	f.hasher = httpMust[*kessai.MediumHasher](t)(kessai.NewMediumHasher(bytes.Repeat([]byte{7}, 32)))
	engineOptions := authz.Options{
		HoldFor: time.Hour, Registry: authz.Registry{Retain: f.retain}, Purse: authz.PurseOptions{Master: testPurses(t)}, Phone: testPhones(f.book),
	}
	valid := f.registry()
	if engine != nil {
		engine(f, &engineOptions)
	}
	f.engine = authz.New(f.book, valid, engineOptions)
	o := HTTPOptions{
		Engine: f.engine, Book: f.book, Hasher: f.hasher,
		Authenticate: func(key kessai.Secret) (kessai.MerchantID, bool) {
			m, ok := map[string]string{httpKeyAoi: "AOI000000000001", httpKeyVend: "VEND00000000001"}[key.Reveal()]
			id, _ := kessai.ParseMerchantID(m)
			return id, ok
		},
		Ready:  func() []Check { return []Check{{Name: "book", OK: true}} },
		Logger: slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&o)
	}
	f.server = httpMust[*HTTP](t)(NewHTTP(o))
	l := httpMust[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	f.url = "http://" + l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(l) }()
	f.stop = sync.OnceFunc(func() {
		f.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = f.book.Close()
	})
	t.Cleanup(f.stop)
	return f
}

// retain takes any card but the good ones.
func (f *httpFixture) retain(id kessai.MediumID, _ kessai.TerminalID, _ time.Time) (bool, error) {
	pan := httpMust[kessai.PAN](f.t)(kessai.ParsePAN(httpStolen))
	return id == f.hasher.Medium(pan), nil
}

// registry is the sample data as the cache has it.
func (f *httpFixture) registry() *cache.Cache {
	accounts := httpMust[[]ledger.AccountID](f.t)(f.book.OpenAccounts([]ledger.AccountSpec{
		{Name: "merchant/aoi", Kind: ledger.MerchantAccount, Currency: kessai.JPY},
		{Name: "merchant/vend", Kind: ledger.MerchantAccount, Currency: kessai.JPY},
		{Name: "customer/suzuki", Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 1_235_000},
		{Name: "customer/sato", Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 500},
	}))
	b := cache.NewBuilder(cache.Both, 8, 8)
	for i, text := range []string{"AOI000000000001", "VEND00000000001"} {
		m := httpMust[kessai.MerchantID](f.t)(kessai.ParseMerchantID(text))
		b.AddMerchant(m)
		terminal := httpMust[kessai.TerminalID](f.t)(kessai.ParseTerminalID([]string{"AOI00001", "VEND0001"}[i]))
		b.AddTerminal(terminal, cache.Terminal{
			Status: cache.TerminalRegistered, Merchant: m, Account: uint32(accounts[i]), Currency: kessai.JPY,
			Allowed: kessai.AllKinds, Partial: i == 1,
		})
	}
	for pan, m := range map[string]cache.Medium{
		httpCard:    {Status: cache.MediumActive, Expiry: 9912, Account: uint32(accounts[2])},
		httpPoor:    {Status: cache.MediumActive, Expiry: 9912, Account: uint32(accounts[3])},
		httpStolen:  {Status: cache.MediumStolen, Expiry: 9912, Account: uint32(accounts[2])},
		httpLost:    {Status: cache.MediumLost, Expiry: 9912, Account: uint32(accounts[2])},
		httpExpired: {Status: cache.MediumActive, Expiry: 2001, Account: uint32(accounts[2])},
	} {
		m.Allowed = kessai.AllKinds
		p := httpMust[kessai.PAN](f.t)(kessai.ParsePAN(pan))
		b.AddMedium(f.hasher.Medium(p), m)
	}
	var c cache.Cache
	c.Swap(b.Snapshot(time.Now(), 1))
	return &c
}

// httpAnswer is what came back.
type httpAnswer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

// text gives a member of the body as text.
func (a *httpAnswer) text(name string) string {
	s, _ := a.body[name].(string)
	return s
}

// number gives a whole number of the body.
func (a *httpAnswer) number(name string) int64 {
	n, _ := a.body[name].(float64)
	return int64(n)
}

// value gives the value of an amount of the body.
func (a *httpAnswer) value(name string) int64 {
	m, _ := a.body[name].(map[string]any)
	n, _ := m["value"].(float64)
	return int64(n)
}

// do sends one request. Headers are name and value in turn.
func (f *httpFixture) do(method, path, body string, headers ...string) *httpAnswer {
	f.t.Helper()
	r := httpMust[*http.Request](f.t)(http.NewRequest(method, f.url+path, strings.NewReader(body)))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+httpKeyAoi)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Del(headers[i])
		if headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return f.send(r)
}

func (f *httpFixture) send(r *http.Request) *httpAnswer {
	f.t.Helper()
	return f.read(httpMust[*http.Response](f.t)(f.client.Do(r)))
}

func (f *httpFixture) read(resp *http.Response) *httpAnswer {
	f.t.Helper()
	defer resp.Body.Close()
	a := &httpAnswer{status: resp.StatusCode, header: resp.Header, raw: httpMust[[]byte](f.t)(io.ReadAll(resp.Body))}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && len(a.raw) > 0 {
		if err := json.Unmarshal(a.raw, &a.body); err != nil {
			f.t.Fatalf("the answer is no JSON: %v", err)
		}
	}
	return a
}

// post sends a POST with an idempotency key.
func (f *httpFixture) post(key, path, body string, headers ...string) *httpAnswer {
	f.t.Helper()
	return f.do("POST", path, body, append([]string{"Idempotency-Key", key}, headers...)...)
}

// made is a POST that must end in a payment with the given response code.
func (f *httpFixture) made(code, key, path, body string, headers ...string) *httpAnswer {
	f.t.Helper()
	a := f.post(key, path, body, headers...)
	if a.status != http.StatusCreated || a.text("response_code") != code {
		f.t.Fatalf("POST %s: got %d, code %q, body %s; want 201 and code %s", path, a.status, a.text("response_code"), a.raw, code)
	}
	return a
}

// httpSale is the body of a new payment of a kind, with more members before the
// medium where given.
func httpSale(kind string, value string, card string, more ...string) string {
	b := `{"kind":"` + kind + `","terminal":"AOI00001"`
	if value != "" {
		b += `,"amount":{"value":` + value + `,"currency":"JPY"}`
	}
	for _, m := range more {
		b += "," + m
	}
	return b + `,"medium":{"pan":"` + card + `","expiry":"9912"}}`
}
