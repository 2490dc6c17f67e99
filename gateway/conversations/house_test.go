package conversations

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/configs"
	"kessai/customers"
	"kessai/gateway"
	"kessai/merchants"
)

// settings are what a story can change about its gateway.
type settings struct {
	hold        time.Duration // how long a hold stands
	maxAge      time.Duration // how old the cache may be
	signOn      bool          // it is required
	maxInFlight int           // messages on the ISO 8583 listener
	mode        cache.Mode    // what is kept in memory
	dialogue    authz.DialogueOptions
	phone       authz.PhoneOptions
	reader      authz.ReaderOptions
	devices     map[string]*device // card readers, by the names that stories call them
	noReaders   bool               // the gateway serves none
	mustMatch   bool               // the shops sell at the prices of the item file only
	noRates     bool               // no rates are known
	now         func() time.Time
}

// house is a whole gateway, from the data folder to the listeners.
type house struct {
	book     *ledger.Book
	registry *merchants.Registry
	engine   *authz.Engine
	iso      *gateway.ISO
	http     *gateway.HTTP
	gate     gate

	slow    atomic.Int64 // how long one look-up in the registry takes, in nanoseconds
	offline atomic.Bool  // it fails
	pushed  atomic.Int64 // how often a phone was called

	served sync.WaitGroup
	errs   chan error
}

// panKey is what card numbers are hashed with.
var panKey = bytes.Repeat([]byte{7}, kessai.MinKeyBytes)

// openHouse opens the stores in a folder, fills a new registry with the sample
// data, and builds the two servers.
func openHouse(dir string, o settings, logf func(string, ...any)) (h *house, err error) {
	h = &house{errs: make(chan error, 2)}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	if h.book, err = ledger.Open(ledger.Options{Dir: dir, Logf: logf}); err != nil {
		return h, err
	}
	hasher, err := kessai.NewMediumHasher(panKey)
	if err != nil {
		return h, err
	}
	pins, err := customers.NewPINKey(panKey)
	if err != nil {
		return h, err
	}
	h.registry, err = merchants.OpenRegistry(merchants.Options{
		Dir: dir, OpenAccounts: h.book.OpenAccounts, Account: h.book.AccountByName,
		Hasher: hasher, PINKey: pins, APIKeySecret: bytes.Repeat([]byte{9}, kessai.MinKeyBytes),
	})
	if err != nil {
		return h, err
	}
	if h.registry.Version() == 0 {
		if _, err := h.imported("demo.yaml", configs.Demo); err != nil {
			return h, err
		}
	}
	valid := new(cache.Cache)
	if err := h.registry.Follow(context.Background(), valid, merchants.FollowOptions{Mode: o.mode, Every: time.Hour}); err != nil {
		return h, err
	}
	return h, h.build(o, hasher, valid)
}

func (h *house) build(o settings, hasher *kessai.MediumHasher, valid *cache.Cache) (err error) {
	acquirer, err := kessai.ParseAcquirerID("1")
	if err != nil {
		return err
	}
	metrics := gateway.NewMetrics(gateway.MetricsOptions{Book: h.book.Stats, Cache: valid})
	asked, err := h.phones(o)
	if err != nil {
		return err
	}
	tethered, err := h.readers(o, hasher)
	if err != nil {
		return err
	}
	if o.noReaders {
		tethered = nil
	}
	h.engine = authz.New(h.book, valid, authz.Options{
		Acquirer: acquirer, HoldFor: o.hold, MaxAge: o.maxAge, Observe: metrics.Stage,
		Registry: h.asked(gateway.Registry(h.registry, metrics, slog.New(slog.DiscardHandler))), Dialogue: o.dialogue,
		Purse: authz.PurseOptions{Master: purses, Most: purseMost}, Phone: asked, Reader: tethered,
	})
	h.gate.engine = h.engine
	h.iso, err = gateway.NewISO(gateway.ISOOptions{
		Authorize: h.gate.authorize, Engine: h.engine, Hasher: hasher, Acquirer: acquirer, Metrics: metrics,
		RequireSignOn: o.signOn, MaxInFlight: o.maxInFlight, Now: o.now, Codes: codes(),
	})
	if err != nil {
		return err
	}
	h.http, err = gateway.NewHTTP(gateway.HTTPOptions{
		Engine: h.engine, Book: h.book, Hasher: hasher, Metrics: metrics, Now: o.now, Codes: codes(),
		Authenticate: func(key kessai.Secret) (kessai.MerchantID, bool) {
			m, ok := h.registry.MerchantByAPIKey(key)
			return m.ID, ok
		},
	})
	return err
}

var errOffline = errors.New("the registry is offline")

// asked gives the registry as a story has it: slow, or offline.
func (h *house) asked(r authz.Registry) authz.Registry {
	medium, terminal := r.Medium, r.Terminal
	r.Medium = func(id kessai.MediumID) (cache.Medium, error) {
		facts, err := medium(id)
		return facts, cmp.Or(err, h.takes())
	}
	r.Terminal = func(id kessai.TerminalID) (cache.Terminal, error) {
		facts, err := terminal(id)
		return facts, cmp.Or(err, h.takes())
	}
	return r
}

func (h *house) takes() error {
	time.Sleep(time.Duration(h.slow.Load()))
	if h.offline.Load() {
		return errOffline
	}
	return nil
}

// serve takes connections from both listeners, in the background.
func (h *house) serve(iso, http net.Listener) {
	for l, serve := range map[net.Listener]func(net.Listener) error{iso: h.iso.Serve, http: h.http.Serve} {
		h.served.Go(func() {
			if err := serve(l); err != nil {
				h.errs <- err
			}
		})
	}
}

// shutdown ends both servers and returns when they have ended. What is in flight
// is answered, unless ctx ends before.
func (h *house) shutdown(ctx context.Context) error {
	h.http.Drain()
	h.engine.CloseReaders()
	var isoErr error
	var ending sync.WaitGroup
	ending.Go(func() { isoErr = h.iso.Shutdown(ctx) })
	httpErr := h.http.Shutdown(ctx)
	ending.Wait()
	h.served.Wait()
	select {
	case err := <-h.errs:
		return err
	default:
		return errors.Join(isoErr, httpErr)
	}
}

// close closes the stores.
func (h *house) close() (err error) {
	if h.registry != nil {
		err = h.registry.Close()
	}
	if h.book != nil {
		err = errors.Join(err, h.book.Close())
	}
	return err
}

func (h *house) imported(name string, content []byte) (merchants.Summary, error) {
	im, err := merchants.ParseImport(name, bytes.NewReader(content))
	if err != nil {
		return merchants.Summary{}, err
	}
	return h.registry.Import(context.Background(), im, nil)
}

// gate stands before the engine and can be shut, so that a story can look at
// what happens while a request is in flight.
type gate struct {
	engine *authz.Engine

	mu   sync.Mutex
	shut chan struct{} // closed when the gate opens; nil while it is open
}

func (g *gate) authorize(ctx context.Context, asks []authz.Ask) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			for i := range asks {
				asks[i].Err = ctx.Err()
			}
			return
		}
	}
	g.engine.Authorize(ctx, asks)
}

func (g *gate) pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// pipes is a listener whose connections are pipes: they live in one bubble of
// virtual time with both their ends.
type pipes struct {
	conns chan net.Conn
	gone  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), gone: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.gone) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.gone:
		return nil, errors.New("connection refused")
	}
}

// dataFolder gives a folder that goes with the test: in memory where there is
// room. A story waits for some hundred syncs, and on a busy disk they would take
// longer than all the rest. What a disk keeps is for the crash tests to show.
func dataFolder(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	var fs syscall.Statfs_t
	if syscall.Statfs(memory, &fs) != nil || uint64(fs.Bsize)*fs.Bavail < 1<<30 {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "kessai-conversation-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// copyFolder copies a folder as it is on disk. Badger's files are large and
// mostly holes, which stay holes.
func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, path[len(from):])
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	var size int64
	zeros, buf := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(in, buf)
		if n > 0 && !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := out.WriteAt(buf[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return out.Truncate(size)
		default:
			return err
		}
	}
}
