package sale_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"kessai"
	"kessai/pos/sale"
)

// vectors is testdata/vectors.json. A third program made it, so that it shares no
// mistake with Go or with JavaScript, which are both held to it.
type vectors struct {
	Sales []struct {
		Name             string
		Sale             json.RawMessage
		Encoding, Digest string
	}
	Refused []struct {
		Name string
		Sale json.RawMessage
	}
	Texts []struct {
		Why  string
		OK   bool
		Text string
	}
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Sales) < 10 || len(v.Refused) < 80 || len(v.Texts) < 100 {
		t.Fatalf("only %d sales, %d refused ones and %d texts", len(v.Sales), len(v.Refused), len(v.Texts))
	}
	return v
}

func TestVectors(t *testing.T) {
	v := readVectors(t)
	for _, c := range v.Sales {
		t.Run(c.Name, func(t *testing.T) {
			var s sale.Sale
			if err := json.Unmarshal(c.Sale, &s); err != nil {
				t.Fatal(err)
			}
			b, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(b); got != c.Encoding {
				t.Errorf("encoding\n%s, want\n%s", got, c.Encoding)
			}
			if d, err := s.Digest(); err != nil || hex.EncodeToString(d[:]) != c.Digest || d != sha256.Sum256(b) {
				t.Errorf("digest %x, %v; want %s", d, err, c.Digest)
			}
			back, err := sale.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			same(t, back, &s)
			sameJSON(t, back, c.Sale)
		})
	}
	for _, c := range v.Refused {
		var s sale.Sale
		err := json.Unmarshal(c.Sale, &s)
		if err == nil {
			_, err = s.Encode()
		}
		if !errors.Is(err, sale.ErrSale) {
			t.Errorf("%s: %v, want it refused", c.Name, err)
		}
	}
	for _, c := range v.Texts {
		if err := sale.CheckText("name", c.Text, sale.MaxName); (err == nil) != c.OK {
			t.Errorf("%s: %v, want fine: %v", c.Why, err, c.OK)
		}
	}
}

// same compares two sales. No items and none at all are the same.
func same(t testing.TB, got, want *sale.Sale) {
	t.Helper()
	a, b := *got, *want
	a.Items, b.Items = append([]sale.Item{}, a.Items...), append([]sale.Item{}, b.Items...)
	if !a.Time.Equal(b.Time) {
		t.Errorf("time %v, want %v", a.Time, b.Time)
	}
	a.Time = b.Time
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got %+v, want %+v", a, b)
	}
}

func sameJSON(t testing.TB, s *sale.Sale, want []byte) {
	t.Helper()
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal(want, &b) != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("JSON\n%s, want\n%s", got, want)
	}
}

// TestVectorsInJavaScript holds what the phone runs to the same vectors, and to a
// thousand random sales, whole and changed, that Go has judged.
func TestVectorsInJavaScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs Node.js, which make test installs: what the phone computes was not checked")
	}
	v := readVectors(t)
	type judged struct {
		Sale   json.RawMessage `json:"sale"`
		Digest string          `json:"digest"` // empty: refused
	}
	var in struct {
		Module     string           `json:"module"`
		Sales      []judged         `json:"sales"`
		Texts      any              `json:"texts"`
		Currencies map[string]int   `json:"currencies"`
		Decimals   map[string]int64 `json:"decimals"`
		Points     map[rune]bool    `json:"points"`
	}
	for _, c := range v.Sales {
		in.Sales = append(in.Sales, judged{c.Sale, c.Digest})
	}
	for _, c := range v.Refused {
		in.Sales = append(in.Sales, judged{Sale: c.Sale})
	}
	random := newRandom(1)
	for range 1000 {
		s := random.sale()
		if random.IntN(4) == 0 {
			random.spoil(s)
		}
		var d string
		if sum, err := s.Digest(); err == nil {
			d = hex.EncodeToString(sum[:])
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		in.Sales = append(in.Sales, judged{b, d})
	}
	in.Module = readFile(t, "../../gateway/web/phone/sale.js")
	in.Currencies = currencies()
	in.Decimals, in.Points = map[string]int64{}, map[rune]bool{}
	for _, value := range []int64{0, 1, -1, 99, 100, -100, 450, 123456, kessai.MaxAmount, -kessai.MaxAmount} {
		for code := range in.Currencies {
			c, _ := kessai.ParseCurrency(code)
			in.Decimals[kessai.Amount{Value: value, Currency: c}.String()] = value
		}
	}
	for c := range codePoints {
		in.Points[c] = (c < 0xD800 || c > 0xDFFF) && sale.CheckText("name", "Ж"+string(c)+"Ж", sale.MaxName) == nil
	}
	b, _ := os.ReadFile("testdata/vectors.json")
	var raw struct{ Texts json.RawMessage }
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	in.Texts = raw.Texts
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, node, "--input-type=module", "--eval", readFile(t, "testdata/vectors.mjs"))
	run.Stdin = bytes.NewReader(input)
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(strings.TrimSpace(string(out)))
}

// readFile reads what Node.js is given. Were it to open the file itself, go test
// would not know of it, and take an older result for that of a changed file.
func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// codePoints gives all but most of those above U+40000, of which nothing is
// accepted.
func codePoints(yield func(rune) bool) {
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if (c <= 0x40000 || c%4093 == 0 || c > 0x10FFF0) && !yield(c) {
			return
		}
	}
}

// currencies are those that the root package knows, with their decimals.
func currencies() map[string]int {
	all := map[string]int{}
	for i := range 1000 {
		if c := kessai.Currency(i); c.Known() {
			all[c.String()] = c.Exponent()
		}
	}
	return all
}
