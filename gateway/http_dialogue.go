package gateway

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
)

// jsonAtTerminal is the body of POST /v1/dialogues and POST /v1/retained: a card
// at a terminal.
type jsonAtTerminal struct {
	Merchant string      `json:"merchant,omitzero"`
	Terminal string      `json:"terminal"`
	Medium   *jsonMedium `json:"medium"`
}

// jsonOutcome is the answer to both. ID and expiry are there where a dialogue was
// opened.
type jsonOutcome struct {
	ID           string `json:"id,omitzero"`
	ExpiresAt    string `json:"expires_at,omitzero"`
	ResponseCode string `json:"response_code"`
	ResponseText string `json:"response_text"`
}

func (b *jsonAtTerminal) request(r *authz.Request, who kessai.MerchantID, hasher *kessai.MediumHasher) *problem {
	switch {
	case b.Terminal == "":
		return jsonMissing("terminal", "Name the terminal that has the card.")
	case b.Medium == nil:
		return jsonMissing("medium", "Name the card that is in the terminal.")
	}
	source := jsonSource{Merchant: b.Merchant, Terminal: b.Terminal}
	if p := source.source(r, who); p != nil {
		return p
	}
	return b.Medium.medium(r, hasher)
}

// atTerminal serves the two requests that are none of the book's kinds. They need
// no idempotency key: nothing moves, and a repeat does no harm.
func (h *HTTP) atTerminal(kind string, do func(r *authz.Request, by authz.Party) authz.Opening) apiHandler {
	return func(c *fiber.Ctx, who kessai.MerchantID) error {
		start := time.Now()
		var body jsonAtTerminal
		if p := jsonDecode(c.BodyRaw(), &body); p != nil {
			return p
		}
		r := authz.Request{Received: h.o.Now()}
		if p := body.request(&r, who, h.o.Hasher); p != nil {
			return p
		}
		m := h.o.Metrics
		m.Stage(authz.StageDecode, time.Since(start), 1)
		m.Began(ledger.WireJSON, 1)
		o := do(&r, authz.ByKey(who))
		m.Ended(ledger.WireJSON, time.Since(start), 1)
		m.answeredBeside(ledger.WireJSON, kind, o.Code)
		switch {
		case o.Full:
			m.Refused(ledger.WireJSON, RefusedDialogues)
			return &problem{code: problemBusy, detail: "As many dialogues are open as are allowed. Nothing was done."}
		case o.Code == kessai.SystemMalfunction:
			return &problem{code: problemUnjudged, detail: whyUnjudged}
		}
		answer := jsonOutcome{ResponseCode: o.Code.String(), ResponseText: o.Code.Text()}
		if o.Code != kessai.NoReasonToDecline {
			return writeJSON(c, fiber.StatusOK, answer)
		}
		answer.ID, answer.ExpiresAt = o.Dialogue.String(), jsonTime(o.Until.UnixNano())
		c.Set(fiber.HeaderLocation, "/v1/dialogues/"+answer.ID)
		return writeJSON(c, fiber.StatusCreated, answer)
	}
}

const whyUnjudged = "The registry cannot be read, or could not be for too long, so nothing is approved on what was read before. Nothing was done."

func (h *HTTP) open(r *authz.Request, by authz.Party) authz.Opening {
	if o, ok := h.o.Engine.Open(r, by); ok {
		return o
	}
	return h.o.Engine.OpenAsking(r, by)
}

func (h *HTTP) keep(r *authz.Request, _ authz.Party) authz.Opening {
	return authz.Opening{Code: h.o.Engine.Retained(r)}
}

// transaction serves POST /v1/dialogues/{id}/transaction.
func (h *HTTP) transaction(c *fiber.Ctx, who kessai.MerchantID) error {
	start := time.Now()
	id, ok := authz.ParseDialogueID([]byte(c.Params("id")))
	if !ok {
		return &problem{code: problemDialogueNotFound}
	}
	var body jsonCreate
	if p := jsonDecode(c.BodyRaw(), &body); p != nil {
		return p
	}
	r := &authz.Request{Dialogue: &authz.InDialogue{ID: id, By: authz.ByKey(who)}}
	if p := body.request(r, who, h.o.Hasher); p != nil {
		return p
	}
	return h.authorize(c, r, start, "/v1/dialogues/"+id.String()+"/transaction", &body)
}

// closeDialogue serves DELETE /v1/dialogues/{id}.
func (h *HTTP) closeDialogue(c *fiber.Ctx, who kessai.MerchantID) error {
	id, ok := authz.ParseDialogueID([]byte(c.Params("id")))
	if !ok || !h.o.Engine.Close(id, authz.ByKey(who), h.o.Now()) {
		return &problem{code: problemDialogueNotFound}
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.SendStatus(fiber.StatusNoContent)
}
