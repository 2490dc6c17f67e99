package load

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kessai/pos/iso8583"
)

// server answers ISO 8583 with the dialect's own codec, and notes what it was asked.
type server struct {
	t       *testing.T
	dialect *iso8583.Dialect
	framing iso8583.Framing
	l       net.Listener
	count   atomic.Uint64 // numbers its answers

	keep  bool // what it was asked
	mu    sync.Mutex
	names map[string]bool // MTI, terminal, DE7, STAN
	pans  map[string]int
	twice int

	answer func(in, out *iso8583.Message, n uint64) bool // false: no answer
	before func(n uint64)
}

func serve(t *testing.T, s *server) *server {
	t.Helper()
	if s.dialect == nil {
		s.dialect = iso8583.BuiltIn()[0]
	}
	s.t, s.names, s.pans = t, make(map[string]bool), make(map[string]int)
	var err error
	if s.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := s.l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { defer c.Close(); s.talk(c) })
		}
	})
	t.Cleanup(func() { _ = s.l.Close(); conns.Wait() })
	return s
}

func (s *server) addr() string { return s.l.Addr().String() }

func (s *server) talk(c net.Conn) {
	frames := iso8583.NewFrameReader(c, s.framing, 4096)
	w := bufio.NewWriter(c)
	var in, out iso8583.Message
	var buf, b []byte
	for {
		f, err := frames.Next(buf)
		if err != nil {
			return
		}
		buf = f.Body
		if err := s.dialect.Decode(&in, f.Body); err != nil {
			s.t.Errorf("the generator sent what cannot be read: %v", err)
			return
		}
		n := s.count.Add(1)
		if s.before != nil {
			s.before(n)
		}
		s.note(&in)
		out.ReplyTo(&in)
		for _, f := range []int{3, 4, 7, 11, 12, 13, 41, 42, 49} {
			if in.Has(f) {
				out.Set(f, in.Get(f))
			}
		}
		out.SetString(39, "00")
		out.Set(37, appendDigits(nil, n, 12))
		out.SetString(38, "123456")
		if s.answer != nil && !s.answer(&in, &out, n) {
			continue
		}
		if b, err = s.framing.AppendMessage(b[:0], f.TPDU.Swapped(), s.dialect, &out); err != nil {
			s.t.Error(err)
			return
		}
		_, _ = w.Write(b)
		if err := w.Flush(); err != nil {
			return
		}
	}
}

func (s *server) note(in *iso8583.Message) {
	if !s.keep {
		return
	}
	name := string(in.MTI[:]) + string(in.Get(41)) + string(in.Get(7)) + string(in.Get(11))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[name] {
		s.twice++
	}
	s.names[name] = true
	s.pans[string(in.Get(2))]++
}

func small(s *server, o Options) Options {
	o.Addr, o.Dialect, o.Framing = s.addr(), s.dialect, s.framing
	if o.Population == (Population{}) {
		o.Population = Population{Media: 50, Terminals: 7}
	}
	if o.Conns == 0 {
		o.Conns, o.Window = 3, 8
	}
	if o.Duration == 0 {
		o.Duration = 200 * time.Millisecond
	}
	return o
}

func mustRun(t *testing.T, o Options) *Outcome {
	t.Helper()
	out, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// longEnough runs for a while, and for longer where the machine was too busy for
// enough to happen. What a run that is too short shows, it shows of the machine.
func longEnough(t *testing.T, run func(time.Duration) *Outcome, enough func(*Outcome) bool) *Outcome {
	t.Helper()
	for took := 50 * time.Millisecond; ; took *= 4 {
		if out := run(took); enough(out) || took > 10*time.Second || t.Failed() {
			return out
		}
	}
}
