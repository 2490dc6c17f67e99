package gateway

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz"
)

// pipeListener hands out one end of a pipe for each connection, so that a
// listener can be tested in a synctest bubble.
type pipeListener struct {
	conns chan net.Conn
	gone  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), gone: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.gone:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.gone) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// gate lets requests through to nobody: each waits until it is opened, and is
// then declined, so these tests need no book in their bubble.
type gate struct{ open chan struct{} }

func (g gate) authorize(ctx context.Context, r *authz.Request) (authz.Reply, error) {
	select {
	case <-g.open:
		return authz.Reply{Code: kessai.DoNotHonour}, nil
	case <-ctx.Done():
		return authz.Reply{}, ctx.Err()
	}
}

// bubble runs a test on pipes and virtual time.
func bubble(t *testing.T, limit func(*ISOOptions), f func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics)) {
	bubbleOn(t, limit, func(l net.Listener) net.Listener { return l }, f)
}

// bubbleOn does so with something around the listener.
func bubbleOn(t *testing.T, limit func(*ISOOptions), around func(net.Listener) net.Listener, f func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics)) {
	synctest.Test(t, func(t *testing.T) {
		h, err := kessai.NewMediumHasher(bytes.Repeat([]byte{7}, kessai.MinKeyBytes))
		if err != nil {
			t.Fatal(err)
		}
		g := gate{make(chan struct{})}
		m := NewMetrics(MetricsOptions{})
		o := ISOOptions{Authorize: eachAlone(g.authorize), Hasher: h, Metrics: m, IdleTimeout: time.Minute, WriteTimeout: 10 * time.Second}
		limit(&o)
		l := newPipeListener()
		f(t, l, serveISO(t, o, around(l)), g, m)
	})
}

func isoSale(p *isoTerminal) fields {
	return p.financial("0200", "000000", fields{2: suzukiCard, 14: "3912", 4: yen(450), 49: "392"})
}

func TestISO_IdleConnectionEnds(t *testing.T) {
	bubble(t, func(*ISOOptions) {}, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		p := newISOTerminal(t, l.dial())
		began := time.Now()
		time.Sleep(59 * time.Second)
		expect(t, p.ask(fields{0: "0800", 7: isoNow(), 11: "000001", 70: "301"}), fields{0: "0810"})
		_ = p.nc.SetReadDeadline(time.Time{})
		if _, err := p.nc.Read(make([]byte, 1)); err == nil {
			t.Fatal("an idle connection said something")
		}
		if d := time.Since(began); d != 119*time.Second {
			t.Errorf("the connection ended after %v, want 1m59s", d)
		}
		synctest.Wait()
		expectCount(t, m, "kessai_iso_disconnects_total", 1, "reason=idle")
	})
}

// A connection is not idle while one of its messages is in flight, however long
// that takes.
func TestISO_WaitingConnectionIsNotIdle(t *testing.T) {
	bubble(t, func(*ISOOptions) {}, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		p := newISOTerminal(t, l.dial())
		p.send(isoSale(p))
		time.Sleep(10 * time.Minute)
		close(g.open)
		_ = p.nc.SetReadDeadline(time.Now().Add(isoPatience))
		expect(t, p.receive(), fields{0: "0210", 39: "05"})
	})
}

// A message that has begun must end within the idle time, even if a byte comes
// now and then, and even while another is in flight.
func TestISO_TrickledMessageEnds(t *testing.T) {
	bubble(t, func(*ISOOptions) {}, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		p := newISOTerminal(t, l.dial())
		p.send(isoSale(p))
		began := time.Now()
		var failed error
		for _, b := range p.frame(isoSale(p)) {
			if _, failed = p.nc.Write([]byte{b}); failed != nil {
				break
			}
			time.Sleep(5 * time.Second)
		}
		if d := time.Since(began); failed == nil || d > 2*time.Minute {
			t.Errorf("a message could be trickled for %v", d)
		}
		close(g.open)
		_ = p.nc.SetReadDeadline(time.Now().Add(isoPatience))
		expect(t, p.receive(), fields{39: "05"}) // the one before is answered all the same
		p.gone()
		synctest.Wait()
		expectCount(t, m, "kessai_iso_disconnects_total", 1, "reason=idle")
	})
}

func TestISO_SlowReaderIsCut(t *testing.T) {
	bubble(t, func(*ISOOptions) {}, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		close(g.open)
		p := newISOTerminal(t, l.dial())
		p.send(isoSale(p)) // and the answer is not read
		time.Sleep(9 * time.Second)
		synctest.Wait()
		expectCount(t, m, "kessai_iso_connections", 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		expectCount(t, m, "kessai_iso_connections", 0)
		expectCount(t, m, "kessai_iso_disconnects_total", 1, "reason=slow_reader")
		expectCount(t, m, "kessai_iso_unanswered_total", 1, "reason=connection_lost")
	})
}

// At the bound of a connection its reading stops; another connection goes on.
func TestISO_ConnectionBound(t *testing.T) {
	limit := func(o *ISOOptions) { o.MaxInFlightPerConn = 4 }
	bubble(t, limit, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		p := newISOTerminal(t, l.dial())
		for range 4 {
			p.send(isoSale(p))
		}
		synctest.Wait()
		expectCount(t, m, "kessai_requests_in_flight", 4)
		_ = p.nc.SetWriteDeadline(time.Now().Add(30 * time.Second))
		if _, err := p.nc.Write(p.frame(isoSale(p))); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a fifth message was read: %v", err)
		}
		other := newISOTerminal(t, l.dial())
		expect(t, other.ask(fields{0: "0800", 7: isoNow(), 11: "000001", 70: "301"}), fields{0: "0810"})
		close(g.open)
		for range 4 {
			_ = p.nc.SetReadDeadline(time.Now().Add(isoPatience))
			expect(t, p.receive(), fields{39: "05"})
		}
		p.nc.Close()
		synctest.Wait()
		expectCount(t, m, "kessai_iso_frames_received_total", 5)
		expectCount(t, m, "kessai_requests_in_flight", 0)
	})
}

// At the bound of the listener, messages are answered with 96 at once.
func TestISO_ListenerBound(t *testing.T) {
	limit := func(o *ISOOptions) { o.MaxInFlight = 2 }
	bubble(t, limit, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		p, q := newISOTerminal(t, l.dial()), newISOTerminal(t, l.dial())
		p.send(isoSale(p))
		q.send(isoSale(q))
		synctest.Wait()
		third := isoSale(p)
		expect(t, p.ask(third), fields{0: "0210", 11: third[11], 39: "96", 37: ""})
		expectCount(t, m, "kessai_requests_refused_total", 1, "reason=in_flight")
		close(g.open)
		_ = p.nc.SetReadDeadline(time.Now().Add(isoPatience))
		expect(t, p.receive(), fields{11: "000001", 39: "05"})
		_ = q.nc.SetReadDeadline(time.Now().Add(isoPatience))
		expect(t, q.receive(), fields{11: "000001", 39: "05"})
		expect(t, p.ask(isoSale(p)), fields{39: "05"})
	})
}

func TestISO_TooManyConnections(t *testing.T) {
	limit := func(o *ISOOptions) { o.MaxConnections = 2 }
	bubble(t, limit, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		first, second := newISOTerminal(t, l.dial()), newISOTerminal(t, l.dial())
		newISOTerminal(t, l.dial()).gone()
		synctest.Wait() // it is counted after it is closed
		expectCount(t, m, "kessai_iso_connections_refused_total", 1, "reason=too_many")
		first.nc.Close()
		synctest.Wait()
		third := newISOTerminal(t, l.dial())
		for _, p := range []*isoTerminal{second, third} {
			expect(t, p.ask(fields{0: "0800", 7: isoNow(), 11: "000001", 70: "301"}), fields{0: "0810"})
		}
	})
}

// Shutdown answers what is in flight and reads nothing more.
func TestISO_ShutdownDrains(t *testing.T) {
	bubble(t, func(*ISOOptions) {}, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		p, idle := newISOTerminal(t, l.dial()), newISOTerminal(t, l.dial())
		p.send(isoSale(p))
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		synctest.Wait()
		idle.gone()
		select {
		case err := <-done:
			t.Fatalf("Shutdown returned with a message in flight: %v", err)
		default:
		}
		_ = p.nc.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := p.nc.Write(p.frame(isoSale(p))); err == nil {
			t.Error("a message was read after Shutdown")
		}
		close(g.open)
		_ = p.nc.SetReadDeadline(time.Now().Add(isoPatience))
		expect(t, p.receive(), fields{39: "05"})
		p.gone()
		if err := <-done; err != nil {
			t.Error(err)
		}
		expectCount(t, m, "kessai_iso_disconnects_total", 2, "reason=drained")
	})
}

// A message that was received whole before Shutdown, and not begun, is told that
// nothing was done.
func TestISO_ShutdownRefusesWhatIsReceived(t *testing.T) {
	limit := func(o *ISOOptions) { o.MaxInFlightPerConn = 1 }
	bubble(t, limit, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		p := newISOTerminal(t, l.dial())
		first, second := isoSale(p), isoSale(p)
		p.write(append(p.frame(first), p.frame(second)...))
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		synctest.Wait()
		close(g.open)
		expect(t, p.receive(), fields{11: first[11], 39: "05"})
		expect(t, p.receive(), fields{11: second[11], 39: "96"})
		p.gone()
		if err := <-done; err != nil {
			t.Error(err)
		}
		expectCount(t, m, "kessai_requests_refused_total", 1, "reason=draining")
	})
}

// When its context ends, Shutdown cuts what is left and says so.
func TestISO_ShutdownCuts(t *testing.T) {
	bubble(t, func(*ISOOptions) {}, func(t *testing.T, l *pipeListener, s *ISO, g gate, m *Metrics) {
		p := newISOTerminal(t, l.dial())
		p.send(isoSale(p))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown gave %v", err)
		}
		p.gone()
		synctest.Wait()
		expectCount(t, m, "kessai_iso_disconnects_total", 1, "reason=killed")
		expectCount(t, m, "kessai_iso_unanswered_total", 1, "reason=outcome_unknown")
	})
}

func expectCount(t testing.TB, m *Metrics, name string, want float64, labels ...string) {
	t.Helper()
	if got := metric(t, m, name, labels...); got != want {
		t.Errorf("%s%v is %v, want %v", name, labels, got, want)
	}
}
