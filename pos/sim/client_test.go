package sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/pos/iso8583"
	"kessai/pos/sim"
)

// host is the gateway's side of a pipe: it reads requests and answers when told.
type host struct {
	t    *testing.T
	conn net.Conn
	in   *iso8583.FrameReader
	o    sim.Options
}

func pair(t *testing.T, o sim.Options) (*sim.Client, *host) {
	if o.Dialect == nil {
		o.Dialect, _ = iso8583.ByName(iso8583.ASCII)
	}
	near, far := net.Pipe()
	return sim.New(near, o), &host{t, far, iso8583.NewFrameReader(far, o.Framing, 4096), o}
}

// next gives the next request, and the answer to it, not yet sent.
func (h *host) next() (request, reply *iso8583.Message, tpdu iso8583.TPDU) {
	h.t.Helper()
	frame, err := h.in.Next(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	request, reply = new(iso8583.Message), new(iso8583.Message)
	if err := h.o.Dialect.Decode(request, frame.Body); err != nil {
		h.t.Fatal(err)
	}
	reply.ReplyTo(request)
	reply.Set(11, request.Get(11))
	reply.Set(41, request.Get(41))
	reply.SetString(39, "00")
	return request, reply, frame.TPDU
}

func (h *host) send(reply *iso8583.Message, tpdu iso8583.TPDU) {
	h.t.Helper()
	b, err := h.o.Framing.AppendMessage(nil, tpdu.Swapped(), h.o.Dialect, reply)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.conn.Write(b); err != nil {
		h.t.Fatal(err)
	}
}

func sale(stan int) sim.Sale {
	return sim.Sale{Terminal: "AOI00001", Merchant: "AOI000000000001", Amount: 450, Currency: kessai.JPY,
		STAN: kessai.STAN(stan), Time: time.Date(2026, 11, 22, 12, 39, 12, 0, time.FixedZone("JST", 9*3600))}
}

func TestAnswersInAnyOrder(t *testing.T) {
	const n = 20
	for _, framing := range []iso8583.Framing{{}, {Length: iso8583.BCD2, Inclusive: true, TPDU: true}} {
		synctest.Test(t, func(t *testing.T) {
			c, h := pair(t, sim.Options{MaxInFlight: n, Framing: framing})
			results := make(chan error, n)
			for i := range n {
				go func() {
					reply, err := c.Do(t.Context(), sale(i).Purchase())
					if err == nil && (string(reply.Get(11)) != kessai.STAN(i).String() || reply.MTI.String() != "0210") {
						err = fmt.Errorf("message %d has the answer to %s", i, reply.Get(11))
					}
					results <- err
				}()
			}
			var replies []*iso8583.Message
			var tpdu iso8583.TPDU
			for range n {
				var r *iso8583.Message
				_, r, tpdu = h.next()
				replies = append(replies, r)
			}
			for i := range replies {
				h.send(replies[n-1-i], tpdu)
			}
			for range n {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
			if c.Unmatched() != 0 {
				t.Errorf("%d unmatched answers", c.Unmatched())
			}
			_ = c.Close()
		})
	}
}

// A sale and its reversal may carry the same STAN; the type tells them apart.
func TestTypeTellsAnswersApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := pair(t, sim.Options{})
		buy := sale(1).Purchase()
		got := make(chan string, 2)
		var replies []*iso8583.Message
		var tpdu iso8583.TPDU
		for _, m := range []*iso8583.Message{buy, sale(1).Reverse(sim.ByRequest(buy), 0)} {
			go func() {
				r, err := c.Do(t.Context(), m)
				if err != nil {
					t.Error(err)
					r = new(iso8583.Message)
				}
				got <- m.MTI.String() + " " + r.MTI.String()
			}()
			var r *iso8583.Message
			_, r, tpdu = h.next()
			replies = append(replies, r)
		}
		for i, want := range []string{"0400 0410", "0200 0210"} {
			h.send(replies[1-i], tpdu)
			if s := <-got; s != want {
				t.Errorf("got %s, want %s", s, want)
			}
		}
		_ = c.Close()
	})
}

func TestTimeoutThenLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := pair(t, sim.Options{Timeout: 7 * time.Second})
		go func() {
			_, reply, tpdu := h.next()
			time.Sleep(8 * time.Second)
			h.send(reply, tpdu)
		}()
		start := time.Now()
		_, err := c.Do(t.Context(), sale(1).Purchase())
		if !errors.Is(err, sim.ErrTimeout) || time.Since(start) != 7*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		time.Sleep(2 * time.Second)
		if c.Unmatched() != 1 {
			t.Errorf("%d unmatched answers, want the late one", c.Unmatched())
		}
		_ = c.Close()
	})
}

func TestNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pair(t, sim.Options{Timeout: time.Second})
		if _, err := c.Do(t.Context(), sale(1).Purchase()); !errors.Is(err, sim.ErrClosed) {
			t.Errorf("got %v", err)
		}
		<-c.Done()
	})
}

func TestInFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := pair(t, sim.Options{MaxInFlight: 1})
		first := make(chan error, 1)
		go func() {
			_, err := c.Do(t.Context(), sale(1).Purchase())
			first <- err
		}()
		_, reply, tpdu := h.next()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Do(ctx, sale(2).Purchase()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second message got %v", err)
		}
		h.send(reply, tpdu)
		if err := <-first; err != nil {
			t.Error(err)
		}
		_ = c.Close()
	})
}

func TestSameKeyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := pair(t, sim.Options{})
		first := make(chan error, 1)
		go func() {
			_, err := c.Do(t.Context(), sale(1).Purchase())
			first <- err
		}()
		_, reply, tpdu := h.next()
		if _, err := c.Do(t.Context(), sim.Repeat(sale(1).Purchase())); !errors.Is(err, sim.ErrInFlight) {
			t.Errorf("the second message got %v", err)
		}
		h.send(reply, tpdu)
		if err := <-first; err != nil {
			t.Error(err)
		}
		_ = c.Close()
	})
}

func TestConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := pair(t, sim.Options{})
		result := make(chan error, 1)
		go func() {
			_, err := c.Do(t.Context(), sale(1).Purchase())
			result <- err
		}()
		h.next()
		_ = h.conn.Close()
		if err := <-result; !errors.Is(err, sim.ErrClosed) || !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Do(t.Context(), sale(2).Purchase()); !errors.Is(err, sim.ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		if err := c.Send(t.Context(), sale(2).Purchase()); !errors.Is(err, sim.ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestNoReplyExists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := pair(t, sim.Options{})
		m := sale(1).Purchase()
		m.MTI = iso8583.MTI([]byte("0210"))
		if _, err := c.Do(t.Context(), m); !errors.Is(err, sim.ErrNoReply) {
			t.Errorf("got %v", err)
		}
		go func() {
			if err := c.Send(t.Context(), m); err != nil {
				t.Error(err)
			}
		}()
		if got, _, _ := h.next(); got.MTI != m.MTI {
			t.Errorf("got %s", got.MTI)
		}
		synctest.Wait()
		_ = c.Close()
	})
}
