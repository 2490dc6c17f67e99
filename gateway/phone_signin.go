package gateway

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/customers/phones"
)

// phoneLanguages are those that the app speaks.
var phoneLanguages = []string{"en", "ja", "de", "ar"}

// config serves what the app must know before anybody is signed in.
func (p *phoneSide) config(c *fiber.Ctx) error {
	key := ""
	if p.o.Push != nil {
		key = p.o.Push.PublicKey()
	}
	return writeJSON(c, fiber.StatusOK, struct {
		VAPIDKey   string   `json:"vapid_key,omitzero"`
		Iterations int      `json:"iterations"`
		Languages  []string `json:"languages"`
		Passkeys   bool     `json:"passkeys"`
		Now        string   `json:"now"`
	}{key, p.o.Service.Iterations(), phoneLanguages, p.o.Service.Passkeys(), jsonTime(p.h.o.Now().UnixNano())})
}

// phoneTry is the answer to the first half of a proof.
type phoneTry struct {
	Try         string         `json:"try"`
	ServerFirst string         `json:"server_first,omitzero"` // of SCRAM
	Challenge   b64            `json:"challenge,omitzero"`
	Options     jsontext.Value `json:"options,omitzero"` // for navigator.credentials
	Nonce       b64            `json:"nonce,omitzero"`
}

// phoneSignedIn is what a phone hears that is signed in.
type phoneSignedIn struct {
	ServerFinal string        `json:"server_final,omitzero"`
	Customer    phoneCustomer `json:"customer"`
	Device      phoneDevice   `json:"device"`
	ExpiresAt   string        `json:"expires_at"`
}

type phoneCustomer struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitzero"`
	Currency string `json:"currency,omitzero"`
}

// phoneOwner is what a phone says of itself when it signs in.
type phoneOwner struct {
	Signature  b64    `json:"signature"`
	DeviceName string `json:"device_name,omitzero"`
	Lang       string `json:"lang,omitzero"`
}

func (o *phoneOwner) names() phones.PhoneNames {
	return phones.PhoneNames{Name: o.DeviceName, Lang: o.Lang}
}

// admit hands a session to a phone that has proved who it is.
func (p *phoneSide) admit(c *fiber.Ctx, in phones.SignedIn, err error) error {
	if err != nil {
		return p.fault(c, err, problemSignIn)
	}
	// The browser drops it when it must be signed in anew, not when it was idle:
	// then the phone renews the session with its own key.
	p.keep(c, in.Token.Reveal(), int(phones.SessionLifetime/time.Second))
	return writeJSON(c, fiber.StatusOK, phoneSignedIn{
		ServerFinal: in.ServerFinal, Customer: phoneCustomer{ID: string(in.Customer), Name: in.Name},
		Device: phoneDeviceOf(&in.Device, in.Device.ID), ExpiresAt: jsonTime(in.Expires.UnixNano()),
	})
}

// begun answers the first half of a proof.
func (p *phoneSide) begun(c *fiber.Ctx, t phoneTry, err error, refused problemCode) error {
	if err != nil {
		return p.fault(c, err, refused)
	}
	return writeJSON(c, fiber.StatusOK, t)
}

func (p *phoneSide) beginSignIn(c *fiber.Ctx) error {
	var body struct {
		ClientFirst string `json:"client_first"`
		DeviceKey   b64    `json:"device_key"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	try, first, err := p.o.Service.BeginSignIn(peerOf(c.Context().RemoteAddr()), body.ClientFirst, body.DeviceKey)
	return p.begun(c, phoneTry{Try: try, ServerFirst: first}, err, problemSignIn)
}

func (p *phoneSide) finishSignIn(c *fiber.Ctx) error {
	var body struct {
		ClientFinal string `json:"client_final"`
		phoneOwner
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	in, err := p.o.Service.FinishSignIn(context.Background(), c.Params("try"), body.ClientFinal, body.Signature, body.names())
	return p.admit(c, in, err)
}

func (p *phoneSide) beginPasskeySignIn(c *fiber.Ctx) error {
	try, options, err := p.o.Service.BeginPasskeySignIn(peerOf(c.Context().RemoteAddr()))
	return p.begun(c, phoneTry{Try: try, Options: jsontext.Value(options)}, err, problemSignIn)
}

func (p *phoneSide) finishPasskeySignIn(c *fiber.Ctx) error {
	var body struct {
		Credential jsontext.Value `json:"credential"`
		DeviceKey  b64            `json:"device_key"`
		phoneOwner
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	in, err := p.o.Service.FinishPasskeySignIn(c.Params("try"), []byte(body.Credential), body.DeviceKey, body.Signature, body.names())
	return p.admit(c, in, err)
}

func (p *phoneSide) beginRenewal(c *fiber.Ctx) error {
	var body struct {
		Device string `json:"device"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	try, challenge := p.o.Service.BeginRenewal(peerOf(c.Context().RemoteAddr()), body.Device)
	return p.begun(c, phoneTry{Try: try, Challenge: challenge}, nil, problemSignIn)
}

func (p *phoneSide) finishRenewal(c *fiber.Ctx) error {
	var body struct {
		Signature b64 `json:"signature"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	in, err := p.o.Service.FinishRenewal(c.Params("try"), body.Signature)
	return p.admit(c, in, err)
}

func (p *phoneSide) invitation(c *fiber.Ctx) error {
	var body struct {
		Code kessai.Secret `json:"code"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	id, err := p.o.Service.Invitation(body.Code)
	if err != nil {
		return p.fault(c, err, problemSignIn)
	}
	return writeJSON(c, fiber.StatusOK, struct {
		Customer phoneCustomer `json:"customer"`
	}{phoneCustomer{ID: string(id)}})
}

// acceptInvitation sets a password. The code, which is one in itself, stands in the
// body: addresses are written into logs on the way.
func (p *phoneSide) acceptInvitation(c *fiber.Ctx) error {
	var body struct {
		Code      kessai.Secret `json:"code"`
		Verifier  kessai.Secret `json:"verifier"`
		DeviceKey b64           `json:"device_key"`
		phoneOwner
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	in, err := p.o.Service.AcceptInvitation(body.Code, body.Verifier, body.DeviceKey, body.Signature, body.names())
	return p.admit(c, in, err)
}

// session serves who is signed in.
func (p *phoneSide) session(c *fiber.Ctx, who phoneUser) error {
	keys, err := p.o.Store.Passkeys(who.Customer)
	if err != nil {
		return p.fault(c, err, problemSignedOut)
	}
	return writeJSON(c, fiber.StatusOK, struct {
		Customer  phoneCustomer  `json:"customer"`
		Device    phoneDevice    `json:"device"`
		ExpiresAt string         `json:"expires_at"`
		Passkeys  []phonePasskey `json:"passkeys"`
		Push      bool           `json:"push"`
		Now       string         `json:"now"`
	}{
		phoneCustomer{string(who.Customer), who.Name, who.currency.String()}, phoneDeviceOf(&who.Device, who.Device.ID),
		jsonTime(who.Expires.UnixNano()), phonePasskeysOf(keys), who.Device.Push != nil, jsonTime(p.h.o.Now().UnixNano()),
	})
}

func (p *phoneSide) signOut(c *fiber.Ctx, who phoneUser) error {
	if err := p.o.Service.SignOut(who.Session); err != nil {
		return p.fault(c, err, problemSignedOut)
	}
	p.drop(c)
	return c.SendStatus(fiber.StatusNoContent)
}
