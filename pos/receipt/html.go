package receipt

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"html/template"

	"kessai/pos/sale"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("receipt").Parse(pageHTML))

// ContentSecurityPolicy is the policy that a page of [Receipt.HTML] works under:
// its own style and nothing else.
func ContentSecurityPolicy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

func escape(s string) string { return html.EscapeString(s) }

// htmlItem is a line of the sale as the page shows it.
type htmlItem struct{ Name, Code, Each, Value, Mark string }

// HTML gives the receipt as a page of its own, which asks for nothing from
// anywhere. Whatever came from outside is escaped, and set apart so that its
// direction of writing does not reach what stands beside it.
func (r *Receipt) HTML(l Lang) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	w := wordsOf(l)
	code := ""
	if r.CheckURL != "" {
		var err error
		if code, err = QRSVG(r.CheckURL, w.check); err != nil {
			return nil, err
		}
	}
	items, taxes := make([]htmlItem, len(r.Sale.Items)), r.taxes()
	for i := range items {
		items[i] = w.htmlItem(&r.Sale, &r.Sale.Items[i], taxes)
	}
	lang := l
	if w == &english {
		lang = English
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, map[string]any{
		"Lang": lang, "Dir": w.dir, "CSS": template.CSS(pageCSS), "Title": w.receipt, "Shop": r.Sale.Shop,
		"Outcome": w.outcomes[r.Outcome], "Good": r.Outcome.Moved() || r.Outcome == Held, "NoMoney": r.noMoney(), "NoMoneyText": w.noMoney,
		"Facts": r.facts(w), "Items": items, "Sums": r.sums(w),
		"ItemWord": w.item, "PriceWord": w.price,
		"QR": template.HTML(code), "CheckURL": r.CheckURL, "Check": w.check,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return b.Bytes(), nil
}

func (w *words) htmlItem(s *sale.Sale, it *sale.Item, taxes []tax) htmlItem {
	currency := s.Total.Currency
	h := htmlItem{
		Name: it.Name, Code: it.Code,
		Value: w.number(it.Value(), currency), Mark: markOf(taxes, it.Tax),
	}
	if it.Quantity != 1 {
		h.Each = fmt.Sprintf("%d × %s", it.Quantity, w.number(it.Price, currency))
	}
	return h
}
