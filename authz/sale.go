package authz

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/sale"
)

// Refusal says why a sale cannot be shown to a customer. Nothing of it was
// recorded, and it can be sent again when it is put right.
type Refusal struct {
	Code  kessai.ResponseCode
	Field string // items, items[2].code, reference, ...: as JSON callers name it
	Why   string // for people; it repeats nothing that was sent
}

// shown makes what the customer is to see: the shop's name and every line, with
// what the terminal left to the item file (P-1).
func (e *Engine) shown(r *Request) (shop string, items []sale.Item, refusal *Refusal) {
	if refusal = checkReference(r.Confirm.Reference, r.Received); refusal != nil {
		return "", nil, refusal
	}
	sent := r.Confirm.Items
	if len(sent) > sale.MaxItems || len(sent) == 0 && r.Kind == kessai.Purchase {
		return "", nil, &Refusal{kessai.FormatError, "items", "A sale that a customer is to confirm has 1 to 100 lines."}
	}
	shop, mustMatch := e.o.Phone.Shop(r.Merchant)
	if shop == "" || sale.CheckText("shop", shop, sale.MaxName) != nil {
		shop = r.Merchant.String()
	}
	items = make([]sale.Item, len(sent))
	sum := int64(0)
	for i := range sent {
		items[i] = sent[i]
		at := "items[" + strconv.Itoa(i) + "]"
		if refusal = e.line(&items[i], r.Merchant, at, mustMatch); refusal != nil {
			return "", nil, refusal
		}
		line := items[i].Quantity * items[i].Price // below 10^18 by their limits
		var err error
		if sum, err = kessai.Add(sum, line); err != nil {
			return "", nil, &Refusal{kessai.InvalidAmount, "items", "Their sum does not fit into 64 bits."}
		}
	}
	if r.Kind == kessai.Purchase && sum != r.Amount.Value {
		return "", nil, &Refusal{kessai.InvalidAmount, "items", "The sum of quantity times price must be the amount."}
	}
	return shop, items, nil
}

// line completes one line from the item file, and checks it.
func (e *Engine) line(it *sale.Item, m kessai.MerchantID, at string, mustMatch bool) *Refusal {
	if it.Code != "" {
		known, ok, err := e.o.Phone.Item(m, it.Code)
		switch {
		case err != nil:
			return &Refusal{kessai.SystemMalfunction, at + ".code", "The item file cannot be read now."}
		case ok:
			if refusal := complete(it, &known, at, mustMatch); refusal != nil {
				return refusal
			}
		case mustMatch:
			return &Refusal{kessai.FormatError, at + ".code", "The item file has no such item, and this merchant sells by it only."}
		case it.Name == "":
			return &Refusal{kessai.FormatError, at + ".code", "The item file has no such item: send its name and price."}
		}
	} else if mustMatch && it.Price > 0 {
		return &Refusal{kessai.FormatError, at + ".code", "This merchant sells by the item file only: send the item's code."}
	}
	if err := it.Validate(); err != nil {
		return &Refusal{kessai.FormatError, at, "The line " + whyNot(err) + "."}
	}
	return nil
}

// complete fills in what a line left to the item file. A price of zero counts as
// left out.
func complete(it, known *sale.Item, at string, mustMatch bool) *Refusal {
	if it.Price == 0 {
		it.Price = known.Price
	}
	if mustMatch && it.Price != known.Price {
		return &Refusal{kessai.InvalidAmount, at + ".price", "The price differs from the item file, and this merchant sells at those prices only."}
	}
	if it.Name == "" || mustMatch {
		it.Name = known.Name
	}
	if it.Tax == sale.TaxUnknown || mustMatch {
		it.Tax = known.Tax
	}
	return nil
}

// whyNot gives the reason without what it is about: the caller names that.
func whyNot(err error) string {
	return "is refused: " + strings.TrimPrefix(err.Error(), sale.ErrSale.Error()+": ")
}

// The form of a reference: the time at which the terminal began the sale, in UTC,
// and what makes it the only one of that second.
const (
	referenceTime = "20060102150405"
	maxOwnPart    = 16
	// ReferenceAge is how far the time in a reference may be from the gateway's.
	ReferenceAge = 10 * time.Minute
)

// checkReference judges the terminal's own name for a sale (P-2). A clock that is
// off would make names come again one day.
func checkReference(s string, now time.Time) *Refusal {
	if s == "" {
		return nil
	}
	form := &Refusal{kessai.FormatError, "reference",
		"A reference is the UTC time as YYYYMMDDhhmmss, a hyphen, and 1 to 16 letters, digits or hyphens."}
	n := len(referenceTime)
	if len(s) < n+2 || len(s) > n+1+maxOwnPart || s[n] != '-' {
		return form
	}
	for _, c := range []byte(s[n+1:]) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return form
		}
	}
	at, err := time.Parse(referenceTime, s[:n])
	if err != nil {
		return form
	}
	if d := now.Sub(at); d > ReferenceAge || d < -ReferenceAge {
		return &Refusal{kessai.FormatError, "reference",
			"The reference is not of the last 10 minutes. It is " + now.UTC().Format(time.RFC3339) + " here: set the terminal's clock, and give every sale a new reference."}
	}
	return nil
}

// saleNote is what the book keeps with a payment that asks: what the customer saw,
// as far as the transaction itself does not say it.
type saleNote struct {
	Version   int        `json:"v"`
	Shop      string     `json:"shop,omitempty"`
	Customer  string     `json:"customer,omitempty"`
	Reference string     `json:"reference,omitempty"`
	Items     []noteItem `json:"items,omitempty"`
	Rate      string     `json:"rate,omitempty"`
	Date      string     `json:"date,omitempty"`
}

type noteItem struct {
	Code     string `json:"code,omitempty"`
	Name     string `json:"name"`
	Quantity int64  `json:"quantity"`
	Price    int64  `json:"price"`
	Tax      int32  `json:"tax"`
}

// encode gives the note as the book keeps it.
func (n *saleNote) encode() ([]byte, *Refusal) {
	b, err := json.Marshal(n)
	if err != nil || len(b) > ledger.MaxNote {
		return nil, &Refusal{kessai.FormatError, "items", "The lines are too long together: at most 32 KiB are kept."}
	}
	return b, nil
}

// errNoSale says that a transaction is no payment that asked a customer.
var errNoSale = errors.New("it is no payment that a customer was asked about")

// Sale gives a payment that asked a customer exactly as it is shown and signed. Of
// one that nobody has claimed, the customer is empty.
func (e *Engine) Sale(t *ledger.Tx) (*sale.Sale, error) {
	if t.Asks == kessai.AsksNobody || !t.HasNote {
		return nil, errNoSale
	}
	note, err := e.note(t.ID)
	if err != nil {
		return nil, err
	}
	s := &sale.Sale{
		ID: t.ID, Reference: note.Reference, Merchant: t.Merchant.String(), Shop: note.Shop,
		Terminal: t.Terminal.String(), Customer: note.Customer, Kind: t.Kind,
		Time:  time.Unix(0, t.Time).UTC().Truncate(time.Millisecond),
		Items: make([]sale.Item, len(note.Items)), Total: kessai.Amount{Value: t.Requested, Currency: t.Currency},
	}
	for i, it := range note.Items {
		s.Items[i] = sale.Item(it)
	}
	if t.Asks == kessai.AsksClaim && t.Customer != 0 {
		if note, err = e.claimNote(t); err != nil {
			return nil, err
		}
		s.Customer = note.Customer
	}
	if t.Foreign != (ledger.Foreign{}) {
		s.Foreign = &sale.Foreign{
			Total: kessai.Amount{Value: t.Foreign.Amount, Currency: t.Foreign.Currency}, Rate: note.Rate, Date: note.Date,
		}
	}
	return s, nil
}

// note reads what the book keeps with a payment that asks, or with its claim.
func (e *Engine) note(id kessai.TxID) (n saleNote, err error) {
	b, err := e.book.Note(id)
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err == nil && n.Version != 1 {
		err = errors.New("its form is not known")
	}
	if err != nil {
		err = fmt.Errorf("reading what was shown of %s: %w", id, err)
	}
	return n, err
}

// claimNote reads what a claim added: who claimed it, and at which rate. Its name is
// forgotten with the book's retention, and may then be that of a refused repeat. The
// claim stands in the book all the same, before what ended the payment.
func (e *Engine) claimNote(t *ledger.Tx) (saleNote, error) {
	mine := func(c *ledger.Tx) bool {
		return c.Kind == kessai.Claim && c.Original == t.ID && c.Customer == t.Customer && c.HasNote && (c.Code.IsApproval() || c.Ends != 0)
	}
	claim, ok := e.book.Find(ledger.Ref{Key: claimKey(t.ID, t.Customer)})
	if ok = ok && mine(&claim); !ok && t.Ended != 0 {
		claim, ok = e.book.Find(ledger.Ref{ID: t.Ended}) // it was not covered, and ended the payment itself
		ok = ok && mine(&claim)
	}
	if by := cmp.Or(t.Agreed, t.Ended); !ok && by != 0 {
		found, err := e.book.List(ledger.Query{Before: by, From: time.Unix(0, t.Time), Limit: 1, Match: mine})
		if err != nil {
			return saleNote{}, err
		}
		if ok = len(found) > 0; ok {
			claim = found[0]
		}
	}
	if !ok {
		return saleNote{}, fmt.Errorf("the claim of %s is not remembered any more", t.ID)
	}
	return e.note(claim.ID)
}

// claimKey names the attempt of an account to claim a payment, by which it is found
// again.
func claimKey(id kessai.TxID, account ledger.AccountID) ledger.Key {
	b := binary.BigEndian.AppendUint64([]byte("claim\x00"), uint64(id))
	return truncated(binary.BigEndian.AppendUint32(b, uint32(account)))
}
