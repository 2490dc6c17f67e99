package sale_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"kessai"
	"kessai/pos/sale"
)

// TestFlippedBitsOfSales turns over every bit of the encodings of 100 sales. What
// comes of it is no sale, or another sale with another digest. Under the race
// detector, which has nothing to find here, ten must do.
func TestFlippedBitsOfSales(t *testing.T) {
	r := newRandom(2)
	bits, others, sales := 0, 0, 100
	if raceEnabled {
		sales = 10
	}
	for range sales {
		s := r.sale()
		b, err := s.Encode()
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		digest, err := s.Digest()
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(b) * 8 {
			b[i/8] ^= 1 << (i % 8)
			bits++
			if got, err := sale.Decode(b); err == nil {
				others++
				isCanonical(t, b, got)
				if sha256.Sum256(b) == digest { // its digest, since this is its encoding
					t.Fatalf("bit %d: the digest is the same", i)
				}
			} else if !errors.Is(err, sale.ErrSale) {
				t.Fatalf("bit %d: %v", i, err)
			}
			b[i/8] ^= 1 << (i % 8)
		}
		if _, err := sale.Decode(b); err != nil {
			t.Fatalf("unchanged, it is refused: %v", err)
		}
	}
	t.Logf("%d bits, %d of them made another sale", bits, others)
	if others < bits/10 || others > bits/2 {
		t.Errorf("%d of %d changes made another sale: the test does not test what it should", others, bits)
	}
}

// isCanonical checks that what was decoded is encoded as it was.
func isCanonical(t testing.TB, b []byte, s *sale.Sale) {
	t.Helper()
	again, err := s.Encode()
	if err != nil || !bytes.Equal(again, b) {
		t.Fatalf("decoded from\n%x, encoded (%v) as\n%x", b, err, again)
	}
}

// TestEveryFactCounts changes one fact of a sale after the other. Each change has a
// digest of its own.
func TestEveryFactCounts(t *testing.T) {
	seen := map[[32]byte]string{}
	for name, change := range map[string]func(*sale.Sale){
		"nothing":         func(*sale.Sale) {},
		"id":              func(s *sale.Sale) { s.ID++ },
		"reference":       func(s *sale.Sale) { s.Reference = "r" },
		"merchant":        func(s *sale.Sale) { s.Merchant += "x" },
		"shop":            func(s *sale.Sale) { s.Shop += "x" },
		"terminal":        func(s *sale.Sale) { s.Terminal = "AOI00002" },
		"customer":        func(s *sale.Sale) { s.Customer += "x" },
		"kind":            func(s *sale.Sale) { s.Kind = kessai.PreAuthorization },
		"time":            func(s *sale.Sale) { s.Time = s.Time.Add(time.Millisecond) },
		"order of items":  func(s *sale.Sale) { s.Items[0], s.Items[1] = s.Items[1], s.Items[0] },
		"code":            func(s *sale.Sale) { s.Items[0].Code = "1" },
		"name":            func(s *sale.Sale) { s.Items[0].Name += "x" },
		"quantity":        func(s *sale.Sale) { s.Items[0].Quantity, s.Items[0].Price = 2, 225 },
		"price":           func(s *sale.Sale) { s.Items[0].Price++; s.Items[1].Price-- },
		"tax":             func(s *sale.Sale) { s.Items[0].Tax = 800 },
		"no tax or none":  func(s *sale.Sale) { s.Items[0].Tax = 0 },
		"tax not known":   func(s *sale.Sale) { s.Items[0].Tax = sale.TaxUnknown },
		"item less":       func(s *sale.Sale) { s.Items = s.Items[:1]; s.Total.Value = 450 },
		"item of nothing": func(s *sale.Sale) { s.Items = append(s.Items, sale.Item{Name: "x", Quantity: 1}) },
		"total":           func(s *sale.Sale) { s.Total.Value++; s.Items[1].Price++ },
		"currency":        func(s *sale.Sale) { s.Total.Currency = kessai.USD },
		"foreign":         func(s *sale.Sale) { s.Foreign = nil },
		"foreign total":   func(s *sale.Sale) { s.Foreign.Total.Value++ },
		"foreign money":   func(s *sale.Sale) { s.Foreign.Total.Currency = kessai.USD },
		"rate":            func(s *sale.Sale) { s.Foreign.Rate += "0" },
		"date":            func(s *sale.Sale) { s.Foreign.Date = "2026-11-19" },
	} {
		s := coffee()
		change(s)
		d, err := s.Digest()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[d] = name
	}
}

func coffee() *sale.Sale {
	return &sale.Sale{
		ID: 42, Merchant: "KISSATEN-AOI", Shop: "Kissaten Aoi", Terminal: "AOI00001", Customer: "suzuki", Kind: kessai.Purchase,
		Time:    time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		Items:   []sale.Item{{Name: "Coffee", Quantity: 1, Price: 450, Tax: 1000}, {Name: "Cake", Quantity: 1, Price: 300, Tax: 800}},
		Total:   kessai.Amount{Value: 750, Currency: kessai.JPY},
		Foreign: &sale.Foreign{Total: kessai.Amount{Value: 465, Currency: kessai.EUR}, Rate: "0.0062", Date: "2026-11-20"},
	}
}

// TestLargestSaleFits: the limit of an encoding is never what refuses a sale.
func TestLargestSaleFits(t *testing.T) {
	s := coffee()
	s.Reference, s.Shop, s.Customer = strings.Repeat("R", sale.MaxReference), strings.Repeat("😀", sale.MaxName), strings.Repeat("C", 40)
	s.Items = nil
	for range sale.MaxItems {
		s.Items = append(s.Items, sale.Item{
			Code: strings.Repeat("😀", sale.MaxCode), Name: strings.Repeat("😀", sale.MaxName), Quantity: sale.MaxQuantity, Price: 10_000, Tax: sale.MaxTax,
		})
	}
	s.Total.Value = sale.MaxItems * sale.MaxQuantity * 10_000
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sale.Decode(b); err != nil || len(b) > sale.MaxBytes {
		t.Errorf("%d bytes: %v", len(b), err)
	}
	s.Items[0].Price += 2
	s.Total.Value += 2 * sale.MaxQuantity
	if _, err := s.Encode(); !errors.Is(err, sale.ErrSale) {
		t.Errorf("a total beyond the largest amount: %v", err)
	}
}

// TestPageSaysTheSame holds docs/SALE-DIGEST.md to the code: its example is the
// first vector, byte for byte, and its table refuses what CheckText refuses.
func TestPageSaysTheSame(t *testing.T) {
	b, err := os.ReadFile("../../docs/SALE-DIGEST.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	_, example, _ := strings.Cut(page, "## An example")
	example, _, _ = strings.Cut(example, "SHA-256")
	var dump strings.Builder
	for line := range strings.Lines(example) {
		code, _, _ := strings.Cut(line, "#")
		dump.WriteString(strings.Join(strings.Fields(code), ""))
	}
	first := readVectors(t).Sales[0]
	if dump.String() != first.Encoding || !strings.Contains(page, first.Digest) {
		t.Errorf("the example is\n%s, the first vector\n%s", dump.String(), first.Encoding)
	}

	refused := map[rune]bool{}
	spans := func(text string, do func(rune)) {
		for _, m := range regexp.MustCompile(`U\+([0-9A-F]{4,6})(?:\s+to\s+U\+([0-9A-F]{4,6}))?`).FindAllStringSubmatch(text, -1) {
			from, _ := strconv.ParseInt(m[1], 16, 32)
			to, err := strconv.ParseInt(m[2], 16, 32)
			if err != nil {
				to = from
			}
			for c := rune(from); c <= rune(to); c++ {
				do(c)
			}
		}
	}
	_, table, _ := strings.Cut(page, "| refused |")
	table, _, _ = strings.Cut(table, "\n\n")
	spans(table, func(c rune) { refused[c] = true })
	_, list, _ := strings.Cut(page, "Marks are")
	list, _, _ = strings.Cut(list, "\n\n")
	marks := map[rune]bool{}
	spans(list, func(c rune) { marks[c] = true })
	for c := range codePoints {
		if c >= 0xD800 && c <= 0xDFFF {
			continue // Go has no text with half a pair
		}
		text := "Я" + string(c) + "Я"
		if (sale.CheckText("name", text, sale.MaxName) != nil) != (refused[c] || c == 0x200C || c == 0x200D || c == 0xFE0E || c == 0xFE0F) {
			t.Errorf("U+%04X: the page says refused %v", c, refused[c])
		}
		if row := strings.Repeat(string(c), 5); !refused[c] && !unicode.In(c, unicode.Zs, unicode.Cf, unicode.Variation_Selector) &&
			marks[c] != (sale.CheckText("name", "Я"+row, sale.MaxName) != nil) {
			t.Errorf("U+%04X: the page says a mark %v", c, marks[c])
		}
	}
}

// TestTimeIsOneMoment: the time zone of the program does not reach the digest.
func TestTimeIsOneMoment(t *testing.T) {
	a, b := coffee(), coffee()
	b.Time = b.Time.In(time.FixedZone("JST", 9*3600))
	da, errA := a.Digest()
	db, errB := b.Digest()
	if errA != nil || errB != nil || da != db {
		t.Errorf("%x, %v in UTC; %x, %v in Japan", da, errA, db, errB)
	}
	b.Time = b.Time.Add(time.Microsecond)
	if _, err := b.Digest(); !errors.Is(err, sale.ErrSale) {
		t.Errorf("a microsecond, which the encoding cannot hold: %v", err)
	}
}

// TestDecodeRefuses what is not as Encode writes it.
func TestDecodeRefuses(t *testing.T) {
	b, err := coffee().Encode()
	if err != nil {
		t.Fatal(err)
	}
	text := hex.EncodeToString(b)
	// change replaces the first from; the item that it is in grows by so many bytes.
	change := func(from, to string, grows ...byte) []byte {
		if strings.Count(text, from) < 1 {
			t.Fatalf("%s is not in the encoding", from)
		}
		out, err := hex.DecodeString(strings.Replace(text, from, to, 1))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range grows {
			out[bytes.Index(out, []byte{10, 0, 0, 0})+4] += n
		}
		return out
	}
	for name, b := range map[string][]byte{
		"nothing":                     nil,
		"cut off":                     b[:len(b)-1],
		"cut off in a length":         b[:3],
		"something behind":            append(bytes.Clone(b), 0),
		"an empty field behind":       append(bytes.Clone(b), 14, 0, 0, 0, 0),
		"the foreign side twice":      append(bytes.Clone(b), b[bytes.Index(b, []byte{13, 0, 0, 0}):]...),
		"too long":                    make([]byte, sale.MaxBytes+1),
		"a length beyond all":         change("0100000000", "01ffffffff"),
		"another version":             change(hex.EncodeToString([]byte("kessai sale 1")), hex.EncodeToString([]byte("kessai sale 2"))),
		"number with a zero":          change("0300000001"+"31", "0300000002"+"3031"),
		"number with a plus":          change("0400000003"+"343530", "0400000004"+"2b343530"),
		"currency by number":          change("0c00000003"+hex.EncodeToString([]byte("JPY")), "0c00000003"+hex.EncodeToString([]byte("392"))),
		"fields in other order":       change("03000000000400", "04000000000300"),
		"a field more in an item":     grown(b, 10, []byte{6, 0, 0, 0, 0}),
		"a byte more in foreign":      grown(b, 13, []byte{0}),
		"a tax that is -1 in 32 bits": change("0500000004"+"31303030", "050000000a"+"34323934393637323935", 6),
	} {
		if s, err := sale.Decode(b); !errors.Is(err, sale.ErrSale) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// grown appends bytes to the value of the last field with this tag.
func grown(b []byte, tag byte, more []byte) []byte {
	at := bytes.LastIndex(b, []byte{tag, 0, 0, 0})
	end := at + 5 + int(b[at+4])
	out := slices.Concat(b[:end], more, b[end:])
	out[at+4] += byte(len(more))
	return out
}

// TestNothingUnseenIsLeftOut holds the list of refused code points to the tables of
// Unicode: controls, formats, ends of line, private use and what is ignored where
// it cannot be shown are all in it, but for the four that have rules of their own.
func TestNothingUnseenIsLeftOut(t *testing.T) {
	own := map[rune]bool{0x200C: true, 0x200D: true, 0xFE0E: true, 0xFE0F: true}
	for c := range codePoints {
		hidden := unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp,
			unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point, unicode.Bidi_Control)
		space := unicode.Is(unicode.Zs, c) && c != ' ' && c != 0xA0 && c != 0x3000
		err := sale.CheckText("name", "Ж"+string(c)+"Ж", sale.MaxName)
		if (hidden || space) && !own[c] && err == nil {
			t.Errorf("U+%04X is accepted", c)
		}
		if !hidden && !space && err != nil && unicode.IsGraphic(c) && c != 0xFFFC && c != 0xFFFD && c != 0x2800 {
			t.Errorf("U+%04X is refused: %v", c, err)
		}
	}
}

func TestErrorsDoNotRepeatTheSale(t *testing.T) {
	const secret = "4111111111111111\x00"
	for _, change := range []func(*sale.Sale){
		func(s *sale.Sale) { s.Shop = secret },
		func(s *sale.Sale) { s.Reference = secret },
		func(s *sale.Sale) { s.Items[0].Name = secret },
		func(s *sale.Sale) { s.Foreign.Rate = secret },
		func(s *sale.Sale) { s.Foreign.Date = secret },
	} {
		s := coffee()
		change(s)
		if _, err := s.Encode(); err == nil || strings.Contains(err.Error(), "4111") {
			t.Errorf("%v", err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range readVectors(f).Sales {
		if b, err := hex.DecodeString(c.Encoding); err == nil && len(b) < 4<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := sale.Decode(b)
		if err != nil {
			if !errors.Is(err, sale.ErrSale) {
				t.Fatal(err)
			}
			return
		}
		isCanonical(t, b, s)
	})
}

// FuzzJSON: what JSON brings in comes out again as the same sale, or is refused.
func FuzzJSON(f *testing.F) {
	v := readVectors(f)
	for _, c := range v.Sales {
		f.Add([]byte(c.Sale))
	}
	for _, c := range v.Refused {
		f.Add([]byte(c.Sale))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, back sale.Sale
		if json.Unmarshal(b, &s) != nil {
			return
		}
		encoded, err := s.Encode()
		if err != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatal(err)
		}
		isCanonical(t, encoded, &back)
	})
}
