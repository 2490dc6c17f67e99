package phones

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/SherClockHolmes/webpush-go"

	"kessai/customers"
)

// askPayload is all that goes through a push service: that somebody waits. Who, for
// what and how much, the phone asks the gateway.
const askPayload = `{"v":1,"t":"ask"}`

// The outcomes of a push message, for [PushOptions.Told].
const (
	PushSent    = "sent"    // the push service took it
	PushGone    = "gone"    // it says that the subscription ended; it is forgotten
	PushFailed  = "failed"  // it did not take it, or could not be reached, also when asked again
	PushDropped = "dropped" // too many were waiting, or the payment no longer does
)

// PushOptions configures [NewPusher].
type PushOptions struct {
	Store   *Store
	Key     []byte           // VAPID: the private key, 32 bytes
	Contact string           // how the push services reach whoever runs the gateway: a mail address or an https address
	Hosts   []string         // push services that may be called. Default [DefaultPushHosts]
	Queue   int              // customers that may wait to be told. Default 10,000
	Workers int              // messages on their way at once. Default 8
	Timeout time.Duration    // of one call. Default 10 s
	Retries int              // of a call that failed for a while. Default 2, negative: none
	Backoff time.Duration    // before the first; it doubles. Default 1 s
	Told    func(out string) // told of every message; may be nil
	Logger  *slog.Logger     // default: none
	Now     func() time.Time // default time.Now
}

// Pusher tells phones that somebody waits, by Web Push (RFC 8030, RFC 8291) with
// VAPID (RFC 8292). It loses messages rather than hold anybody up: a phone that is
// open hears of a payment anyway.
type Pusher struct {
	o       PushOptions
	private string
	public  string
	web     *http.Client
	loose   bool // also http on this machine; for tests
	queue   chan ask
	ending  context.Context
	end     context.CancelFunc
	workers sync.WaitGroup
}

// ask is a customer to be told, while it is of use.
type ask struct {
	customer customers.ID
	until    time.Time
}

// NewPusher makes a pusher and starts its workers.
func NewPusher(o PushOptions) (*Pusher, error) { return newPusher(o, false) }

func newPusher(o PushOptions, loose bool) (*Pusher, error) {
	key, err := ecdh.P256().NewPrivateKey(o.Key)
	if err != nil {
		return nil, errors.New("the VAPID key must be 32 bytes, a private key of P-256")
	}
	if o.Store == nil {
		return nil, errors.New("a pusher needs the store of the phones")
	}
	if len(o.Hosts) == 0 {
		o.Hosts = DefaultPushHosts
	}
	if err := checkHosts(o.Hosts); err != nil {
		return nil, err
	}
	o.Contact = strings.TrimPrefix(o.Contact, "mailto:") // the library writes it itself
	defaults(&o)
	p := &Pusher{
		o: o, loose: loose, private: base64.RawURLEncoding.EncodeToString(o.Key),
		public: base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()),
		queue:  make(chan ask, o.Queue),
	}
	p.web = p.client()
	p.ending, p.end = context.WithCancel(context.Background())
	for range o.Workers {
		p.workers.Go(p.work)
	}
	return p, nil
}

func defaults(o *PushOptions) {
	for _, d := range []struct {
		n    *int
		best int
	}{{&o.Queue, 10_000}, {&o.Workers, 8}, {&o.Retries, 2}} {
		if *d.n == 0 {
			*d.n = d.best
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Backoff <= 0 {
		o.Backoff = time.Second
	}
	if o.Told == nil {
		o.Told = func(string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// PublicKey gives what a browser subscribes with (applicationServerKey), base64url.
func (p *Pusher) PublicKey() string { return p.public }

// Close ends the workers. What waits is dropped.
func (p *Pusher) Close() {
	p.end()
	p.workers.Wait()
	p.web.CloseIdleConnections()
}

// Subscribe keeps where the device of a session wants its messages. Errors:
// ErrMalformed, also for a push service that is not allowed; ErrGone.
func (p *Pusher) Subscribe(in Session, sub Subscription) error {
	if err := sub.validate(); err != nil {
		return err
	}
	if err := p.checkEndpoint(sub.Endpoint.Reveal()); err != nil {
		return err
	}
	return p.o.Store.setPush(in.Customer, in.Device.ID, &sub)
}

// Unsubscribe forgets it. Errors: ErrGone.
func (p *Pusher) Unsubscribe(in Session) error {
	return p.o.Store.setPush(in.Customer, in.Device.ID, nil)
}

// Ask has all devices of a customer told that somebody waits until then. It never
// blocks.
func (p *Pusher) Ask(customer customers.ID, until time.Time) {
	select {
	case p.queue <- ask{customer, until}:
	default:
		p.o.Told(PushDropped)
	}
}

func (p *Pusher) work() {
	for {
		select {
		case <-p.ending.Done():
			return
		case a := <-p.queue:
			p.tell(a)
		}
	}
}

// tell sends to each device of a customer.
func (p *Pusher) tell(a ask) {
	devices, err := p.o.Store.Devices(a.customer)
	if err != nil {
		p.o.Logger.Error("a customer's devices cannot be read", "error", err)
		p.o.Told(PushFailed)
		return
	}
	for _, d := range devices {
		if d.Push == nil {
			continue
		}
		out, err := p.send(*d.Push, a.until)
		if out == PushGone {
			p.forget(a.customer, d)
		}
		if err != nil && p.ending.Err() == nil {
			p.o.Logger.Warn("a push message was not taken", "device", d.ID, "outcome", out, "error", err)
		}
		p.o.Told(out)
	}
}

// forget drops a subscription that ended, unless the device has a new one.
func (p *Pusher) forget(customer customers.ID, d Device) {
	err := p.o.Store.update(customer, func(r *record) error {
		now := r.device(d.ID)
		if now == nil || now.Push == nil || now.Push.Endpoint != d.Push.Endpoint {
			return ErrGone
		}
		now.Push = nil
		return nil
	})
	if err != nil && !errors.Is(err, ErrGone) {
		p.o.Logger.Error("a subscription that ended cannot be forgotten", "device", d.ID, "error", err)
	}
}

// send sends one message, and again where the push service may take it later.
func (p *Pusher) send(sub Subscription, until time.Time) (out string, err error) {
	// What was allowed when it was kept need not be allowed today.
	if err := p.checkEndpoint(sub.Endpoint.Reveal()); err != nil {
		return PushFailed, err
	}
	wait := p.o.Backoff
	for try := 0; ; try++ {
		left := until.Sub(p.o.Now())
		if left <= 0 {
			return PushDropped, err
		}
		again := false
		if out, again, err = p.post(sub, left); !again || try >= p.o.Retries {
			return out, err
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-p.ending.Done():
			return PushDropped, p.ending.Err()
		}
	}
}

// post makes one call. Again: it may go better later. Its errors say nothing of
// the address, which is a capability.
func (p *Pusher) post(sub Subscription, left time.Duration) (out string, again bool, err error) {
	res, err := webpush.SendNotificationWithContext(p.ending, []byte(askPayload), &webpush.Subscription{
		Endpoint: sub.Endpoint.Reveal(),
		Keys: webpush.Keys{
			Auth:   base64.RawURLEncoding.EncodeToString(sub.Auth),
			P256dh: base64.RawURLEncoding.EncodeToString(sub.P256DH),
		},
	}, &webpush.Options{
		HTTPClient: p.web, Subscriber: p.o.Contact, VAPIDPublicKey: p.public, VAPIDPrivateKey: p.private,
		TTL: max(1, int(left/time.Second)), Urgency: webpush.UrgencyHigh, Topic: "ask", // a newer one takes the place of one that waits
	})
	if err != nil {
		if errors.Is(err, errPrivate) {
			return PushFailed, false, errPrivate
		}
		return PushFailed, true, errors.New("the push service cannot be reached")
	}
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
	_ = res.Body.Close()
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return PushSent, false, nil
	case code == http.StatusNotFound || code == http.StatusGone:
		return PushGone, false, fmt.Errorf("HTTP %d", code)
	default:
		again = code == http.StatusTooManyRequests || code >= 500
		return PushFailed, again, fmt.Errorf("HTTP %d", code)
	}
}
