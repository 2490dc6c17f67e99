package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// panSet is a set of card numbers. It tells at once of nearly every number that
// is not in it, so that a scan asks for each place in a file.
type panSet struct {
	numbers map[int]map[uint64]bool // by number of digits
	maybe   []uint64                // one bit for the hash of each
}

const maybeBits = 1 << 23

func newPANSet() *panSet {
	return &panSet{make(map[int]map[uint64]bool), make([]uint64, maybeBits/64)}
}

//go:norace
func maybeBit(v uint64) (word int, bit uint64) {
	h := v * 0x9e3779b97f4a7c15 >> (64 - 23)
	return int(h / 64), 1 << (h % 64)
}

func (s *panSet) add(number string) {
	v, err := strconv.ParseUint(number, 10, 64) // 19 digits fit
	if err != nil {
		panic("not made of digits")
	}
	n := len(number)
	if s.numbers[n] == nil {
		s.numbers[n] = make(map[uint64]bool)
	}
	s.numbers[n][v] = true
	word, bit := maybeBit(v)
	s.maybe[word] |= bit
}

func (s *panSet) size() (n int) {
	for _, numbers := range s.numbers {
		n += len(numbers)
	}
	return n
}

// digits are the last decimal digits of a stream without a gap.
type digits struct {
	run  int
	last uint64 // of at most 19 digits
}

var powers = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// next takes in one more digit and gives the number of digits of a card number
// that ends with it, or zero.
//
//go:norace
func (d *digits) next(v byte, s *panSet, lengths []int) int {
	if d.run++; d.run > 19 {
		d.last %= powers[18]
	}
	if d.last = d.last*10 + uint64(v); d.last == 0 {
		return 0
	}
	for _, n := range lengths {
		if d.run < n {
			continue
		}
		tail := d.last % powers[n]
		if word, bit := maybeBit(tail); s.maybe[word]&bit != 0 && s.numbers[n][tail] {
			return n
		}
	}
	return 0
}

// panScanner looks for card numbers in what is written to it: as ASCII digits,
// packed (BCD, from either half of a byte), and as the hexadecimal text of ASCII
// digits. (The hexadecimal text of packed digits is the digits themselves.) It
// keeps nothing but the last few digits, so that a stream may be of any length
// and a number may lie across two writes.
type panScanner struct {
	set     *panSet
	lengths []int
	ascii   digits
	packed  digits
	hex     [2]digits // by whether a byte of hexadecimal text begins at an even place
	three   bool      // the byte before was '3', which begins an ASCII digit
	at      int64
	found   string // where the first one was, and in which form; never which
}

func newPANScanner(s *panSet) *panScanner {
	p := &panScanner{set: s}
	for n := range s.numbers {
		p.lengths = append(p.lengths, n)
	}
	return p
}

// quiet is how many zero bytes in a row bring the scanner into a state that more
// of them do not change.
const quiet = 32

var zeros [64 << 10]byte

func (p *panScanner) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		piece := b[:min(len(b), len(zeros))]
		b = b[len(piece):]
		if bytes.Equal(piece, zeros[:len(piece)]) && len(piece) > quiet { // stores make room in advance
			p.at += int64(len(piece) - quiet)
			piece = piece[:quiet]
		}
		for _, c := range piece {
			p.next(c)
		}
	}
	return n, nil
}

// next takes in one more byte. The race detector has nothing to find here, and
// would make the search of some hundred megabytes take minutes.
//
//go:norace
func (p *panScanner) next(c byte) {
	p.at++
	p.half(c >> 4)
	p.half(c & 15)
	digit := c - '0'
	if digit > 9 {
		p.ascii = digits{}
		p.hex = [2]digits{}
		p.three = false
		return
	}
	p.hit(p.ascii.next(digit, p.set, p.lengths), "ASCII digits")
	// c may be the second half of a digit in hexadecimal text, whose first half is
	// always '3'. The places of the other alignment are not touched.
	side := &p.hex[p.at&1]
	if p.three {
		p.hit(side.next(digit, p.set, p.lengths), "hexadecimal text")
	} else {
		*side = digits{}
	}
	p.three = c == '3'
}

//go:norace
func (p *panScanner) half(v byte) {
	if v > 9 {
		p.packed = digits{}
		return
	}
	p.hit(p.packed.next(v, p.set, p.lengths), "packed digits")
}

//go:norace
func (p *panScanner) hit(n int, form string) {
	if n > 0 && p.found == "" {
		p.found = fmt.Sprintf("a card number of %d %s ends at byte %d", n, form, p.at)
	}
}

// scan says where the first card number in b is, or nothing.
func scan(b []byte, s *panSet) string {
	p := newPANScanner(s)
	_, _ = p.Write(b)
	return p.found
}

// scanned is what a scan went through.
type scanned struct {
	files int
	bytes int64
}

// scanTree looks through all files below a folder.
func scanTree(dir string, s *panSet) (did scanned, err error) {
	return eachFile(dir, func(path string, copyTo func(io.Writer) error) error {
		p := newPANScanner(s)
		err := copyTo(p)
		if err == nil && p.found != "" {
			err = fmt.Errorf("%s: %s", path, p.found)
		}
		return err
	})
}

// eachFile has look see every file below a folder, in large pieces.
func eachFile(dir string, look func(path string, copyTo func(io.Writer) error) error) (did scanned, err error) {
	buf := make([]byte, len(zeros))
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return look(path, func(w io.Writer) error {
			// The wrappers hide both sides' own ways of copying, which would take small pieces.
			n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, buf)
			did.files, did.bytes = did.files+1, did.bytes+n
			return err
		})
	})
	return did, err
}

// TestSecrets_ScannerFindsWhatIsThere is the control of the tests that find no
// card number: in each form, at many places, across the scanner's pieces.
func TestSecrets_ScannerFindsWhatIsThere(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	s := newPANSet()
	var numbers []string
	for i := range 3000 {
		n := randomCard(random, []int{13, 16, 19}[i%3])
		numbers = append(numbers, n)
		s.add(n)
	}
	forms := map[string]func(n string) []byte{
		"ASCII":               func(n string) []byte { return []byte(n) },
		"ASCII among digits":  func(n string) []byte { return []byte("00" + n + "17") },
		"packed, left":        func(n string) []byte { return packed(n + "f") },
		"packed, right":       func(n string) []byte { return packed("f" + n) },
		"packed among digits": func(n string) []byte { return packed("2" + n + "4711") },
		"hexadecimal":         func(n string) []byte { return fmt.Appendf(nil, "%x", n) },
		"hexadecimal of BCD":  func(n string) []byte { return fmt.Appendf(nil, "%x", packed(n+"f")) },
		"hexadecimal, odd":    func(n string) []byte { return fmt.Appendf(nil, "3%x", n) },
	}
	for name, form := range forms {
		var content []byte
		for i, n := range numbers[:100] {
			// Noise that holds no number, zeros as stores have them, and the number.
			noise := make([]byte, random.IntN(300))
			for j := range noise {
				noise[j] = byte(random.Uint32())
			}
			content = append(bytes.Clone(noise), make([]byte, i%2*(len(zeros)-random.IntN(40)))...)
			if found := scan(content, s); found != "" {
				t.Fatalf("%s: in noise, %s", name, found)
			}
			content = append(append(content, form(n)...), noise...)
			if scan(content, s) == "" {
				t.Fatalf("%s: number %d was not found", name, i)
			}
		}
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "a", "b", "planted"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := scanTree(dir, s); err == nil {
			t.Errorf("%s: the number was not found in a file", name)
		}
	}
}

// packed writes hexadecimal digits two to a byte; a last one alone has a zero
// behind it.
func packed(nibbles string) []byte {
	b := make([]byte, (len(nibbles)+1)/2)
	for i := range nibbles {
		v, err := strconv.ParseUint(nibbles[i:i+1], 16, 4)
		if err != nil {
			panic("no hexadecimal digit")
		}
		b[i/2] |= byte(v) << (4 - i%2*4)
	}
	return b
}
