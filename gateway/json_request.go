package gateway

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
)

// jsonAmount is a sum of money as JSON callers write it.
type jsonAmount struct {
	Value    int64  `json:"value"`
	Currency string `json:"currency"`
}

// jsonMedium is the card of a new payment. Both members are secrets: the expiry
// too is cardholder data.
type jsonMedium struct {
	PAN    kessai.Secret `json:"pan"`
	Expiry kessai.Secret `json:"expiry"`
}

// jsonSource says which terminal asks, and how it names the attempt. Every POST
// may carry it.
type jsonSource struct {
	Merchant      string `json:"merchant,omitzero"`
	Terminal      string `json:"terminal,omitzero"`
	STAN          string `json:"stan,omitzero"`
	TransmittedAt string `json:"transmitted_at,omitzero"`
}

// jsonCreate is the body of POST /v1/payments.
type jsonCreate struct {
	Kind string `json:"kind"`
	jsonSource
	jsonConfirmation
	Amount   *jsonAmount `json:"amount,omitzero"`
	CashBack int64       `json:"cash_back,omitzero"`
	Medium   *jsonMedium `json:"medium,omitzero"`
	Purse    string      `json:"purse,omitzero"`
	Items    []jsonItem  `json:"items,omitzero"`
}

// jsonFollowUp is the body of POST /v1/payments/{id}/capture, increment, release
// and refund.
type jsonFollowUp struct {
	jsonSource
	Amount *jsonAmount `json:"amount,omitzero"`
}

// jsonReverse is the body of POST /v1/payments/{id}/reverse.
type jsonReverse struct {
	jsonSource
	ReplacementAmount *jsonAmount `json:"replacement_amount,omitzero"`
}

// jsonNames are all names that bodies and parameters can hold: the only ones
// that a problem may repeat.
var jsonNames = map[string]bool{
	"kind": true, "merchant": true, "terminal": true, "stan": true, "transmitted_at": true, "amount": true,
	"value": true, "currency": true, "cash_back": true, "medium": true, "pan": true, "expiry": true, "items": true,
	"code": true, "name": true, "quantity": true, "price": true, "replacement_amount": true,
	"purse": true, "confirm": true, "customer": true, "reference": true, "tax": true,
}

var (
	errJSONNull  = errors.New("null stands where a value is needed")
	errJSONEmpty = errors.New("text is empty")
)

// jsonStrict refuses what the decoder would let through as a zero value, so that
// a member is either left out or says something.
var jsonStrict = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, _ any) error {
			if dec.PeekKind() == 'n' {
				return errJSONNull
			}
			return errors.ErrUnsupported
		}),
		json.UnmarshalFromFunc(jsonText[string]),
		json.UnmarshalFromFunc(jsonText[kessai.Secret]),
	)),
)

func jsonText[T ~string](dec *jsontext.Decoder, out *T) error {
	if dec.PeekKind() != '"' {
		return errors.ErrUnsupported
	}
	t, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if *out = T(t.String()); *out == "" {
		return errJSONEmpty
	}
	return nil
}

// jsonDecode reads a body. Unknown members, duplicate names, invalid UTF-8,
// nulls, empty texts and trailing data are refused.
func jsonDecode(body []byte, into any) *problem {
	err := json.Unmarshal(body, into, jsonStrict)
	if err == nil {
		return nil
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		at := "At byte " + strconv.FormatInt(syntactic.ByteOffset, 10) + "."
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return &problem{code: problemDuplicateField, detail: at, field: jsonField(syntactic.JSONPointer)}
		}
		return &problem{code: problemMalformedJSON, detail: at}
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return &problem{code: problemMalformedJSON}
	}
	at := "At byte " + strconv.FormatInt(semantic.ByteOffset, 10) + "."
	switch field := jsonField(semantic.JSONPointer); {
	case errors.Is(err, json.ErrUnknownName):
		return &problem{code: problemUnknownField, detail: at + " Names are case-sensitive; the API page lists those that are known."}
	case errors.Is(err, errJSONEmpty):
		return jsonInvalid(field, "The text must not be empty; leave the member out instead.")
	case errors.Is(err, errJSONNull):
		return &problem{code: problemWrongType, detail: at + " Leave the member out instead of giving null.", field: field}
	default:
		return &problem{code: problemWrongType, detail: at + " Amounts, quantities and prices are whole numbers; everything else that is no object or array is a text.", field: field}
	}
}

// jsonField writes a JSON pointer as items[2].price; nothing where it holds a
// name that is not this API's own.
func jsonField(p jsontext.Pointer) string {
	var b strings.Builder
	for t := range p.Tokens() {
		switch _, err := strconv.ParseUint(t, 10, 16); {
		case err == nil && b.Len() > 0:
			b.WriteString("[" + t + "]")
		case jsonNames[t]:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(t)
		default:
			return ""
		}
	}
	return b.String()
}

func jsonInvalid(field, detail string) *problem {
	return &problem{code: problemInvalidField, detail: detail, field: field}
}

func jsonMissing(field, detail string) *problem {
	return &problem{code: problemMissingField, detail: detail, field: field}
}

// amount reads a sum of money of at least the given value.
func (a *jsonAmount) amount(field string, least int64) (kessai.Amount, *problem) {
	currency, ok := kessai.ParseCurrency(a.Currency)
	switch {
	case a.Currency == "":
		return kessai.Amount{}, jsonMissing(field+".currency", "An amount has a value and a currency.")
	case !ok || currency.String() != a.Currency:
		return kessai.Amount{}, jsonInvalid(field+".currency", "The currency must be an alphabetic code of ISO 4217, such as JPY.")
	case a.Value < least || a.Value > kessai.MaxAmount:
		return kessai.Amount{}, jsonInvalid(field+".value", "The value must be from "+strconv.FormatInt(least, 10)+" to 999999999999, in minor units.")
	}
	return kessai.Amount{Value: a.Value, Currency: currency}, nil
}

// source fills in who asks, and under which name of the attempt. Over ISO 8583
// the same kind, terminal, STAN and time name the same attempt.
func (s *jsonSource) source(r *authz.Request, who kessai.MerchantID) *problem {
	r.Wire, r.Merchant = ledger.WireJSON, who
	if s.Merchant != "" {
		switch m, err := kessai.ParseMerchantID(s.Merchant); {
		case err != nil:
			return jsonInvalid("merchant", "A merchant has 1 to 15 printable ASCII characters.")
		case m != who:
			return &problem{code: problemOtherMerchant, field: "merchant", detail: "Leave merchant out, or name the one that the API key was made for."}
		}
	}
	if s.Terminal != "" {
		t, err := kessai.ParseTerminalID(s.Terminal)
		if err != nil {
			return jsonInvalid("terminal", "A terminal has 1 to 8 printable ASCII characters.")
		}
		r.Terminal = t
	}
	if s.STAN != "" {
		stan, ok := kessai.ParseSTAN(s.STAN)
		if !ok {
			return jsonInvalid("stan", "The STAN must be 1 to 6 digits.")
		}
		r.Attempt.STAN = stan
	}
	if s.TransmittedAt != "" {
		var at time.Time
		if err := at.UnmarshalText([]byte(s.TransmittedAt)); err != nil {
			return jsonInvalid("transmitted_at", "The time must be as RFC 3339 writes it, such as 2026-11-22T03:39:12Z.")
		}
		r.Attempt.Transmitted = at.UTC().Truncate(time.Second)
	}
	if s.Terminal != "" && s.STAN != "" && s.TransmittedAt != "" {
		r.Attempt.MTI = authz.MTI(r.Kind)
	}
	return nil
}

// medium fills in the card. A number whose check digit is wrong is a card that
// does not exist, and that is for the engine to decline; anything but digits is
// no card number at all.
func (m *jsonMedium) medium(r *authz.Request, hasher *kessai.MediumHasher) *problem {
	if m.PAN == "" {
		return jsonMissing("medium.pan", "A medium has a card number.")
	}
	pan, err := kessai.ParsePAN(m.PAN)
	if pan.IsZero() {
		return jsonInvalid("medium.pan", "A card number has 1 to 19 digits and nothing else.")
	}
	r.Medium, r.Last4, r.BadPAN = hasher.Medium(pan), pan.Last4(), err != nil
	if m.Expiry == "" {
		return nil
	}
	yymm, err := strconv.ParseUint(m.Expiry.Reveal(), 10, 16)
	if err != nil || len(m.Expiry) != 4 || yymm%100 < 1 || yymm%100 > 12 {
		return jsonInvalid("medium.expiry", "The expiry must be four digits, year then month, such as 2912.")
	}
	r.Expiry = uint16(yymm)
	return nil
}

// jsonCreatable are the kinds that stand for themselves. The others are about an
// earlier payment and are made below it.
const jsonCreatable = "purchase, cash_back, refund, balance_inquiry, verification, pre_authorization, load, unload, purse_purchase, purse_inquiry"

// request turns the body into what the engine is asked.
func (b *jsonCreate) request(r *authz.Request, who kessai.MerchantID, hasher *kessai.MediumHasher) *problem {
	kind, ok := kessai.ParseKind(b.Kind)
	switch {
	case b.Kind == "":
		return jsonMissing("kind", "The kind must be one of "+jsonCreatable+".")
	case !ok || kind.FollowsUp() || kind == kessai.PurseSettlement || kind.OfCustomer():
		return jsonInvalid("kind", "The kind must be one of "+jsonCreatable+". To capture, increment, release, refund or reverse a payment, post below it.")
	case b.Terminal == "":
		return jsonMissing("terminal", "A new payment names the terminal that it is made at.")
	case b.Medium == nil && r.Dialogue == nil && !kind.OnPurse() && !b.asks():
		return jsonMissing("medium", "A new payment names the card that it is made with, or says how the customer confirms it.")
	}
	r.Kind = kind
	if p := b.source(r, who); p != nil {
		return p
	}
	if p := b.confirmation(r); p != nil {
		return p
	}
	if p := jsonPurse(b.Purse, r); p != nil {
		return p
	}
	if b.Medium != nil {
		if p := b.Medium.medium(r, hasher); p != nil {
			return p
		}
	} else {
		mediumOf(r)
	}
	if p := b.amounts(r); p != nil {
		return p
	}
	return jsonItems(b.Items, r)
}

func (b *jsonCreate) amounts(r *authz.Request) *problem {
	asks := r.Kind == kessai.BalanceInquiry || r.Kind == kessai.Verification || r.Kind == kessai.PurseInquiry
	var p *problem
	switch {
	case b.Amount == nil && !asks:
		return jsonMissing("amount", "")
	case b.Amount == nil:
	case asks && b.Amount.Value != 0:
		return jsonInvalid("amount.value", "No money moves here: leave the amount out, or give zero.")
	case asks:
		r.Amount, p = b.Amount.amount("amount", 0)
	default:
		r.Amount, p = b.Amount.amount("amount", 1)
	}
	switch {
	case p != nil:
		return p
	case r.Kind != kessai.CashBack && b.CashBack != 0:
		return jsonInvalid("cash_back", "Only the kind cash_back has cash back.")
	case r.Kind == kessai.CashBack && (b.CashBack < 1 || b.CashBack > r.Amount.Value):
		return jsonInvalid("cash_back", "The cash handed over must be from 1 to the value of the amount, which it is a part of.")
	}
	r.CashBack = b.CashBack
	return nil
}

// request turns the body into what the engine is asked. An amount that is left
// out is all that there is; the book knows how much that is.
func (b *jsonFollowUp) request(r *authz.Request, who kessai.MerchantID, currency kessai.Currency) *problem {
	if p := b.source(r, who); p != nil {
		return p
	}
	r.Amount.Currency = currency
	switch {
	case r.Kind == kessai.Release && b.Amount != nil:
		return jsonInvalid("amount", "A release ends the whole hold: leave the amount out.")
	case r.Kind == kessai.Increment && b.Amount == nil:
		return jsonMissing("amount", "An increment says how much is added to the hold.")
	case b.Amount == nil:
		return nil
	}
	var p *problem
	r.Amount, p = b.Amount.amount("amount", 1)
	return p
}

// request turns the body into what the engine is asked.
func (b *jsonReverse) request(r *authz.Request, who kessai.MerchantID, currency kessai.Currency) *problem {
	if p := b.source(r, who); p != nil {
		return p
	}
	r.Amount.Currency = currency
	if b.ReplacementAmount == nil {
		return nil
	}
	var p *problem
	r.Amount, p = b.ReplacementAmount.amount("replacement_amount", 0)
	return p
}

// jsonDigest is the digest of what was sent under an idempotency key: where to,
// and the body as it was understood, so that white space and the order of the
// members do not make a repeat a different request.
//
// The card number stands in it as its keyed medium ID. A digest over the body
// itself would be kept in the book, and whoever can read the book and knows the
// rest of the body could try the few numbers behind an issuer's prefix and the
// last four digits against it.
func jsonDigest(path string, body any, r *authz.Request) (d [16]byte, err error) {
	h := sha256.New()
	h.Write([]byte("POST\x00" + path + "\x00"))
	h.Write(r.Medium[:])
	h.Write([]byte{byte(r.Expiry >> 8), byte(r.Expiry)})
	if err := json.MarshalWrite(h, body); err != nil { // number and expiry show as **** in it
		return d, fmt.Errorf("encoding a decoded body: %w", err)
	}
	copy(d[:], h.Sum(nil))
	return d, nil
}
