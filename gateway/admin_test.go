package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// adminTest serves an admin socket in a folder of its own. The import counts
// the bytes of the file, and fails on the word "bad".
func adminTest(t *testing.T, change func(*AdminOptions)) (string, AdminOptions) {
	t.Helper()
	o := AdminOptions{
		Socket: filepath.Join(t.TempDir(), "data", "admin.sock"),
		Import: func(_ context.Context, name string, r io.Reader, progress Progress) (any, error) {
			b, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			progress("reading", uint64(len(b)), uint64(len(b)))
			if bytes.Contains(b, []byte("bad")) {
				return nil, errors.New("line 1: that is bad")
			}
			return map[string]any{"name": name, "bytes": len(b)}, nil
		},
		Control: NewControl(ControlOptions{Refresh: func(context.Context) error { return nil }}),
		Status:  func() any { return map[string]string{"state": "ready"} },
		Metrics: NewMetrics(MetricsOptions{}),
	}
	change(&o)
	a, err := NewAdmin(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), isoPatience)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(o.Socket); !os.IsNotExist(err) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return o.Socket, o
}

func TestAdmin_Import(t *testing.T) {
	socket, o := adminTest(t, func(*AdminOptions) {})
	ctx := t.Context()
	var told []string
	progress := func(what string, done, total uint64) { told = append(told, fmt.Sprint(what, " ", done, "/", total)) }
	got, err := AdminImport(ctx, socket, "shops & more.csv", strings.NewReader("shop"), progress)
	if err != nil {
		t.Fatal(err)
	}
	expectEqual(t, "summary", string(got), `{"bytes":4,"name":"shops \u0026 more.csv"}`)
	expectEqual(t, "progress", strings.Join(told, ", "), "reading 4/4")
	if _, err := AdminImport(ctx, socket, "x", strings.NewReader("bad"), nil); err == nil || err.Error() != "line 1: that is bad" {
		t.Errorf("a failing import gave %v", err)
	}
	expectCount(t, o.Metrics, "kessai_imports_total", 1, "result=done")
	expectCount(t, o.Metrics, "kessai_imports_total", 1, "result=failed")
}

func TestAdmin_StatusAndRefresh(t *testing.T) {
	refreshed := 0
	socket, _ := adminTest(t, func(o *AdminOptions) {
		o.Control = NewControl(ControlOptions{Refresh: func(context.Context) error {
			if refreshed++; refreshed > 1 {
				return errors.New("the registry is closed")
			}
			return nil
		}})
	})
	status, err := AdminStatus(t.Context(), socket)
	if err != nil || !json.Valid(status) || !strings.Contains(string(status), `"ready"`) {
		t.Errorf("status %s, error %v", status, err)
	}
	if err := AdminRefresh(t.Context(), socket); err != nil || refreshed != 1 {
		t.Errorf("refreshed %d times, error %v", refreshed, err)
	}
	if err := AdminRefresh(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "the registry is closed") {
		t.Errorf("a failing refresh gave %v", err)
	}
}

func TestAdmin_Limits(t *testing.T) {
	socket, _ := adminTest(t, func(o *AdminOptions) { o.MaxBody = 1000 })
	_, err := AdminImport(t.Context(), socket, "big", strings.NewReader(strings.Repeat("x", 1001)), nil)
	if err == nil || !strings.Contains(err.Error(), "larger than 1000 bytes") {
		t.Errorf("a file that is too large gave %v", err)
	}
	if _, err := AdminImport(t.Context(), socket, "fits", strings.NewReader(strings.Repeat("x", 1000)), nil); err != nil {
		t.Errorf("a file of the largest size gave %v", err)
	}
	socket, _ = adminTest(t, func(o *AdminOptions) { o.Idle = 200 * time.Millisecond })
	silent, silence := io.Pipe()
	defer silence.Close()
	if _, err := AdminImport(t.Context(), socket, "silent", silent, nil); err == nil {
		t.Error("a caller who says nothing was waited for")
	}
}

func TestAdmin_OneImportAtATime(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	socket, _ := adminTest(t, func(o *AdminOptions) {
		o.Import = func(context.Context, string, io.Reader, Progress) (any, error) {
			close(began)
			<-end
			return "done", nil
		}
	})
	first := make(chan error, 1)
	go func() {
		_, err := AdminImport(context.Background(), socket, "first", strings.NewReader(""), nil)
		first <- err
	}()
	<-began
	_, err := AdminImport(t.Context(), socket, "second", strings.NewReader(""), nil)
	if err == nil || !strings.Contains(err.Error(), "another import is under way") {
		t.Errorf("a second import gave %v", err)
	}
	close(end)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestAdmin_NextImport: whoever has read the last line of an answer may send the
// next file at once.
func TestAdmin_NextImport(t *testing.T) {
	a, err := NewAdmin(AdminOptions{
		Socket:  filepath.Join(t.TempDir(), "data", "admin.sock"),
		Import:  func(context.Context, string, io.Reader, Progress) (any, error) { return "done", nil },
		Control: NewControl(ControlOptions{}),
		Status:  func() any { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Shutdown(t.Context())
	send := func(w http.ResponseWriter) {
		a.serveImport(w, httptest.NewRequest(http.MethodPost, "/import?name=x", strings.NewReader("")))
	}
	first, next := &hearing{ResponseRecorder: httptest.NewRecorder()}, &hearing{ResponseRecorder: httptest.NewRecorder()}
	first.heard = func() { send(next) }
	send(first)
	const want = `{"summary":"done"}` + "\n"
	expectEqual(t, "the first import", first.Body.String(), want)
	expectEqual(t, "the import that followed it", next.Body.String(), want)
}

// hearing is told of each line as soon as it goes out.
type hearing struct {
	*httptest.ResponseRecorder
	heard func()
}

func (h *hearing) Write(b []byte) (int, error) {
	if h.heard != nil {
		h.heard()
	}
	return h.ResponseRecorder.Write(b)
}

func (*hearing) EnableFullDuplex() error          { return nil }
func (*hearing) SetReadDeadline(time.Time) error  { return nil }
func (*hearing) SetWriteDeadline(time.Time) error { return nil }

// TestAdmin_Socket checks who can use the socket, and what becomes of one that
// is there already.
func TestAdmin_Socket(t *testing.T) {
	socket, o := adminTest(t, func(*AdminOptions) {})
	for path, want := range map[string]os.FileMode{socket: 0o600 | os.ModeSocket, filepath.Dir(socket): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
	if _, err := NewAdmin(o); err == nil || !strings.Contains(err.Error(), "another gateway answers") {
		t.Errorf("a second gateway on the same socket gave %v", err)
	}

	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := AdminStatus(t.Context(), stale); !errors.Is(err, ErrNoGateway) {
		t.Errorf("a socket that nobody answers on gave %v", err)
	}
	if _, err := AdminStatus(t.Context(), filepath.Join(dir, "none.sock")); !errors.Is(err, ErrNoGateway) {
		t.Errorf("no socket gave %v", err)
	}
	adminTest(t, func(o *AdminOptions) { o.Socket = stale })

	o.Socket = filepath.Join(dir, "file")
	if err := os.WriteFile(o.Socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewAdmin(o); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file in the socket's place gave %v", err)
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	o.Socket = filepath.Join(open, "admin.sock")
	if _, err := NewAdmin(o); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a folder that others can write to gave %v", err)
	}
}

// A path that no socket address can hold works all the same.
func TestAdmin_LongPath(t *testing.T) {
	socket, _ := adminTest(t, func(o *AdminOptions) {
		o.Socket = filepath.Join(filepath.Dir(o.Socket), strings.Repeat("long/", 30), "admin.sock")
	})
	if _, err := AdminStatus(t.Context(), socket); err != nil {
		t.Error(err)
	}
}

// A caller whom the kernel names as somebody else is not answered.
func TestAdmin_PeerRefused(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	l, err := listenOwner(socket, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.allow = func(*net.UnixConn) error { return errPeer }
	var answered atomic.Bool
	served := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { answered.Store(true) })}
	go func() { _ = served.Serve(l) }()
	defer served.Close()
	if _, err := AdminStatus(t.Context(), socket); err == nil || answered.Load() {
		t.Errorf("a stranger was answered: %v", err)
	}
}
