package gateway

import (
	"errors"
	"io/fs"

	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/authz/ledger"
	"kessai/customers"
	"kessai/customers/phones"
	"kessai/gateway/web"
)

// PhoneOptions configures the side of the HTTP server that customers' phones talk
// to (system P).
type PhoneOptions struct {
	Service *phones.Service
	Store   *phones.Store
	Keys    *phones.Keys

	// Account gives a customer's account in the book; false where there is none.
	Account func(customers.ID) (ledger.AccountID, kessai.Currency, bool)
	Push    *phones.Pusher // nil: phones that are not open are not woken
	Origin  string         // the address of the pages, such as https://pay.example.com
	Framed  bool           // the shop floor may show the pages in a frame

	Tries    int // wrong proofs that end a payment
	DayTries int // wrong passwords of a day that lock the password
}

// phoneSide serves the pages for phones and the API behind them. docs/PHONE.md
// describes both.
type phoneSide struct {
	h         *HTTP
	o         PhoneOptions
	files     map[string]page
	strangers *crowd
	working   chan struct{} // holds one token for each request of a phone that is signed in
}

func newPhoneSide(h *HTTP, o PhoneOptions) (*phoneSide, error) {
	if o.Service == nil || o.Store == nil || o.Keys == nil || o.Account == nil || o.Tries < 1 || o.DayTries < 1 {
		return nil, errors.New("the phones' side needs a service, a store, keys, a way to find accounts and bounds for wrong proofs")
	}
	folder, err := fs.Sub(web.Phone, "phone")
	if err != nil {
		return nil, err
	}
	most := h.o.MaxInFlight
	p := &phoneSide{h: h, o: o, strangers: newCrowd(max(1, most/strangersShare), max(1, most/peerShare)), working: make(chan struct{}, most)}
	p.files, err = readPages(folder)
	return p, err
}

// routes is the whole of it. docs/PHONE.md lists the same, and a test holds the two
// together.
func (p *phoneSide) routes() []httpRoute {
	return []httpRoute{
		{"GET", "/phone/v1/config", p.open(p.config)},
		{"POST", "/phone/v1/sign-in", p.open(p.beginSignIn)},
		{"POST", "/phone/v1/sign-in/passkey", p.open(p.beginPasskeySignIn)},
		{"POST", "/phone/v1/sign-in/passkey/:try", p.open(p.finishPasskeySignIn)},
		{"POST", "/phone/v1/sign-in/:try", p.open(p.finishSignIn)},
		{"POST", "/phone/v1/renewals", p.open(p.beginRenewal)},
		{"POST", "/phone/v1/renewals/:try", p.open(p.finishRenewal)},
		{"POST", "/phone/v1/invitations", p.open(p.invitation)},
		{"POST", "/phone/v1/invitations/accept", p.open(p.acceptInvitation)},
		{"GET", "/phone/v1/session", p.signedIn(p.session)},
		{"DELETE", "/phone/v1/session", p.signedIn(p.signOut)},
		{"GET", "/phone/v1/devices", p.signedIn(p.devices)},
		{"DELETE", "/phone/v1/devices/:id", p.signedIn(p.revokeDevice)},
		{"GET", "/phone/v1/readers", p.signedIn(p.readers)},
		{"POST", "/phone/v1/readers", p.signedIn(p.enrolReader)},
		{"DELETE", "/phone/v1/readers/:id", p.signedIn(p.revokeReader)},
		{"POST", "/phone/v1/passkeys", p.signedIn(p.beginAddPasskey)},
		{"POST", "/phone/v1/passkeys/:try", p.signedIn(p.finishAddPasskey)},
		{"DELETE", "/phone/v1/passkeys/:id", p.signedIn(p.removePasskey)},
		{"PUT", "/phone/v1/push", p.signedIn(p.setPush)},
		{"DELETE", "/phone/v1/push", p.signedIn(p.stopPush)},
		{"GET", "/phone/v1/sales", p.signedIn(p.sales)},
		{"GET", "/phone/v1/sales/:id", p.signedIn(p.sale)},
		{"POST", "/phone/v1/sales/:id/password", p.signedIn(p.beginPassword)},
		{"POST", "/phone/v1/sales/:id/password/:try", p.signedIn(p.finishPassword)},
		{"POST", "/phone/v1/sales/:id/passkey", p.signedIn(p.beginPasskey)},
		{"POST", "/phone/v1/sales/:id/passkey/:try", p.signedIn(p.finishPasskey)},
		{"POST", "/phone/v1/sales/:id/reader", p.signedIn(p.beginReader)},
		{"GET", "/phone/v1/sales/:id/reader", p.signedIn(p.readerNow)},
		{"POST", "/phone/v1/sales/:id/reader/card", p.signedIn(p.readerCard)},
		{"POST", "/phone/v1/sales/:id/reader/pin", p.signedIn(p.readerPIN)},
		{"POST", "/phone/v1/sales/:id/cancel", p.signedIn(p.cancel)},
		{"POST", "/phone/v1/claims", p.signedIn(p.claim)},
		{"GET", "/phone/v1/history", p.signedIn(p.history)},
		{"GET", "/phone/v1/receipts/:id", p.signedIn(p.receipt)},
		{"GET", "/phone/v1/events", p.signedIn(p.events)},
		{"GET", "/r/:code", p.open(p.checkReceipt)},
		{"GET", phonePath, func(c *fiber.Ctx) error { return c.Redirect(phonePath+"/", fiber.StatusPermanentRedirect) }},
		{"GET", phonePath + "/*", servePages(p.files, phonePath, p.pageHeaders)},
	}
}

// phoneUser is who is signed in, with what the book has of them.
type phoneUser struct {
	phones.Session
	account  ledger.AccountID
	currency kessai.Currency
}

// user says whose session the request's cookie is.
func (p *phoneSide) user(c *fiber.Ctx) (phoneUser, *problem) {
	token := c.Cookies(phoneCookie)
	if token == "" {
		return phoneUser{}, &problem{code: problemSignedOut}
	}
	in, err := p.o.Service.Session(kessai.Secret(token))
	if err != nil {
		return phoneUser{}, p.fault(c, err, problemSignedOut)
	}
	account, currency, ok := p.o.Account(in.Customer)
	if !ok {
		return phoneUser{}, &problem{code: problemSignedOut}
	}
	return phoneUser{in, account, currency}, nil
}

// goneIs are the problems that say themselves that something is not there.
var goneIs = map[problemCode]bool{problemSignedOut: true, problemNotFound: true, problemNoPasskeys: true}

// fault turns what the phones' service says into a problem; refused is the one for
// what it refuses.
func (p *phoneSide) fault(c *fiber.Ctx, err error, refused problemCode) *problem {
	switch {
	case errors.Is(err, phones.ErrMalformed):
		return &problem{code: problemInvalidField, detail: "A message of the proof, a key or a signature is not of its form."}
	case errors.Is(err, phones.ErrRefused), errors.Is(err, phones.ErrGone) && goneIs[refused]:
		if errors.Is(err, phones.ErrRefused) && err != phones.ErrRefused { // the phone must not hear why; the operator must
			p.h.o.Logger.Error("a phone was refused, because the gateway failed", "request_id", c.Locals(localRequestID), "error", err)
		}
		return &problem{code: refused}
	case errors.Is(err, phones.ErrLocked):
		return &problem{code: problemPasswordLocked, detail: whyLocked}
	case errors.Is(err, phones.ErrGone):
		return &problem{code: problemTryGone, detail: "It was used, its time is over, or it never was. Begin again."}
	case errors.Is(err, phones.ErrFull):
		return &problem{code: problemTooMany, detail: "As many as are allowed are there or under way. Remove one, or wait two minutes."}
	case errors.Is(err, phones.ErrNoPasskeys):
		return &problem{code: problemNoPasskeys, detail: "Passkeys need a name of a host in the address, such as localhost, and no number."}
	case errors.Is(err, ledger.ErrBusy), errors.Is(err, ledger.ErrClosed), errors.Is(err, ledger.ErrUnknown):
		return p.h.refusal(c, err)
	}
	p.h.o.Logger.Error("a phone's request failed", "request_id", c.Locals(localRequestID), "error", err)
	return &problem{code: problemInternal}
}

// whyLocked tells a customer how to go on.
const whyLocked = "Too many wrong passwords today. A passkey still works; the password does again tomorrow, or when the operator unlocks it."
