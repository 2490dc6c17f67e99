package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"os"

	"kessai"
	"kessai/authz"
	"kessai/cache"
	"kessai/configs"
	"kessai/gateway"
	"kessai/merchants"
)

// house is everything that listens.
type house struct {
	http  *gateway.HTTP
	admin *gateway.Admin
	iso   []*gateway.ISO

	engine    *authz.Engine
	refresher *refresher
	reloader  *reloader // nil: the configuration cannot be read again

	httpListener net.Listener
	isoListeners []net.Listener
}

// builder is what the parts of a house have in common.
type builder struct {
	*stores
	c         *Config
	around    surroundings
	valid     *cache.Cache
	metrics   *gateway.Metrics
	control   *gateway.Control
	refresher *refresher
	engine    *authz.Engine
	acquirer  kessai.AcquirerID
	version   string
	codes     gateway.PhoneCodes // once the phones' address is known
}

// build makes everything between the stores and the sockets, and binds the
// sockets. What is bound is closed again on an error.
func build(c *Config, s *stores, around surroundings) (*house, error) {
	b := &builder{stores: s, c: c, around: around, valid: new(cache.Cache)}
	b.version, _ = buildVersion()
	budget, err := readBudget(c.Budget)
	if err != nil {
		return nil, configError("budget", err)
	}
	b.metrics = gateway.NewMetrics(gateway.MetricsOptions{Version: b.version, Budget: budget, Book: s.book.Stats, Cache: b.valid})
	if b.acquirer, err = kessai.ParseAcquirerID(c.Acquirer); err != nil {
		return nil, configError("acquirer", err)
	}
	if err := s.openPhones(c, b.metrics, around.log); err != nil {
		return nil, err
	}
	b.engine = authz.New(s.book, b.valid, authz.Options{
		Acquirer: b.acquirer, HoldFor: c.HoldFor, MaxAge: c.Cache.MaxAge, Observe: b.metrics.Stage,
		Registry: gateway.Registry(s.registry, b.metrics, around.log), Dialogue: authz.DialogueOptions{
			Timeout: c.Dialogue.Timeout, MaxOpen: c.Dialogue.MaxOpen,
			Opened: b.metrics.DialogueOpened, Ended: b.metrics.DialogueEnded,
		},
		Purse: authz.PurseOptions{Master: s.purses, Most: c.Purse.MaxBalance},
		Phone: b.phoneOptions(), Reader: b.readerOptions(),
	})
	if err := b.checkReaders(); err != nil {
		return nil, err
	}
	b.metrics.WatchPhones(b.engine.PhoneStats)
	b.metrics.WatchReaders(b.engine.ReaderStats)
	b.control = gateway.NewControl(gateway.ControlOptions{
		Apply: s.registry.Apply, Refresh: func(context.Context) error { return s.registry.Reload() },
		Cache: b.valid, MaxAge: b.engine.MaxAge, Metrics: b.metrics, Logger: around.log,
	})
	mode, _ := cache.ParseMode(c.Cache.Mode) // Validate has checked it
	// The follower ends when the registry closes, after the last request.
	err = s.registry.Follow(context.Background(), b.valid, merchants.FollowOptions{
		Mode: mode, Every: math.MaxInt64, Observe: b.control.Refreshed, // it is the refresher that looks
	})
	if err != nil {
		return nil, storeError(c.Data, err)
	}
	b.refresher = newRefresher(c.Cache.RefreshEvery, s.registry.Refresh)
	h := &house{engine: b.engine, refresher: b.refresher}
	if around.again != nil {
		h.reloader = &reloader{again: around.again, apply: b.live, log: around.log, level: around.level, inForce: *c}
	}
	for _, part := range []func(*house) error{b.buildHTTP, b.buildISO, b.buildAdmin} {
		if err := part(h); err != nil {
			h.close()
			return nil, err
		}
	}
	return h, nil
}

// readBudget gives the time budget of the hot path: a file's, or the built-in one.
func readBudget(path string) (gateway.Budget, error) {
	if path == "" {
		return gateway.ParseBudget(configs.Budget)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return gateway.Budget{}, fmt.Errorf("%s cannot be read: %s", path, plainPath(err))
	}
	budget, err := gateway.ParseBudget(text)
	if err != nil {
		return gateway.Budget{}, fmt.Errorf("%s: %w", path, err)
	}
	return budget, nil
}

func (b *builder) buildHTTP(h *house) error {
	c := b.c.HTTP
	adminKey, err := b.c.adminKey()
	if err != nil {
		return err
	}
	t, err := serverTLS(ISOTLS{Cert: c.TLS.Cert, Key: c.TLS.Key})
	if err != nil {
		return configError("http.tls", err)
	}
	if h.httpListener, err = b.bind("http.address", c.Address, t); err != nil {
		return err
	}
	phone, err := b.buildPhones(h.httpListener)
	if err != nil {
		return err
	}
	h.http, err = gateway.NewHTTP(gateway.HTTPOptions{
		Engine: b.engine, Book: b.book, Hasher: b.hasher, Authenticate: b.authenticate,
		Ready: b.checks, Metrics: b.metrics, Logger: b.around.log, Control: b.control, AdminKey: adminKey,
		MaxConnections: c.MaxConnections, MaxInFlight: c.MaxInFlight, MaxWaiting: c.MaxWaiting, MaxBody: c.BodyLimit, Phone: phone, Codes: b.codes, Floor: b.around.floor,
		ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout, IdleTimeout: c.IdleTimeout,
	})
	if err != nil {
		return configError("http", err)
	}
	return nil
}

func (b *builder) buildISO(h *house) error {
	for i, l := range b.c.ISO.Listeners {
		setting := fmt.Sprintf("%s[%d]", listenersKey, i)
		dialect, err := findDialect(l.Dialect, b.c.ISO.DialectsDir)
		if err != nil {
			return configError(setting+".dialect", err)
		}
		framing, err := l.framing()
		if err != nil {
			return configError(setting+".framing", err)
		}
		server, err := gateway.NewISO(gateway.ISOOptions{
			Dialect: dialect, Framing: framing, Engine: b.engine, Authorize: b.engine.Authorize,
			Hasher: b.hasher, Acquirer: b.acquirer, Codes: b.codes, MaxWaiting: b.c.Phone.MaxWaiting, RequireSignOn: l.RequireSignOn, MaxFrame: l.MaxFrame,
			MaxConnections: l.MaxConnections, MaxInFlight: l.MaxInFlight, MaxInFlightPerConn: l.MaxInFlightPerConnection,
			IdleTimeout: l.IdleTimeout, WriteTimeout: l.WriteTimeout, Logger: b.around.log, Metrics: b.metrics,
		})
		if err != nil {
			return configError(setting, err)
		}
		t, err := serverTLS(l.TLS)
		if err != nil {
			return configError(setting+".tls", err)
		}
		listener, err := b.bind(setting+".address", l.Address, t)
		if err != nil {
			return err
		}
		h.iso, h.isoListeners = append(h.iso, server), append(h.isoListeners, listener)
	}
	return nil
}

func (b *builder) buildAdmin(h *house) (err error) {
	var reload func(context.Context) (any, error)
	if h.reloader != nil {
		reload = func(ctx context.Context) (any, error) { return h.reloader.reload(ctx) }
	}
	h.admin, err = gateway.NewAdmin(gateway.AdminOptions{
		Socket: b.c.adminSocket(), Import: b.importStream, Control: b.control, Reload: reload,
		Customer: (&desk{b.registry, b.book, b.engine, b.phones.store, b.phones.keys, b.codes.Origin}).act,
		Status:   func() any { return h.status(b) }, Logger: b.around.log, Metrics: b.metrics,
	})
	if err != nil {
		return bindError("admin.socket", b.c.adminSocket(), err)
	}
	return nil
}

// serverTLS loads the certificate of a listener, and the authorities that its
// clients' certificates come from; nil where no certificate is configured.
func serverTLS(c ISOTLS) (*tls.Config, error) {
	if c.Cert == "" {
		return nil, nil
	}
	t, err := gateway.TLSConfig(c.Cert, c.Key, c.ClientCA)
	if err == nil && c.ClientCA != "" && !c.RequireClientCert {
		t.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return t, err
}

func (b *builder) bind(setting, address string, t *tls.Config) (net.Listener, error) {
	l, err := b.around.listen("tcp", address)
	if err != nil {
		return nil, bindError(setting, address, err)
	}
	if t != nil {
		l = tls.NewListener(l, t)
	}
	return l, nil
}

// checks is what readiness depends on.
func (b *builder) checks() []gateway.Check {
	book := gateway.Check{Name: "book", OK: b.book.Err() == nil}
	if !book.OK {
		book.Detail = "the book cannot write"
	}
	return []gateway.Check{book, b.control.Check()}
}

// status is what the admin socket says of the gateway.
func (h *house) status(b *builder) any {
	a := h.bound()
	return map[string]any{
		"version": b.version, "http": a.HTTP, "iso": a.ISO,
		"book": b.book.Stats(), "registry": b.registry.Stats(),
	}
}

func (h *house) bound() (a addresses) {
	a.HTTP = h.httpListener.Addr().String()
	for _, l := range h.isoListeners {
		a.ISO = append(a.ISO, l.Addr().String())
	}
	return a
}

// close closes what was bound and never served.
func (h *house) close() {
	if h.httpListener != nil {
		_ = h.httpListener.Close()
	}
	for _, l := range h.isoListeners {
		_ = l.Close()
	}
}
