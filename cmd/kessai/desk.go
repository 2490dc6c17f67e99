package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/customers"
	"kessai/customers/phones"
	"kessai/gateway"
	"kessai/merchants"
)

// desk is where whoever runs the gateway sees to customers and their phones. A
// gateway that runs has one behind its admin socket; where none runs, the command
// makes one of the data folder.
type desk struct {
	registry *merchants.Registry
	book     *ledger.Book
	engine   *authz.Engine
	phones   *phones.Store
	keys     *phones.Keys
	origin   string
}

// The answers of a desk, as they go over the admin socket.
type (
	invitedAnswer struct {
		Name  string    `json:"name"`
		URL   string    `json:"url"`
		Until time.Time `json:"until"`
	}
	devicesAnswer struct {
		Name          string          `json:"name"`
		Password      bool            `json:"password"` // there is one
		Devices       []deviceAnswer  `json:"devices"`
		Passkeys      []passkeyAnswer `json:"passkeys"`
		WrongPayments int             `json:"wrong_payments"` // passwords today
		WrongSignIns  int             `json:"wrong_sign_ins"`
	}
	deviceAnswer struct {
		ID    string    `json:"id"`
		Name  string    `json:"name"`
		Lang  string    `json:"lang"`
		Added time.Time `json:"added"`
		Seen  time.Time `json:"seen"`
		Push  bool      `json:"push"`
	}
	passkeyAnswer struct {
		ID    string    `json:"id"`
		Name  string    `json:"name"`
		Added time.Time `json:"added"`
		Used  time.Time `json:"used,omitzero"`
	}
	revokedAnswer struct {
		Devices  int `json:"devices"`
		Passkeys int `json:"passkeys"`
		Readers  int `json:"readers"`
	}
)

// act does what is asked. What is asked of a running gateway comes from its admin
// socket, so from its owner.
func (d *desk) act(ctx context.Context, a gateway.CustomerAct) (any, error) {
	switch a.What {
	case "evidence":
		return d.evidence(a.Payment)
	case "reader_revoke":
		return d.revokeReader(a.Reader)
	case "card_unlock":
		return d.unlockCard(ctx, a.Card)
	}
	id, err := customers.ParseID(a.Customer)
	if err != nil {
		return nil, err
	}
	who, ok, err := d.registry.Customer(id)
	if err != nil {
		return nil, err
	}
	account, found := d.book.AccountByName(customers.AccountName(id))
	if !ok || !found {
		return nil, fmt.Errorf("%w: there is no customer %s", gateway.ErrNoSuch, id)
	}
	switch a.What {
	case "invite":
		code, until, err := d.phones.Invite(id, time.Now())
		return invitedAnswer{who.Name, d.origin + "/phone#invite=" + code.Reveal(), until}, err
	case "devices":
		return d.devices(who, account.ID)
	case "revoke":
		return d.revoke(id, a.Device)
	case "revoke_all":
		n, keys, readers, err := d.phones.RevokeAll(id, time.Now())
		return revokedAnswer{n, keys, readers}, err
	case "unlock":
		return struct{}{}, d.engine.Unlock(ctx, account.ID)
	case "reader_invite":
		code, until, err := d.phones.InviteReader(d.keys, id, time.Now())
		return readerCodeAnswer{who.Name, code.Reveal(), until}, err
	case "readers":
		return d.readers(who)
	}
	return nil, fmt.Errorf("%w: nothing about a customer is called %.20q", gateway.ErrNoSuch, a.What)
}

func (d *desk) devices(who customers.Customer, account ledger.AccountID) (any, error) {
	devices, err := d.phones.Devices(who.ID)
	if err != nil {
		return nil, err
	}
	passkeys, err := d.phones.Passkeys(who.ID)
	if err != nil {
		return nil, err
	}
	out := devicesAnswer{Name: who.Name, Password: !who.Verifier.IsZero(), Devices: []deviceAnswer{}, Passkeys: []passkeyAnswer{}}
	out.WrongPayments, out.WrongSignIns = d.book.Tries(account)
	for _, v := range devices {
		out.Devices = append(out.Devices, deviceAnswer{v.ID, v.Name, v.Lang, v.Added, v.Seen, v.Push != nil})
	}
	for _, p := range passkeys {
		out.Passkeys = append(out.Passkeys, passkeyAnswer{p.ID(), p.Name, p.Added, p.Used})
	}
	return out, nil
}

// revoke removes a device, or a passkey: their names have different forms.
func (d *desk) revoke(id customers.ID, name string) (any, error) {
	err := d.phones.Revoke(id, name)
	if err == nil {
		return revokedAnswer{Devices: 1}, nil
	}
	if errors.Is(err, phones.ErrGone) {
		if err = d.phones.RemovePasskey(id, name); err == nil {
			return revokedAnswer{Passkeys: 1}, nil
		}
	}
	if errors.Is(err, phones.ErrGone) {
		err = fmt.Errorf("%w: %s has no device and no passkey of that name", gateway.ErrNoSuch, id)
	}
	return nil, err
}

// evidenceAnswer is what was found about a payment that a customer confirmed.
type evidenceAnswer struct {
	Payment  string          `json:"payment"`
	Approval string          `json:"approval"` // the transaction that the evidence is kept with
	Sale     json.RawMessage `json:"sale"`
	Digest   string          `json:"digest"`
	Factor   string          `json:"factor"`
	Reader   *readerAnswer   `json:"reader,omitempty"` // that the card was in
	Device   string          `json:"device"`
	Name     string          `json:"device_name"`
	Known    bool            `json:"device_registered"` // the customer's phone of that number has the key that signed
	Time     time.Time       `json:"time"`
	Recorded time.Time       `json:"recorded"` // when the book took the approval
	Origin   string          `json:"origin,omitempty"`
	Checks   []phones.Check  `json:"checks"`
	Missing  string          `json:"missing,omitempty"` // what could not be checked
	Holds    bool            `json:"holds"`
}

func (d *desk) evidence(payment string) (any, error) {
	id, ok := kessai.ParseTxID(payment)
	if !ok {
		return nil, errors.New("a payment is named like pay_000000000042, or by its RRN of twelve digits")
	}
	t, ok := d.book.Find(ledger.Ref{ID: id})
	if !ok {
		return nil, fmt.Errorf("%w: there is no payment %s", gateway.ErrNoSuch, id)
	}
	if t.Agreed == 0 {
		return nil, noEvidence(&t)
	}
	shown, err := d.engine.Sale(&t)
	if err != nil {
		return nil, err
	}
	canonical, err := shown.Encode()
	if err != nil {
		return nil, err
	}
	note, err := d.book.Note(t.Agreed)
	if err != nil {
		return nil, err
	}
	r, err := phones.Verify(note, phones.Shown{ID: id, Canonical: canonical}, d.keys)
	if err != nil {
		return nil, err
	}
	recorded := time.Time{}
	if approval, ok := d.book.Find(ledger.Ref{ID: t.Agreed}); ok {
		recorded = time.Unix(0, approval.Time).UTC()
	}
	devices, err := d.phones.Devices(customers.ID(shown.Customer))
	if err != nil {
		return nil, err
	}
	known := slices.ContainsFunc(devices, func(p phones.Device) bool { return p.ID == r.Device.ID && bytes.Equal(p.Key, r.Device.Key) })
	text, err := json.Marshal(shown)
	if err != nil {
		return nil, err
	}
	reader, err := d.readerOf(r.Reader)
	return evidenceAnswer{
		Payment: id.String(), Approval: t.Agreed.String(), Sale: text, Digest: fmt.Sprintf("%x", r.Digest), Factor: r.Factor, Reader: reader,
		Device: r.Device.ID, Name: r.Device.Name, Known: known, Time: r.Time, Recorded: recorded, Origin: r.Origin,
		Checks: slices.Clone(r.Checks), Holds: r.Holds(), Missing: r.Missing,
	}, err
}

// noEvidence says why nothing is kept of a payment that no customer approved.
func noEvidence(t *ledger.Tx) error {
	switch {
	case t.Asks == kessai.AsksNobody:
		return fmt.Errorf("%w: no customer was asked about %s, so there is no evidence", gateway.ErrNoSuch, t.ID)
	case t.Status == ledger.Waiting:
		return fmt.Errorf("%w: no customer approved %s yet, so nothing is kept", gateway.ErrNoSuch, t.ID)
	}
	return fmt.Errorf("%w: %s was not paid (%s, %s), so nothing is kept", gateway.ErrNoSuch, t.ID, t.Told, t.Told.Text())
}

// openDesk makes a desk of a data folder that no gateway runs on.
func openDesk(c *Config, log *slog.Logger) (_ *desk, closeAll func() error, err error) {
	s, err := openStores(c, log, nil)
	if err != nil {
		return nil, nil, err
	}
	secret, err := c.phoneKey()
	if err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	d := &desk{registry: s.registry, book: s.book, engine: authz.New(s.book, new(cache.Cache), authz.Options{}), origin: c.phoneOrigin()}
	if d.keys, err = phones.NewKeys(secret); err != nil {
		return nil, nil, errors.Join(configError("keys.phone", err), s.close())
	}
	if d.phones, err = phones.Open(phones.Folder(c.Data)); err != nil {
		return nil, nil, errors.Join(storeError(c.Data, err), s.close())
	}
	return d, func() error { return errors.Join(d.phones.Close(), s.close()) }, nil
}

// phoneOrigin gives the address of the phone's pages before anything listens.
func (c *Config) phoneOrigin() string {
	if c.Phone.Origin != "" {
		return c.Phone.Origin
	}
	_, port, err := net.SplitHostPort(c.HTTP.Address)
	if err != nil || port == "0" {
		port = "8080" // nobody knows yet
	}
	if c.HTTP.TLS.Cert != "" {
		return "https://localhost:" + port
	}
	return "http://localhost:" + port
}

// ask has something done about a customer: by the gateway that runs on the data
// folder, or by a desk of its own where none runs.
func (l *loaded) ask(ctx context.Context, log *slog.Logger, a gateway.CustomerAct, into any) error {
	answer, err := gateway.AdminCustomer(ctx, l.adminSocket(), a)
	if errors.Is(err, gateway.ErrNoGateway) {
		answer, err = askOffline(ctx, &l.Config, log, a)
	}
	if refused, ok := errors.AsType[*gateway.AdminRefused](err); ok {
		return errors.New(refused.Why)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

func askOffline(ctx context.Context, c *Config, log *slog.Logger, a gateway.CustomerAct) (json.RawMessage, error) {
	// Opening makes what is not there, and nothing about a customer begins a folder.
	if _, err := os.Stat(filepath.Join(c.Data, "book")); errors.Is(err, fs.ErrNotExist) {
		return nil, &exitError{exitConfig, "there is no gateway's data in " + c.Data, "it has no book",
			"give the data folder of a gateway with --data, or fill a new one with kessai import"}
	}
	d, closeAll, err := openDesk(c, log)
	if err != nil {
		return nil, err
	}
	answer, err := d.act(ctx, a)
	if err := errors.Join(err, closeAll()); err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}
