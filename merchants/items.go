package merchants

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"kessai"
	"kessai/customers"
	"kessai/pos/sale"
)

// Item is something that a merchant sells: a line of its item file. The price
// includes the tax.
type Item struct {
	Merchant kessai.MerchantID
	Code     string // a GTIN, or the merchant's own; see [ParseCode]
	Name     string
	Price    int64 // minor units of the merchant's currency
	Tax      int32 // rate in basis points: 800 is 8 %; [sale.TaxUnknown] where the file does not say
}

// The bounds of items.
const (
	MaxItems   = 100_000 // of one merchant
	maxOwnCode = 20
	gtinLength = 14
)

// ErrCode says that a text is no code of an item. It never repeats the text.
var ErrCode = errors.New("code must be a GTIN of 8, 12, 13 or 14 digits, the last of which is the check digit, or one of the shop's own: a letter, and up to 19 letters, digits, hyphens, underscores or dots behind it")

// ParseCode gives the form that a code of an item is found by: a GTIN-14, which is a
// shorter one behind zeros (a scanner may read 12 digits or 13 off the same
// package), or a code of the merchant's own as it is.
func ParseCode(code string) (string, error) {
	if code == "" || len(code) > maxOwnCode {
		return "", ErrCode
	}
	if c := code[0]; c >= '0' && c <= '9' {
		return gtin14(code)
	}
	for i := range len(code) {
		c := code[i]
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '_' && c != '.') {
			return "", ErrCode
		}
	}
	return code, nil
}

// gtin14 checks a GTIN: from the right, digits count once and three times in turn,
// and the sum is a multiple of ten.
func gtin14(code string) (string, error) {
	if n := len(code); n != 8 && n != 12 && n != 13 && n != gtinLength {
		return "", ErrCode
	}
	sum, zero := 0, true
	for i := range len(code) {
		d := int(code[len(code)-1-i]) - '0'
		if d < 0 || d > 9 {
			return "", ErrCode
		}
		sum += d * (1 + i%2*2)
		zero = zero && d == 0
	}
	if sum%10 != 0 || zero {
		return "", ErrCode
	}
	return strings.Repeat("0", gtinLength-len(code)) + code, nil
}

// Validate says what is wrong with an item; nil for nothing.
func (i Item) Validate() error {
	if i.Merchant.IsZero() {
		return errors.New("item has no merchant")
	}
	if _, err := ParseCode(i.Code); err != nil {
		return err
	}
	if err := customers.ValidateName(i.Name); err != nil {
		return err
	}
	if err := sale.CheckText("name", i.Name, sale.MaxName); err != nil {
		return err
	}
	if i.Price < 0 || i.Price > kessai.MaxAmount {
		return fmt.Errorf("price must be 0 to %d minor units", int64(kessai.MaxAmount))
	}
	if i.Tax < sale.TaxUnknown || i.Tax > sale.MaxTax {
		return fmt.Errorf("tax must be 0 to %d basis points", sale.MaxTax)
	}
	return nil
}

// itemPrefix begins the key of every item. Behind it are the merchant's ID, with
// zeros up to its 15 bytes, and the form of the code that it is found by.
const itemPrefix = "item/"

func itemsOf(m kessai.MerchantID) []byte { return append([]byte(itemPrefix), m[:]...) }

// itemKey gives the key of an item; false where the code is none.
func itemKey(m kessai.MerchantID, code string) ([]byte, bool) {
	form, err := ParseCode(code)
	return append(itemsOf(m), form...), err == nil
}

// An item is stored in a fixed form:
//
//	0     form of the record, 1
//	1     digits of the GTIN as the file has it; 0 for a code of the merchant's own
//	2-9   price
//	10-13 tax, plus one
//	14-   name
const (
	itemForm  = 1
	itemFixed = 14
)

func (i Item) encode() []byte {
	b := make([]byte, 0, itemFixed+len(i.Name))
	digits := len(i.Code)
	if i.Code[0] > '9' {
		digits = 0
	}
	b = append(b, itemForm, byte(digits))
	b = binary.BigEndian.AppendUint64(b, uint64(i.Price))
	b = binary.BigEndian.AppendUint32(b, uint32(i.Tax+1))
	return append(b, i.Name...)
}

func decodeItem(key, value []byte) (Item, error) {
	const code = len(itemPrefix) + len(kessai.MerchantID{})
	if len(key) <= code || len(value) <= itemFixed || value[0] != itemForm || int(value[1]) > len(key)-code {
		return Item{}, unreadable("item", errors.New("it is too short, or of another form"))
	}
	i := Item{
		Merchant: kessai.MerchantID(key[len(itemPrefix):code]), Code: string(key[code:]),
		Price: int64(binary.BigEndian.Uint64(value[2:])), Tax: int32(binary.BigEndian.Uint32(value[10:])) - 1,
		Name: string(value[itemFixed:]),
	}
	if digits := int(value[1]); digits > 0 {
		i.Code = i.Code[len(i.Code)-digits:]
	}
	return i, unreadable("item", i.Validate())
}

// Item finds what a merchant sells under a code; false where it has no such item,
// and where the text is no code.
func (r *Registry) Item(m kessai.MerchantID, code string) (item Item, ok bool, err error) {
	key, ok := itemKey(m, code)
	if !ok {
		return item, false, nil
	}
	err = r.view(func(v reading) error {
		value, err := v.get(key)
		if ok = err == nil && value != nil; ok {
			item, err = decodeItem(key, value)
		}
		return err
	})
	return item, ok && err == nil, err
}

func (p *parser) addItem(w *row) {
	i := Item{
		Merchant: w.merchantID("merchant"), Code: w.code("code"), Name: w.shown("name"),
		Price: w.number("price", kessai.MaxAmount), Tax: w.tax("tax"),
	}
	key, _ := itemKey(i.Merchant, i.Code)
	once(w, "code", string(key), p.im.seen.items)
	if w.err == nil {
		if p.im.itemsOf[i.Merchant]++; p.im.itemsOf[i.Merchant] > MaxItems {
			w.fail("merchant", tooManyItems)
		}
	}
	p.im.items = append(p.im.items, entry[Item]{i, w.at})
}

var tooManyItems = "has more than " + strconv.Itoa(MaxItems) + " items"

// shown gives a name that customers see on a sale, which is stricter about what
// cannot be seen.
func (w *row) shown(field string) string {
	s := w.name(field)
	if err := sale.CheckText(field, s, sale.MaxName); err != nil {
		w.fail(field, strings.TrimPrefix(err.Error(), sale.ErrSale.Error()+": "+field+" "))
	}
	return s
}

func (w *row) code(field string) string {
	s := w.get(field)
	if _, err := ParseCode(s); err != nil {
		w.fail(field, strings.TrimPrefix(ErrCode.Error(), "code "))
	}
	return strings.Clone(s)
}

func (w *row) tax(field string) int32 {
	if w.get(field) == "" {
		return sale.TaxUnknown
	}
	return int32(w.number(field, sale.MaxTax))
}

// AddItem adds an item.
func (im *Import) AddItem(i Item) error {
	err := i.Validate()
	key, ok := itemKey(i.Merchant, i.Code)
	if err == nil && ok && im.itemsOf[i.Merchant] >= MaxItems {
		err = errors.New("merchant " + tooManyItems)
	}
	err = add(im, "items", "code", &im.items, im.seen.items, string(key), i, err)
	if err == nil {
		im.itemsOf[i.Merchant]++
	}
	return err
}

// ItemChange changes an item.
type ItemChange struct {
	Merchant kessai.MerchantID
	Code     string
	Name     *string
	Price    *int64 // minor units of the merchant's currency
	Tax      *int32 // basis points
}

func itemTarget(c *ItemChange) (target, error) {
	key, _ := itemKey(c.Merchant, c.Code)
	t := target{key, patch{Name: c.Name, Price: c.Price, Tax: c.Tax}, "item"}
	if t.patch == (patch{}) {
		return t, errNothing
	}
	changed := Item{Merchant: c.Merchant, Code: c.Code, Name: "any"}
	t.patch.item(&changed)
	return t, changed.Validate()
}

func (p patch) item(i *Item) {
	set(&i.Name, p.Name)
	set(&i.Price, p.Price)
	set(&i.Tax, p.Tax)
}

// itemChange makes the change of the fields that were given.
func (w *row) itemChange(given map[string]bool) *ItemChange {
	c := &ItemChange{Merchant: w.merchantID("merchant"), Code: w.code("code")}
	if given["name"] {
		name := w.shown("name")
		c.Name = &name
	}
	if given["price"] {
		price := w.number("price", kessai.MaxAmount)
		c.Price = &price
	}
	if given["tax"] {
		tax := w.tax("tax")
		c.Tax = &tax
	}
	return c
}
