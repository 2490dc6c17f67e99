package gateway

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// floorReader is a shop floor with a reader that sends back what it hears.
type floorReader struct {
	*httpFixture

	mu      sync.Mutex
	display FloorDisplay
	changed chan struct{}
	pressed []byte
	plugged int
}

func newFloorReader(t *testing.T) *floorReader {
	d := &floorReader{changed: make(chan struct{}), display: FloorDisplay{N: 1, Card: -1}}
	d.httpFixture = newHTTPFixture(t, func(o *HTTPOptions) {
		o.Floor = &FloorOptions{Reader: &FloorReader{
			Cards: make([]FloorCard, 2), Plug: d.plug, State: d.state,
			Press: func(key byte) { d.change(func() { d.pressed = append(d.pressed, key) }) },
			Card:  func(index int) { d.change(func() { d.display.Card = index }) },
		}}
	})
	return d
}

func (d *floorReader) plug() io.ReadWriteCloser {
	d.change(func() { d.plugged++ })
	ours, theirs := net.Pipe()
	go func() {
		b := make([]byte, 1024)
		for n, err := theirs.Read(b); err == nil; n, err = theirs.Read(b) {
			said := b[:n]
			if string(said) == "too much" {
				said = make([]byte, 2*floorHeld)
			}
			_, _ = theirs.Write(said)
		}
	}()
	return ours
}

func (d *floorReader) state() (FloorDisplay, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.display, d.changed
}

func (d *floorReader) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	d.display.N++
	close(d.changed)
	d.changed = make(chan struct{})
}

const floorLink = "/demo/reader/link?line="

// The cable of the shop floor's reader: bytes come back in order, whoever plugs in
// later has the reader alone, and one that nobody empties falls out.
func TestFloorReader_Link(t *testing.T) {
	d := newFloorReader(t)
	expect := func(method, line, body string, status int, want string) {
		t.Helper()
		a := d.do(method, floorLink+line, body)
		if a.status != status || want != "" && string(a.raw) != want {
			t.Fatalf("%s on %s: %d %q, want %d %q", method, line, a.status, a.raw, status, want)
		}
	}
	expect("POST", "one", "", 204, "")
	if d.plugged != 1 {
		t.Errorf("plugged in %d times", d.plugged)
	}
	for i := range 20 {
		expect("POST", "one", fmt.Sprint("message ", i), 204, "")
		expect("GET", "one", "", 200, fmt.Sprint("message ", i)) // it waits until there is something
	}
	expect("POST", "one", "for nobody", 204, "")
	expect("POST", "two", "hello", 204, "")
	expect("GET", "two", "", 200, "hello")
	for _, method := range []string{"GET", "POST"} {
		expect(method, "one", "", 404, "") // it fell out
	}
	expect("DELETE", "one", "", 204, "") // and changes nothing for the other
	expect("POST", "two", "still there", 204, "")
	expect("GET", "two", "", 200, "still there")
	expect("DELETE", "two", "", 204, "")
	expect("GET", "two", "", 404, "")
	expect("POST", strings.Repeat("x", 33), "", 400, "")

	expect("POST", "three", "too much", 204, "")
	for d.do("POST", floorLink+"three", "").status != 404 { // it takes a moment
	}
	expect("POST", "four", "hello", 204, "")
	expect("GET", "four", "", 200, "hello")
	if d.plugged != 4 {
		t.Errorf("plugged in %d times", d.plugged)
	}
}

// What there is to see of the reader is told when it changes, and its keys and cards
// are those that there are.
func TestFloorReader_Hands(t *testing.T) {
	d := newFloorReader(t)
	if a := d.do("GET", "/demo/reader/state", ""); a.status != 200 || a.body["n"] != 1.0 || a.body["card"] != -1.0 {
		t.Fatalf("the reader shows %d %s", a.status, a.raw)
	}
	seen := make(chan *httpAnswer)
	go func() { seen <- d.do("GET", "/demo/reader/state?after=1", "") }()
	if a := d.do("POST", "/demo/reader/card", `{"card":1}`); a.status != 204 {
		t.Fatalf("a card: %d %s", a.status, a.raw)
	}
	if a := <-seen; a.status != 200 || a.body["n"] != 2.0 || a.body["card"] != 1.0 {
		t.Errorf("the reader shows %s", a.raw)
	}
	for path, bodies := range map[string][]string{
		"press": {`{}`, `{"key":""}`, `{"key":"12"}`, `{"key":"x"}`, `{"key":"*"}`, `{"key":1}`, `{"key":"1","x":1}`, `1`},
		"card":  {`{}`, `{"card":2}`, `{"card":-2}`, `{"card":"1"}`, `{"card":null}`},
	} {
		for _, body := range bodies {
			if a := d.do("POST", "/demo/reader/"+path, body); a.status < 400 || a.status >= 500 {
				t.Errorf("%s %s: %d %s", path, body, a.status, a.raw)
			}
		}
	}
	for _, key := range "0123456789<XE" {
		if a := d.do("POST", "/demo/reader/press", fmt.Sprintf(`{"key":%q}`, string(key))); a.status != 204 {
			t.Errorf("key %c: %d %s", key, a.status, a.raw)
		}
	}
	if string(d.pressed) != "0123456789<XE" {
		t.Errorf("pressed: %s", d.pressed)
	}
	if a := d.do("POST", "/demo/reader/card", `{"card":-1}`); a.status != 204 || d.display.Card != -1 {
		t.Errorf("out: %d, the slot has %d", a.status, d.display.Card)
	}
}

// Another site's page in the visitor's browser neither presses keys nor pulls cables.
func TestFloorReader_OtherSites(t *testing.T) {
	d := newFloorReader(t)
	for _, r := range [][3]string{
		{"GET", floorLink + "one", ""}, {"POST", floorLink + "one", "hello"}, {"GET", "/demo/reader/state", ""},
		{"POST", "/demo/reader/press", `{"key":"1"}`}, {"POST", "/demo/reader/card", `{"card":1}`},
	} {
		if a := d.do(r[0], r[1], r[2], "Sec-Fetch-Site", "cross-site"); a.status != 403 {
			t.Errorf("%s %s: %d", r[0], r[1], a.status)
		}
	}
	if d.plugged != 0 || len(d.pressed) != 0 || d.display.Card != -1 {
		t.Errorf("%d cables, %d keys, card %d", d.plugged, len(d.pressed), d.display.Card)
	}
	if a := d.do("POST", "/demo/reader/press", `{"key":"1"}`, "Sec-Fetch-Site", "same-origin"); a.status != 204 {
		t.Errorf("the floor's own page: %d", a.status)
	}
}
