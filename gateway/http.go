package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
)

// HTTPOptions configures [NewHTTP]. Numbers and times that are zero stand for
// their defaults.
type HTTPOptions struct {
	Engine *authz.Engine
	Book   *ledger.Book
	Hasher *kessai.MediumHasher

	// Authenticate says whose API key it is. It must take the same time for a key
	// that nobody has.
	Authenticate func(kessai.Secret) (kessai.MerchantID, bool)
	Ready        func() []Check   // what readiness depends on; nil: nothing but draining
	Metrics      *Metrics         // nil: a set of its own
	Logger       *slog.Logger     // nil: nothing is logged
	Now          func() time.Time // nil: time.Now

	Phone *PhoneOptions // the pages for customers' phones and the API behind them; nil: there are none

	// The admin API over HTTP; without both of them there is none.
	Control  *Control
	AdminKey kessai.Secret

	Codes PhoneCodes    // for payments that customers confirm
	Floor *FloorOptions // the demo's shop floor; nil: there is none

	MaxConnections int           // open at once; more get 503 and are closed. Default 4,096
	MaxInFlight    int           // API requests worked on at once; more get the problem busy. Default 1,024
	MaxWaiting     int           // requests of shops, and of phones, that wait for a customer at once; more get the problem busy. Default 2,048
	MaxBody        int           // bytes of one body. Default 64 KiB
	ReadTimeout    time.Duration // for a request to arrive whole. Default 10 s
	WriteTimeout   time.Duration // for an answer to be taken. Default 10 s
	IdleTimeout    time.Duration // for a connection without a request. Default 60 s
}

// maxHeaders is the room for the request line and the headers, in bytes.
const maxHeaders = 8 << 10

func (o *HTTPOptions) setDefaults() error {
	if o.Engine == nil || o.Book == nil || o.Hasher == nil || o.Authenticate == nil {
		return errors.New("the HTTP server needs an engine, a book, a hasher and a way to authenticate")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(MetricsOptions{})
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Ready == nil {
		o.Ready = func() []Check { return nil }
	}
	defaultTo(&o.MaxConnections, 4096)
	defaultTo(&o.MaxInFlight, 1024)
	defaultTo(&o.MaxWaiting, 2048)
	defaultTo(&o.MaxBody, 64<<10)
	defaultTo(&o.ReadTimeout, 10*time.Second)
	defaultTo(&o.WriteTimeout, 10*time.Second)
	defaultTo(&o.IdleTimeout, time.Minute)
	return nil
}

func defaultTo[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}

// HTTP serves the JSON wire, health, metrics and the API page.
type HTTP struct {
	o                     HTTPOptions
	app                   *fiber.App
	problems              *prometheus.CounterVec
	inFlight              chan struct{} // holds one token for each API request that is worked on
	shopsWait, phonesWait *crowd        // those that wait for a customer
	ending                chan struct{} // closed when those that wait are to end
	draining              atomic.Bool
	door                  *adminDoor
	page                  docsPage
	phone                 *phoneSide // nil: there is none

	mu        sync.Mutex
	ended     bool // Shutdown was called
	listeners []*onceListener
}

// NewHTTP makes a server; [HTTP.Serve] starts it.
func NewHTTP(o HTTPOptions) (*HTTP, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	h := &HTTP{o: o, inFlight: make(chan struct{}, o.MaxInFlight), shopsWait: newCrowd(o.MaxWaiting, max(1, o.MaxWaiting/2)), phonesWait: newCrowd(o.MaxWaiting, o.MaxWaiting), ending: make(chan struct{})}
	h.door = newAdminDoor(o.Control, o.AdminKey, o.Now)
	h.problems = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kessai_http_problems_total", Help: "HTTP requests answered with a problem, by its code.",
	}, []string{"code"})
	if err := o.Metrics.registry.Register(h.problems); err != nil {
		return nil, err
	}
	var err error
	if h.page, err = renderDocs(openAPI); err != nil {
		return nil, err
	}
	h.app = fiber.New(fiber.Config{
		AppName: "kessai", DisableStartupMessage: true,
		// Params, headers and bodies are copied: nothing that outlives the
		// handler can change under it when fasthttp reuses its buffers.
		Immutable: true, CaseSensitive: true, StrictRouting: true,
		BodyLimit: o.MaxBody, Concurrency: o.MaxConnections, ReadBufferSize: maxHeaders,
		ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, IdleTimeout: o.IdleTimeout,
		DisablePreParseMultipartForm: true,
		ErrorHandler:                 h.protocolError,
	})
	h.app.Server().CloseOnShutdown = true
	h.app.Use(h.around)
	if o.Phone != nil {
		if h.phone, err = newPhoneSide(h, *o.Phone); err != nil {
			return nil, err
		}
	}
	routes := h.allRoutes()
	if o.Floor != nil {
		floor, err := h.floorRoutes()
		if err != nil {
			return nil, err
		}
		routes = append(routes, floor...)
	}
	for _, r := range routes {
		h.app.Add(r.method, r.path, named(r.path, r.serve))
		if r.method == fiber.MethodGet && !strings.HasSuffix(r.path, "/events") { // a stream has no end to tell of
			h.app.Add(fiber.MethodHead, r.path, named(r.path, r.serve))
		}
	}
	h.refuseOddMethods()
	return h, nil
}

type httpRoute struct {
	method, path string
	serve        fiber.Handler
}

// allRoutes is the API, and what phones talk to where there is such a side.
func (h *HTTP) allRoutes() []httpRoute {
	if h.phone == nil {
		return h.routes()
	}
	return append(h.routes(), h.phone.routes()...)
}

// routes is the whole API. openapi.yaml says the same, and a test holds the two
// together.
func (h *HTTP) routes() []httpRoute {
	return []httpRoute{
		{"POST", "/v1/payments", h.post(h.create)},
		{"GET", "/v1/payments", h.get(h.list)},
		{"GET", "/v1/payments/:id", h.show},
		{"GET", "/v1/payments/:id/events", h.with(h.inFlight, RefusedInFlight, h.watch, mimeEvents)},
		{"GET", "/v1/payments/:id/receipt", h.with(h.inFlight, RefusedInFlight, h.receipt, receiptTypes...)},
		{"POST", "/v1/payments/:id/capture", h.post(h.followUp(kessai.Completion))},
		{"POST", "/v1/payments/:id/increment", h.post(h.followUp(kessai.Increment))},
		{"POST", "/v1/payments/:id/release", h.post(h.followUp(kessai.Release))},
		{"POST", "/v1/payments/:id/refund", h.post(h.followUp(kessai.Refund))},
		{"POST", "/v1/payments/:id/reverse", h.post(h.reverse)},
		{"POST", "/v1/payments/:id/cancel", h.post(h.cancel)},
		{"POST", "/v1/payments/:id/confirm", h.post(h.confirm)},
		{"POST", "/v1/dialogues", h.change(h.atTerminal(kindDialogue, h.open))},
		{"POST", "/v1/dialogues/:id/transaction", h.post(h.transaction)},
		{"DELETE", "/v1/dialogues/:id", h.get(h.closeDialogue)},
		{"POST", "/v1/retained", h.change(h.atTerminal(kindRetained, h.keep))},
		{"POST", "/v1/admin/changes", h.admin(h.changes)},
		{"POST", "/v1/admin/refresh", h.admin(h.refresh)},
		{"GET", "/v1/admin/validity", h.admin(h.validity)},
		{"GET", "/livez", h.livez},
		{"GET", "/readyz", h.readyz},
		{"GET", "/metrics", h.metrics()},
		{"GET", "/openapi.yaml", h.openapi},
		{"GET", "/docs", h.docs},
		{"GET", "/", h.root},
	}
}

// App gives the fiber application, for tests.
func (h *HTTP) App() *fiber.App { return h.app }

// Serve takes connections from ln until [HTTP.Shutdown]; then it returns nil. It
// closes ln. For TLS, give it a TLS listener.
func (h *HTTP) Serve(ln net.Listener) error {
	l := &onceListener{Listener: ln}
	h.mu.Lock()
	ended := h.ended
	h.listeners = append(h.listeners, l)
	h.mu.Unlock()
	if ended {
		return l.Close()
	}
	return h.app.Listener(l)
}

// Drain makes readiness fail and refuses new payments, so that whoever spreads
// the load sends it elsewhere, while everything else is still answered.
func (h *HTTP) Drain() { h.draining.Store(true) }

// Shutdown drains, stops taking connections, and returns when every request in
// flight is answered, or with ctx's error when ctx ends before that.
func (h *HTTP) Shutdown(ctx context.Context) error {
	h.Drain()
	h.mu.Lock()
	if !h.ended {
		close(h.ending)
	}
	h.ended = true
	listeners := slices.Clone(h.listeners)
	h.mu.Unlock()
	// fasthttp does not know of a listener before its Serve has begun, and would
	// let a server that is started and stopped at once run on.
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(append(errs, h.app.ShutdownWithContext(ctx))...)
}

// onceListener can be closed more than once.
type onceListener struct {
	net.Listener
	once sync.Once
	err  error
}

func (l *onceListener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}
