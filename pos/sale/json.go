package sale

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	"kessai"
)

// The JSON form of a sale, as the phone gets it. It carries the same facts as the
// encoding; only the encoding is signed.

type jsonSale struct {
	ID        string       `json:"id"`
	Reference string       `json:"reference"`
	Merchant  string       `json:"merchant"`
	Shop      string       `json:"shop"`
	Terminal  string       `json:"terminal"`
	Customer  string       `json:"customer"`
	Kind      string       `json:"kind"`
	Time      string       `json:"time"`
	Items     []jsonItem   `json:"items"`
	Total     jsonAmount   `json:"total"`
	Foreign   *jsonForeign `json:"foreign,omitempty"`
}

type jsonItem struct {
	Code     string `json:"code"`
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
	Price    int64  `json:"price"`
	Tax      int32  `json:"tax"`
}

type jsonAmount struct {
	Value    int64  `json:"value"`
	Currency string `json:"currency"`
}

type jsonForeign struct {
	Total jsonAmount `json:"total"`
	Rate  string     `json:"rate"`
	Date  string     `json:"date"`
}

func amountJSON(a kessai.Amount) jsonAmount { return jsonAmount{a.Value, a.Currency.String()} }

// MarshalJSON gives the form that the phone gets.
func (s Sale) MarshalJSON() ([]byte, error) {
	j := jsonSale{
		ID: s.ID.String(), Reference: s.Reference, Merchant: s.Merchant, Shop: s.Shop, Terminal: s.Terminal,
		Customer: s.Customer, Kind: s.Kind.String(), Time: s.Time.UTC().Format(timeLayout),
		Items: make([]jsonItem, len(s.Items)), Total: amountJSON(s.Total),
	}
	for i, it := range s.Items {
		j.Items[i] = jsonItem(it)
	}
	if f := s.Foreign; f != nil {
		j.Foreign = &jsonForeign{amountJSON(f.Total), f.Rate, f.Date}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what [Sale.MarshalJSON] writes. A member that it does not
// know is an error: it would be neither shown nor signed. What the members hold is
// judged by [Sale.Validate].
func (s *Sale) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var j jsonSale
	if err := d.Decode(&j); err != nil {
		return errors.Join(ErrSale, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return invalid("JSON", "has something behind the sale")
	}
	*s = Sale{
		Reference: j.Reference, Merchant: j.Merchant, Shop: j.Shop, Terminal: j.Terminal, Customer: j.Customer,
		Items: make([]Item, len(j.Items)),
	}
	var ok, known bool
	if s.ID, ok = kessai.ParseTxID(j.ID); !ok || s.ID.String() != j.ID {
		return invalid("id", "must be pay_ and twelve digits")
	}
	if s.Kind, ok = kessai.ParseKind(j.Kind); !ok {
		return invalid("kind", "must be purchase or pre_authorization")
	}
	var err error
	if s.Time, err = time.Parse(timeLayout, j.Time); err != nil || s.Time.Format(timeLayout) != j.Time {
		return invalid("time", "must be as 2026-11-22T10:00:00.000Z")
	}
	for i, it := range j.Items {
		s.Items[i] = Item(it)
	}
	s.Total, ok = j.Total.amount()
	if f := j.Foreign; f != nil {
		s.Foreign = &Foreign{Rate: f.Rate, Date: f.Date}
		s.Foreign.Total, known = f.Total.amount()
		ok = ok && known
	}
	if !ok {
		return invalid("currency", "must be a code of ISO 4217, as JPY")
	}
	return nil
}

func (a jsonAmount) amount() (kessai.Amount, bool) {
	c, ok := kessai.ParseCurrency(a.Currency)
	return kessai.Amount{Value: a.Value, Currency: c}, ok && c.String() == a.Currency
}
