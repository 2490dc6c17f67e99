package gateway

import (
	"context"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/customers/phones"
)

// phoneDevice is a phone that a customer is signed in with.
type phoneDevice struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	AddedAt string `json:"added_at,omitzero"`
	SeenAt  string `json:"seen_at,omitzero"`
	This    bool   `json:"this"`
	Push    bool   `json:"push"`
}

func phoneDeviceOf(d *phones.Device, this string) phoneDevice {
	return phoneDevice{d.ID, d.Name, jsonTime(d.Added.UnixNano()), jsonTime(d.Seen.UnixNano()), d.ID == this, d.Push != nil}
}

type phonePasskey struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	AddedAt string `json:"added_at"`
	UsedAt  string `json:"used_at,omitzero"`
}

func phonePasskeyOf(k *phones.Passkey) phonePasskey {
	p := phonePasskey{ID: k.ID(), Name: k.Name, AddedAt: jsonTime(k.Added.UnixNano())}
	if !k.Used.IsZero() {
		p.UsedAt = jsonTime(k.Used.UnixNano())
	}
	return p
}

func phonePasskeysOf(keys []phones.Passkey) []phonePasskey {
	all := make([]phonePasskey, len(keys))
	for i := range keys {
		all[i] = phonePasskeyOf(&keys[i])
	}
	return all
}

func (p *phoneSide) devices(c *fiber.Ctx, who phoneUser) error {
	all, err := p.o.Store.Devices(who.Customer)
	if err != nil {
		return p.fault(c, err, problemSignedOut)
	}
	list := make([]phoneDevice, len(all))
	for i := range all {
		list[i] = phoneDeviceOf(&all[i], who.Device.ID)
	}
	return writeJSON(c, fiber.StatusOK, struct {
		Devices []phoneDevice `json:"devices"`
	}{list})
}

// revokeDevice takes a phone from its customer: it signs nothing any more.
func (p *phoneSide) revokeDevice(c *fiber.Ctx, who phoneUser) error {
	id := c.Params("id")
	if err := p.o.Store.Revoke(who.Customer, id); err != nil {
		return p.fault(c, err, problemNotFound)
	}
	if id == who.Device.ID {
		p.drop(c)
	}
	return c.SendStatus(fiber.StatusNoContent)
}

func (p *phoneSide) beginAddPasskey(c *fiber.Ctx, who phoneUser) error {
	var body struct {
		ClientFirst string `json:"client_first"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	try, first, options, err := p.o.Service.BeginAddPasskey(who.Session, body.ClientFirst)
	return p.begun(c, phoneTry{Try: try, ServerFirst: first, Options: jsontext.Value(options)}, err, problemProof)
}

func (p *phoneSide) finishAddPasskey(c *fiber.Ctx, who phoneUser) error {
	var body struct {
		ClientFinal string         `json:"client_final"`
		Credential  jsontext.Value `json:"credential"`
		Name        string         `json:"name,omitzero"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	key, final, err := p.o.Service.FinishAddPasskey(context.Background(), who.Session, c.Params("try"), body.ClientFinal, []byte(body.Credential), body.Name)
	if err != nil {
		return p.fault(c, err, problemProof)
	}
	return writeJSON(c, fiber.StatusCreated, struct {
		ServerFinal string       `json:"server_final"`
		Passkey     phonePasskey `json:"passkey"`
	}{final, phonePasskeyOf(&key)})
}

func (p *phoneSide) removePasskey(c *fiber.Ctx, who phoneUser) error {
	if err := p.o.Store.RemovePasskey(who.Customer, c.Params("id")); err != nil {
		return p.fault(c, err, problemNotFound)
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// setPush notes where the phone can be reached while the app is closed.
func (p *phoneSide) setPush(c *fiber.Ctx, who phoneUser) error {
	var body struct {
		Endpoint kessai.Secret `json:"endpoint"`
		Keys     struct {
			P256DH b64 `json:"p256dh"`
			Auth   b64 `json:"auth"`
		} `json:"keys"`
	}
	if fault := jsonDecode(c.BodyRaw(), &body); fault != nil {
		return fault
	}
	if p.o.Push == nil {
		return &problem{code: problemPushHost, detail: "This gateway sends no push messages."}
	}
	err := p.o.Push.Subscribe(who.Session, phones.Subscription{Endpoint: body.Endpoint, P256DH: body.Keys.P256DH, Auth: body.Keys.Auth})
	if errors.Is(err, phones.ErrMalformed) {
		return &problem{code: problemPushHost, detail: "The push service is not one that this gateway may call, or the keys are not of their form."}
	}
	if err != nil {
		return p.fault(c, err, problemSignedOut)
	}
	return c.SendStatus(fiber.StatusNoContent)
}

func (p *phoneSide) stopPush(c *fiber.Ctx, who phoneUser) error {
	if p.o.Push != nil {
		if err := p.o.Push.Unsubscribe(who.Session); err != nil {
			return p.fault(c, err, problemSignedOut)
		}
	}
	return c.SendStatus(fiber.StatusNoContent)
}
