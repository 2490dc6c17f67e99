package gateway

import (
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/sale"
)

// jsonItem is one line of a sale. A negative price is a discount.
type jsonItem struct {
	Code     string `json:"code,omitzero"`
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
	Price    int64  `json:"price"`        // of one, in minor units of the payment's currency
	Tax      *int32 `json:"tax,omitzero"` // the rate that the price includes, in basis points
}

// The limits of item lines.
const (
	maxItems        = 100
	maxItemCode     = 32 // characters
	maxItemName     = 80
	maxItemQuantity = 999_999
)

// jsonItems checks the lines and fills them into the request. They must add up
// to what is paid for goods: the amount without the cash handed over.
func jsonItems(items []jsonItem, r *authz.Request) *problem {
	switch {
	case items == nil, r.Confirm != nil: // what a customer sees is judged by the engine
		return nil
	case r.Kind == kessai.BalanceInquiry || r.Kind == kessai.Verification:
		return jsonInvalid("items", "Nothing is sold here: leave the items out.")
	case len(items) == 0 || len(items) > maxItems:
		return jsonInvalid("items", "There must be 1 to 100 lines; leave the items out where there are none.")
	}
	sum := int64(0)
	for i := range items {
		if p := items[i].check("items[" + strconv.Itoa(i) + "]."); p != nil {
			return p
		}
		line := items[i].Quantity * items[i].Price // below 10^18 by their limits
		var err error
		if sum, err = kessai.Add(sum, line); err != nil {
			return &problem{code: problemItems, field: "items", detail: "Their sum does not fit into 64 bits."}
		}
	}
	if sum != r.Amount.Value-r.CashBack {
		return &problem{code: problemItems, field: "items", detail: "The sum of quantity times price must be the amount, without cash back."}
	}
	note, err := json.Marshal(items)
	if err != nil || len(note) > ledger.MaxNote {
		return jsonInvalid("items", "The lines are too long together: at most 32 KiB are kept.")
	}
	r.Note = note
	return nil
}

func (it *jsonItem) check(at string) *problem {
	switch {
	case !isPlainText(it.Code, maxItemCode):
		return jsonInvalid(at+"code", "A code has at most 32 characters, none of them a control character.")
	case it.Name == "":
		return jsonMissing(at+"name", "Every line has a name.")
	case !isPlainText(it.Name, maxItemName):
		return jsonInvalid(at+"name", "A name has at most 80 characters, none of them a control character.")
	case it.Quantity < 1 || it.Quantity > maxItemQuantity:
		return jsonInvalid(at+"quantity", "The quantity must be from 1 to 999999.")
	case it.Price < -kessai.MaxAmount || it.Price > kessai.MaxAmount:
		return jsonInvalid(at+"price", "The price must be from -999999999999 to 999999999999, in minor units.")
	case it.Tax != nil && (*it.Tax < 0 || *it.Tax > sale.MaxTax):
		return jsonInvalid(at+"tax", "The tax must be from 0 to 10000 basis points; leave it out where it is not known.")
	}
	return nil
}

// A line cannot overflow: the constant expression does not compile otherwise.
const _ = uint64(math.MaxInt64 - maxItemQuantity*kessai.MaxAmount)

func isPlainText(s string, most int) bool {
	if utf8.RuneCountInString(s) > most {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
