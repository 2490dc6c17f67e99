package iso8583_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"kessai"
	"kessai/pos/iso8583"

	"github.com/go-json-experiment/json/jsontext"
)

var update = flag.Bool("update", false, "write the hexadecimal digits in docs/ISO8583.md anew, from the JSON beside them")

const specification = "../../docs/ISO8583.md"

// example is one block of hexadecimal digits: what stands behind ```hex, the
// digits, and the JSON of the block that follows, if there is one.
type example struct {
	info, digits, json string
}

var blocks = regexp.MustCompile("(?s)```hex ([^\n]+)\n(.*?)```(?:\n```json\n(.*?)```)?")

func examples(t *testing.T) (text string, all []example) {
	t.Helper()
	b, err := os.ReadFile(specification)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range blocks.FindAllStringSubmatch(string(b), -1) {
		all = append(all, example{m[1], m[2], m[3]})
	}
	if len(all) < 50 {
		t.Fatalf("%d examples found", len(all))
	}
	return string(b), all
}

// lines breaks digits into lines of 40 bytes.
func lines(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(len(b), 40)
		s.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return s.String()
}

// want gives the bytes that an example ought to have, from the JSON beside it
// or, for the examples of framing and dialects, from that of another example.
func want(t *testing.T, e example, json map[string]string) []byte {
	t.Helper()
	words := strings.Fields(e.info)
	d := dialect(t, iso8583.ASCII)
	text := e.json
	switch words[0] {
	case "request", "reply":
	case "frame":
		text = json["request echo"]
	case "dialect":
		d, text = dialect(t, words[1]), json["request purchase"]
	default:
		t.Fatalf("an example is called %q", e.info)
	}
	b, err := iso8583.EncodeJSON(d, []byte(text))
	if err != nil {
		t.Fatalf("%s: %v", e.info, err)
	}
	if words[0] != "frame" {
		return b
	}
	var f iso8583.Framing
	if f.Length, err = iso8583.ParseLengthForm(words[1]); err != nil {
		t.Fatal(err)
	}
	f.Inclusive = strings.Contains(e.info, " inclusive")
	f.TPDU = strings.Contains(e.info, " tpdu")
	if b, err = f.Append(nil, iso8583.TPDU{0x60, 0x00, 0x01, 0x00, 0x02}, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSpecificationExamples(t *testing.T) {
	text, all := examples(t)
	json := make(map[string]string)
	for _, e := range all {
		if json[e.info] != "" {
			t.Errorf("two examples are called %q", e.info)
		}
		json[e.info] = e.json
	}
	if *update {
		i := 0
		text = blocks.ReplaceAllStringFunc(text, func(s string) string {
			e := all[i]
			i++
			return strings.Replace(s, e.info+"\n"+e.digits, e.info+"\n"+lines(want(t, e, json)), 1)
		})
		if err := os.WriteFile(specification, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, e := range all {
		b := want(t, e, json)
		if e.digits != lines(b) {
			t.Errorf("%s: the digits are not those of the JSON; write them anew with -update", e.info)
		}
		if e.json == "" {
			continue
		}
		d := dialect(t, iso8583.ASCII)
		var m iso8583.Message
		if err := d.Decode(&m, b); err != nil {
			t.Errorf("%s: %v", e.info, err)
		}
		if again := encoded(t, d, &m); !bytes.Equal(again, b) {
			t.Errorf("%s: written differently the second time", e.info)
		}
		beside := jsontext.Value(e.json)
		if err := beside.Compact(); err != nil || string(beside) != string(d.AppendJSON(nil, &m)) {
			t.Errorf("%s: decoded to\n%s\nbut beside it stands (%v)\n%s", e.info, d.AppendJSON(nil, &m), err, beside)
		}
	}
}

// Each request is followed by its reply, and every message type is shown.
func TestSpecificationIsWhole(t *testing.T) {
	_, all := examples(t)
	types, names := make(map[string]bool), make(map[string]string)
	var request iso8583.Message
	d := dialect(t, iso8583.ASCII)
	for i, e := range all {
		kind, name, _ := strings.Cut(e.info, " ")
		if kind == "frame" || kind == "dialect" {
			continue
		}
		var m iso8583.Message
		if err := d.ParseJSON(&m, []byte(e.json)); err != nil {
			t.Fatalf("%s: %v", e.info, err)
		}
		types[m.MTI.String()] = true
		if kind == "request" {
			request = m
			if i+1 == len(all) || all[i+1].info != "reply "+name {
				t.Errorf("the reply to %s does not follow", name)
			}
			key := string(m.Get(7)) + string(m.Get(11))
			if !m.MTI.IsRepeat() && names[key] != "" {
				t.Errorf("%s and %s have the same time and STAN", names[key], name)
			}
			names[key] = name
			continue
		}
		if want, ok := request.MTI.Reply(); !ok || want != m.MTI {
			t.Errorf("%s: %s does not answer %s", name, m.MTI, request.MTI)
		}
		for _, f := range []int{3, 7, 11, 12, 13, 41, 42, 49, 70} {
			if string(m.Get(f)) != string(request.Get(f)) {
				t.Errorf("%s: field %d does not come back", name, f)
			}
		}
	}
	for _, mti := range strings.Fields("0100 0110 0120 0130 0200 0210 0220 0230 0400 0410 0420 0430 0800 0810 0201 0221 0421") {
		if !types[mti] {
			t.Errorf("%s is not shown", mti)
		}
	}
}

func TestSpecificationListsResponseCodes(t *testing.T) {
	text, _ := examples(t)
	for _, c := range kessai.ResponseCodes() {
		if !strings.Contains(text, "\n| "+c.String()+" | "+c.Text()+" |") {
			t.Errorf("response code %s (%s) is not listed", c, c.Text())
		}
	}
}

// Where the gateway's number appears in a reply, the approval code is its own.
func TestSpecificationApprovalCodes(t *testing.T) {
	_, all := examples(t)
	d := dialect(t, iso8583.ASCII)
	for _, e := range all {
		var m iso8583.Message
		if e.json == "" || d.ParseJSON(&m, []byte(e.json)) != nil || !m.Has(38) {
			continue
		}
		n, err := strconv.ParseUint(string(m.Get(37)), 10, 64)
		if err != nil || string(m.Get(38)) != kessai.TxID(n).ApprovalCode() {
			t.Errorf("%s: the approval code is not that of the RRN", e.info)
		}
	}
}
