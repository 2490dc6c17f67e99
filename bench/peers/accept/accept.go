// Package accept takes connections and ends them together.
//
// What it is for: the loop that every server among the peers has. What it is not
// for: the gateway, whose listeners have more to say when they refuse. Start
// reading with [Each].
package accept

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// MaxConnections is how many connections there may be at once. One more is closed
// as soon as it is accepted.
const MaxConnections = 1024

// Each has converse talk on every connection that l accepts, each in a goroutine
// of its own, until ctx is done; then it gives nil. An error of converse is one
// that concerns everybody: it ends the others too, and is given. Each closes l and
// all connections, and waits for converse to return.
func Each(ctx context.Context, l net.Listener, converse func(net.Conn) error) error {
	inner, fail := context.WithCancelCause(ctx)
	context.AfterFunc(inner, func() { _ = l.Close() })
	var all sync.WaitGroup
	defer func() {
		fail(nil)
		_ = l.Close()
		all.Wait()
	}()
	slots := make(chan struct{}, MaxConnections)
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case inner.Err() != nil:
			return context.Cause(inner)
		default:
			return fmt.Errorf("accept a connection: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		all.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			defer context.AfterFunc(inner, func() { _ = c.Close() })()
			if err := converse(c); err != nil {
				fail(err)
			}
		})
	}
}
