package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeysGoWithTheirRegistry starts on a registry with other keys than it was
// made with, or with none, which is refused before anything is done with them.
func TestKeysGoWithTheirRegistry(t *testing.T) {
	dir := t.TempDir()
	l, err := settings{environ: []string{"KESSAI_DATA=" + dir}}.load()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	open := func() error {
		s, err := openStores(&l.Config, slog.New(slog.NewTextHandler(&log, nil)), nil)
		if err == nil {
			err = s.close()
		}
		return err
	}
	if err := errors.Join(open(), open()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pan.key", "api.key", "purse.key"} {
		path := filepath.Join(dir, "keys", name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		refused := func(how string) {
			t.Helper()
			var e *exitError
			if err := open(); !errors.As(err, &e) || e.code != exitConfig || strings.Contains(err.Error(), string(good[:32])) {
				t.Errorf("%s %s: %v", name, how, err)
			}
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte("ab"), 32), 0o600); err != nil {
			t.Fatal(err)
		}
		refused("replaced")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		refused("gone")
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was made anew", name)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(); err != nil {
		t.Fatalf("with its own keys again: %v", err)
	}
}
