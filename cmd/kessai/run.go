package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kessai/authz/keys"
	"kessai/gateway"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Example: `  kessai serve --config configs/kessai.yaml
  KESSAI_DATA=/var/lib/kessai kessai serve --http :8080
  kessai serve --set 'iso.listeners=[{address: ":8583", framing: ascii4}]' --set log.format=text`,
		Long: `Runs the gateway until SIGTERM or SIGINT, which let it finish: readiness drops,
no new work is taken, what is in flight ends, and the book closes. A second
signal ends it at once. SIGHUP and kessai reload read the configuration again.
configs/kessai.yaml explains every setting.`,
		Args: cobra.NoArgs,
	}
	load := addConfigFlags(cmd)
	cmd.Flags().String("http", "", "`ADDRESS` of the JSON API: sets http.address")
	readyPath := cmd.Flags().String("ready", "", "once everything answers, write the addresses to `FILE` as JSON")
	cmd.RunE = action("run the gateway", func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		// From now on it ends nothing any more, however early it comes.
		hangUp := make(chan os.Signal, 1)
		signal.Notify(hangUp, syscall.SIGHUP)
		log, level := newLiveLogger(cmd.ErrOrStderr(), l.Log)
		if err := keys.HardenProcess(); err != nil {
			log.Warn("the system may write this process's memory to a file, keys and all, where it crashes", "error", err)
		}
		return run(cmd.Context(), &l.Config, surroundings{
			log: log, level: level, listen: net.Listen, progress: progressBar(cmd.ErrOrStderr()),
			again: load, hangUp: hangUp,
			ready: func(a addresses) error { return readyFile{a.HTTP, a.ISO, l.Data}.writeTo(*readyPath) },
		})
	})
	return cmd
}

// surroundings is what a gateway needs of the world beside its configuration.
type surroundings struct {
	log      *slog.Logger
	listen   func(network, address string) (net.Listener, error)
	progress gateway.Progress // told of long work at the start; may be nil

	level  *slog.LevelVar          // of log; needed where again is given
	again  func() (*loaded, error) // reads the configuration again; nil: it cannot be
	hangUp <-chan os.Signal        // asks for that; may be nil

	floor   *gateway.FloorOptions // the demo's shop floor; nil: there is none
	prepare func(*stores) error   // does something to the stores before anyone can ask; may be nil
	ready   func(addresses) error // told once everybody can ask; may be nil
}

// addresses are those that were really bound.
type addresses struct {
	HTTP string
	ISO  []string
}

// run builds the whole, serves until ctx ends or the book fails, and takes it
// down again in the opposite order. Its errors are of type *exitError.
func run(ctx context.Context, c *Config, around surroundings) (err error) {
	s, err := openStores(c, around.log, around.progress)
	if err != nil {
		return err
	}
	defer func() {
		if s.book.Err() != nil {
			return // a store that cannot write does not close either: it would try for ever
		}
		if cerr := s.close(); cerr != nil && err == nil {
			err = fail("the store in "+c.Data+" did not close cleanly", cerr, "run kessai verify --data "+c.Data)
		}
	}()
	if around.prepare != nil {
		if err := around.prepare(s); err != nil {
			return err
		}
	}
	h, err := build(c, s, around)
	if err != nil {
		return err
	}
	return h.serve(ctx, c, s, around)
}

// serve answers until ctx ends, the book fails or a listener does, and then
// takes everything down.
func (h *house) serve(ctx context.Context, c *Config, s *stores, around surroundings) error {
	failed := make(chan error, len(h.iso)+2) // one place for each that serves
	var serving sync.WaitGroup
	start := func(serve func() error) {
		serving.Go(func() {
			if err := serve(); err != nil {
				failed <- err
			}
		})
	}
	start(func() error { return h.http.Serve(h.httpListener) })
	start(h.admin.Serve)
	for i, server := range h.iso {
		start(func() error { return server.Serve(h.isoListeners[i]) })
	}
	hearing, deaf := context.WithCancel(ctx)
	defer deaf()
	serving.Go(func() { h.refresher.until(hearing) })
	serving.Go(func() { s.phones.rates.Follow(hearing) })
	if h.reloader != nil {
		serving.Go(func() { h.reloader.until(hearing, around.hangUp) })
	}
	a := h.bound()
	around.log.Info("ready", "http", a.HTTP, "iso", a.ISO, "data", c.Data)

	var end error
	if around.ready != nil {
		end = around.ready(a)
	}
	patience := c.Shutdown.Timeout
	if end == nil {
		select {
		case <-ctx.Done():
			around.log.Info("shutting down: what is in flight ends", "timeout", patience)
		case err := <-failed:
			end = &exitError{exitFailed, "a listener failed", err.Error(), "start the gateway again"}
		case <-s.book.Failed():
			end = &exitError{exitStore, "the book in " + c.Data + " cannot write", s.book.Err().Error(),
				"see to the disk (space, health, mount), then start the gateway again: it goes on from what is on disk"}
			around.log.Error("stopping at once", "error", end)
			patience = time.Second // nothing in flight can still succeed
		}
	}
	deaf()
	err := h.drain(patience)
	serving.Wait()
	if end == nil && err != nil {
		end = fail("not everything in flight could end", err, "allow more time with the setting shutdown.timeout")
	}
	around.log.Info("stopped")
	return end
}

// drain has everything in flight answered, all listeners at once. Readiness
// drops first, and payments are refused from then on.
func (h *house) drain(patience time.Duration) error {
	h.http.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ends := []func(context.Context) error{h.http.Shutdown, h.admin.Shutdown}
	for _, server := range h.iso {
		ends = append(ends, server.Shutdown)
	}
	errs := make([]error, len(ends))
	var ending sync.WaitGroup
	for i, end := range ends {
		ending.Go(func() { errs[i] = end(ctx) })
	}
	ending.Wait()
	h.engine.CloseReaders() // nobody can use a key any more
	return errors.Join(errs...)
}
