package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"kessai"
)

// CustomerAct is what whoever runs the gateway does about one customer, about what a
// customer has (a card reader, a card), or about one payment that one confirmed.
type CustomerAct struct {
	// What is invite, devices, revoke, revoke_all, unlock, evidence, reader_invite,
	// readers, reader_revoke or card_unlock.
	What     string
	Customer string
	Device   string     // of revoke: a device or a passkey
	Payment  string     // of evidence
	Reader   string     // of reader_revoke
	Card     kessai.PAN // of card_unlock; it goes in the body and into no log
}

// ErrNoSuch says that what an act is about is not there. Errors that wrap it name
// what that is.
var ErrNoSuch = errors.New("not found")

// actTime bounds one act: it is a look-up and a write.
const actTime = 30 * time.Second

// maxCardNumber is the length of the longest card number, in digits.
const maxCardNumber = 19

func (a *Admin) serveCustomer(w http.ResponseWriter, r *http.Request) {
	if a.o.Customer == nil {
		http.Error(w, "this gateway asks no customers", http.StatusConflict)
		return
	}
	q := r.URL.Query()
	act := CustomerAct{What: q.Get("what"), Customer: q.Get("customer"), Device: q.Get("device"), Payment: q.Get("payment"), Reader: q.Get("reader")}
	number, err := io.ReadAll(io.LimitReader(r.Body, maxCardNumber+1))
	if err == nil && len(number) > 0 {
		act.Card, err = kessai.ParsePAN(number)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actTime)
	defer cancel()
	answer, err := a.o.Customer(ctx, act)
	a.logAct(&act, answer, err)
	switch {
	case errors.Is(err, ErrNoSuch):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		show(w, answer)
	}
}

// ofCustomer is an answer that says whose what the act was about is, where the act did
// not.
type ofCustomer interface{ OfCustomer() string }

// logAct writes down who was seen to and how; of a card its last four digits only.
func (a *Admin) logAct(act *CustomerAct, answer any, err error) {
	message := "the operator changed something of a customer"
	switch act.What {
	case "devices", "readers", "evidence":
		message = "the operator looked at something of a customer"
	}
	if err != nil {
		message = "the operator was refused something about a customer"
	}
	attrs := []any{"what", act.What}
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, name, value)
		}
	}
	if x, ok := answer.(ofCustomer); ok && err == nil && act.Customer == "" {
		add("customer", x.OfCustomer())
	}
	add("customer", act.Customer)
	add("device", act.Device)
	add("payment", act.Payment)
	add("reader", act.Reader)
	if !act.Card.IsZero() {
		add("card", act.Card.Last4().String())
	}
	if err != nil {
		add("error", err.Error())
	}
	a.o.Logger.Info(message, attrs...)
}

// AdminCustomer has the gateway behind the socket do something about a customer,
// and gives its answer, as JSON. An [*AdminRefused] means that it was not done.
func AdminCustomer(ctx context.Context, socket string, act CustomerAct) (json.RawMessage, error) {
	q := url.Values{"what": {act.What}, "customer": {act.Customer}, "device": {act.Device}, "payment": {act.Payment}, "reader": {act.Reader}}
	return adminAsk(ctx, http.MethodPost, socket, "/customer?"+q.Encode(), strings.NewReader(act.Card.Reveal()))
}
