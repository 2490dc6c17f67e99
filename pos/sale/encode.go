package sale

import (
	"encoding/binary"
	"strconv"
	"time"

	"kessai"
)

// version is the first field: it keeps a signed sale apart from whatever else may
// ever be signed, and from later forms of itself.
const version = "kessai sale 1"

// The tags, in the order in which the fields stand.
const (
	tagVersion = 1 + iota
	tagID
	tagReference
	tagMerchant
	tagShop
	tagTerminal
	tagCustomer
	tagKind
	tagTime
	tagItem // none or many
	tagTotal
	tagCurrency
	tagForeign // none or one
)

// The tags inside an item.
const (
	itemCode = 1 + iota
	itemName
	itemQuantity
	itemPrice
	itemTax
)

// The tags inside the foreign side.
const (
	foreignTotal = 1 + iota
	foreignCurrency
	foreignRate
	foreignDate
)

const (
	maxID      = 999_999_999_999
	timeLayout = "2006-01-02T15:04:05.000Z"
)

// Encode gives the one encoding of the sale in bytes, at most [MaxBytes]. It
// refuses a sale that [Sale.Validate] refuses.
func (s *Sale) Encode() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 256+64*len(s.Items))
	for _, f := range [...]struct {
		tag  byte
		text string
	}{
		{tagVersion, version},
		{tagID, s.ID.String()},
		{tagReference, s.Reference},
		{tagMerchant, s.Merchant},
		{tagShop, s.Shop},
		{tagTerminal, s.Terminal},
		{tagCustomer, s.Customer},
		{tagKind, s.Kind.String()},
		{tagTime, s.Time.UTC().Format(timeLayout)},
	} {
		b = appendText(b, f.tag, f.text)
	}
	for i := range s.Items {
		b = s.Items[i].appendTo(b)
	}
	b = appendNumber(b, tagTotal, s.Total.Value)
	b = appendText(b, tagCurrency, s.Total.Currency.String())
	if s.Foreign != nil {
		b = s.Foreign.appendTo(b)
	}
	return b, nil
}

func (it *Item) appendTo(b []byte) []byte {
	b, at := open(b, tagItem)
	b = appendText(b, itemCode, it.Code)
	b = appendText(b, itemName, it.Name)
	b = appendNumber(b, itemQuantity, it.Quantity)
	b = appendNumber(b, itemPrice, it.Price)
	b = appendNumber(b, itemTax, int64(it.Tax))
	return shut(b, at)
}

func (f *Foreign) appendTo(b []byte) []byte {
	b, at := open(b, tagForeign)
	b = appendNumber(b, foreignTotal, f.Total.Value)
	b = appendText(b, foreignCurrency, f.Total.Currency.String())
	b = appendText(b, foreignRate, f.Rate)
	b = appendText(b, foreignDate, f.Date)
	return shut(b, at)
}

func appendText(b []byte, tag byte, s string) []byte {
	b, at := open(b, tag)
	return shut(append(b, s...), at)
}

func appendNumber(b []byte, tag byte, n int64) []byte {
	b, at := open(b, tag)
	return shut(strconv.AppendInt(b, n, 10), at)
}

// open begins a field, whose length shut fills in.
func open(b []byte, tag byte) ([]byte, int) {
	b = append(b, tag, 0, 0, 0, 0)
	return b, len(b)
}

func shut(b []byte, at int) []byte {
	binary.BigEndian.PutUint32(b[at-4:at], uint32(len(b)-at))
	return b
}

// Decode reads an encoding. It refuses whatever [Sale.Encode] would not have
// written: for every sale there is one encoding, and for every encoding one sale.
// The time is in UTC.
func Decode(b []byte) (*Sale, error) {
	if len(b) > MaxBytes {
		return nil, invalid("encoding", "has more than 64 KiB")
	}
	r := reader{b: b}
	if r.text(tagVersion) != version {
		return nil, invalid("encoding", "does not begin as this version does")
	}
	s := new(Sale)
	s.ID = r.id()
	s.Reference = r.text(tagReference)
	s.Merchant = r.text(tagMerchant)
	s.Shop = r.text(tagShop)
	s.Terminal = r.text(tagTerminal)
	s.Customer = r.text(tagCustomer)
	s.Kind = r.kind()
	s.Time = r.time()
	for r.next(tagItem) {
		if len(s.Items) == MaxItems {
			return nil, invalid("items", "must have 1 to 100 lines")
		}
		s.Items = append(s.Items, r.item())
	}
	s.Total = r.amount(tagTotal, tagCurrency)
	if r.next(tagForeign) {
		s.Foreign = r.foreign()
	}
	if r.bad || len(r.b) > 0 {
		return nil, invalid("encoding", "is not as it is written: a field is missing, cut off, too many or not in its one form")
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

// reader takes fields from the front. The first that is not as it must be makes
// it bad, and everything after it empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) next(tag byte) bool { return !r.bad && len(r.b) > 0 && r.b[0] == tag }

func (r *reader) field(tag byte) []byte {
	if !r.next(tag) || len(r.b) < 5 {
		r.bad = true
		return nil
	}
	n := binary.BigEndian.Uint32(r.b[1:])
	if uint64(n) > uint64(len(r.b)-5) {
		r.bad = true
		return nil
	}
	value := r.b[5 : 5+n]
	r.b = r.b[5+n:]
	return value
}

func (r *reader) text(tag byte) string { return string(r.field(tag)) }

// number reads decimal digits; only the shortest form is one.
func (r *reader) number(tag byte) int64 {
	s := r.text(tag)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != s {
		r.bad = true
	}
	return n
}

func (r *reader) id() kessai.TxID {
	s := r.text(tagID)
	id, ok := kessai.ParseTxID(s)
	if !ok || id.String() != s {
		r.bad = true
	}
	return id
}

func (r *reader) kind() kessai.Kind {
	k, ok := kessai.ParseKind(r.text(tagKind))
	r.bad = r.bad || !ok
	return k
}

func (r *reader) time() time.Time {
	s := r.text(tagTime)
	t, err := time.Parse(timeLayout, s)
	if err != nil || t.Format(timeLayout) != s {
		r.bad = true
	}
	return t
}

func (r *reader) amount(value, currency byte) kessai.Amount {
	n, s := r.number(value), r.text(currency)
	c, ok := kessai.ParseCurrency(s)
	if !ok || c.String() != s { // three digits name a currency too, but are not its one form
		r.bad = true
	}
	return kessai.Amount{Value: n, Currency: c}
}

func (r *reader) item() Item {
	in := reader{b: r.field(tagItem)}
	it := Item{Code: in.text(itemCode), Name: in.text(itemName), Quantity: in.number(itemQuantity), Price: in.number(itemPrice)}
	tax := in.number(itemTax)
	it.Tax = int32(tax)
	r.bad = r.bad || in.bad || len(in.b) > 0 || int64(it.Tax) != tax
	return it
}

func (r *reader) foreign() *Foreign {
	in := reader{b: r.field(tagForeign)}
	f := &Foreign{Total: in.amount(foreignTotal, foreignCurrency), Rate: in.text(foreignRate), Date: in.text(foreignDate)}
	r.bad = r.bad || in.bad || len(in.b) > 0
	return f
}
