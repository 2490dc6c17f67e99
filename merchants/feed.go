package merchants

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxChangeLine is the longest line of a feed, in bytes.
const MaxChangeLine = 4 << 10

// changeSections are what a line of a feed may change, by their names there.
var changeSections = []section{
	{name: "medium", fields: []string{"pan", "status", "expiry", "allow", "limit_single", "limit_day_total", "limit_day_count"}, required: 1},
	{name: "terminal", fields: []string{"id", "status"}, required: 2},
	{name: "merchant", fields: []string{"id", "status"}, required: 2},
	{name: "api_key", fields: []string{"key", "status"}, required: 2},
	{name: "customer", fields: []string{"id", "name", "phone", "email", "bank_code", "branch_code", "account_number", "verifier"}, required: 1},
	{name: "item", fields: []string{"merchant", "code", "name", "price", "tax"}, required: 2},
}

// mayBeEmpty are the fields of which the empty text means none.
const mayBeEmpty = " expiry allow phone email bank_code branch_code account_number verifier tax "

// ReadChange reads one line of a feed, a JSON object such as
//
//	{"medium":{"pan":"4242424242424242","status":"stolen"}}
//
// docs/REGISTRY.md has all of its fields. It is strict: whatever it does not know,
// it refuses. Its errors are of type [*FileError], without file and line, and
// repeat nothing of what the line has.
func ReadChange(line []byte) (Change, error) {
	if len(line) > MaxChangeLine {
		return Change{}, changeFault("has more than " + strconv.Itoa(MaxChangeLine) + " bytes")
	}
	w, given, err := readChange(line)
	if err != nil {
		return Change{}, err
	}
	for _, f := range w.s.fields[:w.s.required] {
		if !given[f] {
			w.fail(f, "is missing")
		}
	}
	for f := range given {
		if w.get(f) == "" && !strings.Contains(mayBeEmpty, " "+f+" ") {
			w.fail(f, "is empty; leave a field out that is not to be changed")
		}
	}
	c := w.change(given)
	if w.err == nil && len(given) == w.s.required && !given["status"] {
		w.err = changeFault("names a record and changes nothing: give what is to be changed")
	}
	if w.err != nil {
		return Change{}, w.err
	}
	return c, nil
}

func changeFault(problem string) error { return &FileError{File: "change", Problem: problem} }

// change makes the change of the fields that were given.
func (w *row) change(given map[string]bool) (c Change) {
	switch w.s.name {
	case "medium":
		c.Medium = w.mediumChange(given)
	case "terminal":
		c.Terminal = &TerminalChange{w.terminalID("id"), w.terminalStatus()}
	case "merchant":
		c.Merchant = &MerchantChange{w.merchantID("id"), w.status()}
	case "api_key":
		c.APIKey = &APIKeyChange{w.apiKey("key"), w.status()}
	case "customer":
		c.Customer = w.customerChange(given)
	case "item":
		c.Item = w.itemChange(given)
	}
	return c
}

func (w *row) mediumChange(given map[string]bool) *MediumChange {
	m := &MediumChange{PAN: w.pan("pan")}
	if given["status"] {
		m.Status = w.mediumStatus("status")
	}
	if given["expiry"] {
		expiry := w.expiry("expiry")
		m.Expiry = &expiry
	}
	if given["allow"] {
		allowed := w.kinds("allow")
		m.Allowed = &allowed
	}
	limits := w.limits()
	if given["limit_single"] {
		m.Single = &limits.Single
	}
	if given["limit_day_total"] {
		m.DayTotal = &limits.DayTotal
	}
	if given["limit_day_count"] {
		m.DayCount = &limits.DayCount
	}
	return m
}

// readChange takes the line apart: which section, and the text of its fields.
func readChange(line []byte) (w *row, given map[string]bool, err error) {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	if err := openObject(d, "must be a JSON object"); err != nil {
		return nil, nil, err
	}
	const which = "must have one member: medium, terminal, merchant, api_key, customer or item"
	name, err := d.ReadToken()
	if err != nil {
		return nil, nil, notJSON(err)
	}
	for i := range changeSections {
		if s := &changeSections[i]; name.Kind() == '"' && s.name == name.String() {
			w = &row{p: &parser{im: &Import{file: "change"}}, s: s, text: make([]string, len(s.fields))}
		}
	}
	if w == nil {
		return nil, nil, changeFault(which)
	}
	if err := openObject(d, "must have an object of fields behind "+w.s.name); err != nil {
		return nil, nil, err
	}
	given = make(map[string]bool)
	for d.PeekKind() != '}' {
		if err := w.field(d, given); err != nil {
			return nil, nil, err
		}
	}
	for range 2 { // the section's end, and the line's
		switch t, err := d.ReadToken(); {
		case err != nil:
			return nil, nil, notJSON(err)
		case t.Kind() != '}':
			return nil, nil, changeFault(which)
		}
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, nil, changeFault("must be one JSON object, with nothing behind it")
	}
	return w, given, nil
}

// field reads a field's name and value.
func (w *row) field(d *jsontext.Decoder, given map[string]bool) error {
	name, err := d.ReadToken()
	if err != nil {
		return notJSON(err)
	}
	i := w.s.index(name.String())
	if i < 0 {
		return &FileError{File: "change", Section: w.s.name, Problem: "has an unknown field; there are " + strings.Join(w.s.fields, ", ")}
	}
	f := w.s.fields[i]
	given[f] = true
	if f == "allow" {
		w.text[i], err = w.list(d, f)
	} else {
		w.text[i], err = w.scalar(d, f)
	}
	return err
}

func (w *row) list(d *jsontext.Decoder, f string) (string, error) {
	if d.PeekKind() != '[' {
		w.fail(f, "must be a list of kinds of transaction")
		return "", w.err
	}
	_, _ = d.ReadToken() // seen just now
	var all []string
	for d.PeekKind() != ']' {
		text, err := w.scalar(d, f)
		if err != nil {
			return "", err
		}
		if text == "" || strings.Contains(text, " ") {
			w.fail(f, "must be kinds of transaction: "+kindList)
			return "", w.err
		}
		all = append(all, text)
	}
	_, err := d.ReadToken()
	return strings.Join(all, " "), notJSON(err)
}

// scalar reads a string, or a number where one is wanted.
func (w *row) scalar(d *jsontext.Decoder, f string) (string, error) {
	t, err := d.ReadToken()
	if err != nil {
		return "", notJSON(err)
	}
	if k := t.Kind(); k != '"' && (k != '0' || !strings.HasPrefix(f, "limit_") && f != "price" && f != "tax") {
		w.fail(f, "must be a string; a limit, a price and a tax may be numbers")
		return "", w.err
	}
	return t.String(), nil
}

func openObject(d *jsontext.Decoder, problem string) error {
	t, err := d.ReadToken()
	switch {
	case err != nil:
		return notJSON(err)
	case t.Kind() != '{':
		return changeFault(problem)
	}
	return nil
}

// notJSON tells of a fault without the text in which it is.
func notJSON(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jsontext.ErrDuplicateName):
		return changeFault("has a field twice")
	}
	return changeFault("is no valid JSON")
}
