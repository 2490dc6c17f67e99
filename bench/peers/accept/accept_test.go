package accept

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

// TestEnd: all connections end together, for either reason.
func TestEnd(t *testing.T) {
	broken := errors.New("broken")
	for name, want := range map[string]error{"when asked to": nil, "when one fails for all": broken} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			end := make(chan error, 1)
			go func() {
				end <- Each(ctx, l, func(c net.Conn) error {
					_, _ = c.Write([]byte("."))
					if _, err := c.Read(make([]byte, 1)); err == nil {
						return broken
					}
					return nil
				})
			}()
			var all [3]net.Conn
			for i := range all {
				if all[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
					t.Fatal(err)
				}
				defer all[i].Close()
				if _, err := io.ReadFull(all[i], make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			if want == nil {
				cancel()
			} else if _, err := all[0].Write([]byte("!")); err != nil {
				t.Fatal(err)
			}
			if err := <-end; !errors.Is(err, want) {
				t.Errorf("it ended with %v, want %v", err, want)
			}
			for _, c := range all {
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("a connection is still open")
				}
			}
			if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
				t.Error("it still listens")
			}
		})
	}
}

// TestTooMany: one connection more than there may be is closed at once.
func TestTooMany(t *testing.T) {
	l := make(listener)
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { end <- Each(ctx, l, func(c net.Conn) error { _, _ = c.Read(make([]byte, 1)); return nil }) }()
	for range MaxConnections {
		_, there := net.Pipe()
		l <- there
	}
	here, there := net.Pipe()
	l <- there
	if _, err := here.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("one too many was told %v", err)
	}
	cancel()
	close(l)
	if err := <-end; err != nil {
		t.Error(err)
	}
}

// listener accepts what is sent to it.
type listener chan net.Conn

func (l listener) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (listener) Close() error   { return nil }
func (listener) Addr() net.Addr { return &net.TCPAddr{} }
