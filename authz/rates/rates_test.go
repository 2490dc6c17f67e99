package rates_test

import (
	"errors"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"kessai"
	"kessai/authz/rates"
)

// published is the bank's file of a day, with the figures that it published.
func published(t testing.TB) *rates.Table {
	t.Helper()
	table, err := rates.Load("../../configs/eurofxref-daily.xml")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func currency(t testing.TB, code string) kessai.Currency {
	t.Helper()
	c, ok := kessai.ParseCurrency(code)
	if !ok {
		t.Fatalf("%s is no currency", code)
	}
	return c
}

func TestPublishedFile(t *testing.T) {
	table := published(t)
	if table.Date != "2026-10-06" || len(table.Rates) != 29 {
		t.Errorf("%d rates of %s, want 29 of 2026-10-06", len(table.Rates), table.Date)
	}
	if got := table.Rates[kessai.JPY].FloatString(2); got != "178.15" {
		t.Errorf("1 EUR is %s JPY, want 178.15", got)
	}
}

// P-13: worked out by hand from the published figures.
func TestP13_Convert(t *testing.T) {
	table := published(t)
	for _, c := range []struct {
		value    int64
		from, to string
		want     int64
		rate     string
	}{
		{450, "JPY", "EUR", 253, "0.005613247264"},        // 450/178.15 = 2.52596 EUR
		{100_00, "EUR", "JPY", 17815, "178.15"},           // no minor unit
		{1_00, "USD", "JPY", 158, "158.0885615"},          // 178.15/1.1269
		{1, "USD", "JPY", 2, "158.0885615"},               // 1.58
		{10_000, "JPY", "USD", 6326, "0.006325568341"},    // 63.2557
		{10, "JPY", "EUR", 6, "0.005613247264"},           // 0.056 EUR
		{1, "JPY", "EUR", 1, "0.005613247264"},            // 0.56 cents
		{20104, "IDR", "EUR", 1, "0.000049739366"},        // 201.04 IDR, 0.99996 cents
		{250, "KRW", "ISK", 23, "0.09094102753"},          // 22.7
		{1234_56, "EUR", "EUR", 1234_56, "1"},             // nothing to do
		{999_999_999_999, "USD", "EUR", 887390185464, ""}, // 8873901854.6366
	} {
		to := currency(t, c.to)
		got, rate, date, err := table.Convert(kessai.Amount{Value: c.value, Currency: currency(t, c.from)}, to)
		if err != nil || got != (kessai.Amount{Value: c.want, Currency: to}) || date != "2026-10-06" || c.rate != "" && rate != c.rate {
			t.Errorf("%d %s is %v at %s of %s, %v; want %d at %s", c.value, c.from, got, rate, date, err, c.want, c.rate)
		}
	}
}

func TestHalfGoesUp(t *testing.T) {
	table, err := rates.Read(strings.NewReader(envelope(`<Cube time="2026-10-06"><Cube currency="USD" rate="2"/><Cube currency="KWD" rate="0.5"/></Cube>`)))
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[int64]int64{1: 1, 3: 2, 4: 2, 5: 3, 101: 51} { // cents of USD, of EUR
		got, _, _, err := table.Convert(kessai.Amount{Value: value, Currency: kessai.USD}, kessai.EUR)
		if err != nil || got.Value != want {
			t.Errorf("%d is %d, %v; want %d", value, got.Value, err, want)
		}
	}
	// Three decimals: 1 EUR is 0.500 KWD, 1 cent is 5 fils; 0.25 KWD is 1 USD.
	if got, rate, _, err := table.Convert(kessai.Amount{Value: 1, Currency: kessai.EUR}, currency(t, "KWD")); err != nil || got.Value != 5 || rate != "0.5" {
		t.Errorf("%v at %s, %v", got, rate, err)
	}
	if got, rate, _, err := table.Convert(kessai.Amount{Value: 250, Currency: currency(t, "KWD")}, kessai.USD); err != nil || got.Value != 100 || rate != "4" {
		t.Errorf("%v at %s, %v", got, rate, err)
	}
}

func TestWhatCannotBeConverted(t *testing.T) {
	table := published(t)
	for name, c := range map[string]struct {
		value    int64
		from, to string
		want     error
	}{
		"nothing":                 {0, "JPY", "EUR", rates.ErrAmount},
		"less than nothing":       {-1, "JPY", "EUR", rates.ErrAmount},
		"more than one payment":   {kessai.MaxAmount + 1, "JPY", "EUR", rates.ErrAmount},
		"less than a cent":        {50, "IDR", "EUR", rates.ErrAmount},
		"too much in the other":   {kessai.MaxAmount, "EUR", "IDR", rates.ErrAmount},
		"a currency without rate": {100, "KWD", "EUR", rates.ErrNoRate},
		"into one without rate":   {100, "EUR", "KWD", rates.ErrNoRate},
		"the same without rate":   {100, "KWD", "KWD", rates.ErrNoRate},
	} {
		got, rate, date, err := table.Convert(kessai.Amount{Value: c.value, Currency: currency(t, c.from)}, currency(t, c.to))
		if !errors.Is(err, c.want) || got != (kessai.Amount{}) || rate != "" || date != "" {
			t.Errorf("%s: %v, %s, %s, %v; want %v", name, got, rate, date, err, c.want)
		}
	}
}

// The result is the nearest whole number of minor units, computed another way, and
// the rate that is shown is within half of its last digit.
func TestConvertIsNearest(t *testing.T) {
	table := published(t)
	all := []kessai.Currency{kessai.EUR}
	for c := range table.Rates {
		all = append(all, c)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		from, to := all[r.IntN(len(all))], all[r.IntN(len(all))]
		value := 1 + r.Int64N(1<<(1+r.IntN(39)))
		got, shown, _, err := table.Convert(kessai.Amount{Value: value, Currency: from}, to)
		if errors.Is(err, rates.ErrAmount) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		rate := new(big.Rat).Quo(perEuro(table, to), perEuro(table, from))
		// 2·got-1 <= 2·value·rate·10^(to-from) < 2·got+1
		twice := new(big.Rat).Mul(rate, big.NewRat(2*value, 1))
		for range to.Exponent() {
			twice.Mul(twice, big.NewRat(10, 1))
		}
		for range from.Exponent() {
			twice.Quo(twice, big.NewRat(10, 1))
		}
		if twice.Cmp(big.NewRat(2*got.Value-1, 1)) < 0 || twice.Cmp(big.NewRat(2*got.Value+1, 1)) >= 0 {
			t.Fatalf("%d %v is %v", value, from, got)
		}
		checkShown(t, shown, rate)
	}
}

func perEuro(table *rates.Table, c kessai.Currency) *big.Rat {
	if c == kessai.EUR {
		return big.NewRat(1, 1)
	}
	return table.Rates[c]
}

func checkShown(t *testing.T, shown string, rate *big.Rat) {
	t.Helper()
	is, ok := new(big.Rat).SetString(shown)
	whole, part, _ := strings.Cut(shown, ".")
	digits := strings.TrimLeft(whole+part, "0")
	if !ok || len(part) > rates.ShownPlaces || len(digits) > rates.ShownDigits || strings.HasSuffix(part, "0") {
		t.Fatalf("the rate is shown as %s", shown)
	}
	off := new(big.Rat).Quo(new(big.Rat).Sub(is, rate), rate)
	if off.Abs(off).Cmp(big.NewRat(1, 10_000_000)) > 0 { // where the places end before the digits do
		t.Fatalf("the rate %s is shown as %s", rate.FloatString(20), shown)
	}
}
