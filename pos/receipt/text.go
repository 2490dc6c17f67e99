package receipt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kessai"
)

// Text gives the receipt for a printer with 32 or 42 columns, in UTF-8. Texts that
// are written from right to left are in the order in which they are read; turning
// them round is left to the printer, as UAX #9 says. So that this cannot move a
// price, a name that is written so has its line to itself, and in Arabic all that
// is not Arabic stands in isolates (U+2066 and U+2069), which take no column.
func (r *Receipt) Text(columns int, l Lang) (string, error) {
	if columns != 32 && columns != 42 {
		return "", fmt.Errorf("%w: it can have 32 or 42 columns", ErrReceipt)
	}
	if err := r.check(); err != nil {
		return "", err
	}
	w, p := wordsOf(l), &page{columns: columns, rtl: wordsOf(l).dir == "rtl"}
	p.centred(r.Sale.Shop)
	p.centred(w.receipt)
	p.rule("=")
	for _, f := range r.facts(w) {
		p.pair(f.Name, f.Value)
	}
	p.rule("-")
	r.textItems(p, w)
	for _, f := range r.sums(w) {
		p.pair(f.Name, f.Value)
	}
	p.rule("=")
	p.centred(w.outcomes[r.Outcome])
	if r.noMoney() {
		p.centred(w.noMoney)
	}
	if r.CheckURL != "" {
		p.line("")
		p.centred(w.check)
		if code, err := QRText(r.CheckURL, columns); err == nil { // too large for this paper: the link is enough
			for line := range strings.Lines(code) {
				p.whole(strings.TrimRight(line, "\n"))
			}
		}
		p.wrapped(r.CheckURL)
	}
	return p.b.String(), nil
}

func (r *Receipt) textItems(p *page, w *words) {
	taxes := r.taxes()
	for i := range r.Sale.Items {
		it := &r.Sale.Items[i]
		price := w.number(it.Value(), r.Sale.Total.Currency)
		if mark := markOf(taxes, it.Tax); mark != "" {
			price += " " + mark
		} else if len(taxes) > 0 {
			price += "  "
		}
		if it.Quantity == 1 && !rtl(it.Name) {
			p.pair(it.Name, price)
			continue
		}
		p.wrapped(it.Name)
		p.pair(fmt.Sprintf("  %d x %s", it.Quantity, w.number(it.Price, r.Sale.Total.Currency)), price)
	}
	if len(r.Sale.Items) > 0 {
		p.rule("-")
	}
}

// fact is a line of a receipt: what it is called, and what it is.
type fact struct {
	Name, Value string
	Strong      bool
}

// facts are the lines above the items. The empty ones are left out.
func (r *Receipt) facts(w *words) []fact {
	medium := r.Medium
	switch medium {
	case Phone:
		medium = w.phone
	case CardReader:
		medium = w.reader
	}
	return withValue(
		fact{Name: w.date, Value: r.when()},
		fact{Name: w.payment, Value: r.RRN},
		fact{Name: w.approvalCode, Value: r.ApprovalCode},
		fact{Name: w.reference, Value: r.Sale.Reference},
		fact{Name: w.shop, Value: r.Sale.Merchant},
		fact{Name: w.terminal, Value: r.Sale.Terminal},
		fact{Name: w.customer, Value: r.maskedCustomer()},
		fact{Name: w.paidWith, Value: medium},
	)
}

func withValue(all ...fact) []fact {
	return slices.DeleteFunc(all, func(f fact) bool { return f.Value == "" })
}

// sums are the lines below the items: total, what was moved, the customer's
// currency, taxes.
func (r *Receipt) sums(w *words) (all []fact) {
	s, total := &r.Sale, w.total
	if s.Kind == kessai.PreAuthorization {
		total = w.upTo
	}
	all = append(all, fact{total, w.amount(s.Total), true})
	shop, foreign := r.moved()
	if r.Moved.Value != 0 && r.Outcome.Moved() {
		name := w.paid
		if r.Outcome == Refunded {
			name = w.back
		}
		all = append(all, fact{name, w.amount(shop), true})
	}
	if s.Foreign != nil && !r.noMoney() {
		account := w.account
		if r.Outcome == Refunded {
			account = w.toAccount
		}
		all = append(all,
			fact{account, w.amount(foreign), true},
			fact{Name: w.rate, Value: "1 " + s.Total.Currency.String() + " = " + strings.Replace(s.Foreign.Rate, ".", w.decimal, 1) + " " + s.Foreign.Total.Currency.String()},
			fact{Value: "(" + s.Foreign.Date + ")"})
	}
	for _, t := range r.taxes() {
		all = append(all, fact{
			Name:  fmt.Sprintf(w.taxIn, t.mark, w.percent(t.rate), w.number(t.gross, s.Total.Currency)),
			Value: w.number(t.included, s.Total.Currency),
		})
	}
	return all
}

// noMoney reports whether the receipt must say that nothing was paid.
func (r *Receipt) noMoney() bool {
	return !r.Outcome.Moved() && r.Outcome != Held && r.Outcome != Waiting
}

func markOf(taxes []tax, rate int32) string {
	for _, t := range taxes {
		if t.rate == rate {
			return t.mark
		}
	}
	return ""
}

// number writes minor units as the language does, without the currency.
func (w *words) number(v int64, c kessai.Currency) string {
	whole, part, _ := strings.Cut(kessai.Amount{Value: v, Currency: c}.Decimal(), ".")
	digits := strings.TrimPrefix(whole, "-")
	grouped := ""
	for len(digits) > 3 {
		grouped = w.group + digits[len(digits)-3:] + grouped
		digits = digits[:len(digits)-3]
	}
	text := whole[:len(whole)-len(strings.TrimPrefix(whole, "-"))] + digits + grouped
	if part != "" {
		text += w.decimal + part
	}
	return text
}

func (w *words) amount(a kessai.Amount) string {
	return w.number(a.Value, a.Currency) + " " + a.Currency.String()
}

// percent writes basis points, for example 10%, 5.5% or 0.25%.
func (w *words) percent(rate int32) string {
	s := strconv.FormatFloat(float64(rate)/100, 'f', -1, 64)
	return strings.Replace(s, ".", w.decimal, 1) + "%"
}

// share gives v*part/whole, rounded half away from zero. Twice v*part does not
// overflow for what a sale can hold: 10^14 times 10^4.
func share(v, part, whole int64) int64 {
	if v < 0 {
		return -share(-v, part, whole)
	}
	return (2*v*part + whole) / (2 * whole)
}
