package receipt_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/pos/receipt"
	"kessai/pos/sale"
)

var update = flag.Bool("update", false, "write the golden files anew")

// samples are receipts with everything that a layout can get wrong.
func samples() map[string]*receipt.Receipt {
	return map[string]*receipt.Receipt{
		"coffee":  coffee(),
		"foreign": foreign(),
		"vending": vending(),
		"arabic":  arabic(),
		"long":    long(),
		"cancelled": func() *receipt.Receipt {
			r := coffee()
			r.Outcome, r.ApprovalCode, r.Medium = receipt.Cancelled, "", ""
			return r
		}(),
	}
}

func coffee() *receipt.Receipt {
	return &receipt.Receipt{
		Sale: sale.Sale{
			ID: 42, Reference: "20261122095958-A7", Merchant: "KISSATEN-AOI", Shop: "Kissaten Aoi", Terminal: "AOI00001", Customer: "suzuki-hanako",
			Kind: kessai.Purchase, Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
			Items: []sale.Item{
				{Code: "2000000000015", Name: "Coffee", Quantity: 2, Price: 450, Tax: 1000},
				{Code: "2000000000022", Name: "Sandwich to take away", Quantity: 1, Price: 620, Tax: 800},
				{Name: "Regular guest", Quantity: 1, Price: -50, Tax: 1000},
			},
			Total: kessai.Amount{Value: 1470, Currency: kessai.JPY},
		},
		Outcome: receipt.Approved, RRN: "000000000042", ApprovalCode: "543366", Medium: receipt.Phone,
		CheckURL: "HTTPS://PAY.EXAMPLE.COM/R/000000000042-3J5K7M9P1Q2R4S6T", Zone: time.FixedZone("", 9*3600),
	}
}

// foreign: Japanese names, and an account in another currency.
func foreign() *receipt.Receipt {
	r := coffee()
	r.Sale.Shop = "喫茶店　青い鳥と珈琲の木 中目黒本店"
	r.Sale.Items = []sale.Item{
		{Name: "アイスコーヒー（大）", Quantity: 2, Price: 520, Tax: 1000},
		{Name: "自家製レモンケーキ季節の果物添えと生クリーム", Quantity: 1, Price: 123_456, Tax: 800},
	}
	r.Sale.Total.Value = 124_496
	r.Sale.Foreign = &sale.Foreign{Total: kessai.Amount{Value: 76_949, Currency: kessai.EUR}, Rate: "0.0061808", Date: "2026-11-20"}
	r.Medium = "****4242"
	r.CheckURL = "https://pay.example.com/r/000000000042-3J5K7M9P1Q2R4S6T"
	return r
}

// vending: reserved 600, paid 150; nobody said anything of taxes.
func vending() *receipt.Receipt {
	r := coffee()
	r.Sale.Kind, r.Sale.Items, r.Sale.Total.Value = kessai.PreAuthorization, nil, 600
	r.Moved = kessai.Amount{Value: 150, Currency: kessai.JPY}
	r.Zone, r.Sale.Reference = nil, ""
	return r
}

func arabic() *receipt.Receipt {
	r := coffee()
	r.Sale.Shop = "مقهى الطائر الأزرق"
	r.Sale.Items = []sale.Item{
		{Name: "قهوة عربية", Quantity: 3, Price: 1250, Tax: 500},
		{Name: "شاي 2 x 99", Quantity: 1, Price: 12_345_678, Tax: 500},
		{Name: "Croissant", Quantity: 1, Price: -500, Tax: 0},
	}
	r.Sale.Total = kessai.Amount{Value: 12_348_928, Currency: 414}
	return r
}

func long() *receipt.Receipt {
	r := coffee()
	r.Sale.Shop = strings.Repeat("Donaudampfschifffahrtsgesellschaftskapitän", 1) + " & Söhne <Café> \"Zur Mühle\""
	r.Sale.Merchant, r.Sale.Customer, r.Sale.Reference = "ABCDEFGHIJKLMNO", "abc", strings.Repeat("R", 40)
	r.Sale.Items = []sale.Item{
		{Name: strings.Repeat("Rindfleischetikettierung", 3), Quantity: 999_999, Price: 999_999, Tax: 1900},
		{Name: "<script>alert('x')</script> & Co", Quantity: 1, Price: 99, Tax: 1900},
		{Name: strings.Repeat("e\u0301", 39), Quantity: 1, Price: 1, Tax: 250},
		{Name: "👩‍❤️‍👨 ☕️ 🇯🇵 für zwei", Quantity: 1, Price: 1900, Tax: sale.TaxUnknown},
	}
	r.Sale.Total = kessai.Amount{Value: 999_999*999_999 + 2000, Currency: kessai.EUR}
	r.CheckURL = ""
	return r
}

// TestGolden holds the receipts to what somebody has looked at. With -update they
// are written anew: look at them again.
func TestGolden(t *testing.T) {
	for name, r := range samples() {
		for _, l := range receipt.Languages() {
			for columns, ending := range map[int]string{32: "32.txt", 42: "42.txt"} {
				text, err := r.Text(columns, l)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, name+"."+string(l)+"."+ending, []byte(text))
			}
			page, err := r.HTML(l)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+"."+string(l)+".html", page)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is now\n%s", name, got)
	}
}

func TestRefused(t *testing.T) {
	for name, change := range map[string]func(*receipt.Receipt){
		"a whole card number":  func(r *receipt.Receipt) { r.Medium = "4111111111111111" },
		"six digits of a card": func(r *receipt.Receipt) { r.Medium = "****411111" },
		"no outcome":           func(r *receipt.Receipt) { r.Outcome = "" },
		"an RRN of other form": func(r *receipt.Receipt) { r.RRN = "42" },
		"a link of a script":   func(r *receipt.Receipt) { r.CheckURL = "javascript:alert(1)" },
		"a link with a space":  func(r *receipt.Receipt) { r.CheckURL = "https://x/ y" },
		"a link too long":      func(r *receipt.Receipt) { r.CheckURL = "https://" + strings.Repeat("x", 200) },
		"another currency":     func(r *receipt.Receipt) { r.Moved = kessai.Amount{Value: 1, Currency: kessai.USD} },
		"no foreign side":      func(r *receipt.Receipt) { r.MovedForeign = kessai.Amount{Value: 1, Currency: kessai.USD} },
	} {
		r := coffee()
		change(r)
		_, err := r.Text(32, receipt.English)
		_, errHTML := r.HTML(receipt.English)
		if !errors.Is(err, receipt.ErrReceipt) || !errors.Is(errHTML, receipt.ErrReceipt) || strings.Contains(err.Error(), "4111") {
			t.Errorf("%s: %v, %v", name, err, errHTML)
		}
	}
	r := coffee()
	r.Sale.Shop = "Aoi\u202E"
	if _, err := r.HTML(receipt.English); !errors.Is(err, sale.ErrSale) {
		t.Errorf("a text that is not what is seen: %v", err)
	}
	if _, err := coffee().Text(40, receipt.English); !errors.Is(err, receipt.ErrReceipt) {
		t.Errorf("40 columns: %v", err)
	}
}

// TestLinesFit: no line of any receipt has more columns than the paper.
func TestLinesFit(t *testing.T) {
	for name, r := range samples() {
		for _, l := range receipt.Languages() {
			for _, columns := range []int{32, 42} {
				text, err := r.Text(columns, l)
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(text) {
					if n := receipt.Columns(strings.TrimRight(line, "\n")); n > columns {
						t.Errorf("%s in %s, %d columns: %q has %d", name, l, columns, line, n)
					}
				}
			}
		}
	}
}

// TestUnsigned: a payment that nobody had to confirm has a receipt, too, also
// without items or with cash handed over.
func TestUnsigned(t *testing.T) {
	r := coffee()
	r.Sale.Customer, r.Sale.Items, r.Medium = "", nil, "****4242"
	without, err := r.Text(32, receipt.English)
	if err != nil || strings.Contains(without, "Customer") || !strings.Contains(without, "1,470 JPY") {
		t.Errorf("%v\n%s", err, without)
	}
	r = coffee()
	r.Sale.Total.Value += 5000
	if with, err := r.Text(32, receipt.English); err != nil || !strings.Contains(with, "6,470 JPY") {
		t.Errorf("%v\n%s", err, with)
	}
}

// TestRefundSaysWhereTheMoneyGoes, in both currencies, and only a part.
func TestRefundSaysWhereTheMoneyGoes(t *testing.T) {
	r := foreign()
	r.Outcome = receipt.Refunded
	r.Moved, r.MovedForeign = kessai.Amount{Value: 520, Currency: kessai.JPY}, kessai.Amount{Value: 321, Currency: kessai.EUR}
	text, err := r.Text(42, receipt.English)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Total 124,496 JPY", "Given back 520 JPY", "To your account 3.21 EUR"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), line) {
			t.Errorf("%q is missing in\n%s", line, text)
		}
	}
	if strings.Contains(text, "From your account") || strings.Contains(text, "Nothing was paid") {
		t.Errorf("it says more than that:\n%s", text)
	}
}

// TestMasked: neither the customer's ID nor what a shop wrote as markup gets out.
func TestMasked(t *testing.T) {
	for _, r := range samples() {
		text, err := r.Text(42, receipt.German)
		if err != nil {
			t.Fatal(err)
		}
		page, err := r.HTML(receipt.German)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"suzuki", "hanako"} {
			if strings.Contains(text, secret) || bytes.Contains(page, []byte(secret)) {
				t.Errorf("%s is on the receipt", secret)
			}
		}
		if bytes.Contains(page, []byte("<script")) || bytes.Contains(page, []byte("<Café>")) {
			t.Error("markup of the shop's is in the page")
		}
		for _, outside := range []string{"src=", "url(", "@import", "<link", "style=\""} {
			if bytes.Contains(page, []byte(outside)) {
				t.Errorf("the page asks for something: %s", outside)
			}
		}
	}
}

// TestPolicyFits: the page's style is the one that the policy names.
func TestPolicyFits(t *testing.T) {
	page, err := coffee().HTML(receipt.English)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(receipt.ContentSecurityPolicy(), want) {
		t.Errorf("the policy is %s, the style's hash %s", receipt.ContentSecurityPolicy(), want)
	}
}

func TestLanguage(t *testing.T) {
	for list, want := range map[string]receipt.Lang{
		"": "en", "de": "de", "de-AT,de;q=0.9": "de", "fr, ja;q=0.8": "ja", "AR-eg": "ar", "zz": "en", "*": "en", ",,;": "en",
	} {
		if got := receipt.Language(list); got != want {
			t.Errorf("Language(%q) = %s, want %s", list, got, want)
		}
	}
}

// TestQRCode reads the text form back as dots and holds it to the SVG form.
func TestQRCode(t *testing.T) {
	const link = "https://pay.example.com/r/000000000042-3J5K7M9P1Q2R4S6T"
	text, err := receipt.QRText(link, 42)
	if err != nil {
		t.Fatal(err)
	}
	svg, err := receipt.QRSVG(link, "check \"this\"")
	if err != nil {
		t.Fatal(err)
	}
	fromText, dark := map[[2]int]bool{}, 0
	for y, line := range strings.Split(text, "\n") {
		for x, c := range []rune(line) {
			at := [2]int{x - (42-33)/2, 2 * (y - 2)}
			if c == '█' || c == '▀' {
				fromText[at] = true
			}
			if c == '█' || c == '▄' {
				fromText[[2]int{at[0], at[1] + 1}] = true
			}
		}
	}
	_, path, _ := strings.Cut(svg, " d=\"")
	for _, run := range strings.Split(strings.TrimPrefix(strings.TrimSuffix(path, "\"/></svg>"), "M"), "M") {
		var x, y, n int
		if _, err := fmt.Sscanf(run, "%d %dh%dv1h-", &x, &y, &n); err != nil {
			t.Fatalf("%q: %v", run, err)
		}
		for i := range n {
			dark++
			if !fromText[[2]int{x + i - 4, y - 4}] {
				t.Fatalf("dark in the picture at %d, %d, light in the text", x+i-4, y-4)
			}
		}
	}
	if dark != len(fromText) || dark < 300 {
		t.Errorf("%d dark in the picture, %d in the text", dark, len(fromText))
	}
	if !strings.Contains(svg, `aria-label="check &#34;this&#34;"`) {
		t.Errorf("the title is not escaped: %s", svg[:200])
	}
	if _, err := receipt.QRText(link, 32); !errors.Is(err, receipt.ErrReceipt) {
		t.Errorf("33 modules in 32 columns: %v", err)
	}
}
