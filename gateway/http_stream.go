package gateway

import (
	"bufio"
	"fmt"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"

	"kessai/authz/ledger"
)

// Requests that wait for a customer: long polls and streams of events. They hold no
// place among those that are worked on, and have bounds of their own: shops and
// phones apart, and no shop takes more than half of the shops' places. When the
// server shuts down they end before anything else.

// await takes one of the places for requests that wait.
func (h *HTTP) await(places *crowd, who string) (leave func(), busy *problem) {
	if places.enter(who) {
		return func() { places.leave(who) }, nil
	}
	h.o.Metrics.Refused(ledger.WireJSON, RefusedWaiting)
	return nil, &problem{code: problemBusy, detail: "As many requests as are allowed are waiting for customers. Ask without waiting, or again in a moment."}
}

// streamBeat is how often a stream shows that it is alive. A client that is gone
// shows only when something is written to it.
const streamBeat = 15 * time.Second

// streamLife is how long a stream lasts at most: the browser opens another one, and
// shows anew who it is.
const streamLife = 30 * time.Minute

// stream answers with server-sent events (HTML, section 9.2). It gives run what it
// needs to send them; run returns when the stream is to end. leave is called when
// it has ended.
func (h *HTTP) stream(c *fiber.Ctx, leave func(), run func(*events)) error {
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no")
	conn, patience := c.Context().Conn(), h.o.WriteTimeout
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer leave()
		e := &events{Ended: h.ending, w: w, conn: conn, patience: patience}
		e.beat() // the headers go out
		beat, end := time.NewTicker(streamBeat), time.NewTimer(streamLife)
		defer beat.Stop()
		defer end.Stop()
		e.Beat, e.Over = beat.C, end.C
		run(e)
	})
	return nil
}

// events is the sending end of a stream. Whoever runs it selects on its channels.
type events struct {
	Ended <-chan struct{}  // the server shuts down
	Over  <-chan time.Time // it has lasted long enough
	Beat  <-chan time.Time // call beat

	w        *bufio.Writer
	conn     net.Conn
	patience time.Duration
	gone     bool
}

// send sends an event; it is false when nobody hears any more. Neither name nor
// data may hold a line's end.
func (e *events) send(name, data string) bool {
	return e.write(fmt.Sprintf("event: %s\ndata: %s\n\n", name, data))
}

// beat sends nothing that a client would notice.
func (e *events) beat() bool { return e.write(": \n\n") }

func (e *events) write(text string) bool {
	if e.gone {
		return false
	}
	if e.conn != nil { // or the server's limit for answers would cut it
		_ = e.conn.SetWriteDeadline(time.Now().Add(e.patience))
	}
	_, err := e.w.WriteString(text)
	if err == nil {
		err = e.w.Flush()
	}
	e.gone = err != nil
	return !e.gone
}
