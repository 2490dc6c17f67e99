package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

func (a *Admin) serveChanges(w http.ResponseWriter, r *http.Request) {
	skipBad, err := skipsBad(r.URL.Query()["skip_bad"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, out, ok := a.stream(w, r)
	if !ok {
		return
	}
	done, err := a.o.Control.Changes(r.Context(), body, skipBad, func(what string, done, total uint64) {
		_ = out.write(adminLine{What: what, Done: done, Total: total})
	})
	_ = out.write(lastLine(done, err, a.o.MaxBody))
}

// serveFeed has no deadline for the caller's next line, which may come in a week.
// A caller who is gone is known at once: the kernel closes his end of the socket.
func (a *Admin) serveFeed(w http.ResponseWriter, r *http.Request) {
	select {
	case a.feeds <- struct{}{}:
		defer func() { <-a.feeds }()
	default:
		http.Error(w, "as many feeds as are allowed are open: end one of them, or send the changes to it", http.StatusServiceUnavailable)
		return
	}
	_, out, ok := a.stream(w, r)
	if !ok {
		return
	}
	w.WriteHeader(http.StatusOK)
	if out.c.Flush() != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(a.ending, func() {
		cancel(errEnding)
		_ = out.c.SetReadDeadline(time.Now()) // ends a read that is waiting
	})()
	end := a.o.Control.Feed(ctx, r.Body, func(answer FeedAnswer) error { return out.write(answer) })
	_ = out.write(FeedAnswer{End: &end})
}

func (a *Admin) serveRefresh(w http.ResponseWriter, r *http.Request) {
	if err := a.o.Control.refresh(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *Admin) serveReload(w http.ResponseWriter, r *http.Request) {
	if a.o.Reload == nil {
		http.Error(w, "this gateway has no configuration to read again", http.StatusConflict)
		return
	}
	answer, err := a.o.Reload(r.Context())
	status := http.StatusInternalServerError
	if _, ok := errors.AsType[*ConfigurationError](err); ok {
		status = http.StatusUnprocessableEntity
	}
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	show(w, answer)
}

func (a *Admin) serveValidity(w http.ResponseWriter, _ *http.Request) {
	show(w, a.o.Control.Validity())
}

func (a *Admin) serveStatus(w http.ResponseWriter, _ *http.Request) { show(w, a.o.Status()) }

func show(w http.ResponseWriter, answer any) {
	b, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "the answer cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n'))
}

// ConfigurationError says that a configuration cannot be used. An Admin's Reload
// gives it, and nothing has changed.
type ConfigurationError struct{ Why string }

func (e *ConfigurationError) Error() string { return e.Why }
