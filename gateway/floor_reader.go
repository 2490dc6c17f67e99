package gateway

import (
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
)

// FloorReader is the card reader that stands on the shop floor. It is a device of its
// own: the gateway gives it hands, eyes and a cable, and knows nothing of it.
type FloorReader struct {
	ID    string      `json:"id"`
	Cards []FloorCard `json:"cards"` // that lie beside it

	Plug  func() io.ReadWriteCloser              `json:"-"` // plugs a cable in; the one before falls out
	State func() (FloorDisplay, <-chan struct{}) `json:"-"` // and what is closed when it is no longer so
	Press func(key byte)                         `json:"-"` // '0' to '9', '<' clears, 'X' cancels, 'E' is OK
	Card  func(index int)                        `json:"-"` // puts a card into the slot; -1 pulls it out
}

// FloorCard is a card that lies on the shop floor.
type FloorCard struct {
	Name string `json:"name"`
	PIN  string `json:"pin,omitempty"` // empty: it has none
}

// FloorDisplay is what there is to see of the reader.
type FloorDisplay struct {
	N       uint64    `json:"n"` // goes up with each change
	Lines   [4]string `json:"lines"`
	Phase   string    `json:"phase"` // idle, code, enrols, card, card_sent, pin, pin_sent or over
	Card    int       `json:"card"`  // index of the card in the slot; -1: none
	Plugged bool      `json:"plugged"`
	Key     bool      `json:"key"` // the key of a payment is in its memory
}

// The limits of the shop floor's reader.
const (
	floorPoll    = 25 * time.Second // that a request waits for news
	floorWaiting = 64               // requests that wait at once
	floorHeld    = 16 << 10         // bytes that the reader sent and nobody fetched; more pull the cable out
	floorOut     = 64               // cables that fell out and are remembered
)

// floorDesk is where the reader stands.
//
// The cable is two requests: GET /demo/reader/link gives what the reader sent, as
// soon as there is something, and POST sends bytes to it. ?line= names the cable. A
// name that is new plugs in, and pulls out whatever was plugged in before: that
// name is answered 404 from then on, so that two pages do not take each other's bytes.
type floorDesk struct {
	h       *HTTP
	r       *FloorReader
	waiting chan struct{}

	mu    sync.Mutex
	cable *floorCable
	out   []string // names of cables that fell out, the oldest first
}

type floorCable struct {
	name string
	io.ReadWriteCloser

	mu   sync.Mutex
	held []byte
	over bool
	news chan struct{} // is closed when there is something to fetch, or never will be
}

func (h *HTTP) floorReaderRoutes(r *FloorReader) []httpRoute {
	d := &floorDesk{h: h, r: r, waiting: make(chan struct{}, floorWaiting)}
	return []httpRoute{
		{"GET", floorPath + "/reader/link", ownSite(d.fetch)},
		{"POST", floorPath + "/reader/link", ownSite(d.send)},
		{"DELETE", floorPath + "/reader/link", ownSite(d.unplug)},
		{"GET", floorPath + "/reader/state", ownSite(d.state)},
		{"POST", floorPath + "/reader/press", ownSite(d.press)},
		{"POST", floorPath + "/reader/card", ownSite(d.card)},
	}
}

// ownSite keeps pages of other sites from pressing the reader's keys in a visitor's
// browser. Programs that are no browsers do not say where they come from.
func ownSite(next fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if site := c.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
			return &problem{code: problemOtherSite, detail: "Only the shop floor and the phone on it may ask for this."}
		}
		return next(c)
	}
}

// plugged gives the cable of a request, which plugs it in where it is new.
func (d *floorDesk) plugged(c *fiber.Ctx) (*floorCable, *problem) {
	c.Set(fiber.HeaderCacheControl, "no-store")
	name := c.Query("line", "phone")
	if len(name) > 32 {
		return nil, &problem{code: problemInvalidParameter, field: "line", detail: "A cable's name has at most 32 bytes."}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cable != nil && d.cable.name == name && !d.cable.gone() {
		return d.cable, nil
	}
	if slices.Contains(d.out, name) || d.cable != nil && d.cable.name == name {
		return nil, &problem{code: problemNotFound, detail: "This cable fell out of the reader. Plug in another one, under another name."}
	}
	d.pull()
	d.cable = &floorCable{name: string([]byte(name)), ReadWriteCloser: d.r.Plug(), news: make(chan struct{})} // fiber's strings do not last
	go d.cable.pump()
	return d.cable, nil
}

// pull pulls the cable out. The caller holds the lock.
func (d *floorDesk) pull() {
	if d.cable == nil {
		return
	}
	_ = d.cable.Close()
	if d.out = append(d.out, d.cable.name); len(d.out) > floorOut {
		d.out = d.out[1:]
	}
	d.cable = nil
}

// pump keeps what the reader sends until somebody fetches it.
func (l *floorCable) pump() {
	defer l.Close()
	var b [1024]byte
	for {
		n, err := l.Read(b[:])
		l.mu.Lock()
		l.held = append(l.held, b[:n]...)
		l.over = err != nil || len(l.held) > floorHeld
		over := l.over
		if n > 0 || over {
			close(l.news)
			l.news = make(chan struct{})
		}
		l.mu.Unlock()
		if over {
			return
		}
	}
}

func (l *floorCable) gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// take gives what there is, or what to wait for.
func (l *floorCable) take() (got []byte, over bool, news <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	got, l.held = l.held, nil
	return got, l.over, l.news
}

// wait waits for news as long as a request may.
func (d *floorDesk) wait(news <-chan struct{}) (*problem, bool) {
	select {
	case d.waiting <- struct{}{}:
		defer func() { <-d.waiting }()
	default:
		return &problem{code: problemBusy, detail: "Too many wait for the reader. Close other pages of the shop floor."}, false
	}
	timer := time.NewTimer(floorPoll)
	defer timer.Stop()
	select {
	case <-news:
		return nil, true
	case <-timer.C:
	case <-d.h.ending:
	}
	return nil, false
}

// fetch serves GET /demo/reader/link: 200 with bytes, or 204 where none came in time.
func (d *floorDesk) fetch(c *fiber.Ctx) error {
	for {
		l, p := d.plugged(c)
		if p != nil {
			return p
		}
		got, over, news := l.take()
		if len(got) > 0 {
			c.Set(fiber.HeaderContentType, fiber.MIMEOctetStream)
			return c.Send(got)
		}
		if over {
			continue // and be told that it fell out
		}
		if p, ok := d.wait(news); p != nil {
			return p
		} else if !ok {
			return c.SendStatus(fiber.StatusNoContent)
		}
	}
}

// send serves POST /demo/reader/link: the body goes to the reader.
func (d *floorDesk) send(c *fiber.Ctx) error {
	l, p := d.plugged(c)
	if p != nil {
		return p
	}
	bytes := slices.Clone(c.BodyRaw())
	if len(bytes) == 0 { // it only plugs in
		return c.SendStatus(fiber.StatusNoContent)
	}
	if _, err := l.Write(bytes); err != nil {
		return &problem{code: problemNotFound, detail: "This cable fell out of the reader. Plug in another one, under another name."}
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// unplug serves DELETE /demo/reader/link.
func (d *floorDesk) unplug(c *fiber.Ctx) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cable != nil && d.cable.name == c.Query("line", "phone") {
		d.pull()
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// state serves GET /demo/reader/state: what there is to see, with after=N as soon as
// it is no longer what it was under that number.
func (d *floorDesk) state(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	now, changed := d.r.State()
	if c.Query("after") == strconv.FormatUint(now.N, 10) {
		if p, _ := d.wait(changed); p != nil {
			return p
		}
		now, _ = d.r.State()
	}
	return writeJSON(c, fiber.StatusOK, now)
}

// press serves POST /demo/reader/press.
func (d *floorDesk) press(c *fiber.Ctx) error {
	var body struct {
		Key string `json:"key"`
	}
	if p := jsonDecode(c.BodyRaw(), &body); p != nil {
		return p
	}
	if len(body.Key) != 1 || !slices.Contains([]byte("0123456789<XE"), body.Key[0]) {
		return &problem{code: problemInvalidField, field: "key", detail: "The keys are 0 to 9, < (clear), X (cancel) and E (OK)."}
	}
	d.r.Press(body.Key[0])
	return c.SendStatus(fiber.StatusNoContent)
}

// card serves POST /demo/reader/card: -1 pulls the card out.
func (d *floorDesk) card(c *fiber.Ctx) error {
	var body struct {
		Card *int `json:"card"`
	}
	if p := jsonDecode(c.BodyRaw(), &body); p != nil {
		return p
	}
	if body.Card == nil || *body.Card < -1 || *body.Card >= len(d.r.Cards) {
		return &problem{code: problemInvalidField, field: "card", detail: "There is no such card."}
	}
	d.r.Card(*body.Card)
	return c.SendStatus(fiber.StatusNoContent)
}
