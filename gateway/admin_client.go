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

// AdminImport has the gateway behind the socket import a file, and gives the
// summary that its Import function made, as JSON. An error that wraps
// [ErrNoGateway] means that no gateway runs there; any other that the import
// failed or was cut off. It may be repeated without harm.
func AdminImport(ctx context.Context, socket, name string, r io.Reader, progress Progress) (json.RawMessage, error) {
	res, err := adminCall(ctx, http.MethodPost, socket, "/import?name="+url.QueryEscape(name), r)
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
		case line.Error != "":
			return nil, errors.New(line.Error)
		case line.Summary != nil:
			return line.Summary, nil
		case progress != nil:
			progress(line.What, line.Done, line.Total)
		}
	}
	return nil, errors.Join(errors.New("the gateway ended the connection before the import was done: import the file again"), lines.Err())
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
	res, err := adminCall(ctx, http.MethodGet, socket, "/status", nil)
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
	return nil, fmt.Errorf("the gateway refused (HTTP %d): %s", res.StatusCode, strings.TrimSpace(string(why)))
}
