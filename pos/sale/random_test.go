package sale_test

import (
	"math/rand/v2"
	"strings"
	"time"

	"kessai"
	"kessai/pos/sale"
)

// random makes valid sales, the same for the same seed.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 5))} }

var letters = []rune("aZ09 <&\"'\\{},.-+éßüñ漢字かなカナ　ーعربيقهوةЖλא𠀀😀☕\u0301\u3099\u00a0")

// text gives a text of 1 to most characters that may stand on a sale.
func (r random) text(most int) string {
	for {
		var b strings.Builder
		for range 1 + r.IntN(most) {
			b.WriteRune(letters[r.IntN(len(letters))])
		}
		if sale.CheckText("", b.String(), most) == nil {
			return b.String()
		}
		most = max(1, most/2) // the longer, the less likely it is fine
	}
}

func (r random) id(most int) string {
	const of = "ABCabc012-_.:"
	var b strings.Builder
	for range 1 + r.IntN(most) {
		b.WriteByte(of[r.IntN(len(of))])
	}
	return b.String()
}

func (r random) sale() *sale.Sale {
	s := &sale.Sale{
		ID: kessai.TxID(1 + r.Uint64N(999_999_999_999)), Merchant: r.id(15), Shop: r.text(sale.MaxName), Terminal: r.id(8),
		Customer: r.id(20), Kind: kessai.Purchase, Time: time.UnixMilli(r.Int64N(4_000_000_000_000)).UTC(),
	}
	if r.IntN(2) == 0 {
		s.Reference = r.id(sale.MaxReference)
	}
	sum := int64(0)
	for range 1 + r.IntN(6) {
		it := sale.Item{Name: r.text(sale.MaxName), Quantity: 1 + r.Int64N(12), Price: r.Int64N(100_000), Tax: int32(r.IntN(sale.MaxTax+2)) - 1}
		if r.IntN(2) == 0 {
			it.Code = r.text(sale.MaxCode)
		}
		if r.IntN(8) == 0 && sum > it.Value() {
			it.Price = -it.Price
		}
		s.Items = append(s.Items, it)
		sum += it.Value()
	}
	if sum < 1 {
		s.Items = append(s.Items, sale.Item{Name: "more", Quantity: 1, Price: 1 - sum, Tax: sale.TaxUnknown})
		sum = 1
	}
	s.Total = kessai.Amount{Value: sum, Currency: kessai.JPY}
	if r.IntN(4) == 0 {
		s.Kind = kessai.PreAuthorization
		s.Total.Value += r.Int64N(1000)
		s.Items = s.Items[:r.IntN(len(s.Items)+1)]
	}
	if r.IntN(2) == 0 {
		s.Foreign = &sale.Foreign{Total: kessai.Amount{Value: 1 + r.Int64N(1e9), Currency: kessai.EUR}, Rate: "0.0061808", Date: "2026-11-20"}
	}
	return s
}

// spoil changes something of a sale; the result may be valid or not.
func (r random) spoil(s *sale.Sale) {
	bad := []string{"", " ", "x ", "\u202Ex", "a\u200db", "a\u0000", "\ufeffa", strings.Repeat("x", 81), "Aoi", "000", "1.50", "2026-02-30"}
	t := bad[r.IntN(len(bad))]
	n := []int64{0, -1, 1, 999_999, 1_000_000, kessai.MaxAmount, kessai.MaxAmount + 1}[r.IntN(7)]
	switch r.IntN(12) {
	case 0:
		s.Reference = t
	case 1:
		s.Merchant = t
	case 2:
		s.Shop = t
	case 3:
		s.Terminal = t
	case 4:
		s.Customer = t
	case 5:
		s.Total.Value = n
	case 6:
		s.Kind = kessai.Kinds()[r.IntN(6)]
	case 7:
		s.Items = nil
	default:
		if s.Foreign != nil && r.IntN(2) == 0 {
			s.Foreign.Rate, s.Foreign.Date = t, t
		}
		if len(s.Items) > 0 {
			it := &s.Items[r.IntN(len(s.Items))]
			switch r.IntN(5) {
			case 0:
				it.Name = t
			case 1:
				it.Code = t
			case 2:
				it.Quantity = n
			case 3:
				it.Price = n
			case 4:
				it.Tax = int32(n)
			}
		}
	}
}
