package gateway

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/authz"
	"kessai/pos/purse"
)

// jsonConfirm is the body of POST /v1/payments/{id}/confirm.
type jsonConfirm struct {
	jsonSource
	Purse string `json:"purse"`
}

const whatPurse = "A medium's state has 144 hexadecimal digits; docs/PURSE.md describes them."

// jsonPurse reads what a medium says of itself.
func jsonPurse(text string, r *authz.Request) *problem {
	if text == "" {
		if r.Kind.OnPurse() {
			return jsonMissing("purse", "What is about the value on a medium needs the medium's state.")
		}
		return nil
	}
	s, err := purse.ParseStateHex(text)
	if err != nil {
		return jsonInvalid("purse", whatPurse)
	}
	r.Purse = &s
	return nil
}

// confirm serves POST /v1/payments/{id}/confirm: the medium tells what it wrote.
func (h *HTTP) confirm(c *fiber.Ctx, who kessai.MerchantID) error {
	start := time.Now()
	original, p := h.find(c, who)
	if p != nil {
		return p
	}
	var body jsonConfirm
	if p := jsonDecode(c.BodyRaw(), &body); p != nil {
		return p
	}
	r := &authz.Request{Kind: kessai.PurseSettlement, Original: authz.Original{ID: original.ID}}
	if p := body.source(r, who); p != nil {
		return p
	}
	if p := jsonPurse(body.Purse, r); p != nil {
		return p
	}
	r.Amount.Currency = original.Currency
	return h.authorize(c, r, start, "/v1/payments/"+original.ID.String()+"/confirm", &body)
}

// localOrder is where the order to a medium waits for the answer that carries it:
// only what was just asked for is answered with one.
const localOrder = "purse_order"

func keepOrder(c *fiber.Ctx, o *purse.Order) {
	if o != nil {
		c.Locals(localOrder, o.Hex())
	}
}

func orderKept(c *fiber.Ctx) string {
	order, _ := c.Locals(localOrder).(string)
	return order
}
