package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"kessai"
)

// cardOf is an answer about a card of that customer.
type cardOf string

func (c cardOf) OfCustomer() string { return string(c) }

func TestAdmin_Customer(t *testing.T) {
	var asked []CustomerAct
	var log strings.Builder
	socket, _ := adminTest(t, func(o *AdminOptions) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.Customer = func(_ context.Context, a CustomerAct) (any, error) {
			asked = append(asked, a)
			if a.What == "card_unlock" {
				return cardOf("suzuki"), nil
			}
			switch a.Customer {
			case "nobody":
				return nil, fmt.Errorf("%w: there is no customer nobody", ErrNoSuch)
			case "broken":
				return nil, errors.New("the disk is full")
			}
			return map[string]string{"done": a.What}, nil
		}
	})
	card, err := kessai.ParsePAN("4242424242424242")
	if err != nil {
		t.Fatal(err)
	}
	act := CustomerAct{What: "revoke", Customer: "a&b", Device: "x=y", Payment: "pay_1", Reader: "0f", Card: card}
	got, err := AdminCustomer(t.Context(), socket, act)
	if err != nil {
		t.Fatal(err)
	}
	expectEqual(t, "answer", string(got), "{\"done\":\"revoke\"}\n")
	if asked[0] != act || asked[0].Card.Reveal() != "4242424242424242" {
		t.Errorf("asked for %+v, want %+v", asked[0], act)
	}
	if strings.Contains(log.String(), "4242424242424242") || !strings.Contains(log.String(), "what=revoke customer=a&b device=\"x=y\" payment=pay_1 reader=0f card=****4242\n") {
		t.Errorf("the log has the card number, or not all else: %s", log.String())
	}
	log.Reset()
	if _, err := AdminCustomer(t.Context(), socket, CustomerAct{What: "card_unlock", Card: card}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "what=card_unlock customer=suzuki card=****4242\n") {
		t.Errorf("nobody can tell whose card it was: %s", log.String())
	}
	for who, status := range map[string]int{"nobody": http.StatusNotFound, "broken": http.StatusInternalServerError} {
		_, err := AdminCustomer(t.Context(), socket, CustomerAct{What: "invite", Customer: who})
		if refused, ok := errors.AsType[*AdminRefused](err); !ok || refused.Status != status {
			t.Errorf("%s: %v", who, err)
		}
	}
	without, _ := adminTest(t, func(*AdminOptions) {})
	_, err = AdminCustomer(t.Context(), without, CustomerAct{What: "invite", Customer: "a"})
	if refused, ok := errors.AsType[*AdminRefused](err); !ok || refused.Status != http.StatusConflict {
		t.Errorf("a gateway without customers: %v", err)
	}
	if _, err = AdminCustomer(t.Context(), socket+"x", CustomerAct{}); !errors.Is(err, ErrNoGateway) {
		t.Errorf("no gateway: %v", err)
	}
}
