package gateway

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/authz"
	"kessai/authz/confirm"
	"kessai/authz/ledger"
	"kessai/pos/receipt"
)

// asked answers with a payment that a customer is asked about, as it stands now:
// 202 while it waits.
func (h *HTTP) asked(c *fiber.Ctx, t *ledger.Tx) error {
	status := fiber.StatusCreated
	if t.Status == ledger.Waiting {
		status = fiber.StatusAccepted
	}
	c.Set(fiber.HeaderLocation, "/v1/payments/"+t.ID.String())
	return h.answer(c, status, t)
}

// maxPoll is how long a request may wait for a customer.
const maxPoll = time.Minute

// show serves GET /v1/payments/{id}: the payment as it stands now, or with wait as
// it stands when its customer has decided, or that time is over.
func (h *HTTP) show(c *fiber.Ctx) error {
	if !c.Context().QueryArgs().Has("wait") {
		return h.get(h.showNow)(c)
	}
	who, p := h.who(c, fiber.MIMEApplicationJSON)
	if p != nil {
		return p
	}
	leave, p := h.await(h.shopsWait, who.String())
	if p != nil {
		return p
	}
	defer leave()
	return h.showLater(c, who)
}

func (h *HTTP) showNow(c *fiber.Ctx, who kessai.MerchantID) error {
	t, p := h.find(c, who)
	if p != nil {
		return p
	}
	return h.answer(c, fiber.StatusOK, &t)
}

func (h *HTTP) showLater(c *fiber.Ctx, who kessai.MerchantID) error {
	patience, err := time.ParseDuration(c.Query("wait"))
	if err != nil || patience < time.Second || patience > maxPoll {
		return &problem{code: problemInvalidParameter, field: "wait", detail: "The time to wait must be from 1s to 60s."}
	}
	t, p := h.find(c, who)
	if p != nil {
		return p
	}
	if t.Status != ledger.Waiting {
		return h.answer(c, fiber.StatusOK, &t)
	}
	decided, leave, p := h.decision(t.ID)
	if p != nil {
		return p
	}
	defer leave()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case t = <-decided:
	case <-timer.C:
	case <-h.ending: // it waits on in the book: the caller asks again when the gateway is back
	}
	if t.Status == 0 || t.Status == ledger.Waiting {
		if t, p = h.find(c, who); p != nil {
			return p
		}
	}
	return h.answer(c, fiber.StatusOK, &t)
}

// decision gives a channel that brings a payment when it waits no more. leave gives
// up.
func (h *HTTP) decision(id kessai.TxID) (decided <-chan ledger.Tx, leave func(), p *problem) {
	bring := make(chan ledger.Tx, 1)
	ticket, err := h.o.Engine.Await(id, func(t ledger.Tx) { bring <- t })
	if err == confirm.ErrWatchers {
		return nil, nil, &problem{code: problemBusy, detail: "Too many wait for this payment. Ask without waiting."}
	}
	return bring, func() { h.o.Engine.Leave(ticket) }, nil
}

const mimeEvents = "text/event-stream"

// watch serves GET /v1/payments/{id}/events: the payment as it stands, and once more
// when its customer has decided; then the stream ends.
func (h *HTTP) watch(c *fiber.Ctx, who kessai.MerchantID) error {
	t, p := h.find(c, who)
	if p != nil {
		return p
	}
	room, p := h.await(h.shopsWait, who.String())
	if p != nil {
		return p
	}
	decided, leave, p := h.decision(t.ID)
	if p != nil {
		room()
		return p
	}
	c.Locals(localPayment, t.ID.String())
	return h.stream(c, func() { leave(); room() }, func(s *events) {
		waits := t.Status == ledger.Waiting
		for ok := h.sendPayment(s, &t); ok && waits; {
			select {
			case t := <-decided:
				h.sendPayment(s, &t)
				return
			case <-s.Beat:
				ok = s.beat()
			case <-s.Over:
				return
			case <-s.Ended:
				return
			}
		}
	})
}

// sendPayment sends a payment as an event.
func (h *HTTP) sendPayment(s *events, t *ledger.Tx) bool {
	if t.Status == 0 { // the book has failed: nobody can say how it stands
		return false
	}
	note, err := h.noteOf(t)
	if err != nil {
		return false
	}
	body, err := json.Marshal(h.paymentOf(t, note))
	return err == nil && s.send("payment", string(body))
}

// cancel serves POST /v1/payments/{id}/cancel: the shop gives up a payment that
// waits for its customer. One that waits no more stays as it is, and the answer is
// 12.
func (h *HTTP) cancel(c *fiber.Ctx, who kessai.MerchantID) error {
	start := time.Now()
	original, p := h.find(c, who)
	if p != nil {
		return p
	}
	var body jsonCancel
	if p := jsonDecodeOptional(c.BodyRaw(), &body); p != nil {
		return p
	}
	r := &authz.Request{Kind: kessai.Cancellation, Original: authz.Original{ID: original.ID}}
	if p := body.source(r, who); p != nil {
		return p
	}
	r.Amount.Currency = original.Currency
	return h.authorize(c, r, start, "/v1/payments/"+original.ID.String()+"/cancel", &body)
}

// jsonCancel is the body of POST /v1/payments/{id}/cancel.
type jsonCancel struct{ jsonSource }

var receiptTypes = []string{fiber.MIMETextPlain, fiber.MIMETextHTML}

// receipt serves GET /v1/payments/{id}/receipt: what the terminal prints, or shows.
func (h *HTTP) receipt(c *fiber.Ctx, who kessai.MerchantID) error {
	columns, lang, p := receiptForm(c)
	if p != nil {
		return p
	}
	t, p := h.find(c, who)
	if p != nil {
		return p
	}
	if t.Asks == kessai.AsksNobody {
		return &problem{code: problemNotFound, detail: "There are receipts of payments that customers confirm."}
	}
	r, err := h.receiptOf(&t, h.o.Codes.checkURL(t.ID))
	var body []byte
	html := c.Accepts(receiptTypes...) == fiber.MIMETextHTML
	switch {
	case err != nil:
	case html:
		body, err = r.HTML(lang)
	default:
		var text string
		text, err = r.Text(columns, lang)
		body = []byte(text)
	}
	if err != nil {
		h.o.Logger.Error("a receipt cannot be made", "payment", t.ID.String(), "error", err)
		return &problem{code: problemInternal}
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextPlainCharsetUTF8)
	if html {
		c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
		c.Set(fiber.HeaderContentSecurityPolicy, receipt.ContentSecurityPolicy())
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Send(body)
}

// receiptForm reads how wide a receipt is to be, and in which language.
func receiptForm(c *fiber.Ctx) (columns int, lang receipt.Lang, p *problem) {
	columns, lang = 42, receipt.English
	if text := c.Query("columns"); text != "" {
		var err error
		if columns, err = strconv.Atoi(text); err != nil || columns != 32 && columns != 42 {
			return 0, "", &problem{code: problemInvalidParameter, field: "columns", detail: "A receipt has 32 or 42 columns."}
		}
	}
	if text := c.Query("lang"); text != "" {
		for _, known := range receipt.Languages() {
			if text == string(known) {
				return columns, known, nil
			}
		}
		return 0, "", &problem{code: problemInvalidParameter, field: "lang", detail: "The languages are en, ja, de and ar."}
	}
	return columns, lang, nil
}
