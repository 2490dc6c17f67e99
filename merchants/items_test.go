package merchants

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"kessai"
	"kessai/pos/sale"
)

const aoi = "AOI000000000001"

func TestParseCode(t *testing.T) {
	for code, want := range map[string]string{
		"96385074":             "00000096385074", // the example of GS1 for GTIN-8
		"614141000036":         "00614141000036", // 12
		"0614141000036":        "00614141000036", // the same package, as another scanner reads it
		"4006381333931":        "04006381333931", // 13
		"14006381333938":       "14006381333938", // 14, a box of them
		"2000000000015":        "02000000000015",
		"A1":                   "A1",
		"a1":                   "a1",
		"Coffee-to_go.L":       "Coffee-to_go.L",
		"C1234567890123456789": "C1234567890123456789",
	} {
		if got, err := ParseCode(code); err != nil || got != want {
			t.Errorf("%s is found by %q, %v; want %s", code, got, err, want)
		}
	}
	for _, code := range []string{
		"", " ", "1", "96385075", "4006381333932", "400638133393", "40063813339310", "014006381333938", "00000000",
		"0000000000000", "４００６３８１３３３９３１", "-A1", ".A", "_1", "A 1", "A/1", "Ä1", "A|1", "A^1", "A\n", "C12345678901234567890",
	} {
		if got, err := ParseCode(code); !errors.Is(err, ErrCode) || got != "" {
			t.Errorf("%q is taken as %q, %v", code, got, err)
		}
	}
}

// Every slip of one digit in a GTIN is found, as its check digit promises.
func TestCheckDigitFindsSlips(t *testing.T) {
	for _, code := range []string{"96385074", "614141000036", "4006381333931", "14006381333938"} {
		for i := range len(code) {
			for d := byte('0'); d <= '9'; d++ {
				b := []byte(code)
				if b[i] == d {
					continue
				}
				b[i] = d
				if _, err := ParseCode(string(b)); err == nil {
					t.Errorf("%s is taken for %s", b, code)
				}
			}
		}
	}
}

func TestBadItems(t *testing.T) {
	const head = "merchant,code,name,price,tax\n"
	const code = "must be a GTIN of 8, 12, 13 or 14 digits, the last of which is the check digit, or one of the shop's own: a letter, and up to 19 letters, digits, hyphens, underscores or dots behind it"
	const price = "must be a whole number from 0 to 999999999999, digits only"
	for name, c := range map[string]struct{ file, want string }{
		"check digit":      {head + aoi + ",4006381333932,Pen,100,1000\n", "items: record 1: code " + code},
		"own with a digit": {head + aoi + ",1A,Pen,100,1000\n", "items: record 1: code " + code},
		"twice":            {head + aoi + ",A1,Pen,100,1000\n" + aoi + ",A1,Pencil,90,1000\n", "items: record 2: code is the same as on line 2"},
		"twice in two forms": {head + aoi + ",614141000036,Pen,100,1000\n" + aoi + ",0614141000036,Pen,100,1000\n",
			"items: record 2: code is the same as on line 2"},
		"negative price":    {head + aoi + ",A1,Pen,-1,1000\n", "items: record 1: price " + price},
		"large price":       {head + aoi + ",A1,Pen,1000000000000,1000\n", "items: record 1: price " + price},
		"overflowing price": {head + aoi + ",A1,Pen,9223372036854775808,1000\n", "items: record 1: price " + price},
		"price with cents":  {head + aoi + ",A1,Pen,1.00,1000\n", "items: record 1: price " + price},
		"no price":          {head + aoi + ",A1,Pen,,1000\n", "items: record 1: price is missing"},
		"tax":               {head + aoi + ",A1,Pen,100,10001\n", "items: record 1: tax must be a whole number from 0 to 10000, digits only"},
		"negative tax":      {head + aoi + ",A1,Pen,100,-1\n", "items: record 1: tax must be a whole number from 0 to 10000, digits only"},
		"tax in percent":    {head + aoi + ",A1,Pen,100,10%\n", "items: record 1: tax must be a whole number from 0 to 10000, digits only"},
		"control character": {head + aoi + ",A1,Pen\x07,100,1000\n", "items: record 1: name must be 1 to 64 printable characters"},
		"bidi override":     {head + aoi + ",A1,Pen\u202e01,100,1000\n", "items: record 1: name must be 1 to 64 printable characters"},
		"bidi isolate":      {head + aoi + ",A1,Pen\u2067,100,1000\n", "items: record 1: name must be 1 to 64 printable characters"},
		"nothing to see":    {head + aoi + ",A1,Pen\u3164,100,1000\n", "items: record 1: name must not hold U+3164, which cannot be seen or changes how the rest is seen"},
		"two spaces":        {head + aoi + ",A1,Pen  blue,100,1000\n", "items: record 1: name must not begin or end with a space, nor have two in a row"},
		"long name":         {head + aoi + ",A1," + strings.Repeat("名", 65) + ",100,1000\n", "items: record 1: name must be 1 to 64 printable characters"},
		"no name":           {head + aoi + ",A1,,100,1000\n", "items: record 1: name is missing"},
		"merchant":          {head + "AOI0000000000012,A1,Pen,100,1000\n", "items: record 1: merchant must be 1 to 15 characters of printable ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseImport("items.csv", strings.NewReader(c.file))
			fault, ok := errors.AsType[*FileError](err)
			if !ok || !strings.HasSuffix(fault.Error(), ": "+c.want) || fault.Line != strings.Count(c.file, "\n") {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	for _, header := range []string{"merchant,code,name\n", "merchant,code,name,price,vat\n", "merchant,code,name,price,price\n"} {
		if _, err := ParseImport("items.csv", strings.NewReader(header+aoi+",A1,Pen,100,1\n")); err == nil || !strings.Contains(err.Error(), "must begin with the names of fields") {
			t.Errorf("%s: %v", header, err)
		}
	}
}

// What spreadsheets make of a list of items, and what is looked up afterwards.
func TestItems(t *testing.T) {
	r, _ := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	sum := do(t, r, "items.csv", "\xef\xbb\xbfcode,merchant,price,name\r\n"+
		"614141000036,"+aoi+",100,\"Pen, \"\"blue\"\"\"\r\n"+
		"2000000000015,"+aoi+",460,Coffee\r\n"+
		"A1,"+aoi+",0,Glass of water\r\n")
	if sum.Items != (Count{Added: 2, Changed: 1}) || r.Stats().Counts.Items != 22 {
		t.Errorf("summary: %+v, %+v", sum.Items, r.Stats().Counts)
	}
	id, vend := merchant(t, aoi), merchant(t, "VEND00000000001")
	pen := Item{id, "614141000036", `Pen, "blue"`, 100, sale.TaxUnknown}
	for code, want := range map[string]Item{
		"614141000036": pen, "0614141000036": pen, "00614141000036": pen,
		"2000000000015": {id, "2000000000015", "Coffee", 460, sale.TaxUnknown},
		"2000000000121": {id, "2000000000121", "Coffee beans 200 g", 1280, 800},
		"A1":            {id, "A1", "Glass of water", 0, sale.TaxUnknown},
	} {
		if got, ok, err := r.Item(id, code); err != nil || !ok || got != want {
			t.Errorf("%s: %+v, %v, %v; want %+v", code, got, ok, err, want)
		}
	}
	if got, ok, err := r.Item(vend, "A1"); err != nil || !ok || got.Name != "Water" || got.Price != 120 {
		t.Errorf("the other shop's A1: %+v, %v, %v", got, ok, err)
	}
	for _, code := range []string{"", "A2", "a1", "96385074", "614141000037", strings.Repeat("A", 1000)} {
		if got, ok, err := r.Item(id, code); ok || err != nil || got != (Item{}) {
			t.Errorf("%.20q: %+v, %v, %v", code, got, ok, err)
		}
	}
	if got, ok, err := r.Item(kessai.MerchantID{'A'}, "A1"); ok || err != nil {
		t.Errorf("of nobody: %+v, %v", got, err)
	}
	_, err := r.Import(t.Context(), parse(t, "items.csv", "merchant,code,name,price\nNOBODY,A1,Pen,100\n"), nil)
	if err == nil || err.Error() != "items.csv:2: items: record 1: merchant is neither in this file nor in the registry" {
		t.Errorf("of a merchant that is not there: %v", err)
	}
}

// A merchant has 100,000 items and not one more, whichever way they come.
func TestTooManyItems(t *testing.T) {
	list := func(from, to int) string {
		var b strings.Builder
		b.WriteString("merchant,code,name,price,tax\n")
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "%s,C%d,Item %d,%d,800\n", aoi, i, i, i)
		}
		return b.String()
	}
	const want = "items.csv:100002: items: record 100001: merchant has more than 100000 items"
	if _, err := ParseImport("items.csv", strings.NewReader(list(0, MaxItems+1))); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	r, _ := newRegistry(t)
	do(t, r, "m.csv", "id,name,mcc,currency\n"+aoi+",Kissaten Aoi,5814,JPY\nVEND,Vending,5499,JPY\n")
	if sum := do(t, r, "items.csv", list(0, MaxItems)); sum.Items != (Count{Added: MaxItems}) {
		t.Fatalf("summary: %+v", sum.Items)
	}
	if got, ok, err := r.Item(merchant(t, aoi), "C99999"); err != nil || !ok || got.Price != 99_999 {
		t.Errorf("the last: %+v, %v, %v", got, ok, err)
	}
	_, err := r.Import(t.Context(), parse(t, "items.csv", list(MaxItems-1, MaxItems+1)), nil)
	if err == nil || err.Error() != "items.csv:3: items: record 2: merchant has more than 100000 items, with those in the registry" {
		t.Errorf("one more: %v", err)
	}
	do(t, r, "items.csv", "merchant,code,name,price\nVEND,A1,Water,120\n")
	if sum := do(t, r, "items.csv", list(MaxItems-10, MaxItems)); sum.Items != (Count{Unchanged: 10}) {
		t.Errorf("those that are there: %+v", sum.Items)
	}
	im := NewImport("bench")
	im.itemsOf[merchant(t, aoi)] = MaxItems
	if err := im.AddItem(Item{merchant(t, aoi), "A1", "Pen", 1, 1}); err == nil || err.Error() != "bench: items: record 1: merchant has more than 100000 items" {
		t.Error(err)
	}
}

// Programs add what files may have.
func TestAddItem(t *testing.T) {
	id, im := merchant(t, aoi), NewImport("bench")
	good := Item{id, "A1", "Pen", 100, sale.TaxUnknown}
	if err := im.AddItem(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Item){
		"twice":    func(*Item) {},
		"merchant": func(i *Item) { i.Merchant = kessai.MerchantID{} },
		"code":     func(i *Item) { i.Code = "4006381333932" },
		"name":     func(i *Item) { i.Name = "" },
		"bidi":     func(i *Item) { i.Name = "\u2066Pen" },
		"price":    func(i *Item) { i.Price = -1 },
		"dear":     func(i *Item) { i.Price = kessai.MaxAmount + 1 },
		"tax":      func(i *Item) { i.Tax = -2 },
		"all tax":  func(i *Item) { i.Tax = sale.MaxTax + 1 },
	} {
		i := good
		change(&i)
		if _, ok := errors.AsType[*FileError](im.AddItem(i)); !ok {
			t.Errorf("%s: %+v is taken", name, i)
		}
	}
	if im.Len() != 1 {
		t.Errorf("%d records", im.Len())
	}
}

func TestItemRecordThatCannotBeRead(t *testing.T) {
	good := Item{merchant(t, aoi), "614141000036", "Pen", 100, 800}
	key, _ := itemKey(good.Merchant, good.Code)
	value := good.encode()
	if got, err := decodeItem(key, value); err != nil || got != good {
		t.Fatalf("%+v, %v", got, err)
	}
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(value)
		b[at] = to
		return b
	}
	for name, c := range map[string]struct{ key, value []byte }{
		"empty":          {key, nil},
		"no name":        {key, value[:itemFixed]},
		"another form":   {key, changed(0, 2)},
		"15 digits":      {key, changed(1, 15)},
		"9 digits":       {key, changed(1, 9)},
		"negative price": {key, changed(2, 0x80)},
		"tax":            {key, changed(10, 1)},
		"name":           {key, changed(itemFixed, 7)},
		"no code":        {key[:len(key)-14], value},
		"short key":      {key[:10], value},
	} {
		if got, err := decodeItem(c.key, c.value); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzDecodeItem(f *testing.F) {
	good := Item{kessai.MerchantID{'A'}, "614141000036", "Pen", 100, 800}
	key, _ := itemKey(good.Merchant, good.Code)
	f.Add(key, good.encode())
	own := Item{kessai.MerchantID{'A'}, "A1", "Pen", 0, sale.TaxUnknown}
	key, _ = itemKey(own.Merchant, own.Code)
	f.Add(key, own.encode())
	f.Fuzz(func(t *testing.T, key, value []byte) {
		i, err := decodeItem(key, value)
		if err == nil && i.Validate() != nil {
			t.Fatalf("%+v is read", i)
		}
	})
}
