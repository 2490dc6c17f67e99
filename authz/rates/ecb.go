package rates

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"kessai"
)

// The limits of a file of rates.
const (
	MaxFileBytes  = 256 << 10 // that of the bank has 2 KiB
	MaxCurrencies = 300       // ISO 4217 has some 180
	maxDepth      = 8
)

// The namespaces of the bank's file.
const (
	envelopeSpace = "http://www.gesmes.org/xml/2002-08-01"
	cubeSpace     = "http://www.ecb.int/vocabulary/2002-08-01/eurofxref"
)

// What a currency may cost in euro, either way: with less or more it is a slip.
var (
	leastRate = big.NewRat(1, 10_000)
	mostRate  = big.NewRat(10_000_000, 1)
)

var (
	rateForm = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`)
	codeForm = regexp.MustCompile(`^[A-Z]{3}$`)
)

// Fault says what is wrong with a file of rates, and where. It may repeat a
// currency, and nothing else of the file.
type Fault struct {
	Line    int // from 1; zero where no line can be named
	Problem string
}

func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.Problem
	}
	return "line " + strconv.Itoa(f.Line) + ": " + f.Problem
}

// Load reads a file of rates.
func Load(path string) (*Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read exchange rates: %w", err)
	}
	defer f.Close()
	t, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s is no file of exchange rates as the European Central Bank publishes it daily: %w", filepath.Base(path), err)
	}
	return t, nil
}

// Read reads rates in the form of eurofxref-daily.xml: one day, and for each
// currency how many units of it 1 EUR is. Currencies that ISO 4217 does not list
// any more are left out; everything else that is not as it should be is refused.
// Errors are of type [*Fault], but for those of r.
func Read(r io.Reader) (*Table, error) {
	limited := &io.LimitedReader{R: r, N: MaxFileBytes + 1}
	in := bufio.NewReader(limited)
	if b, _ := in.Peek(len(mark)); string(b) == mark {
		_, _ = in.Discard(len(mark))
	}
	x := &ecbReader{d: xml.NewDecoder(in), t: &Table{Rates: make(map[kessai.Currency]*big.Rat)}}
	x.d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, &Fault{1, "it is not in UTF-8"} }
	err := x.document()
	if syntax, ok := errors.AsType[*xml.SyntaxError](err); ok { // its text may repeat the file
		err = &Fault{syntax.Line, "it is no well-formed XML, or breaks off"}
	}
	if fault, ok := errors.AsType[*Fault](err); ok {
		err = fault
	}
	if limited.N <= 0 {
		err = &Fault{Problem: fmt.Sprintf("it has more than %d bytes", MaxFileBytes)}
	}
	if err != nil {
		return nil, err
	}
	return x.t, nil
}

// mark is what some programs begin a file of UTF-8 with.
const mark = "\xef\xbb\xbf"

// ecbReader reads the file token by token. It does not decode into structs with
// xml.Unmarshal: that passes over what it does not know, and over what comes twice.
type ecbReader struct {
	d    *xml.Decoder
	t    *Table
	seen map[string]bool
	cube bool // the one that has the days
}

func (x *ecbReader) fault(format string, args ...any) error {
	line, _ := x.d.InputPos()
	return &Fault{line, fmt.Sprintf(format, args...)}
}

// next gives the next start or end of an element; text is passed over where it may
// be, and is otherwise refused.
func (x *ecbReader) next(text bool) (xml.Token, error) {
	for {
		token, err := x.d.Token()
		if err != nil {
			return nil, err
		}
		switch v := token.(type) {
		case xml.StartElement, xml.EndElement:
			return token, nil
		case xml.Directive:
			return nil, x.fault("it has a document type or another directive, which is not taken")
		case xml.CharData:
			if !text && !isSpace(v) {
				return nil, x.fault("there is text where none may be")
			}
		}
	}
}

func isSpace(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

func (x *ecbReader) document() error {
	token, err := x.next(false)
	if errors.Is(err, io.EOF) {
		return &Fault{Problem: "it is empty"}
	}
	if err != nil {
		return err
	}
	start, ok := token.(xml.StartElement)
	if !ok || start.Name != (xml.Name{Space: envelopeSpace, Local: "Envelope"}) {
		return x.fault("it must begin with the element Envelope of the namespace %s", envelopeSpace)
	}
	err = x.children(func(e xml.StartElement) error {
		switch {
		case e.Name.Space == envelopeSpace && e.Name.Local != "Envelope":
			return x.skip()
		case e.Name != (xml.Name{Space: cubeSpace, Local: "Cube"}):
			return x.fault("it must have elements Cube of the namespace %s only", cubeSpace)
		case x.cube:
			return x.fault("it has a second list of days")
		}
		x.cube = true
		return x.children(x.day)
	})
	if err != nil {
		return err
	}
	switch _, err := x.next(false); {
	case err == nil:
		return x.fault("there is something behind the end of it")
	case !errors.Is(err, io.EOF):
		return err
	case x.t.Date == "":
		return &Fault{Problem: "it has no day with rates"}
	case len(x.seen) == 0:
		return &Fault{Problem: "it has no rates"}
	}
	return nil
}

// children calls f with each element in the one that has just begun. f reads it to
// its end.
func (x *ecbReader) children(f func(xml.StartElement) error) error {
	for {
		token, err := x.next(false)
		if err != nil {
			return err
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			return nil
		}
		if err := f(start); err != nil {
			return err
		}
	}
}

// skip reads an element to its end, whatever is in it.
func (x *ecbReader) skip() error {
	for depth := 1; depth > 0; {
		token, err := x.next(true)
		if err != nil {
			return err
		}
		if _, ok := token.(xml.StartElement); !ok {
			depth--
		} else if depth++; depth > maxDepth {
			return x.fault("its elements lie too deep")
		}
	}
	return nil
}

// day reads the rates of a day.
func (x *ecbReader) day(e xml.StartElement) error {
	attrs, err := x.attributes(e, "time")
	if err != nil {
		return err
	}
	if x.t.Date != "" {
		return x.fault("it has more than one day: give the daily file, not the one of the last 90 days or of all time")
	}
	if d, err := time.Parse(time.DateOnly, attrs["time"]); err != nil || d.Year() < 1999 {
		return x.fault("the day must be given as YYYY-MM-DD, from 1999 on")
	}
	x.t.Date = attrs["time"]
	x.seen = make(map[string]bool)
	return x.children(x.rate)
}

// rate reads the rate of a currency.
func (x *ecbReader) rate(e xml.StartElement) error {
	attrs, err := x.attributes(e, "currency", "rate")
	if err != nil {
		return err
	}
	code, text := attrs["currency"], attrs["rate"]
	switch {
	case !codeForm.MatchString(code):
		return x.fault("a currency must be three capital letters")
	case code == "EUR":
		return x.fault("it has a rate of the euro, which is what rates are in")
	case x.seen[code]:
		return x.fault("it has %s twice", code)
	case len(x.seen) >= MaxCurrencies:
		return x.fault("it has more than %d currencies", MaxCurrencies)
	case !rateForm.MatchString(text):
		return x.fault("the rate of %s must be a number above zero, of digits with a point", code)
	}
	x.seen[code] = true
	rate, ok := new(big.Rat).SetString(text)
	if !ok || rate.Cmp(leastRate) < 0 || rate.Cmp(mostRate) > 0 {
		return x.fault("the rate of %s is not from %s to %s", code, decimal(leastRate), decimal(mostRate))
	}
	if c, known := kessai.ParseCurrency(code); known {
		x.t.Rates[c] = rate
	}
	return x.children(func(xml.StartElement) error { return x.fault("there is something in the rate of %s", code) })
}

// attributes gives what an element Cube has; it must be these, each once.
func (x *ecbReader) attributes(e xml.StartElement, names ...string) (map[string]string, error) {
	all := make(map[string]string, len(names))
	for _, a := range e.Attr {
		if a.Name.Space != "" || a.Name.Local == "xmlns" {
			return nil, x.fault("there is an attribute of another namespace")
		}
		if _, twice := all[a.Name.Local]; twice {
			return nil, x.fault("there is an attribute twice")
		}
		all[a.Name.Local] = a.Value
	}
	ok := e.Name == xml.Name{Space: cubeSpace, Local: "Cube"} && len(all) == len(names)
	for _, name := range names {
		_, has := all[name]
		ok = ok && has
	}
	if !ok {
		return nil, x.fault("there must be an element Cube of the namespace %s with %v here", cubeSpace, names)
	}
	return all, nil
}
