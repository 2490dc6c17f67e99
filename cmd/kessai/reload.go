package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"kessai/cache"
	"kessai/gateway"
)

func reloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running gateway read its configuration again",
		Example: `  kessai reload --config configs/kessai.yaml
  kessai reload --data /var/lib/kessai
  kill -HUP PID                                  the same; the gateway's log has the answer`,
		Long: `The gateway that runs on the data folder reads its configuration again, from the
file, flags and environment that it was started with. cache.mode,
cache.refresh_every, cache.max_age and log.level change while it runs, without a
moment in which nothing is answered. What else differs is named, and changes when
the gateway is started again. A configuration with a mistake changes nothing.`,
		Args: cobra.NoArgs,
	}
	load := addConfigFlags(cmd)
	cmd.RunE = action("reload", func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		text, err := gateway.AdminReload(cmd.Context(), l.adminSocket())
		if refused, ok := errors.AsType[*gateway.AdminRefused](err); ok && refused.Configuration() {
			return &exitError{exitConfig, "the gateway did not take its configuration", refused.Why,
				"correct it and reload again; the gateway runs on as before"}
		}
		if err != nil {
			return socketError("reload", err)
		}
		var answer reloaded
		if err := json.Unmarshal(text, &answer); err != nil {
			return err
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), answer)
		return err
	})
	return cmd
}

// socketError says why a command did not reach the gateway that it is for.
func socketError(what string, err error) error {
	what = "cannot ask the gateway for " + what
	if errors.Is(err, gateway.ErrNoGateway) {
		return &exitError{exitConnect, what, err.Error(),
			"name the data folder of a running gateway with --data or --config"}
	}
	return fail(what, err, "put right what it says and try again")
}

// reloaded is what came of reading the configuration again.
type reloaded struct {
	Changed []changed `json:"changed"` // in force now
	Restart []string  `json:"restart"` // settings that differ too, and need a restart
}

type changed struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
}

func (r reloaded) String() string {
	var b strings.Builder
	for _, c := range r.Changed {
		fmt.Fprintf(&b, "%s: %s -> %s\n", c.Key, c.From, c.To)
	}
	if len(r.Restart) > 0 {
		fmt.Fprintf(&b, "needs a restart: %s\n", strings.Join(r.Restart, ", "))
	}
	if b.Len() == 0 {
		return "nothing differs\n"
	}
	return b.String()
}

// reloader reads the configuration again while the gateway runs.
type reloader struct {
	again func() (*loaded, error)
	apply func(now, next *Config) error // puts the live settings of next in force but for the level, all of them or none
	log   *slog.Logger
	level *slog.LevelVar // of log

	mu      sync.Mutex // held by the one reload that runs
	inForce Config
}

// liveKeys are the settings that change while the gateway runs.
var liveKeys = map[string]bool{"cache.mode": true, "cache.refresh_every": true, "cache.max_age": true, "log.level": true}

// reload reads the configuration again, and puts in force what can be. On an
// error nothing has changed.
func (r *reloader) reload(context.Context) (answer reloaded, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	began := time.Now()
	l, err := r.again()
	if err != nil {
		err = &gateway.ConfigurationError{Why: err.Error()}
	} else {
		answer = compare(&r.inForce, &l.Config)
		err = r.apply(&r.inForce, &l.Config)
	}
	if err != nil {
		r.log.Error("the configuration was not reloaded", "error", err)
		return reloaded{}, err
	}
	r.inForce.Cache, r.inForce.Log.Level = l.Cache, l.Log.Level
	level, _ := parseLevel(l.Log.Level) // Validate has checked it
	r.level.Set(min(r.level.Level(), level, slog.LevelInfo))
	r.log.Info("the configuration was reloaded", "changed", answer.Changed, "restart", answer.Restart, "took", time.Since(began))
	r.level.Set(level)
	return answer, nil
}

// until reloads whenever the signal comes, until ctx ends.
func (r *reloader) until(ctx context.Context, hangUp <-chan os.Signal) {
	for {
		select {
		case <-hangUp:
			_, _ = r.reload(ctx) // the log has it
		case <-ctx.Done():
			return
		}
	}
}

// compare says which settings differ.
func compare(was, is *Config) reloaded {
	r := reloaded{Changed: []changed{}, Restart: []string{}}
	before := make(map[string]any)
	eachSetting(was, func(key string, v reflect.Value) { before[key] = v.Interface() })
	restart := func(key string) {
		if strings.HasPrefix(key, listenersKey) {
			key = listenersKey
		}
		if n := len(r.Restart); n == 0 || r.Restart[n-1] != key {
			r.Restart = append(r.Restart, key)
		}
	}
	eachSetting(is, func(key string, v reflect.Value) {
		old, there := before[key]
		delete(before, key)
		switch {
		case there && old == v.Interface():
		case liveKeys[key]:
			r.Changed = append(r.Changed, changed{key, shown(old), shown(v.Interface())})
		default:
			restart(key)
		}
	})
	if len(before) > 0 { // a listener fewer
		restart(listenersKey)
	}
	return r
}

// live puts the settings that need no restart in force.
func (b *builder) live(now, next *Config) error {
	if now.Cache.Mode != next.Cache.Mode {
		mode, _ := cache.ParseMode(next.Cache.Mode) // Validate has checked it
		if err := b.registry.SetMode(mode); err != nil {
			return fmt.Errorf("what mode %s needs cannot be read from the registry: %w", mode, err)
		}
	}
	_ = b.phones.rates.Reload() // where it fails the log says so, and the rates before stay
	b.refresher.set(next.Cache.RefreshEvery)
	b.engine.SetMaxAge(next.Cache.MaxAge)
	return nil
}
