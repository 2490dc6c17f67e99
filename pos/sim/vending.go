package sim

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"kessai"
)

// Vending is a vending machine: nobody stands by it, and its power fails when it
// likes (system P, steps P-3 and P-14). For each sale it holds the price of the
// dearest drinks, shows a code that whoever wants to pay claims with their phone,
// lets them choose, and reports what fell. That is paid, and the rest is released.
//
// Its rule: what its sensor has counted is paid, and nothing else. The payment is in
// its memory before anybody can claim it, and a drink is counted there before
// anything is reported, so that a machine whose power comes back settles the sale
// first ([Vending.Settle]): it reports what it has counted, under a key that is the
// same each time, and releases the rest. A drink that falls in the very moment in
// which the power fails, before it is counted, is not paid; nor is what is reported
// after the hold has ended. Both are the loss of the machine's owner, never that of
// the customer.
//
// A machine sells to one customer at a time: it must not be used from several
// goroutines at once.
type Vending struct {
	o       VendingOptions
	dearest int64
}

// Drink is something that a machine sells.
type Drink struct {
	Code, Name string
	Price      int64 // minor units
}

// VendingOptions says what a machine consists of.
type VendingOptions struct {
	Base, Key          string // the gateway's address, and the merchant's API key
	Merchant, Terminal string
	Currency           kessai.Currency
	Drinks             []Drink
	Most               int          // drinks in one sale. Default 1
	Memory             Memory       // what outlives a power cut
	Client             *http.Client // default http.DefaultClient

	Show   func(VendingPayment)                 // shows whoever passes by what to claim
	Choose func(n int) (code string, more bool) // the n-th button that is pressed, from 0; false: nobody wants more
	Drop   func(Drink) bool                     // turns the motor, and says whether the sensor saw something fall
	Fails  func(Moment) bool                    // says whether the power fails now; nil: never
}

// Memory keeps a few bytes when the power fails.
type Memory interface {
	Load() ([]byte, error) // nothing, where nothing was kept
	Save([]byte) error     // when it returns, it is kept
}

// Moment is a moment at which the power of a machine may fail.
type Moment uint8

// The moments, in the order in which they come.
const (
	BeforeAsking     Moment = iota + 1
	BeforeKeeping           // the payment is asked for, and not in the memory yet
	WhileWaiting            // its code is shown
	AfterDecision           // the customer has agreed or not
	BeforeCounting          // a drink has fallen, and is not counted
	AfterCounting           // it is counted, and nothing is reported
	BeforeAnswer            // the report was sent, and its answer does not come
	BeforeForgetting        // the answer came, and the memory still holds the sale
	afterLastMoment
)

func (m Moment) String() string {
	return [afterLastMoment]string{
		"never", "before asking", "before the payment is kept", "while waiting", "after the decision",
		"before counting", "after counting", "before the answer", "before forgetting",
	}[m%afterLastMoment]
}

// Moments lists all moments at which the power may fail.
func Moments() (all []Moment) {
	for m := BeforeAsking; m < afterLastMoment; m++ {
		all = append(all, m)
	}
	return all
}

// The errors of a machine, apart from those of type [*Problem].
var (
	ErrPower   = errors.New("the power has failed")
	ErrMachine = errors.New("a vending machine needs drinks and a memory")
)

// NewVending makes a machine. It must settle before it sells.
func NewVending(o VendingOptions) (*Vending, error) {
	if len(o.Drinks) == 0 || o.Memory == nil {
		return nil, ErrMachine
	}
	o.Base, o.Most, o.Client = strings.TrimSuffix(o.Base, "/"), max(o.Most, 1), cmp.Or(o.Client, http.DefaultClient)
	if o.Fails == nil {
		o.Fails = func(Moment) bool { return false }
	}
	dearest := slices.MaxFunc(o.Drinks, func(a, b Drink) int { return cmp.Compare(a.Price, b.Price) })
	return &Vending{o: o, dearest: dearest.Price}, nil
}

// VendingPayment is a payment as the machine hears of it.
type VendingPayment struct {
	ID           string `json:"id"`
	Status       string `json:"status"`
	ResponseCode string `json:"response_code"`
	Number       string `json:"number"`
	Claim        struct {
		Code string `json:"code"`
		URL  string `json:"url"`
	} `json:"claim"`
	Amount struct {
		Value int64 `json:"value"`
	} `json:"amount"`
}

// VendingReport is what became of a sale.
type VendingReport struct {
	Payment string  // empty: there was none to settle
	Status  string  // of the payment, before the report
	Counted []Drink // what fell
	Paid    int64   // minor units
}

// kept is what the memory holds of a sale.
type kept struct {
	Payment string  `json:"payment"`
	Counted []Drink `json:"counted"`
}

// Sell sells to whoever comes next, and gives what became of it. An error leaves
// what Settle needs in the memory.
func (v *Vending) Sell(ctx context.Context) (VendingReport, error) {
	if v.o.Fails(BeforeAsking) {
		return VendingReport{}, ErrPower
	}
	var p VendingPayment
	err := v.call(ctx, "POST", "/v1/payments", rand.Text(), map[string]any{
		"kind": "pre_authorization", "merchant": v.o.Merchant, "terminal": v.o.Terminal, "confirm": "claim",
		"amount": v.money(v.dearest * int64(v.o.Most)), "reference": reference(),
	}, &p)
	switch {
	case err != nil:
		return VendingReport{}, err
	case v.o.Fails(BeforeKeeping):
		return VendingReport{}, ErrPower // nobody has seen its code: it ends by itself
	}
	sale := kept{Payment: p.ID}
	if err := v.keep(&sale); err != nil {
		return VendingReport{}, err
	}
	if p.Status == "waiting" {
		v.o.Show(p)
	}
	if v.o.Fails(WhileWaiting) {
		return VendingReport{}, ErrPower
	}
	if p, err = v.decided(ctx, p); err != nil {
		return VendingReport{}, err
	}
	if v.o.Fails(AfterDecision) {
		return VendingReport{}, ErrPower
	}
	if p.Status == "authorized" {
		if err := v.dispense(&sale); err != nil {
			return VendingReport{}, err
		}
	}
	return v.report(ctx, &sale)
}

// dispense has drinks fall until nobody wants more, and counts them.
func (v *Vending) dispense(sale *kept) error {
	for n := range v.o.Most {
		code, more := v.o.Choose(n)
		if !more {
			return nil
		}
		i := slices.IndexFunc(v.o.Drinks, func(d Drink) bool { return d.Code == code })
		if i < 0 {
			return fmt.Errorf("the machine has no button %q", code)
		}
		if !v.o.Drop(v.o.Drinks[i]) {
			return nil // it is jammed: nothing more is sold
		}
		if v.o.Fails(BeforeCounting) {
			return ErrPower
		}
		sale.Counted = append(sale.Counted, v.o.Drinks[i])
		if err := v.keep(sale); err != nil {
			return err
		}
		if v.o.Fails(AfterCounting) {
			return ErrPower
		}
	}
	return nil
}

// Settle ends the sale that the power failed in, if there is one.
func (v *Vending) Settle(ctx context.Context) (VendingReport, error) {
	b, err := v.o.Memory.Load()
	if err != nil || len(b) == 0 {
		return VendingReport{}, err
	}
	var sale kept
	if err := json.Unmarshal(b, &sale); err != nil {
		return VendingReport{}, fmt.Errorf("the machine's memory cannot be read: %w", err)
	}
	return v.report(ctx, &sale)
}

// report says what fell, as often as it takes: the gateway does it once.
func (v *Vending) report(ctx context.Context, sale *kept) (r VendingReport, err error) {
	path := "/v1/payments/" + sale.Payment
	var p VendingPayment
	if err := v.call(ctx, "GET", path, "", nil, &p); err != nil {
		return r, err
	}
	if p.Status == "waiting" { // for a machine that was switched off
		if err := v.call(ctx, "POST", path+"/cancel", "cancel-"+sale.Payment, struct{}{}, new(VendingPayment)); err != nil {
			return r, err
		}
		if err := v.call(ctx, "GET", path, "", nil, &p); err != nil { // the customer may have been quicker
			return r, err
		}
	}
	r = VendingReport{Payment: sale.Payment, Status: p.Status, Counted: sale.Counted}
	switch p.Status {
	case "authorized", "captured", "released": // the last two: it was reported, and the answer was lost
		if r.Paid, err = v.settle(ctx, path, sale); err != nil {
			return r, err
		}
	}
	if v.o.Fails(BeforeForgetting) {
		return r, ErrPower
	}
	return r, v.o.Memory.Save(nil)
}

// settle has what fell paid and the rest released, and gives what is paid.
func (v *Vending) settle(ctx context.Context, path string, sale *kept) (paid int64, err error) {
	var value int64
	for _, d := range sale.Counted {
		value += d.Price
	}
	verb, body := "/release", any(struct{}{})
	if value > 0 {
		verb, body = "/capture", map[string]any{"amount": v.money(value)}
	}
	var p VendingPayment
	if err := v.call(ctx, "POST", path+verb, "report-"+sale.Payment, body, &p); err != nil {
		return 0, err
	}
	if v.o.Fails(BeforeAnswer) {
		return 0, ErrPower
	}
	if value == 0 || p.ResponseCode != "00" {
		return 0, nil
	}
	return p.Amount.Value, nil
}

// decided waits until the customer has decided, or nobody can any more.
func (v *Vending) decided(ctx context.Context, p VendingPayment) (VendingPayment, error) {
	for p.Status == "waiting" {
		asked := time.Now()
		if err := v.call(ctx, "GET", "/v1/payments/"+p.ID+"?wait=60s", "", nil, &p); err != nil {
			return p, err
		}
		if p.Status == "waiting" && time.Since(asked) < time.Second { // the gateway is about to end
			if err := pause(ctx, time.Second); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

func (v *Vending) keep(sale *kept) error {
	b, err := json.Marshal(sale)
	if err != nil {
		return err
	}
	return v.o.Memory.Save(b)
}

func (v *Vending) money(value int64) map[string]any {
	return map[string]any{"value": value, "currency": v.o.Currency.String()}
}

// reference is the machine's own name for a sale.
func reference() string { return time.Now().UTC().Format("20060102150405-") + rand.Text()[:12] }

// vendingTries is how often something is asked for whose answer does not come. What
// is pressed for in vain stays in the memory, and is settled later.
const vendingTries = 5

// call asks the gateway, and asks again where no answer came or it could not say:
// under the same key, nothing is done twice.
func (v *Vending) call(ctx context.Context, method, path, key string, body, answer any) error {
	for try := 1; ; try++ {
		r, err := request(ctx, method, v.o.Base+path, body)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+v.o.Key)
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		err = exchange(v.o.Client, r, answer)
		refused, said := errors.AsType[*Problem](err)
		if err == nil || said && refused.Status != http.StatusServiceUnavailable || try == vendingTries {
			return err
		}
		if err := pause(ctx, time.Duration(try)*500*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
