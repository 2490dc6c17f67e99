package floor

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// floorOf serves on pipes, with a disk that is ready when the test says so.
type floorOf struct {
	t    *testing.T
	disk chan error // what a write gives; it waits for it
	sent []int      // records of each write, so far
	l    *pipes
	stop context.CancelFunc
	end  chan error
}

func newFloor(t *testing.T) *floorOf {
	f := &floorOf{t: t, disk: make(chan error), l: newPipes(t), end: make(chan error, 1)}
	ctx, stop := context.WithCancel(t.Context())
	f.stop = stop
	go func() {
		f.end <- serve(ctx, f.l, func(records []byte) error {
			f.sent = append(f.sent, len(records)/recordSize)
			return <-f.disk
		})
	}()
	return f
}

// TestNoAnswerBeforeTheDisk: while the disk is busy, nobody hears anything, and
// what comes meanwhile forms one group.
func TestNoAnswerBeforeTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFloor(t)
		a, b, c := f.l.dial(), f.l.dial(), f.l.dial()
		a.send(frame("0200 first"))
		synctest.Wait()
		b.send(frame("0400 second"))
		c.send(slices.Concat(frame("0200 third"), frame("0100 fourth")))
		synctest.Wait()
		a.hears("")
		b.hears("")
		c.hears("")
		f.disk <- nil
		synctest.Wait()
		a.hears("0210 first")
		b.hears("")
		c.hears("")
		f.disk <- nil
		synctest.Wait()
		b.hears("0410 second")
		c.hears("0210 third|0110 fourth")
		if want := []int{1, 3}; !slices.Equal(f.sent, want) {
			t.Errorf("groups of %v records, want %v", f.sent, want)
		}
		if c.reads != 1 {
			t.Errorf("the answers of one group came in %d writes, want 1", c.reads)
		}
		f.stop()
		if err := <-f.end; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
}

// TestDiskFails: nothing is answered that may not be on the disk, and the server
// ends with the reason.
func TestDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFloor(t)
		a, b := f.l.dial(), f.l.dial()
		a.send(frame("0200 first"))
		synctest.Wait()
		b.send(frame("0200 second"))
		synctest.Wait()
		broken := errors.New("the disk is gone")
		f.disk <- broken
		synctest.Wait()
		a.hears("")
		b.hears("")
		if err := <-f.end; !errors.Is(err, broken) {
			t.Errorf("it ended with %v, want %v", err, broken)
		}
		if len(f.sent) != 1 {
			t.Errorf("%d writes after the disk failed, want none", len(f.sent)-1)
		}
		if !a.ended() || !b.ended() {
			t.Error("a connection is still open")
		}
	})
}

func TestFrames(t *testing.T) {
	two := slices.Concat(frame("0200 first"), frame("0220 second"))
	for _, c := range []struct {
		name  string
		parts []string
		want  string
		ends  bool
	}{
		{"two in one piece", []string{string(two)}, "0210 first|0230 second", false},
		{"one in many pieces", strings.Split(string(frame("0200 first")), ""), "0210 first", false},
		{"one and a half", []string{string(two[:20]), string(two[20:])}, "0210 first|0230 second", false},
		{"empty", []string{"\x00\x00"}, "", true},
		{"shorter than an MTI", []string{"\x00\x03020"}, "", true},
		{"too long", []string{"\x10\x01"}, "", true},
		{"an answer", []string{string(frame("0210"))}, "", true},
		{"a good one, then none", []string{string(frame("0200 good")) + "\x00\x00"}, "0210 good", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFloor(t)
				close(f.disk)
				a := f.l.dial()
				for _, p := range c.parts {
					a.send([]byte(p))
					synctest.Wait()
				}
				a.hears(c.want)
				if a.ended() != c.ends {
					t.Errorf("the connection ended: %v, want %v", a.ended(), c.ends)
				}
				f.stop()
				<-f.end
			})
		})
	}
}

// TestFile: what was answered stands in the file, in order.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	f, err := create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.f.Close()
	j := newJournal(f.write)
	for _, n := range []int{1, 2} {
		if err := j.append(n); err != nil {
			t.Fatal(err)
		}
	}
	records, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil || len(records) != 3*recordSize {
		t.Fatalf("%d bytes, %v", len(records), err)
	}
	for i, want := range []uint64{1, 2, 3} {
		r := records[i*recordSize : (i+1)*recordSize]
		if got := binary.BigEndian.Uint64(r); got != want || r[recordSize-1] == 0 {
			t.Errorf("record %d has number %d, want %d; filled: %v", i, got, want, r[recordSize-1] != 0)
		}
	}
	if _, err := create(dir); err == nil {
		t.Error("a second server took the file of the first")
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(slices.Concat(frame("0200 first"), frame("0220 second")))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		was := slices.Clone(b)
		frames, size, _ := answer(b)
		if size > len(b) || frames > maxBatch || (frames > 0) != (size > 0) {
			t.Fatalf("%d frames of %d bytes in %d", frames, size, len(b))
		}
		if !slices.Equal(b[size:], was[size:]) {
			t.Fatal("what is not answered was changed")
		}
	})
}

func TestAnswerAlloc(t *testing.T) {
	b := slices.Repeat(frame("0200 one of many"), 64)
	again := slices.Clone(b)
	if n := testing.AllocsPerRun(100, func() {
		copy(b, again)
		_, _, _ = answer(b)
	}); n != 0 {
		t.Errorf("%v allocations for 64 frames, want none", n)
	}
}

// pipes is a listener whose connections are pipes, so that time can be virtual.
type pipes struct {
	t      *testing.T
	made   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes(t *testing.T) *pipes {
	return &pipes{t: t, made: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.made:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// client is the other side of a connection. It is looked at when nothing moves.
type client struct {
	t *testing.T
	net.Conn
	heard []byte
	reads int
	err   error
}

func (p *pipes) dial() *client {
	here, there := net.Pipe()
	p.made <- there
	c := &client{t: p.t, Conn: here}
	go func() {
		buf := make([]byte, readBuffer)
		for c.err == nil {
			var n int
			if n, c.err = here.Read(buf); n > 0 {
				c.heard, c.reads = append(c.heard, buf[:n]...), c.reads+1
			}
		}
	}()
	return c
}

func (c *client) send(b []byte) { _, _ = c.Write(b) }
func (c *client) ended() bool   { return c.err != nil }

// hears checks the answers so far, which are parted by bars.
func (c *client) hears(want string) {
	var got []string
	for b := c.heard; len(b) >= 2; {
		n := 2 + int(binary.BigEndian.Uint16(b))
		got = append(got, string(b[2:n]))
		b = b[n:]
	}
	if s := strings.Join(got, "|"); s != want {
		c.t.Helper()
		c.t.Errorf("heard %q, want %q", s, want)
	}
}
