package gateway

import (
	"context"
	"errors"
	"mime"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
)

// apiHandler serves one merchant, whose API key was shown.
type apiHandler func(c *fiber.Ctx, who kessai.MerchantID) error

// get wraps a reading handler: room, API key, and that JSON can be taken.
func (h *HTTP) get(serve apiHandler) fiber.Handler {
	return h.with(h.inFlight, RefusedInFlight, serve, fiber.MIMEApplicationJSON)
}

// with wraps a handler: room, API key, and that one of the types can be taken.
func (h *HTTP) with(room chan struct{}, full Refusal, serve apiHandler, types ...string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		select {
		case room <- struct{}{}:
			defer func() { <-room }()
		default:
			h.o.Metrics.Refused(ledger.WireJSON, full)
			return &problem{code: problemBusy, detail: "As many requests as are allowed are being worked on. Nothing was done."}
		}
		who, p := h.who(c, types...)
		if p != nil {
			return p
		}
		return serve(c, who)
	}
}

// who gives the merchant whose API key was shown, if it can take one of the types.
func (h *HTTP) who(c *fiber.Ctx, types ...string) (kessai.MerchantID, *problem) {
	who, ok := h.authenticate(c.Get(fiber.HeaderAuthorization))
	if !ok {
		return who, &problem{code: problemUnauthorized, detail: "Send the header Authorization: Bearer, followed by the merchant's API key."}
	}
	c.Locals(localMerchant, who.String())
	if c.Accepts(types...) == "" {
		return who, &problem{code: problemNotAcceptable, field: fiber.HeaderAccept}
	}
	return who, nil
}

func (h *HTTP) authenticate(header string) (kessai.MerchantID, bool) {
	key, ok := bearer(header)
	if !ok {
		return kessai.MerchantID{}, false
	}
	return h.o.Authenticate(kessai.Secret(key))
}

// post wraps a handler that makes a payment: it needs an idempotency key too.
func (h *HTTP) post(serve apiHandler) fiber.Handler {
	return h.change(func(c *fiber.Ctx, who kessai.MerchantID) error {
		if p := checkIdempotencyKey(c); p != nil {
			return p
		}
		return serve(c, who)
	})
}

// change wraps a handler that changes something: it needs a plain JSON body, and
// is refused while the gateway drains.
func (h *HTTP) change(serve apiHandler) fiber.Handler {
	return h.get(func(c *fiber.Ctx, who kessai.MerchantID) error {
		if h.draining.Load() {
			h.o.Metrics.Refused(ledger.WireJSON, RefusedDraining)
			return &problem{code: problemDraining, detail: "Nothing was done."}
		}
		if e := c.Get(fiber.HeaderContentEncoding); e != "" && e != "identity" {
			return &problem{code: problemEncoding, field: fiber.HeaderContentEncoding}
		}
		if len(c.BodyRaw()) > 0 && !isJSON(c.Get(fiber.HeaderContentType)) {
			return &problem{code: problemMediaType, field: fiber.HeaderContentType}
		}
		return serve(c, who)
	})
}

const (
	headerIdempotencyKey      = "Idempotency-Key"
	headerIdempotencyReplayed = "Idempotency-Replayed"
	maxIdempotencyKey         = 255
)

func checkIdempotencyKey(c *fiber.Ctx) *problem {
	keys := c.Request().Header.PeekAll(headerIdempotencyKey)
	if len(keys) == 0 || len(keys[0]) == 0 {
		return &problem{code: problemKeyMissing, field: headerIdempotencyKey, detail: "Give every new payment a key of its own, and every repeat the key of its first sending."}
	}
	bad := len(keys) > 1 || len(keys[0]) > maxIdempotencyKey
	for _, b := range keys[0] {
		bad = bad || b < ' ' || b > '~'
	}
	if bad {
		return &problem{code: problemKeyInvalid, field: headerIdempotencyKey, detail: "Send it once, with 1 to 255 printable ASCII characters."}
	}
	return nil
}

func isJSON(contentType string) bool {
	t, params, err := mime.ParseMediaType(contentType)
	charset, given := params["charset"]
	return err == nil && t == fiber.MIMEApplicationJSON && (!given || strings.EqualFold(charset, "utf-8"))
}

// create serves POST /v1/payments.
func (h *HTTP) create(c *fiber.Ctx, who kessai.MerchantID) error {
	start := time.Now()
	var body jsonCreate
	if p := jsonDecode(c.BodyRaw(), &body); p != nil {
		return p
	}
	r := &authz.Request{}
	if p := body.request(r, who, h.o.Hasher); p != nil {
		return p
	}
	return h.authorize(c, r, start, "/v1/payments", &body)
}

// followUp serves the POSTs below a payment that are about a hold or a refund.
func (h *HTTP) followUp(kind kessai.Kind) apiHandler {
	verb := map[kessai.Kind]string{
		kessai.Completion: "/capture", kessai.Increment: "/increment", kessai.Release: "/release", kessai.Refund: "/refund",
	}[kind]
	return func(c *fiber.Ctx, who kessai.MerchantID) error {
		start := time.Now()
		original, p := h.find(c, who)
		if p != nil {
			return p
		}
		var body jsonFollowUp
		if p := jsonDecodeOptional(c.BodyRaw(), &body); p != nil {
			return p
		}
		r := &authz.Request{Kind: kind, Original: authz.Original{ID: original.ID}}
		if p := body.request(r, who, original.Currency); p != nil {
			return p
		}
		return h.authorize(c, r, start, "/v1/payments/"+original.ID.String()+verb, &body)
	}
}

// reverse serves POST /v1/payments/{id}/reverse.
func (h *HTTP) reverse(c *fiber.Ctx, who kessai.MerchantID) error {
	start := time.Now()
	original, p := h.find(c, who)
	if p != nil {
		return p
	}
	var body jsonReverse
	if p := jsonDecodeOptional(c.BodyRaw(), &body); p != nil {
		return p
	}
	r := &authz.Request{Kind: kessai.Reversal, Original: authz.Original{ID: original.ID}}
	if p := body.request(r, who, original.Currency); p != nil {
		return p
	}
	return h.authorize(c, r, start, "/v1/payments/"+original.ID.String()+"/reverse", &body)
}

// jsonDecodeOptional reads a body in which everything may be left out, itself
// included.
func jsonDecodeOptional(body []byte, into any) *problem {
	if len(body) == 0 {
		return nil
	}
	return jsonDecode(body, into)
}

// find gives the payment that the path names. One of another merchant does not
// exist.
func (h *HTTP) find(c *fiber.Ctx, who kessai.MerchantID) (ledger.Tx, *problem) {
	id, ok := kessai.ParseTxID(c.Params("id"))
	if ok {
		if t, found := h.o.Book.Find(ledger.Ref{ID: id}); found && t.Merchant == who {
			return t, nil
		}
	}
	if h.o.Book.Err() != nil { // nothing is read from a book that failed
		return ledger.Tx{}, &problem{code: problemDraining, detail: "Nothing was done."}
	}
	return ledger.Tx{}, &problem{code: problemPaymentNotFound}
}

// authorize asks the engine and answers with the transaction as it was decided,
// so that a repeat is answered with the same bytes.
func (h *HTTP) authorize(c *fiber.Ctx, r *authz.Request, start time.Time, path string, body any) error {
	r.IdempotencyKey = c.Get(headerIdempotencyKey)
	digest, err := jsonDigest(path, body, r)
	if err != nil {
		return err
	}
	r.BodyDigest = digest
	r.Received = h.o.Now()
	m := h.o.Metrics
	m.Stage(authz.StageDecode, time.Since(start), 1)
	m.Began(ledger.WireJSON, 1)
	// The engine is never told to give up: what is in flight ends, whether or
	// not the caller is still there to hear of it.
	reply, err := h.o.Engine.AuthorizeOne(context.Background(), r)
	m.Ended(ledger.WireJSON, time.Since(start), 1)
	if err != nil {
		return h.refusal(c, err)
	}
	m.Answered(ledger.WireJSON, r.Kind, reply.Code)
	if reply.Refusal != nil {
		return saleRefused(reply.Refusal)
	}
	if reply.Code == kessai.DuplicateTransmission && reply.Tx.ID == 0 {
		return &problem{code: problemReused, detail: "The Idempotency-Key, or the terminal with this STAN and time, stands for a request with other content. Nothing was done."}
	}
	if reply.Code == kessai.SystemMalfunction && reply.Tx.ID == 0 {
		return &problem{code: problemUnjudged, detail: whyUnjudged}
	}
	if reply.Code == kessai.NoSuchRecord && reply.Tx.ID == 0 {
		return &problem{code: problemDialogueNotFound, detail: "It has ended, is about another card or terminal, or never was. Nothing was done."}
	}
	if reply.Replayed {
		m.Replayed(ledger.WireJSON)
		c.Set(headerIdempotencyReplayed, "true")
	}
	if reply.Tx.Asks != kessai.AsksNobody { // it is told as it stands now, whenever it is asked for
		return h.asked(c, &reply.Tx)
	}
	decided := reply.Tx.AsDecided()
	keepOrder(c, reply.Order)
	c.Set(fiber.HeaderLocation, "/v1/payments/"+decided.ID.String())
	if reply.Replayed { // it may have been made with other items, or over ISO 8583 with none
		return h.answer(c, fiber.StatusCreated, &decided)
	}
	return h.answerWith(c, fiber.StatusCreated, &decided, r.Note)
}

// refusal turns an error of the engine into a problem.
func (h *HTTP) refusal(c *fiber.Ctx, err error) *problem {
	switch {
	case errors.Is(err, ledger.ErrBusy):
		h.o.Metrics.Refused(ledger.WireJSON, RefusedBusy)
		return &problem{code: problemBusy, detail: "The queue of the book is full. Nothing was done."}
	case errors.Is(err, ledger.ErrClosed):
		h.o.Metrics.Refused(ledger.WireJSON, RefusedDraining)
		return &problem{code: problemDraining, detail: "Nothing was done."}
	case errors.Is(err, ledger.ErrUnknown):
		return &problem{code: problemUnknown, detail: "It may have been carried out and it may not. Repeat the request with the same Idempotency-Key until it is answered."}
	}
	h.o.Logger.Error("the engine failed", "request_id", c.Locals(localRequestID), "error", err)
	return &problem{code: problemInternal}
}

// answer writes a payment with the items that were kept with it.
func (h *HTTP) answer(c *fiber.Ctx, status int, t *ledger.Tx) error {
	note, err := h.noteOf(t)
	if err != nil {
		return &problem{code: problemInternal}
	}
	return h.answerWith(c, status, t, note)
}

// noteOf reads what was kept with a payment; nil where nothing was.
func (h *HTTP) noteOf(t *ledger.Tx) ([]byte, error) {
	if !t.HasNote {
		return nil, nil
	}
	note, err := h.o.Book.Note(t.ID)
	if err != nil {
		h.o.Logger.Error("the items of a payment cannot be read", "payment", t.ID.String(), "error", err)
	}
	return note, err
}

func (h *HTTP) answerWith(c *fiber.Ctx, status int, t *ledger.Tx, note []byte) error {
	start := time.Now()
	c.Locals(localPayment, t.ID.String())
	payment := h.paymentOf(t, note)
	payment.PurseOrder = orderKept(c)
	if err := writeJSON(c, status, payment); err != nil {
		return err
	}
	h.o.Metrics.Stage(authz.StageEncode, time.Since(start), 1)
	return nil
}

func writeJSON(c *fiber.Ctx, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.Status(status)
	c.Response().SetBodyRaw(body)
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return nil
}

// paymentOf shows a transaction as JSON callers see it.
func (h *HTTP) paymentOf(t *ledger.Tx, note []byte) jsonPayment {
	p := jsonPaymentOf(t, note)
	if t.Asks != kessai.AsksNobody {
		h.showConfirmation(&p, t, note)
	}
	return p
}
