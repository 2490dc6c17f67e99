package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"kessai/pos/iso8583"
)

// Options configures a client. The zero value of each setting means its default.
type Options struct {
	Dialect     *iso8583.Dialect // default: iso87-ascii
	Framing     iso8583.Framing
	TPDU        iso8583.TPDU  // sent with every message where the framing has one; default 60 0000 0000
	MaxFrame    int           // bytes in a message. Default 4,096
	MaxInFlight int           // messages without an answer; further calls wait. Default 64
	Timeout     time.Duration // how long to wait for an answer. Default 10 s
}

// The errors of a client.
var (
	ErrTimeout  = errors.New("no answer came in time: send the message again as a repeat, or reverse it")
	ErrInFlight = errors.New("a message with the same type, STAN and terminal is waiting for its answer")
	ErrNoReply  = errors.New("no answer exists to a message of this type")
	ErrClosed   = errors.New("the connection is closed")
)

// key says which answer belongs to which message. The type keeps a reversal
// apart from a sale with the same STAN.
type key struct {
	mti      iso8583.MTI // of the answer
	stan     [6]byte
	terminal [8]byte
}

// Client is a terminal, or many, on one connection. It may be used from many
// goroutines at once.
//
// All its locks are channels: a goroutine that waits for a sync.Mutex keeps
// virtual time (testing/synctest) from moving, and a write to a pipe may take
// until the other side's next deadline.
type Client struct {
	conn    net.Conn
	o       Options
	slots   chan struct{} // one for each message in flight
	writing chan []byte   // holds the output buffer when nobody writes
	done    chan struct{} // closed when nothing can be read any more

	mu        sync.Mutex // guards what follows; never held while waiting
	waiting   map[key]chan *iso8583.Message
	unmatched int
	err       error
}

// New makes a client on a connection, which it closes at the end.
func New(conn net.Conn, o Options) *Client {
	if o.Dialect == nil {
		o.Dialect, _ = iso8583.ByName(iso8583.ASCII)
	}
	if o.TPDU == (iso8583.TPDU{}) {
		o.TPDU[0] = 0x60
	}
	o.MaxFrame = orDefault(o.MaxFrame, 4096)
	o.MaxInFlight = orDefault(o.MaxInFlight, 64)
	o.Timeout = orDefault(o.Timeout, 10*time.Second)
	c := &Client{
		conn:    conn,
		o:       o,
		slots:   make(chan struct{}, o.MaxInFlight),
		writing: make(chan []byte, 1),
		done:    make(chan struct{}),
		waiting: make(map[key]chan *iso8583.Message),
	}
	c.writing <- nil
	go c.read()
	return c
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Do sends a message and waits for its answer: until the timeout (ErrTimeout),
// the end of the connection (ErrClosed), or the end of the context.
func (c *Client) Do(ctx context.Context, m *iso8583.Message) (*iso8583.Message, error) {
	reply, ok := m.MTI.Reply()
	if !ok {
		return nil, ErrNoReply
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Timeout, ErrTimeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.done:
		return nil, c.closed()
	}
	defer func() { <-c.slots }()

	k := keyOf(m)
	k.mti = reply
	answer, err := c.expect(k)
	if err != nil {
		return nil, err
	}
	defer c.forget(k, answer)
	if err := c.send(ctx, m); err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.done:
		select { // an answer that came just before the end counts
		case r := <-answer:
			return r, nil
		default:
			return nil, c.closed()
		}
	}
}

// Send sends a message and waits for nothing.
func (c *Client) Send(ctx context.Context, m *iso8583.Message) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Timeout, ErrTimeout)
	defer cancel()
	return c.send(ctx, m)
}

// Unmatched gives the number of messages that came and that nobody waited for:
// late answers, or answers that name no message.
func (c *Client) Unmatched() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unmatched
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close closes the connection. Messages in flight get ErrClosed.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}

func keyOf(m *iso8583.Message) (k key) {
	k.mti = m.MTI
	copy(k.stan[:], m.Get(11))
	copy(k.terminal[:], m.Get(41))
	return k
}

func (c *Client) expect(k key) (chan *iso8583.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[k] != nil {
		return nil, ErrInFlight
	}
	answer := make(chan *iso8583.Message, 1)
	c.waiting[k] = answer
	return answer, nil
}

// forget gives the key free, unless someone else has come to wait under it.
func (c *Client) forget(k key, answer chan *iso8583.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[k] == answer {
		delete(c.waiting, k)
	}
}

func (c *Client) closed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Errorf("%w: %w", ErrClosed, c.err)
}

func (c *Client) send(ctx context.Context, m *iso8583.Message) error {
	var buf []byte
	select {
	case buf = <-c.writing:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return c.closed()
	}
	defer func() { c.writing <- buf }()
	out, err := c.o.Framing.AppendMessage(buf[:0], c.o.TPDU, c.o.Dialect, m)
	if err != nil {
		return fmt.Errorf("the message cannot be written: %w", err)
	}
	buf = out
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetWriteDeadline(deadline); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if _, err := c.conn.Write(out); err != nil {
		_ = c.conn.Close() // a frame may have gone out in part: nothing can follow it
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return nil
}

// read hands every answer to whoever waits for it, until the connection ends.
func (c *Client) read() {
	in := iso8583.NewFrameReader(c.conn, c.o.Framing, c.o.MaxFrame)
	for {
		frame, err := in.Next(nil) // a new buffer: the answer's values are views into it
		m := new(iso8583.Message)
		if err == nil {
			err = c.o.Dialect.Decode(m, frame.Body)
		}
		if err != nil {
			_ = c.conn.Close()
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			close(c.done)
			return
		}
		c.deliver(m)
	}
}

func (c *Client) deliver(m *iso8583.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := keyOf(m)
	answer := c.waiting[k]
	if answer == nil {
		c.unmatched++
		return
	}
	delete(c.waiting, k)
	answer <- m // has room for one, and is taken off the map with it
}
