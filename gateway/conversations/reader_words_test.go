package conversations

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/customers"
	"kessai/pos/sim"
	"kessai/pos/tether"
)

// numbers are the customers' phone numbers.
var numbers = map[string]string{"suzuki": "+815000000001", "sato": "+815000000002", "nobody": "+815000000099"}

// gatewayKey is what the gateway signs its offers with.
var gatewayKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, ed25519.SeedSize))

// device is a card reader, with the phone's end of the cable. What it says lies there
// until the phone passes it on.
type device struct {
	*sim.Reader
	owner   string
	revoked bool
	offer   []byte // that the phone passed on last

	mu   sync.Mutex
	line net.Conn // nil: it is not plugged in
	said []tether.Frame
}

// newDevices makes a reader for each of two customers, one that was never enrolled,
// and one that trusts another gateway.
func newDevices() (map[string]*device, error) {
	all := make(map[string]*device)
	for name, owner := range map[string]string{"reader": "suzuki", "reader2": "sato", "spare": "suzuki", "unknown-reader": ""} {
		r, err := sim.NewReader(sim.ReaderOptions{Name: name})
		if err == nil {
			err = r.Trust(gatewayKey.Public().(ed25519.PublicKey))
		}
		if err != nil {
			return nil, err
		}
		all[name] = &device{Reader: r, owner: owner}
	}
	return all, nil
}

// plug connects the device with the phone, whose end listens to it.
func (d *device) plug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.line != nil {
		return
	}
	phone, reader := net.Pipe()
	d.line = phone
	go func() { _ = d.Serve(reader) }()
	go func() {
		for frames := tether.NewScanner(phone); ; {
			f, err := frames.Next()
			if err != nil {
				return
			}
			f.Body = bytes.Clone(f.Body)
			d.mu.Lock()
			d.said = append(d.said, f)
			d.mu.Unlock()
		}
	}()
}

func (d *device) unplug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.line != nil {
		_ = d.line.Close()
		d.line = nil
	}
}

// tell sends the device a frame.
func (d *device) tell(kind tether.Type, body []byte) error {
	b, err := tether.AppendFrame(nil, kind, body)
	if err != nil {
		return err
	}
	d.plug()
	d.mu.Lock()
	line := d.line
	d.mu.Unlock()
	_, err = line.Write(b)
	return err
}

// busyWith reports whether the reader has another offer than this one, which it has
// then.
func (d *device) busyWith(offer []byte) bool {
	busy := d.View().Key && !bytes.Equal(d.offer, offer)
	d.offer = offer
	return busy
}

// sealed gives the card or PIN that it sealed last, or before so many others.
func (d *device) sealed(before int) (tether.Type, *tether.Signed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := len(d.said) - 1; i >= 0; i-- {
		if f := d.said[i]; f.Type == tether.ReaderCard || f.Type == tether.ReaderPIN {
			if before--; before >= 0 {
				continue
			}
			s, err := tether.DecodeSigned(f.Body)
			return f.Type, s, err
		}
	}
	return 0, nil, errors.New("the reader has sealed nothing")
}

// fault gives what went wrong since the phone last looked.
func (d *device) fault() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := len(d.said) - 1; i >= 0; i-- {
		if f := d.said[i]; f.Type == tether.ReaderError {
			code, _ := tether.ParseFault(f.Body)
			d.said = append(d.said[:i:i], d.said[i+1:]...)
			return code.String()
		}
	}
	return ""
}

// readers says how the gateway of the stories serves card readers.
func (h *house) readers(o settings, hasher *kessai.MediumHasher) (*authz.ReaderOptions, error) {
	pins, err := customers.NewPINKey(panKey)
	if err != nil {
		return nil, err
	}
	r := o.reader
	r.Reader = func(id kessai.ReaderID) (string, ed25519.PublicKey, bool, error) {
		for _, d := range o.devices {
			if d.ID() == id && !d.revoked && d.owner != "" {
				return people[d.owner], d.PublicKey(), true, nil
			}
		}
		return "", nil, false, nil
	}
	r.Sign = func(offer []byte) []byte { return ed25519.Sign(gatewayKey, tether.OfferToSign(offer)) }
	r.Medium = hasher.Medium
	r.PIN = func(id kessai.MediumID) (bool, func([]byte) bool, error) {
		m, _, err := h.registry.Medium(id)
		return !m.PIN.IsZero(), func(pin []byte) bool { return pins.Check(m.PIN, id, pin) }, err
	}
	return &r, nil
}

// setReader changes a setting that has to do with card readers; false where it has not.
func (o *settings) setReader(name, value string) (known bool, err error) {
	switch name {
	case "approve-for":
		o.reader.ApproveFor, err = time.ParseDuration(value)
	case "max-keys":
		o.reader.MaxKeys, err = strconv.Atoi(value)
	case "suite":
		var ok bool
		if o.reader.Suite, ok = tether.ParseSuite(value); !ok {
			err = errors.New("there is no such suite")
		}
	case "readers":
		o.noReaders = value == "none"
	default:
		return false, nil
	}
	return true, err
}

// deviceAsks makes ready what somebody does with a card reader.
func (p *play) deviceAsks(name string, d *device, w words) (ask, error) {
	switch w.verb {
	case "takes":
		c, err := p.cardFor(w)
		if err != nil {
			return nil, err
		}
		if !d.Insert(c) {
			return say(name, "there is a card in it already"), nil
		}
	case "gives-back":
		d.Remove()
	case "is-pressed":
		d.Type(w.rest)
	case "is-unplugged":
		d.unplug()
	case "is-plugged-in":
		d.plug()
	case "is-revoked":
		d.revoked = true
		return say(name, "revoked"), nil
	case "shows":
	default:
		return nil, errors.New("a card reader does not do that")
	}
	synctest.Wait()
	return say(name, d.shows()), nil
}

// shows says what is on the display, what went wrong, and whether there is a key.
func (d *device) shows() string {
	v := d.View()
	text := "shows"
	for _, line := range v.Display {
		if line = strings.TrimSpace(line); line != "" {
			text += " [" + line + "]"
		}
	}
	if f := d.fault(); f != "" {
		text += ", says: " + f
	}
	if v.Key {
		text += ", has a key"
	}
	return text
}

// cardFor makes the card that a story puts into a reader: one of those that there
// are, or something that is none.
func (p *play) cardFor(w words) (c sim.ReaderCard, err error) {
	if raw, ok := w.named["raw"]; ok {
		kind := tether.CardTrack2
		if w.named["with"] == "chip" {
			kind = tether.CardEMV
		}
		return sim.ReaderCard{Raw: []byte(raw), Kind: kind}, nil
	}
	k, ok := readerCards[strings.Join(w.plain, "")]
	if !ok {
		if k, ok = cards[strings.Join(w.plain, "")]; !ok {
			return c, errors.New("nobody knows that card")
		}
	}
	if c.PAN, err = kessai.ParsePAN(k.pan); err != nil {
		return c, err
	}
	expiry, err := strconv.ParseUint(w.or("expiry", k.expiry), 10, 16)
	c.Expiry, c.Chip = uint16(expiry), w.named["with"] == "chip"
	return c, err
}

// readerAsks makes ready what a customer does with the reader on their phone; nil
// where it is something else.
func (p *play) readerAsks(one *person, who ledger.AccountID, w words) (ask, error) {
	d := p.o.devices[w.or("reader", map[string]string{"sato": "reader2"}[one.name])]
	if d == nil {
		d = p.o.devices["reader"]
	}
	e := p.house.engine
	var do func(kessai.TxID) (authz.ReaderState, error)
	switch w.verb {
	case "begins":
		do = func(id kessai.TxID) (authz.ReaderState, error) {
			return e.BeginReader(context.Background(), authz.ReaderApproval{
				Sale: id, Customer: who, Reader: d.ID(), Evidence: func(authz.ReaderProof) []byte { return []byte(`{"version":1}`) },
			})
		}
	case "asks":
		do = func(id kessai.TxID) (authz.ReaderState, error) { return e.ReaderNow(id, who) }
	case "passes":
		before := 0
		if w.named["as"] == "before" {
			before = 1
		}
		kind, s, err := d.sealed(before)
		if err != nil {
			return nil, err
		}
		message := authz.ReaderMessage{Sealed: bytes.Clone(s.Message), Signature: bytes.Clone(s.Signature)}
		for _, how := range w.plain {
			if kind, err = changed(&message, kind, how); err != nil {
				return nil, err
			}
		}
		do = func(id kessai.TxID) (authz.ReaderState, error) {
			if kind == tether.ReaderPIN {
				return e.ReaderPIN(context.Background(), id, who, message)
			}
			return e.ReaderCard(context.Background(), id, who, message)
		}
	default:
		return nil, nil
	}
	id, err := p.aboutReader(w, who)
	if err != nil {
		return nil, err
	}
	return func() answer {
		began := time.Now()
		state, err := do(id)
		a := answer{who: one.name, after: time.Since(began)}
		if err != nil {
			a.text = "(" + err.Error() + ")"
			return a
		}
		a.text = stateText(&state)
		a.brief = a.text
		if w.verb == "begins" || w.verb == "passes" {
			if err := d.hearsOf(&state); err != nil {
				a.tail = "(" + err.Error() + ")"
			}
		}
		return a
	}, nil
}

// readerHears has the phone tell its reader that a payment has ended.
func (p *play) readerHears(one *person, t *ledger.Tx) {
	if t.Status == ledger.Waiting || t.Asks != kessai.AsksReader {
		return
	}
	for _, d := range p.o.devices {
		if d.owner == one.name && d.View().Key {
			if err := d.hearsOf(&authz.ReaderState{Step: authz.ReaderEnded, Sale: *t}); err != nil {
				p.t.Error(err)
			}
		}
	}
}

// aboutReader gives the payment that a person means: that of a name, or the last that
// waited for them.
func (p *play) aboutReader(w words, who ledger.AccountID) (kessai.TxID, error) {
	id, err := p.about(w, who)
	if id != 0 {
		p.lastWithReader = id
	}
	return p.lastWithReader, err
}

// changed makes what a phone or a stranger on the line could make of a message.
func changed(m *authz.ReaderMessage, kind tether.Type, how string) (tether.Type, error) {
	switch how {
	case "changed":
		m.Sealed[len(m.Sealed)-1] ^= 1
	case "cut":
		m.Sealed = m.Sealed[:len(m.Sealed)-1]
	case "longer":
		m.Sealed = append(m.Sealed, 0)
	case "empty":
		m.Sealed = nil
	case "unsigned":
		m.Signature = nil
	case "misnamed":
		m.Signature[0] ^= 1
	case "as-card":
		kind = tether.ReaderCard
	case "as-pin":
		kind = tether.ReaderPIN
	default:
		return 0, fmt.Errorf("nobody knows how to pass a message %s", how)
	}
	return kind, nil
}

// hearsOf tells the reader how the payment stands, as a phone does.
func (d *device) hearsOf(s *authz.ReaderState) error {
	switch s.Step {
	case authz.ReaderCard:
		body, err := (&tether.Signed{Message: s.Offer, Signature: s.Signature}).Encode()
		if err != nil {
			return err
		}
		if d.busyWith(s.Offer) { // with that of before a restart
			end, err := (&tether.End{Code: kessai.TooLate}).Encode()
			if err = errors.Join(err, d.tell(tether.PhoneEnd, end)); err != nil {
				return err
			}
		}
		return d.tell(tether.PhoneOffer, body)
	case authz.ReaderPIN:
		return d.tell(tether.PhoneAskPIN, nil)
	case authz.ReaderEnded:
		code := s.Sale.Standing()
		body, err := (&tether.End{Code: code, Settled: code.IsApproval()}).Encode()
		if err != nil {
			return err
		}
		return d.tell(tether.PhoneEnd, body)
	}
	return nil
}

func stateText(s *authz.ReaderState) string {
	left := time.Until(s.Until).Round(time.Second)
	switch s.Step {
	case authz.ReaderApproves:
		return fmt.Sprintf("the payment waits for a yes, %v left", left)
	case authz.ReaderCard:
		return fmt.Sprintf("the card is asked for, %v left", left)
	case authz.ReaderPIN:
		return fmt.Sprintf("the PIN is asked for, %v left", left)
	}
	return fmt.Sprintf("the payment is %s, and the terminal is told %s", s.Sale.Status, s.Sale.Standing())
}

// keysSay tells of the keys that there are.
func (p *play) keysSay() string {
	s := p.house.engine.ReaderStats()
	return fmt.Sprintf("%d keys live, %d were made; %d wait for a yes, %d for a card, %d for a PIN\n",
		s.Keys, s.Issued, s.Waiting[authz.ReaderApproves], s.Waiting[authz.ReaderCard], s.Waiting[authz.ReaderPIN])
}

// wrongPINs tells how many count against a card.
func (p *play) wrongPINs(name string) (string, error) {
	id, err := p.mediumOf(name)
	return fmt.Sprintf("%d wrong PINs\n", p.house.book.PINTries(id)), err
}

func (p *play) unlock(name string) (string, error) {
	id, err := p.mediumOf(name)
	if err == nil {
		err = p.house.engine.UnlockCard(context.Background(), id)
	}
	return "", err
}

func (p *play) mediumOf(name string) (kessai.MediumID, error) {
	k, ok := cards[name]
	if !ok {
		k = readerCards[name]
	}
	pan, err := kessai.ParsePAN(k.pan)
	if err != nil {
		return kessai.MediumID{}, err
	}
	hasher, err := kessai.NewMediumHasher(panKey)
	if err != nil {
		return kessai.MediumID{}, err
	}
	return hasher.Medium(pan), nil
}
