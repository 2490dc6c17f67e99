package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
)

func TestAdmin_Customer(t *testing.T) {
	var asked []CustomerAct
	socket, _ := adminTest(t, func(o *AdminOptions) {
		o.Customer = func(_ context.Context, a CustomerAct) (any, error) {
			asked = append(asked, a)
			switch a.Customer {
			case "nobody":
				return nil, fmt.Errorf("%w: there is no customer nobody", ErrNoSuch)
			case "broken":
				return nil, errors.New("the disk is full")
			}
			return map[string]string{"done": a.What}, nil
		}
	})
	got, err := AdminCustomer(t.Context(), socket, CustomerAct{What: "revoke", Customer: "a&b", Device: "x=y", Payment: "pay_1"})
	if err != nil {
		t.Fatal(err)
	}
	expectEqual(t, "answer", string(got), "{\"done\":\"revoke\"}\n")
	if want := (CustomerAct{What: "revoke", Customer: "a&b", Device: "x=y", Payment: "pay_1"}); asked[0] != want {
		t.Errorf("asked for %+v, want %+v", asked[0], want)
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
