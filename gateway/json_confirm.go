package gateway

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/pos/sale"
)

// jsonConfirmation says that the customer confirms a new payment: on their phone, or
// with a card in the reader on their phone.
type jsonConfirmation struct {
	Confirm   string `json:"confirm,omitzero"`
	Customer  string `json:"customer,omitzero"`
	Reference string `json:"reference,omitzero"`
}

// The ways in which a customer can be asked.
const (
	confirmPhone  = "phone"
	confirmClaim  = "claim"
	confirmReader = "reader"
)

// asks reports whether a customer is to be asked.
func (b *jsonCreate) asks() bool { return b.Confirm != "" }

// confirmation fills in who is asked about a new payment, and about what. What the
// item file may complete is for the engine to judge.
func (b *jsonCreate) confirmation(r *authz.Request) *problem {
	if !b.asks() {
		if b.Customer != "" || b.Reference != "" {
			return jsonMissing("confirm", "Customer and reference belong to a payment that the customer confirms: say how with confirm.")
		}
		return nil
	}
	c := &authz.Confirm{Reference: b.Reference, Items: make([]sale.Item, len(b.Items))}
	switch {
	case b.Confirm == confirmPhone:
		c.Asks, c.Customer = kessai.AsksPhone, b.Customer
	case b.Confirm == confirmReader:
		c.Asks, c.Customer = kessai.AsksReader, b.Customer
	case b.Confirm == confirmClaim:
		c.Asks = kessai.AsksClaim
	default:
		return jsonInvalid("confirm", "The customer confirms with phone, reader or claim.")
	}
	switch {
	case r.Kind != kessai.Purchase && r.Kind != kessai.PreAuthorization:
		return jsonInvalid("confirm", "Only a purchase or a pre_authorization is confirmed by the customer.")
	case b.Medium != nil, b.Purse != "", r.Dialogue != nil:
		return jsonInvalid("confirm", "The customer confirms instead of a card: give one of the two.")
	case c.Asks != kessai.AsksClaim && b.Customer == "":
		return jsonMissing("customer", "Say whose phone is asked, or let whoever claims the payment confirm it: claim.")
	case c.Asks == kessai.AsksClaim && b.Customer != "":
		return jsonInvalid("customer", "Whoever claims the payment is the customer: leave the customer out.")
	case !isCustomer(b.Customer):
		return jsonInvalid("customer", "A customer has 1 to 40 printable ASCII characters, or is named by a phone number: + and 7 to 15 digits.")
	case b.Reference != "" && (b.STAN != "" || b.TransmittedAt != ""):
		return jsonInvalid("reference", "The reference is the terminal's name for the sale: leave STAN and transmitted_at out.")
	}
	for i, it := range b.Items {
		c.Items[i] = sale.Item{Code: it.Code, Name: it.Name, Quantity: it.Quantity, Price: it.Price, Tax: sale.TaxUnknown}
		if it.Tax != nil {
			c.Items[i].Tax = *it.Tax
		}
	}
	r.Confirm = c
	return nil
}

// isCustomer reports whether a text can be a customer's ID, or their phone number
// (E.164), which begins with +.
func isCustomer(s string) bool {
	if number, ok := strings.CutPrefix(s, "+"); ok {
		return isDigits(number) && len(number) >= 7 && len(number) <= 15
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= sale.MaxReference && strings.TrimSpace(s) == s
}

// saleRefused turns what the engine has against a sale into a problem.
func saleRefused(r *authz.Refusal) *problem {
	switch {
	case r.Code == kessai.SystemMalfunction && r.Field == "":
		return &problem{code: problemBusy, detail: r.Why + " Nothing was done."}
	case r.Code == kessai.SystemMalfunction:
		return &problem{code: problemUnjudged, detail: r.Why + " Nothing was done."}
	case r.Code == kessai.InvalidAmount && r.Field == "items":
		return &problem{code: problemItems, field: r.Field, detail: r.Why}
	}
	return jsonInvalid(r.Field, r.Why)
}

// jsonClaim is what lets a phone claim a payment.
type jsonClaim struct {
	Code string `json:"code"`
	URL  string `json:"url"`
}

// PhoneCodes are what terminals show so that a customer and a phone find the right
// payment. Functions that are nil are not shown.
type PhoneCodes struct {
	Number  func(kessai.TxID) string // two digits, the same at the terminal and on the phone
	Claim   func(kessai.TxID) string // the code with which a phone claims a payment
	Receipt func(kessai.TxID) string // the code with which a receipt is checked
	Origin  string                   // the address of the phones' pages, such as https://pay.example.com
}

func (p *PhoneCodes) number(t *ledger.Tx) string {
	if p.Number == nil || t.Status != ledger.Waiting {
		return ""
	}
	return p.Number(t.ID)
}

// claim gives the code of a payment that waits to be claimed, and the link that a
// QR code holds.
func (p *PhoneCodes) claim(t *ledger.Tx) (code, url string) {
	if p.Claim == nil || t.Asks != kessai.AsksClaim || t.Status != ledger.Waiting || t.Customer != 0 {
		return "", ""
	}
	code = p.Claim(t.ID)
	return code, p.Origin + "/phone#claim=" + code
}

// checkURL gives the link under which anybody can check a receipt.
func (p *PhoneCodes) checkURL(id kessai.TxID) string {
	if p.Receipt == nil || p.Origin == "" {
		return ""
	}
	return p.Origin + "/r/" + p.Receipt(id)
}

// showConfirmation adds to a payment what has to do with its customer's word. The
// code is what the terminal is told as it stands now.
func (h *HTTP) showConfirmation(p *jsonPayment, t *ledger.Tx, note []byte) {
	p.ResponseCode, p.ResponseText = t.Standing().String(), t.Standing().Text()
	if !t.Standing().IsApproval() {
		p.ApprovalCode = ""
	}
	p.Confirm = confirmPhone
	switch t.Asks {
	case kessai.AsksClaim:
		p.Confirm = confirmClaim
	case kessai.AsksReader:
		p.Confirm = confirmReader
	}
	p.Items = nil
	var kept struct {
		Reference string     `json:"reference"`
		Items     []jsonItem `json:"items"`
	}
	if len(note) > 0 && json.Unmarshal(note, &kept) == nil {
		p.Reference = kept.Reference
		p.Items = shownItems(kept.Items)
	}
	if t.Status != ledger.Waiting {
		return
	}
	p.HoldExpires, p.ConfirmBy = "", jsonTime(t.Deadline)
	p.Number = h.o.Codes.number(t)
	if code, url := h.o.Codes.claim(t); code != "" {
		p.Claim = &jsonClaim{code, url}
	}
}

// shownItems writes lines as they were kept, without taxes that are not known.
func shownItems(items []jsonItem) jsontext.Value {
	if len(items) == 0 {
		return nil
	}
	for i := range items {
		if t := items[i].Tax; t != nil && *t == sale.TaxUnknown {
			items[i].Tax = nil
		}
	}
	text, err := json.Marshal(items)
	if err != nil { // they were read a moment ago
		return nil
	}
	return text
}
