package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// ErrNoGateway says that nobody answers on the admin socket: no gateway runs on
// that data folder.
var ErrNoGateway = errors.New("no gateway answers on the admin socket")

// maxAdminLine bounds one line of an answer.
const maxAdminLine = 1 << 20

// AdminRefused says that the gateway answered, and did not do what it was asked.
type AdminRefused struct {
	Status int // of HTTP
	Why    string
}

// Configuration reports whether it was for a mistake in the configuration.
func (e *AdminRefused) Configuration() bool { return e.Status == http.StatusUnprocessableEntity }

func (e *AdminRefused) Error() string {
	return fmt.Sprintf("the gateway refused (HTTP %d): %s", e.Status, e.Why)
}

// AdminImport has the gateway behind the socket import a file, and gives the
// summary that its Import function made, as JSON. An error that wraps
// [ErrNoGateway] means that no gateway runs there; any other that the import
// failed or was cut off. It may be repeated without harm.
func AdminImport(ctx context.Context, socket, name string, r io.Reader, progress Progress) (json.RawMessage, error) {
	return adminSend(ctx, socket, "/import?name="+url.QueryEscape(name), r, progress)
}

// AdminChanges has the gateway behind the socket apply a file of changes, as
// [Control.Changes] does. Errors are those of [AdminImport], or a [*LineFault].
func AdminChanges(ctx context.Context, socket string, skipBad bool, r io.Reader, progress Progress) (done Changed, err error) {
	path := "/changes"
	if skipBad {
		path += "?skip_bad=1"
	}
	summary, err := adminSend(ctx, socket, path, r, progress)
	if err != nil {
		return Changed{}, err
	}
	return done, json.Unmarshal(summary, &done)
}

// adminSend sends a file, and gives what its summary says.
func adminSend(ctx context.Context, socket, path string, r io.Reader, progress Progress) (json.RawMessage, error) {
	res, err := adminCall(ctx, http.MethodPost, socket, path, r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxAdminLine)
	for lines.Scan() {
		var line adminLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		switch {
		case line.Fault != nil:
			return nil, line.Fault
		case line.Error != "":
			return nil, errors.New(line.Error)
		case line.Summary != nil:
			return line.Summary, nil
		case progress != nil:
			progress(line.What, line.Done, line.Total)
		}
	}
	return nil, errors.Join(errors.New("the gateway ended the connection before it was done: send the file again"), lines.Err())
}

// AdminFeed sends a stream of changes to the gateway behind the socket, and gives
// every answer to answer, up to the last, which has End. An error after the first
// answer means that the connection broke off: what was not answered may be in
// force or not, and may be sent again without harm.
func AdminFeed(ctx context.Context, socket string, r io.Reader, answer func(FeedAnswer) error) error {
	res, err := adminCall(ctx, http.MethodPost, socket, "/feed", r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxAdminLine)
	for lines.Scan() {
		var a FeedAnswer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		if err := answer(a); err != nil || a.End != nil {
			return err
		}
	}
	return errors.Join(errors.New("the gateway ended the connection"), lines.Err())
}

// AdminReload has the gateway behind the socket read its configuration again, and
// gives its answer, as JSON. An [*AdminRefused] means that nothing changed.
func AdminReload(ctx context.Context, socket string) (json.RawMessage, error) {
	return adminAsk(ctx, http.MethodPost, socket, "/reload", nil)
}

// AdminRefresh has the gateway behind the socket load its cache.
func AdminRefresh(ctx context.Context, socket string) error {
	res, err := adminCall(ctx, http.MethodPost, socket, "/refresh", nil)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// AdminStatus gives what the gateway behind the socket says of itself, as JSON.
func AdminStatus(ctx context.Context, socket string) (json.RawMessage, error) {
	return adminAsk(ctx, http.MethodGet, socket, "/status", nil)
}

// AdminValidity gives what the gateway behind the socket judges by.
func AdminValidity(ctx context.Context, socket string) (v Validity, err error) {
	b, err := adminAsk(ctx, http.MethodGet, socket, "/validity", nil)
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(b, &v)
}

func adminAsk(ctx context.Context, method, socket, path string, body io.Reader) (json.RawMessage, error) {
	res, err := adminCall(ctx, method, socket, path, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(io.LimitReader(res.Body, maxAdminLine))
}

// adminCall makes one call, and turns an answer that is none into an error.
func adminCall(ctx context.Context, method, socket, path string, body io.Reader) (*http.Response, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return dialSocket(socket) },
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, body)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w %s", ErrNoGateway, socket)
	}
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", socket, err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	return nil, &AdminRefused{res.StatusCode, strings.TrimSpace(string(why))}
}
