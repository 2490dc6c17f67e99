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

// TestAdminKeyComesFromItsFile: one that others can read, or that is too short, is
// none, and without a setting none is made.
func TestAdminKeyComesFromItsFile(t *testing.T) {
	dir := t.TempDir()
	c := &Config{Data: dir}
	if key, err := c.adminKey(); err != nil || key != "" {
		t.Errorf("without a setting: %v, %v", key != "", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "keys")); err == nil {
		t.Error("a key was made")
	}
	c.Keys.AdminFile = filepath.Join(dir, "admin.key")
	for content, fine := range map[string]bool{
		strings.Repeat("k", 32) + "\n": true, strings.Repeat("k", 128): true,
		strings.Repeat("k", 31): false, strings.Repeat("k", 129): false, strings.Repeat("k k", 20): false, strings.Repeat("é", 20): false, "": false,
	} {
		writeTest(t, c.Keys.AdminFile, content)
		key, err := c.adminKey()
		if (err == nil) != fine || fine && key.Reveal() != strings.TrimSpace(content) {
			t.Errorf("a key of %d bytes: %v", len(content), err)
		}
		if err != nil && content != "" && strings.Contains(err.Error(), content) {
			t.Error("the error shows the key")
		}
	}
	writeTest(t, c.Keys.AdminFile, strings.Repeat("k", 40))
	if err := os.Chmod(c.Keys.AdminFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.adminKey(); err == nil {
		t.Error("a key that others can read was used")
	}
}
