package gateway

import (
	"strconv"

	"github.com/gofiber/fiber/v2"

	"kessai/authz/ledger"
	"kessai/pos/receipt"
)

// receipt serves the receipt of one of the customer's payments (P-12).
func (p *phoneSide) receipt(c *fiber.Ctx, who phoneUser) error {
	t, fault := p.find(c, who)
	if fault != nil {
		return fault
	}
	return p.writeReceipt(c, t)
}

// checkReceipt serves what the book has of a receipt that somebody holds: its QR
// code leads here. Who pays is masked, and nobody can guess the address of another.
func (p *phoneSide) checkReceipt(c *fiber.Ctx) error {
	id, ok := p.o.Keys.ParseReceipt(c.Params("code"))
	if ok {
		if t, found := p.h.o.Book.Find(ledger.Ref{ID: id}); found {
			c.Locals(localPayment, id.String())
			return p.writeReceipt(c, &t)
		}
	}
	return &problem{code: problemPaymentNotFound, detail: "This receipt is none of this gateway's."}
}

// writeReceipt writes a receipt as text of 32 or 42 columns where columns is given,
// and else as a page.
func (p *phoneSide) writeReceipt(c *fiber.Ctx, t *ledger.Tx) error {
	r, err := p.h.receiptOf(t, p.h.o.Codes.checkURL(t.ID))
	if err != nil {
		return p.fault(c, err, problemPaymentNotFound)
	}
	lang := receipt.Language(c.Query("lang", c.Get(fiber.HeaderAcceptLanguage)))
	c.Set(fiber.HeaderCacheControl, "no-store")
	if columns := c.Query("columns"); columns != "" {
		n, err := strconv.Atoi(columns)
		if err != nil || n != 32 && n != 42 {
			return &problem{code: problemInvalidParameter, field: "columns", detail: "It must be 32 or 42."}
		}
		text, err := r.Text(n, lang)
		if err != nil {
			return p.fault(c, err, problemPaymentNotFound)
		}
		c.Set(fiber.HeaderContentType, "text/plain; charset=utf-8")
		return c.SendString(text)
	}
	page, err := r.HTML(lang)
	if err != nil {
		return p.fault(c, err, problemPaymentNotFound)
	}
	c.Set(fiber.HeaderContentSecurityPolicy, receipt.ContentSecurityPolicy())
	c.Set(fiber.HeaderContentType, "text/html; charset=utf-8")
	return c.Send(page)
}
