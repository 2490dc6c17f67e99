package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"kessai/cache"
	"kessai/gateway"
)

// What happens to a gateway while it is under load. None of it concerns those who
// pay: their answers must not change.

const (
	stirPause = 100 * time.Millisecond // between two refreshes, or two modes
	feedPause = 2 * time.Millisecond   // between two changes
)

func (g *ground) socket() string { return filepath.Join(g.data, "admin.sock") }

// refreshing has the whole registry read anew, again and again.
func (g *ground) refreshing(ctx context.Context, s *stir) error {
	// One that has begun is waited for, or it would go on into the next phase.
	whole := context.WithoutCancel(ctx)
	return s.again(ctx, stirPause, func(int) error { return gateway.AdminRefresh(whole, g.socket()) })
}

// changingModes goes from mode to mode. The quick ones come first: a phase that is
// short has one of them.
func (g *ground) changingModes(ctx context.Context, s *stir) error {
	all := []cache.Mode{cache.TerminalsOnly, cache.Filter, cache.MediaOnly, cache.Both}
	whole := context.WithoutCancel(ctx)
	return s.again(ctx, stirPause, func(n int) error { return g.toMode(whole, all[n%len(all)]) })
}

// toMode has the gateway that runs go to another mode.
func (g *ground) toMode(ctx context.Context, mode cache.Mode) error {
	if err := g.setMode(mode); err != nil {
		return err
	}
	_, err := gateway.AdminReload(ctx, g.socket())
	return err
}

// feeding sends a stream of changes of media, each when the one before is
// acknowledged: lost ones are reported stolen, and then lost again. Nobody pays
// with them, and in the end they are what they were.
func (v *validator) feeding(g *ground) func(context.Context, *stir) error {
	return func(ctx context.Context, s *stir) error {
		in, out := io.Pipe()
		answers := make(chan gateway.FeedAnswer)
		ended := make(chan error, 1)
		go func() {
			defer close(answers)
			ended <- gateway.AdminFeed(context.WithoutCancel(ctx), g.socket(), in, func(a gateway.FeedAnswer) error {
				answers <- a
				return nil
			})
		}()
		made := 0
		change := func(n int) error {
			pan, status := v.who.Valid().PAN(v.who.Lost(n/2)), []string{"stolen", "lost"}[n%2]
			if _, err := fmt.Fprintf(out, `{"medium":{"pan":%q,"status":%q}}`+"\n", pan, status); err != nil {
				return err
			}
			if a, ok := <-answers; !ok || a.Error != "" {
				return fmt.Errorf("change %d was not taken: %s", n+1, a.Error)
			}
			made = n + 1
			return nil
		}
		err := s.again(ctx, feedPause, change)
		if err == nil && made%2 == 1 {
			err = change(made)
		}
		err = errors.Join(err, out.Close())
		for range answers { // the last one has the numbers
		}
		return errors.Join(err, <-ended)
	}
}
