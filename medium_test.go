package kessai_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"kessai"
)

func TestLuhn(t *testing.T) {
	for _, good := range []string{
		"4242424242424242", "5555555555554444", "4000000000000002", "4000000000000069", "4000000000000044",
		"4111111111111111", "378282246310005", "630400000000", "5020000000003", "6033330000000000014", "000000000000",
	} {
		p, err := kessai.ParsePAN(good)
		if err != nil || p.Reveal() != good || string(p.AppendTo([]byte("x"))) != "x"+good || p.Last4().String() != "****"+good[len(good)-4:] {
			t.Errorf("a good number that ends in %s is refused or changed: %v", good[len(good)-4:], err)
		}
		// Any one digit changed is noticed, and so are neighbours swapped, but for 09 and 90.
		for i := range good {
			for d := byte('0'); d <= '9'; d++ {
				b := []byte(good)
				b[i] = d
				if _, err := kessai.ParsePAN(b); (err == nil) != (d == good[i]) {
					t.Errorf("%c for %c as digit %d: %v", d, good[i], i, err)
				}
			}
			if i == 0 || good[i] == good[i-1] || good[i-1:i+1] == "09" || good[i-1:i+1] == "90" {
				continue
			}
			b := []byte(good)
			b[i], b[i-1] = b[i-1], b[i]
			if _, err := kessai.ParsePAN(b); err == nil {
				t.Errorf("digits %d and %d swapped: not noticed", i-1, i)
			}
		}
	}
}

func TestParsePANRefuses(t *testing.T) {
	for text, kept := range map[string]bool{
		"4242424242424241":     true, // check digit
		"42424242420":          true, // 11 digits with a valid check digit
		"0":                    true,
		"":                     false,
		"42424242424242424242": false, // 20 digits
		"4242 4242 4242 4242":  false,
		"424242424242424x":     false,
		"４２４２４２４２４２４２":         false, // digits, but not these
	} {
		p, err := kessai.ParsePAN(text)
		if !errors.Is(err, kessai.ErrPAN) || p.IsZero() == kept {
			t.Errorf("%d characters: %v, digits kept %v, want %v", len(text), err, !p.IsZero(), kept)
		}
	}
	var none kessai.PAN
	if none.Last4().String() != "" || none.Reveal() != "" {
		t.Error("no number is not empty")
	}
}

// printed gives every way in which a value might come out of the process, but
// for one that no type can guard against: fmt, told to print a pointer inside
// another value with a verb that does not fit pointers (%s of []any{&v}), prints
// what is behind it without asking it. So there is no pointer to a struct inside
// another value here, and none with a secret should be printed so elsewhere.
func printed(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%T", "%t", "%30v", "%-5.3s"} {
		fmt.Fprintf(&b, verb+"\n", v)
		if _, pointer := v.(*secrets); !pointer {
			fmt.Fprintf(&b, verb+"\n", struct{ V any }{v})
			fmt.Fprintf(&b, verb+"\n", []any{v})
		}
	}
	fmt.Fprintln(&b, v, &v, fmt.Errorf("with %v", v))
	for _, h := range []slog.Handler{slog.NewJSONHandler(&b, nil), slog.NewTextHandler(&b, nil)} {
		slog.New(h).Info("said", "value", v, "in", struct{ V any }{v}, slog.Group("g", "value", v))
	}
	for _, v := range []any{v, map[string]any{"v": v}} {
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(j)
	}
	return b.String()
}

type secrets struct {
	PAN kessai.PAN
	Key kessai.Secret
}

func TestSecretsNeverPrint(t *testing.T) {
	const pan, key = "4242424242424242", "sk_live_hush"
	p, err := kessai.ParsePAN(pan)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{p, &p, kessai.Secret(key), secrets{p, key}, &secrets{p, key}, map[kessai.PAN]kessai.Secret{p: key}} {
		out := printed(t, v)
		if !strings.Contains(out, "****") {
			t.Errorf("%T does not print as ****", v)
		}
		for name, shape := range map[string]string{
			"digits": "42424242", "digits as bytes": "52 50 52 50", "digits in hex": "3432343234", "digits in hex bytes": "0x34, 0x32",
			"key": key, "key in hex": fmt.Sprintf("%x", key)[:12], "key as bytes": "115 107 95",
		} {
			if strings.Contains(strings.ToLower(out), shape) {
				t.Errorf("%T prints its %s", v, name)
			}
		}
	}
	if out := fmt.Sprint(kessai.Secret("")); out != "" {
		t.Errorf("an empty secret prints as %q", out)
	}
	if out := printed(t, pan); !strings.Contains(out, pan) {
		t.Error("the test would not see a number that is printed")
	}
}

func TestMediumHasher(t *testing.T) {
	if _, err := kessai.NewMediumHasher(make([]byte, kessai.MinKeyBytes-1)); err == nil {
		t.Error("a short key is taken")
	}
	key := bytes.Repeat([]byte{3}, 32)
	h, err := kessai.NewMediumHasher(key)
	if err != nil {
		t.Fatal(err)
	}
	const number = "4242424242424242"
	p, _ := kessai.ParsePAN(number)
	mac := hmac.New(sha256.New, bytes.Repeat([]byte{3}, 32))
	mac.Write([]byte(number))
	want := mac.Sum(nil)[:16]
	key[0] = 4 // the hasher has a copy
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if id := h.Medium(p); !bytes.Equal(id[:], want) {
					t.Errorf("got %s, want %x", id, want)
					return
				}
			}
		})
	}
	all.Wait()
	if id := h.Medium(kessai.PAN{}); !id.IsZero() {
		t.Error("no number has an ID")
	}
	other, err := kessai.NewMediumHasher(key)
	if err != nil || other.Medium(p) == h.Medium(p) {
		t.Errorf("another key gives the same ID: %v", err)
	}
	if !raceEnabled {
		if n := testing.AllocsPerRun(1000, func() { h.Medium(p) }); n != 0 {
			t.Errorf("%v allocations for each number; want none", n)
		}
	}
}

// TestMediumIsAnHMAC compares with crypto/hmac, for numbers and keys of every length.
func TestMediumIsAnHMAC(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for bytes := kessai.MinKeyBytes; bytes <= 2*sha256.BlockSize+1; bytes++ {
		key := make([]byte, bytes)
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		h, err := kessai.NewMediumHasher(key)
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 19; n++ {
			digits := digits(rng, n)
			p, _ := kessai.ParsePAN(digits)
			mac := hmac.New(sha256.New, key)
			mac.Write(digits)
			if id := h.Medium(p); [16]byte(mac.Sum(nil)) != id {
				t.Fatalf("a key of %d bytes, %d digits: another ID", bytes, n)
			}
		}
	}
}

func digits(rng *rand.Rand, n int) []byte {
	d := make([]byte, n)
	for i := range d {
		d[i] = '0' + byte(rng.IntN(10))
	}
	return d
}

// TestLuhnAsTheStandardSaysIt adds up the digits one at a time.
func TestLuhnAsTheStandardSaysIt(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	good := 0
	for i := range 100_000 {
		number := digits(rng, 12+i%8)
		sum := 0
		for i, c := range number {
			d := int(c - '0')
			if (len(number)-i)%2 == 0 {
				d = d*2/10 + d*2%10
			}
			sum += d
		}
		p, err := kessai.ParsePAN(number)
		if (err == nil) != (sum%10 == 0) || p.Reveal() != string(number) {
			t.Fatalf("%d digits whose sum is %d: %v", len(number), sum, err)
		}
		if err == nil {
			good++
		}
		at, wrong := i%len(number), byte(rng.Uint32())
		if wrong < '0' || wrong > '9' {
			number[at] = wrong
			if p, err := kessai.ParsePAN(number); err == nil || !p.IsZero() {
				t.Fatalf("byte %#x is taken for digit %d of %d", wrong, at, len(number))
			}
		}
	}
	if good < 5_000 {
		t.Errorf("only %d numbers were good", good)
	}
}

func FuzzParsePAN(f *testing.F) {
	for _, s := range []string{"4242424242424242", "4242424242424241", "", "123456789012", "1234567890123456789", "12345678901234567890", "42 42", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := kessai.ParsePAN(s)
		fromBytes, err2 := kessai.ParsePAN([]byte(s))
		if p != fromBytes || (err == nil) != (err2 == nil) {
			t.Fatal("text and bytes differ")
		}
		digits := strings.Trim(s, "0123456789") == "" && len(s) >= 1 && len(s) <= 19
		if p.IsZero() == digits {
			t.Fatalf("%d characters, all digits %v: kept %v", len(s), digits, !p.IsZero())
		}
		if digits && p.Reveal() != s {
			t.Fatal("the digits have changed")
		}
		if err == nil && (len(s) < 12 || !digits) {
			t.Fatalf("%d characters are taken for a card number", len(s))
		}
		if out := fmt.Sprintf("%v %+v %#v %s %x %d", p, p, p, p, p, p); strings.Trim(out, "* ") != "" {
			t.Fatal("it prints")
		}
	})
}
