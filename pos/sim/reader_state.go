package sim

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// readerState is what a reader keeps when it is switched off: its name, its own key, and
// the gateway that it trusts. Nothing of a card or a payment.
type readerState struct {
	name    string
	key     ed25519.PrivateKey
	gateway ed25519.PublicKey // nil: it is not enrolled
}

// readerFile is the form of the file.
type readerFile struct {
	Name    string `json:"name,omitempty"`
	Seed    []byte `json:"seed"` // of the reader's key (RFC 8032)
	Gateway []byte `json:"gateway,omitempty"`
}

// load reads the file, or makes a new key.
func (s *readerState) load(path string) error {
	if path != "" {
		b, err := os.ReadFile(path)
		if err == nil {
			return s.parse(path, b)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	s.key = key
	return nil
}

func (s *readerState) parse(path string, b []byte) error {
	var f readerFile
	if err := json.Unmarshal(b, &f); err != nil || len(f.Seed) != ed25519.SeedSize ||
		len(f.Gateway) != 0 && len(f.Gateway) != ed25519.PublicKeySize {
		return fmt.Errorf("%s is not the state of a card reader", path)
	}
	s.name, s.key = f.Name, ed25519.NewKeyFromSeed(f.Seed)
	if len(f.Gateway) > 0 {
		s.gateway = f.Gateway
	}
	return nil
}

// trust keeps a gateway's key.
func (s *readerState) trust(path string, gateway ed25519.PublicKey) error {
	if len(gateway) != ed25519.PublicKeySize {
		return errors.New("a gateway's key for readers has 32 bytes")
	}
	old := s.gateway
	s.gateway = gateway
	err := s.save(path)
	if err != nil {
		s.gateway = old
	}
	return err
}

// save writes the file beside the old one and puts it in its place, for its owner
// alone.
func (s *readerState) save(path string) error {
	if path == "" {
		return nil
	}
	b, err := json.Marshal(readerFile{Name: s.name, Seed: s.key.Seed(), Gateway: s.gateway})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
