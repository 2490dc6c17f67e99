package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// searched are digits that nobody may see, in every form in which they might be. A
// stream is looked at once, whatever their number: the last bytes of each form lead to
// it.
type searched struct {
	known [1 << 24 / 64]uint64 // one bit for the hash of the last bytes
	forms map[uint64][]form

	mu    sync.Mutex
	found []string // where, and in which form; never which digits
}

type form struct {
	name  string
	bytes []byte
}

// lastBytes is how many bytes lead to a form, and mostBytes the longest form.
const (
	lastBytes = 5
	mostBytes = 128
)

func (s *searched) add(digits string) {
	if s.forms == nil {
		s.forms = make(map[uint64][]form)
	}
	for _, f := range formsOf(digits) {
		key := uint64(0)
		for _, b := range f.bytes[len(f.bytes)-lastBytes:] {
			key = key<<8 | uint64(b)
		}
		word, bit := place(key)
		s.known[word] |= bit
		s.forms[key] = append(s.forms[key], f)
	}
}

// formsOf gives the forms of digits. The hexadecimal text of packed digits is the
// digits themselves, and UTF-16 of either order has the same in its middle. Packed
// digits that begin in the middle of a byte are found by the scan.
func formsOf(digits string) []form {
	ascii, bcd := []byte(digits), packed(digits[:len(digits)&^1]) // behind an odd number there may be anything
	wide := make([]byte, 2*len(ascii)-1)
	for i, c := range ascii {
		wide[2*i] = c
	}
	forms := []form{{"ASCII", ascii}, {"packed", bcd}, {"hexadecimal", []byte(hex.EncodeToString(ascii))}, {"UTF-16", wide}}
	for before := range 3 {
		forms = append(forms, form{"base64", inBase64(base64.RawStdEncoding, ascii, before)},
			form{"base64 of packed", inBase64(base64.RawStdEncoding, bcd, before)},
			form{"base64url of packed", inBase64(base64.RawURLEncoding, bcd, before)})
	}
	return forms
}

// inBase64 gives what base64 makes of bytes that come behind others, without the
// characters that the others, or those behind them, have a part in.
func inBase64(e *base64.Encoding, b []byte, before int) []byte {
	text := e.AppendEncode(nil, append(make([]byte, before), b...))
	return text[(8*before+5)/6 : (8*(before+len(b)))/6]
}

func place(key uint64) (word int, bit uint64) {
	h := key * 0x9e3779b97f4a7c15 >> (64 - 24)
	return int(h / 64), 1 << (h % 64)
}

// seen is a stream of which everything is looked at.
type seen struct {
	s     *searched
	where string
	mu    sync.Mutex
	tail  []byte // of what came before
	size  int64
}

// Write looks at the bytes, and at the same bytes shifted by half a byte.
func (r *seen) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append(bytes.Clone(r.tail), b...)
	r.s.look(all, len(r.tail), r.where)
	shifted := make([]byte, len(all))
	for i := 1; i < len(all); i++ {
		shifted[i] = all[i-1]<<4 | all[i]>>4
	}
	r.s.look(shifted, len(r.tail), r.where)
	r.tail = append(r.tail[:0], all[max(0, len(all)-mostBytes):]...)
	r.size += int64(len(b))
	return len(b), nil
}

// look looks for forms that end at or behind from. The race detector has nothing to
// find here.
//
//go:norace
func (s *searched) look(b []byte, from int, where string) {
	key := uint64(0)
	for i := max(0, from-lastBytes); i < len(b); i++ {
		key = (key<<8 | uint64(b[i])) & (1<<(8*lastBytes) - 1)
		if word, bit := place(key); s.known[word]&bit == 0 || i < from {
			continue
		}
		for _, f := range s.forms[key] {
			if bytes.HasSuffix(b[:i+1], f.bytes) {
				s.mu.Lock()
				s.found = append(s.found, where+": "+f.name)
				s.mu.Unlock()
			}
		}
	}
}

// stream begins to look at something.
func (s *searched) stream(where string) *seen { return &seen{s: s, where: where} }

// tree looks through all files below a folder.
func (s *searched) tree(dir string) (scanned, error) {
	return eachFile(dir, func(path string, copyTo func(io.Writer) error) error {
		return copyTo(s.stream("file " + filepath.Base(path)))
	})
}

// sorted gives what was found, each once.
func (s *searched) sorted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.found)
	return slices.Compact(s.found)
}

// TestR_TheSearchFinds is the control: every form, at many places, also across two
// writes, in files, and nothing in noise.
func TestR_TheSearchFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 5))
	secrets := []string{randomCard(random, 16), randomCard(random, 19), "271828182845", "0123456789012345678"}
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	for _, secret := range secrets {
		s := new(searched)
		s.add(secret)
		planted := map[string][]byte{
			"ASCII": []byte(secret), "packed": packed(secret), "packed, from the middle of a byte": packed("f" + secret + "f"),
			"hexadecimal": fmt.Appendf(nil, "%x", secret), "hexadecimal of packed": fmt.Appendf(nil, "%x", packed(secret)),
			"UTF-16LE": nil, "UTF-16BE": nil,
		}
		for _, c := range secret {
			planted["UTF-16LE"] = append(planted["UTF-16LE"], byte(c), 0)
			planted["UTF-16BE"] = append(planted["UTF-16BE"], 0, byte(c))
		}
		for before := range 3 {
			for name, e := range map[string]*base64.Encoding{"base64": base64.StdEncoding, "base64url": base64.RawURLEncoding} {
				planted[fmt.Sprintf("%s behind %d", name, before)] = e.AppendEncode(nil, slices.Concat(noise(before), []byte(secret), noise(2)))
				planted[fmt.Sprintf("%s of packed behind %d", name, before)] = e.AppendEncode(nil, slices.Concat(noise(before), packed(secret), noise(2)))
			}
		}
		for name, b := range planted {
			for range 20 {
				all := slices.Concat(noise(random.IntN(300)), b, noise(random.IntN(300)))
				at := random.IntN(len(all))
				r := s.stream(name)
				for _, part := range [][]byte{all[:at], all[at:]} {
					_, _ = r.Write(part)
				}
				if len(s.sorted()) == 0 {
					t.Fatalf("%d digits, %s: not found", len(secret), name)
				}
				s.found = nil
			}
			dir := t.TempDir()
			writeTest(t, filepath.Join(dir, "planted"), string(b))
			if _, err := s.tree(dir); err != nil || len(s.sorted()) == 0 {
				t.Fatalf("%d digits, %s: not found in a file, %v", len(secret), name, err)
			}
			s.found = nil
		}
		_, _ = s.stream("noise").Write(noise(1 << 20))
		if found := s.sorted(); len(found) != 0 {
			t.Errorf("in noise: %q", found)
		}
	}
}
