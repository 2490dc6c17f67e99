package main

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/confirm"
	"kessai/authz/ledger"
	"kessai/authz/rates"
	"kessai/customers"
	"kessai/customers/phones"
	"kessai/gateway"
	"kessai/pos/sale"
)

// phoneParts is what the gateway has to do with customers' phones: what it keeps of
// them, the keys for that, how they are woken, and the exchange rates.
type phoneParts struct {
	store *phones.Store
	keys  *phones.Keys
	push  *phones.Pusher
	rates *rates.Source
}

// openPhones opens the store of phones and starts what wakes them.
func (s *stores) openPhones(c *Config, m *gateway.Metrics, log *slog.Logger) (err error) {
	secret, err := c.phoneKey()
	if err != nil {
		return err
	}
	p := &phoneParts{}
	if p.keys, err = phones.NewKeys(secret); err != nil {
		return configError("keys.phone", err)
	}
	if p.store, err = phones.Open(phones.Folder(c.Data)); err != nil {
		return storeError(c.Data, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.store.Close())
		}
	}()
	// Push services know the gateway by a key of its own. Another one would cut off
	// every phone, so it follows from the key that is kept anyway.
	vapid, err := hkdf.Key(sha256.New, secret, nil, "kessai phone vapid", 32)
	if err != nil {
		return configError("keys.phone", err)
	}
	p.push, err = phones.NewPusher(phones.PushOptions{
		Store: p.store, Key: vapid, Contact: c.pushContact(), Hosts: strings.Fields(c.Phone.PushHosts),
		Told: m.Pushed, Logger: log,
	})
	if err != nil {
		return configError("phone", err)
	}
	// What goes wrong is told below; a gateway without rates can do everything else.
	p.rates, _ = rates.Open(rates.Options{File: c.Rates.File, MaxAge: c.Rates.MaxAge, Observe: func(t *rates.Table, err error) {
		if err != nil {
			log.Error("the exchange rates cannot be read: those before stay in force, until they are too old", "error", err)
		}
	}})
	m.WatchRates(p.rates.Age)
	s.phones = p
	return nil
}

// pushContact is how push services reach whoever runs the gateway.
func (c *Config) pushContact() string {
	if c.Phone.PushContact == "" && strings.HasPrefix(c.Phone.Origin, "https://") {
		return c.Phone.Origin
	}
	return cmp.Or(c.Phone.PushContact, "postmaster@localhost")
}

func (p *phoneParts) close() error {
	p.push.Close()
	return p.store.Close()
}

// phoneOptions says how the engine has customers asked.
func (b *builder) phoneOptions() authz.PhoneOptions {
	c := &b.c.Phone
	room := confirm.Options{Max: c.MaxWaiting}
	if b.around.floor != nil {
		room.PerAccount = floorAsks
	}
	return authz.PhoneOptions{
		Customer: b.customerFacts, Shop: b.shop, Item: b.item, Convert: b.phones.rates.Convert, Ask: b.wake,
		Timeout: c.Timeout, HoldFor: c.HoldFor, MaxTries: c.Tries, DayTries: c.DayTries,
		Room: room,
	}
}

// customerFacts finds a customer who is to be asked, by their ID or their phone number.
func (b *builder) customerFacts(named string) (f authz.CustomerFacts, ok bool, err error) {
	who, ok, err := b.customerNamed(named)
	if err != nil || !ok {
		return f, false, err
	}
	reachable, err := b.phones.store.Reachable(who.ID)
	if err != nil {
		return f, false, err
	}
	account, ok := b.book.AccountByName(customers.AccountName(who.ID))
	return authz.CustomerFacts{ID: string(who.ID), Account: account.ID, Currency: who.Currency, Reachable: reachable}, ok, nil
}

// customerNamed finds a customer. A phone number begins with a plus sign, and no ID has one.
func (b *builder) customerNamed(named string) (who customers.Customer, ok bool, err error) {
	if strings.HasPrefix(named, "+") {
		return b.registry.CustomerByPhone(named)
	}
	id, err := customers.ParseID(named)
	if err != nil {
		return who, false, nil
	}
	return b.registry.Customer(id)
}

// account gives a customer's account in the book.
func (b *builder) account(id customers.ID) (ledger.AccountID, kessai.Currency, bool) {
	a, ok := b.book.AccountByName(customers.AccountName(id))
	return a.ID, a.Currency, ok
}

// shop gives a merchant's name, and whether its item file alone says what things
// cost.
func (b *builder) shop(id kessai.MerchantID) (name string, mustMatch bool) {
	m, ok := b.registry.Merchant(id)
	return m.Name, ok && m.MustMatch
}

func (b *builder) item(m kessai.MerchantID, code string) (sale.Item, bool, error) {
	it, ok, err := b.registry.Item(m, code)
	return sale.Item{Code: it.Code, Name: it.Name, Price: it.Price, Tax: it.Tax}, ok, err
}

// wake has the phones of an account told that something waits.
func (b *builder) wake(account ledger.AccountID, sale kessai.TxID) {
	a, _ := b.book.Account(account)
	if id, ok := strings.CutPrefix(a.Name, customers.AccountName("")); ok {
		patience := b.c.Phone.Timeout
		if t, ok := b.book.Find(ledger.Ref{ID: sale}); ok && t.Asks == kessai.AsksReader {
			patience = b.c.Reader.ApproveTimeout
		}
		b.phones.push.Ask(customers.ID(id), time.Now().Add(patience))
	}
}

// buildPhones makes the side that phones talk to. The listener is bound already.
func (b *builder) buildPhones(l net.Listener) (*gateway.PhoneOptions, error) {
	origin := b.c.Phone.Origin
	if origin == "" {
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, configError("http.address", err)
		}
		origin = "http://localhost:" + port
		if b.c.HTTP.TLS.Cert != "" {
			origin = "https://localhost:" + port
		}
	}
	keys := b.phones.keys
	b.codes = gateway.PhoneCodes{Number: keys.Number, Claim: keys.ClaimCode, Receipt: keys.ReceiptCode, Origin: origin}
	service, err := phones.New(phones.Options{
		Store: b.phones.store, Keys: keys, Origin: origin, Iterations: b.c.Phone.Iterations, Idle: b.c.Phone.Session,
		Customer: b.registry.Customer, SetVerifier: b.registry.SetVerifier,
		Count: b.countSignIn,
	})
	if err != nil {
		return nil, configError("phone.origin", err)
	}
	return &gateway.PhoneOptions{
		Service: service, Store: b.phones.store, Keys: keys, Push: b.phones.push, Account: b.account,
		Origin: origin, Framed: b.around.floor != nil, Tries: b.c.Phone.Tries, DayTries: b.c.Phone.DayTries,
	}, nil
}

// countSignIn has the book count a try to sign in; false where the account's
// password is locked for today.
func (b *builder) countSignIn(ctx context.Context, id customers.ID, wrong bool) (bool, error) {
	account, _, ok := b.account(id)
	if !ok {
		return false, errors.New("a customer has no account in the book")
	}
	code, err := b.engine.SignIn(ctx, account, wrong)
	return code != kessai.TriesExceeded, err
}
