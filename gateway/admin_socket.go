package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// maxAdminConnections bounds the callers that the admin socket serves at once;
// more of them wait in the kernel's queue.
const maxAdminConnections = 8

// maxSocketPath is the longest path that a Unix socket address holds on Linux,
// without its ending zero byte.
const maxSocketPath = 107

// ownerListener is a Unix socket that serves its owner and root only.
type ownerListener struct {
	*net.UnixListener
	path  string
	dir   *os.File // kept open while a long path is reached through it
	allow func(*net.UnixConn) error
	log   *slog.Logger
	slots chan struct{}
	gone  chan struct{}
	once  sync.Once
}

// listenOwner opens a socket with mode 0600 in a folder that nobody else can
// write to. Two gateways starting at once in one folder are kept apart by the
// lock on the store, which is taken first, not here.
func listenOwner(path string, log *slog.Logger) (*ownerListener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	} else if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("admin socket: others can write to the folder %s, so they could put their own socket there: run chmod 700 on it", dir)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	addr, folder, err := socketAddr(path)
	if err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", addr)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		if l != nil {
			_ = l.Close()
		}
		_ = folder.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	return &ownerListener{
		UnixListener: l, path: path, dir: folder, allow: peerIsOwner, log: log,
		slots: make(chan struct{}, maxAdminConnections), gone: make(chan struct{}),
	}, nil
}

// removeStale removes a socket on which nobody answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("admin socket: %s exists and is no socket: move it away", path)
	}
	c, err := dialSocket(path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("admin socket: another gateway answers on %s: stop it, or use another data folder", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("admin socket: cannot tell whether another gateway uses it: %w", err)
	}
	return os.Remove(path)
}

func dialSocket(path string) (net.Conn, error) {
	addr, folder, err := socketAddr(path)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	d := net.Dialer{Timeout: 5 * time.Second}
	return d.Dial("unix", addr.Name)
}

// Accept gives the next connection of somebody who may use the socket.
func (l *ownerListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.gone:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			<-l.slots
			return nil, err
		}
		if err := l.allow(c); err != nil {
			l.log.Warn("admin socket: caller refused", "error", err)
			_ = c.Close()
			continue
		}
		return &slottedConn{Conn: c, slots: l.slots}, nil
	}
}

// Close stops listening and removes the socket.
func (l *ownerListener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		close(l.gone)
		err = errors.Join(l.UnixListener.Close(), os.Remove(l.path), l.dir.Close())
	})
	return err
}

// slottedConn gives its place back when it is closed.
type slottedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *slottedConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.Conn.Close()
		<-c.slots
	})
	return err
}
