package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// AdminOptions configures [NewAdmin].
type AdminOptions struct {
	Socket string // path of the Unix socket, in the data folder

	// Import reads a file of records into the registry, all of it or nothing.
	// What it gives back is sent to the caller as JSON.
	Import  func(ctx context.Context, name string, r io.Reader, progress Progress) (summary any, err error)
	Control *Control   // changes, feeds, refresh, validity
	Status  func() any // what the gateway says of itself; sent as JSON

	// Reload reads the configuration again. What it gives back is sent as JSON;
	// its error means that nothing changed. nil: the configuration cannot be read
	// again.
	Reload func(ctx context.Context) (answer any, err error)

	// Customer does something about a customer; nil: no customers are asked.
	Customer func(ctx context.Context, act CustomerAct) (answer any, err error)

	MaxBody int64         // bytes of one import or file of changes. Default 1 GiB
	Idle    time.Duration // how long a caller may neither send nor take anything. Default 30 s
	Logger  *slog.Logger  // default: none
	Metrics *Metrics      // default: a set that nobody reads
}

// Progress is told how far long work has come. Total is 0 while it is unknown.
type Progress func(what string, done, total uint64)

// Admin answers on the admin socket: a Unix socket that only the owner of the
// process and root can use. It speaks HTTP, because that brings framing, limits
// and deadlines along; no TCP port ever serves these routes.
//
//	POST /import?name=FILE     the file as the body; answers with JSON lines
//	POST /changes?skip_bad=1   a file of changes as the body; answers likewise
//	POST /feed                 changes as they come; answers each line as it is in force
//	POST /refresh              reads the registry again
//	POST /reload               reads the configuration again
//	POST /customer?what=ACT    something about a customer ([CustomerAct])
//	GET  /validity             what is judged by
//	GET  /status               what the gateway says of itself
type Admin struct {
	o         AdminOptions
	listener  net.Listener
	server    *http.Server
	importing sync.Mutex
	feeds     chan struct{}   // holds one token for each feed
	ending    context.Context // ends when Shutdown begins
	end       context.CancelFunc
}

// maxFeeds bounds the feeds at once. They may stay for days, so they must leave
// room for everybody else ([maxAdminConnections]).
const maxFeeds = 4

// adminLine is one line of the answer to an import or a file of changes. The last
// one has Summary or Error; a body that ends without either was cut off.
type adminLine struct {
	What    string          `json:"what,omitempty"`
	Done    uint64          `json:"done,omitempty"`
	Total   uint64          `json:"total,omitempty"`
	Summary json.RawMessage `json:"summary,omitempty"`
	Error   string          `json:"error,omitempty"`
	Fault   *LineFault      `json:"fault,omitempty"` // in the place of Error, where a line is at fault
}

// NewAdmin opens the socket. A socket that an earlier process left behind is
// replaced, but only when nobody answers on it any more.
func NewAdmin(o AdminOptions) (*Admin, error) {
	if o.Socket == "" || o.Import == nil || o.Control == nil || o.Status == nil {
		return nil, errors.New("the admin socket needs a path, a control, and functions for import and status")
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 1 << 30
	}
	if o.Idle <= 0 {
		o.Idle = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(MetricsOptions{})
	}
	l, err := listenOwner(o.Socket, o.Logger)
	if err != nil {
		return nil, err
	}
	a := &Admin{o: o, listener: l, feeds: make(chan struct{}, maxFeeds)}
	a.ending, a.end = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /import", a.serveImport)
	mux.HandleFunc("POST /changes", a.serveChanges)
	mux.HandleFunc("POST /feed", a.serveFeed)
	mux.HandleFunc("POST /refresh", a.serveRefresh)
	mux.HandleFunc("POST /reload", a.serveReload)
	mux.HandleFunc("POST /customer", a.serveCustomer)
	mux.HandleFunc("GET /validity", a.serveValidity)
	mux.HandleFunc("GET /status", a.serveStatus)
	a.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       o.Idle,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return a, nil
}

// Serve answers until [Admin.Shutdown].
func (a *Admin) Serve() error {
	if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}

// Shutdown takes no more callers, ends the feeds, waits for an import that is
// under way until ctx ends, and removes the socket.
func (a *Admin) Shutdown(ctx context.Context) error {
	a.end()
	err := a.server.Shutdown(ctx)
	if err != nil {
		_ = a.server.Close()
	}
	// A server that never served does not know its listener.
	_ = a.listener.Close()
	return err
}

func (a *Admin) serveImport(w http.ResponseWriter, r *http.Request) {
	if !a.importing.TryLock() {
		http.Error(w, "another import is under way: wait until it has ended, then try again", http.StatusConflict)
		return
	}
	body, out, ok := a.stream(w, r)
	if !ok {
		a.importing.Unlock()
		return
	}
	_ = out.write(a.importOne(r, body, out))
}

// stream lets the answer go out while the request still comes in.
func (a *Admin) stream(w http.ResponseWriter, r *http.Request) (io.Reader, *lineWriter, bool) {
	c := http.NewResponseController(w)
	if err := c.EnableFullDuplex(); err != nil {
		http.Error(w, "this connection cannot carry it", http.StatusInternalServerError)
		return nil, nil, false
	}
	w.Header().Set("Content-Type", "application/jsonl")
	body := &patientReader{http.MaxBytesReader(w, r.Body, a.o.MaxBody), c, a.o.Idle}
	return body, &lineWriter{w: w, c: c, idle: a.o.Idle}, true
}

// importOne imports a file and gives the last line of the answer. It gives the
// place of the import back: whoever has read that line may send the next file.
func (a *Admin) importOne(r *http.Request, body io.Reader, out *lineWriter) adminLine {
	defer a.importing.Unlock()
	name, began := r.URL.Query().Get("name"), time.Now()
	summary, err := a.o.Import(r.Context(), name, body, func(what string, done, total uint64) {
		_ = out.write(adminLine{What: what, Done: done, Total: total})
	})
	a.o.Metrics.imported(err)
	a.o.Logger.Info("import", "file", name, "took", time.Since(began), "error", err)
	return lastLine(summary, err, a.o.MaxBody)
}

func lastLine(summary any, err error, maxBody int64) adminLine {
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return adminLine{Error: fmt.Sprintf("the file is larger than %d bytes: nothing was changed; divide it", maxBody)}
	}
	if fault, ok := errors.AsType[*LineFault](err); ok {
		return adminLine{Fault: fault}
	}
	if err != nil {
		return adminLine{Error: err.Error()}
	}
	b, err := json.Marshal(summary)
	if err != nil {
		return adminLine{Error: "it is done, but its summary cannot be shown"}
	}
	return adminLine{Summary: b}
}

// patientReader gives the caller a fresh deadline for every read: a large file
// may take long, a silent caller may not.
type patientReader struct {
	r    io.Reader
	c    *http.ResponseController
	idle time.Duration
}

func (p *patientReader) Read(b []byte) (int, error) {
	if err := p.c.SetReadDeadline(time.Now().Add(p.idle)); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

// lineWriter writes JSON lines, each with a fresh deadline. The first failure
// ends the writing, not the work: that is whole or nothing by itself.
type lineWriter struct {
	mu   sync.Mutex
	w    io.Writer
	c    *http.ResponseController
	idle time.Duration
	gone error
}

func (l *lineWriter) write(line any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := json.Marshal(line)
	if err != nil || l.gone != nil {
		return errors.Join(err, l.gone)
	}
	_ = l.c.SetWriteDeadline(time.Now().Add(l.idle))
	if _, err = l.w.Write(append(b, '\n')); err == nil {
		err = l.c.Flush()
	}
	l.gone = err
	return err
}
