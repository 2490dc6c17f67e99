package sale

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"kessai"
)

// Sale is what the customer is shown and what they agree to.
type Sale struct {
	ID        kessai.TxID // of the payment in the book
	Reference string      // the terminal's own name for the sale (P-2); may be empty
	Merchant  string      // the merchant's ID
	Shop      string      // the shop's name, for people
	Terminal  string      // the terminal's ID
	Customer  string      // the customer's ID
	Kind      kessai.Kind // Purchase or PreAuthorization
	Time      time.Time   // of the payment, in whole milliseconds
	Items     []Item
	Total     kessai.Amount // in the shop's currency
	Foreign   *Foreign      // nil: the customer's account has the shop's currency
}

// Item is one line of a sale. A negative price is a discount.
type Item struct {
	Code     string // GTIN or the shop's own; may be empty
	Name     string
	Quantity int64 // 1 to [MaxQuantity]
	Price    int64 // of one, in minor units of the shop's currency
	Tax      int32 // the rate that the price includes, in basis points; [TaxUnknown] where nobody said
}

// TaxUnknown is the tax of an item that came without one.
const TaxUnknown = -1

// Foreign is the customer's side of a sale in a currency that is not that of
// their account.
type Foreign struct {
	Total kessai.Amount // what the customer's account pays
	Rate  string        // units of the customer's currency for one of the shop's, as decimal text
	Date  string        // of the rate, YYYY-MM-DD
}

// The limits of a sale. Lengths are in characters (Unicode code points).
const (
	MaxItems     = 100
	MaxQuantity  = 999_999
	MaxTax       = 10_000 // basis points: 100 %
	MaxName      = 80
	MaxCode      = 32
	MaxReference = 40
	MaxBytes     = 64 << 10 // of an encoding; the largest valid sale has less
)

// ErrSale is in every error of this package: the sale cannot be shown and signed.
// The errors name the field and what must change, and never repeat what it holds.
var ErrSale = errors.New("the sale cannot be shown to a customer")

// ErrSum says that the items do not add up to the total.
var ErrSum = fmt.Errorf("%w: the items must add up to the total", ErrSale)

func invalid(field, what string) error { return fmt.Errorf("%w: %s %s", ErrSale, field, what) }

// Digest gives the SHA-256 of the encoding: what the customer's proof is bound to.
func (s *Sale) Digest() ([sha256.Size]byte, error) {
	b, err := s.Encode()
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(b), nil
}

// Validate says what is wrong with a sale, as [Sale.Encode] would.
func (s *Sale) Validate() error {
	if s.ID == 0 || s.ID > maxID {
		return invalid("id", "must be 1 to 999999999999")
	}
	for _, f := range [...]struct {
		name, text  string
		least, most int
	}{
		{"reference", s.Reference, 0, MaxReference},
		{"merchant", s.Merchant, 1, len(kessai.MerchantID{})},
		{"terminal", s.Terminal, 1, len(kessai.TerminalID{})},
		{"customer", s.Customer, 1, MaxReference},
	} {
		if err := checkID(f.name, f.text, f.least, f.most); err != nil {
			return err
		}
	}
	if err := CheckText("shop", s.Shop, MaxName); err != nil {
		return err
	}
	if s.Shop == "" {
		return invalid("shop", "is missing")
	}
	if s.Kind != kessai.Purchase && s.Kind != kessai.PreAuthorization {
		return invalid("kind", "must be purchase or pre_authorization")
	}
	if y := s.Time.UTC().Year(); y < 1970 || y > 9999 || s.Time.Nanosecond()%int(time.Millisecond) != 0 {
		return invalid("time", "must be in whole milliseconds, from 1970 to 9999")
	}
	if err := checkAmount("total", s.Total); err != nil {
		return err
	}
	if err := s.checkItems(); err != nil {
		return err
	}
	if s.Foreign != nil {
		return s.Foreign.check(s.Total.Currency)
	}
	return nil
}

func checkAmount(field string, a kessai.Amount) error {
	if a.Value < 1 || a.Value > kessai.MaxAmount {
		return invalid(field, "must be 1 to 999999999999 minor units")
	}
	if !a.Currency.Known() {
		return invalid(field, "needs a currency of ISO 4217")
	}
	return nil
}

func (s *Sale) checkItems() error {
	if len(s.Items) > MaxItems || len(s.Items) == 0 && s.Kind == kessai.Purchase {
		return invalid("items", "must have 1 to 100 lines")
	}
	sum := int64(0)
	for i := range s.Items {
		if err := s.Items[i].Validate(); err != nil {
			return fmt.Errorf("%w, in line %d", err, i+1)
		}
		sum += s.Items[i].Value() // at most 100 times MaxAmount
	}
	if s.Kind == kessai.Purchase && sum != s.Total.Value {
		return ErrSum
	}
	return nil
}

// Value gives quantity times price, in minor units. It cannot overflow in a line
// that [Item.Validate] accepts.
func (it *Item) Value() int64 { return it.Quantity * it.Price }

// Validate says what is wrong with one line.
func (it *Item) Validate() error {
	if err := CheckText("code", it.Code, MaxCode); err != nil {
		return err
	}
	if err := CheckText("name", it.Name, MaxName); err != nil {
		return err
	}
	switch {
	case it.Name == "":
		return invalid("name", "is missing")
	case it.Quantity < 1 || it.Quantity > MaxQuantity:
		return invalid("quantity", "must be 1 to 999999")
	case it.Price < -kessai.MaxAmount || it.Price > kessai.MaxAmount:
		return invalid("price", "must be -999999999999 to 999999999999 minor units")
	case it.Value() < -kessai.MaxAmount || it.Value() > kessai.MaxAmount:
		return invalid("quantity times price", "must be -999999999999 to 999999999999 minor units")
	case it.Tax < TaxUnknown || it.Tax > MaxTax:
		return invalid("tax", "must be 0 to 10000 basis points, or -1 where it is not known")
	}
	return nil
}

func (f *Foreign) check(shop kessai.Currency) error {
	if err := checkAmount("foreign total", f.Total); err != nil {
		return err
	}
	if f.Total.Currency == shop {
		return invalid("foreign total", "must be in another currency than the total")
	}
	if !isRate(f.Rate) {
		return invalid("rate", "must be a positive decimal number, at most 12 digits on each side of the point")
	}
	if d, err := time.Parse(time.DateOnly, f.Date); err != nil || d.Format(time.DateOnly) != f.Date || d.Year() < 1970 {
		return invalid("rate date", "must be a day, as 2026-11-20")
	}
	return nil
}

// isRate reports whether s is a positive decimal number without sign, exponent or
// zeros in front. Zeros at the end are allowed: they say how exact the rate is.
func isRate(s string) bool {
	whole, part, point := strings.Cut(s, ".")
	if !isDigits(whole) || len(whole) > 1 && whole[0] == '0' || point && !isDigits(part) {
		return false
	}
	return strings.Trim(s, "0.") != ""
}

func isDigits(s string) bool {
	return len(s) >= 1 && len(s) <= 12 && strings.Trim(s, "0123456789") == ""
}

// checkID checks a name that machines use: printable ASCII, no space at either end.
func checkID(field, s string, least, most int) error {
	if len(s) < least {
		return invalid(field, "is missing")
	}
	if len(s) > most {
		return invalid(field, fmt.Sprintf("must have at most %d characters", most))
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == ' ' && (i == 0 || i == len(s)-1) {
			return invalid(field, "must be printable ASCII without a space at either end")
		}
	}
	return nil
}
