package receipt

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kessai"
	"kessai/pos/sale"
)

// Receipt is a sale and what came of it.
type Receipt struct {
	Sale    sale.Sale // its Customer and Items may be empty here
	Outcome Outcome
	// Moved is what was paid or given back in the end, where that is not the total:
	// a vending machine that gave out less, a part refunded. Zero: the total.
	Moved kessai.Amount
	// MovedForeign is the same in the currency of the customer's account, where
	// that is another and Moved is not zero.
	MovedForeign kessai.Amount
	RRN          string         // the payment's number
	ApprovalCode string         // empty where nothing was approved
	Medium       string         // a masked card number, as kessai.Last4 gives it, [Phone] or [CardReader]; may be empty
	CheckURL     string         // what the QR code leads to; empty: no QR code
	Zone         *time.Location // of the shop; nil: UTC
}

// What a payment is paid with that has no card number to show.
const (
	Phone      = "phone"  // the customer confirmed it on their phone
	CardReader = "reader" // with a card in their own reader, whose number nobody but the gateway saw
)

// Outcome says what came of a sale.
type Outcome string

// The outcomes. Money has moved in those where [Outcome.Moved] says so.
const (
	Waiting   Outcome = "waiting"
	Approved  Outcome = "approved"
	Held      Outcome = "held" // a pre-authorization: reserved, not paid yet
	Released  Outcome = "released"
	Declined  Outcome = "declined"
	Cancelled Outcome = "cancelled"
	Expired   Outcome = "expired"
	Reversed  Outcome = "reversed"
	Refunded  Outcome = "refunded" // all of it, or Moved
)

// Moved reports whether the outcome is about money that was paid.
func (o Outcome) Moved() bool { return o == Approved || o == Refunded }

// ErrReceipt is in every error of this package but those of the sale itself.
var ErrReceipt = errors.New("the receipt cannot be written")

// check refuses what must not stand on a receipt. The sale's texts are checked
// once more: what a customer gets to see is what could have been signed. But a
// receipt may be of a payment that nobody had to sign: it has no customer, no items,
// or items that leave out the cash handed over. A pre-authorization's need not add up.
func (r *Receipt) check() error {
	s := r.Sale
	s.Customer = cmp.Or(s.Customer, "-")
	if s.Kind == kessai.Purchase {
		s.Kind = kessai.PreAuthorization
	}
	if err := s.Validate(); err != nil {
		return err
	}
	if _, known := english.outcomes[r.Outcome]; !known {
		return fmt.Errorf("%w: %q is no outcome", ErrReceipt, string(r.Outcome))
	}
	if m := strings.TrimPrefix(r.Medium, "****"); r.Medium != "" && r.Medium != Phone && r.Medium != CardReader && (m == r.Medium || !isDigits(m, 4)) {
		return fmt.Errorf("%w: the medium must be %s, %s, or **** and the last four digits of the card", ErrReceipt, Phone, CardReader)
	}
	if !isDigits(r.RRN, 12) || r.ApprovalCode != "" && !isDigits(r.ApprovalCode, 6) {
		return fmt.Errorf("%w: the number must have 12 digits, the approval code 6 or none", ErrReceipt)
	}
	if r.Moved.Value != 0 && r.Moved.Currency != s.Total.Currency ||
		r.MovedForeign.Value != 0 && (s.Foreign == nil || r.MovedForeign.Currency != s.Foreign.Total.Currency) {
		return fmt.Errorf("%w: what was moved must be in the currencies of the sale", ErrReceipt)
	}
	return checkURL(r.CheckURL)
}

// maxURL keeps a QR code small enough to be read from paper.
const maxURL = 200

func checkURL(u string) error {
	lower := strings.ToLower(u)
	if u != "" && !strings.HasPrefix(lower, "https://") && !strings.HasPrefix(lower, "http://") {
		return fmt.Errorf("%w: the link must begin with https:// or http://", ErrReceipt)
	}
	if len(u) > maxURL || strings.ContainsFunc(u, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return fmt.Errorf("%w: the link must be at most %d characters of printable ASCII", ErrReceipt, maxURL)
	}
	return nil
}

func isDigits(s string, n int) bool { return len(s) == n && strings.Trim(s, "0123456789") == "" }

// maskedCustomer leaves a quarter of the ID, at most four characters: enough to
// tell one's own accounts apart, too little to use.
func (r *Receipt) maskedCustomer() string {
	id := r.Sale.Customer
	if id == "" {
		return ""
	}
	return "****" + id[len(id)-min(4, len(id)/4):]
}

func (r *Receipt) moved() (shop, foreign kessai.Amount) {
	shop = r.Sale.Total
	if r.Sale.Foreign != nil {
		foreign = r.Sale.Foreign.Total
	}
	if r.Moved.Value != 0 {
		shop, foreign = r.Moved, r.MovedForeign
	}
	return shop, foreign
}

func (r *Receipt) when() string {
	if r.Zone == nil {
		return r.Sale.Time.UTC().Format("2006-01-02 15:04 UTC")
	}
	return r.Sale.Time.In(r.Zone).Format("2006-01-02 15:04 -07:00")
}

// tax is what the items of one rate came to.
type tax struct {
	mark     string // stands beside the items: A, B, …
	rate     int32  // basis points
	gross    int64  // minor units, tax included
	included int64
}

// taxes sums up the items by rate, the highest first. Items without a rate are in
// none. The tax is rounded once for each rate, half away from zero: once for each
// item would add up to another sum.
func (r *Receipt) taxes() (all []tax) {
	for i := range r.Sale.Items {
		it := &r.Sale.Items[i]
		if it.Tax == sale.TaxUnknown {
			continue
		}
		at := slices.IndexFunc(all, func(t tax) bool { return t.rate == it.Tax })
		if at < 0 {
			at = len(all)
			all = append(all, tax{rate: it.Tax})
		}
		all[at].gross += it.Value()
	}
	slices.SortFunc(all, func(a, b tax) int { return cmp.Compare(b.rate, a.rate) })
	for i := range all {
		t := &all[i]
		t.mark = mark(i)
		t.included = share(t.gross, int64(t.rate), 10_000+int64(t.rate))
	}
	return all
}

// mark gives A to Z, then AA, AB and so on: at most 100 are ever needed.
func mark(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return mark(i/26-1) + mark(i%26)
}
