package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kessai"
)

// secretKey gives the key that a pair of settings stands for: the key itself (in
// hexadecimal), the file that holds it, or, where both are empty, the file of
// that name in the data folder, which is made when it is missing.
func (c *Config) secretKey(setting, name string, key kessai.Secret, file string) ([]byte, error) {
	if key != "" {
		return decodeKey(key)
	}
	if file != "" {
		b, err := readKey(file)
		if err != nil {
			return nil, &exitError{exitConfig, "cannot use the key file " + file, plainPath(err),
				"put at least 32 random bytes in hexadecimal into it, readable by its owner only, or correct " + setting + "_file"}
		}
		return b, nil
	}
	path := filepath.Join(c.Data, "keys", name)
	b, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = makeKey(path)
	}
	if err != nil {
		return nil, &exitError{exitConfig, "cannot use the key file " + path, plainPath(err),
			"restore it from a backup: with another key the registry beside it is of no use"}
	}
	return b, nil
}

// readKey reads a key file. Its errors never show any of its content.
func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others than its owner may open it (mode %04o; chmod 600 puts it right)", info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return decodeKey(kessai.Secret(strings.TrimSpace(string(b))))
}

// makeKey makes a new random key and has it on disk, folder entry and all,
// before it is used: what is hashed with it is worth nothing without it.
func makeKey(path string) ([]byte, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key := make([]byte, kessai.MinKeyBytes)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	if err := writeFile(path, []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil {
		return nil, err
	}
	return key, nil
}

// writeFile writes a file all at once: a reader sees it whole or not at all, and
// after a return without an error it outlives a power cut.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails, as it should, once the file has its name
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
