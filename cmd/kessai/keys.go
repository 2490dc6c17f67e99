package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
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
		if _, made := os.Stat(keyCheckPath(c.Data, name)); made == nil {
			err = errors.New("it is missing, though the data folder was filled with one")
		} else {
			b, err = makeKey(path)
		}
	}
	if err != nil {
		return nil, &exitError{exitConfig, "cannot use the key file " + path, plainPath(err),
			"restore it from a backup: with another key what it was used for is of no use"}
	}
	return b, nil
}

const purseKeyName = "purse.key"

// keys gives the keys of the data folder: those that card numbers and API keys
// are hashed with, and the one that the media's own are derived from.
func (c *Config) keys() (pan, api, master []byte, err error) {
	for _, k := range []struct {
		into    *[]byte
		setting string
		name    string
		key     kessai.Secret
		file    string
	}{
		{&pan, "keys.pan", "pan.key", c.Keys.PAN, c.Keys.PANFile},
		{&api, "keys.api", "api.key", c.Keys.API, c.Keys.APIFile},
		{&master, "keys.purse", purseKeyName, c.Keys.Purse, c.Keys.PurseFile},
	} {
		if *k.into, err = c.secretKey(k.setting, k.name, k.key, k.file); err != nil {
			return nil, nil, nil, err
		}
	}
	if err = checkKeys(c.Data, pan, api); err == nil {
		err = checkPurseKey(c.Data, master)
	}
	return pan, api, master, err
}

// keyCheckPath gives the file that tells whether a key is the data folder's own.
// The purse key and the phone key have one each for themselves: folders from before
// there were purses or phones have none, and get a key on their next start.
func keyCheckPath(data, name string) string {
	switch name {
	case purseKeyName:
		return filepath.Join(data, "registry", "purse.check")
	case phoneKeyName:
		return filepath.Join(data, "registry", "phone.check")
	}
	return filepath.Join(data, "registry", "keys.check")
}

// checkKeys makes sure that these are the keys that the registry was made with.
// With others every card would be unknown and every API key wrong, and what is
// imported would be of no use once the right ones are back.
func checkKeys(data string, pan, api []byte) error {
	mac := hmac.New(sha256.New, pan)
	mac.Write([]byte("kessai key check"))
	mac.Write(hmac.New(sha256.New, api).Sum(nil))
	return keepCheck(keyCheckPath(data, ""), mac.Sum(nil), &exitError{exitConfig, "these are not the keys of the registry in " + data,
		"the check that was kept when it was made is another",
		"give the keys (keys.pan_file, keys.api_file, or " + filepath.Join(data, "keys") + ") that it was made with"})
}

// checkPurseKey makes sure that this is the key that the media were written
// with. With another, every one of them would be refused as forged.
func checkPurseKey(data string, key []byte) error {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("kessai purse key check"))
	return keepCheck(keyCheckPath(data, purseKeyName), mac.Sum(nil), &exitError{exitConfig, "this is not the purse key of the media of " + data,
		"the check that was kept when the first was written is another",
		"give the key (keys.purse_file, or " + filepath.Join(data, "keys", purseKeyName) + ") that they were written with"})
}

// checkPhoneKey makes sure that this is the key that the evidence of customers'
// agreement was sealed with. With another, none of it could be checked.
func checkPhoneKey(data string, key []byte) error {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("kessai phone key check"))
	return keepCheck(keyCheckPath(data, phoneKeyName), mac.Sum(nil), &exitError{exitConfig, "this is not the phone key of the evidence in " + data,
		"the check that was kept when it was first used is another",
		"give the key (keys.phone_file, or " + filepath.Join(data, "keys", phoneKeyName) + ") that it was sealed with"})
}

// keepCheck compares a digest to the one that is kept in a file, or keeps it
// there where there is none yet. It gives no key away.
func keepCheck(path string, digest []byte, other *exitError) error {
	check := hex.EncodeToString(digest)
	was, err := os.ReadFile(path)
	switch {
	case err == nil && strings.TrimSpace(string(was)) == check:
		return nil
	case err == nil:
		return other
	case errors.Is(err, fs.ErrNotExist):
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = writeFile(path, []byte(check+"\n"), 0o600)
		}
	}
	if err != nil {
		return &exitError{exitConfig, "cannot keep the check of the keys in " + path, plainPath(err), "see to the folder's permissions and its disk"}
	}
	return nil
}

// adminKey gives the key of the admin API over HTTP; nothing where there is to
// be none. It is never made by itself: whoever wants that door opens it.
func (c *Config) adminKey() (kessai.Secret, error) {
	key := c.Keys.Admin
	if c.Keys.AdminFile != "" {
		b, err := readOwn(c.Keys.AdminFile)
		key = kessai.Secret(strings.TrimSpace(string(b)))
		if err == nil {
			err = checkAdminKey(key)
		}
		if err != nil {
			return "", &exitError{exitConfig, "cannot use the key file " + c.Keys.AdminFile, plainPath(err),
				"put a key into it, readable by its owner only, or correct keys.admin_file"}
		}
	}
	return key, nil
}

const minAdminKey, maxAdminKey = 32, 128

func checkAdminKey(key kessai.Secret) error {
	odd := strings.ContainsFunc(key.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' })
	if n := len(key.Reveal()); n < minAdminKey || n > maxAdminKey || odd {
		return fmt.Errorf("must be %d to %d characters of printable ASCII without spaces", minAdminKey, maxAdminKey)
	}
	return nil
}

// readKey reads a key file. Its errors never show any of its content.
func readKey(path string) ([]byte, error) {
	b, err := readOwn(path)
	if err != nil {
		return nil, err
	}
	return decodeKey(kessai.Secret(strings.TrimSpace(string(b))))
}

// readOwn reads a file that nobody but its owner may open.
func readOwn(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others than its owner may open it (mode %04o; chmod 600 puts it right)", info.Mode().Perm())
	}
	return os.ReadFile(path)
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
