package conversations

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"kessai/pos/iso8583"
	"kessai/pos/sim"
)

// example is a request of docs/ISO8583.md, with the reply that stands behind it.
type example struct {
	name           string
	request, reply []byte
}

var hexBlock = regexp.MustCompile("(?s)```hex (request|reply) ([^\n]+)\n(.*?)```")

// examples gives every request of the document in the order in which they stand
// there, each with its reply.
func examples(t *testing.T) (all []example) {
	t.Helper()
	text, err := os.ReadFile("../../docs/ISO8583.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range hexBlock.FindAllSubmatch(text, -1) {
		bytes, err := hex.DecodeString(strings.Join(strings.Fields(string(m[3])), ""))
		if err != nil {
			t.Fatalf("%s %s: %v", m[1], m[2], err)
		}
		name := string(m[2])
		if string(m[1]) == "request" {
			all = append(all, example{name: name, request: bytes})
			continue
		}
		if n := len(all); n == 0 || all[n-1].name != name || all[n-1].reply != nil {
			t.Fatalf("the reply to %s does not follow its request", name)
		}
		all[len(all)-1].reply = bytes
	}
	if len(all) < 20 {
		t.Fatalf("%d requests were found", len(all))
	}
	return all
}

// TestDocsReplay sends every request of docs/ISO8583.md, in the order in which
// they stand there, over TCP to a gateway with fresh sample data. The replies must
// be those of the document, byte for byte: on fresh data RRN and approval code are
// the document's too. Only the numbers of dialogues are not: nobody can know them.
func TestDocsReplay(t *testing.T) {
	nc := dialDocs(t)
	frames := iso8583.NewFrameReader(nc, iso8583.Framing{}, 4096)
	var written, real []byte // the number of the dialogue: the document's, and the one that was given
	for _, e := range examples(t) {
		got := replay(t, nc, frames, replaced(e.request, written, real))
		if number := dialogueIn(t, got); number != nil {
			written, real = dialogueIn(t, e.reply), number
			got = bytes.ReplaceAll(got, real, written)
		}
		if !bytes.Equal(got, e.reply) {
			t.Errorf("%s was answered with\n%s\nbut the document says\n%s", e.name, inWords(t, got), inWords(t, e.reply))
		}
	}
}

// TestDocsReplayCanFail: a second time, on data that is not fresh, replies differ
// where the document says that they do, and nowhere else.
func TestDocsReplayCanFail(t *testing.T) {
	nc := dialDocs(t)
	frames := iso8583.NewFrameReader(nc, iso8583.Framing{}, 4096)
	all := examples(t)
	for _, e := range all {
		if e.name != "purchase" {
			continue
		}
		got := replay(t, nc, frames, e.request)
		if bytes.Equal(got, e.reply) {
			t.Fatal("the first transaction of a book has the number of the third")
		}
		var was, is iso8583.Message
		d, _ := iso8583.ByName(iso8583.ASCII)
		if d.Decode(&was, e.reply) != nil || d.Decode(&is, got) != nil {
			t.Fatal("a reply cannot be read")
		}
		for field := range was.Fields {
			if same := bytes.Equal(was.Get(field), is.Get(field)); same == (field == 37 || field == 38) {
				t.Errorf("field %d is the same: %v", field, same)
			}
		}
	}
}

func replaced(body, from, to []byte) []byte {
	if from == nil {
		return body // ReplaceAll would put it between all bytes
	}
	return bytes.ReplaceAll(body, from, to)
}

// dialogueIn gives the number of the dialogue that a reply opens; nil where there
// is none.
func dialogueIn(t *testing.T, body []byte) []byte {
	t.Helper()
	var m iso8583.Message
	d, _ := iso8583.ByName(iso8583.ASCII)
	if err := d.Decode(&m, body); err != nil {
		t.Fatal(err)
	}
	number := sim.Dialogue(&m)
	if number == "" {
		return nil
	}
	return []byte(number)
}

// dialDocs starts a gateway on a new folder, at the time at which the document's
// messages were sent, and connects to it.
func dialDocs(t *testing.T) net.Conn {
	t.Helper()
	h, err := openHouse(t.TempDir(), settings{hold: time.Hour, now: func() time.Time { return begin }}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	iso, http := listenLoopback(t), listenLoopback(t)
	h.serve(iso, http)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	nc, err := net.Dial("tcp", iso.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

func listenLoopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func replay(t *testing.T, nc net.Conn, frames *iso8583.FrameReader, request []byte) []byte {
	t.Helper()
	frame, err := iso8583.Framing{}.Append(nil, iso8583.TPDU{}, request)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write(frame); err != nil {
		t.Fatal(err)
	}
	f, err := frames.Next(nil)
	if err != nil {
		t.Fatal(err)
	}
	return f.Body
}

func inWords(t *testing.T, body []byte) string {
	d, _ := iso8583.ByName(iso8583.ASCII)
	text, err := iso8583.DecodeHex(d, hex.EncodeToString(body), false)
	if err != nil {
		return hex.EncodeToString(body) + ": " + err.Error()
	}
	return string(text)
}
