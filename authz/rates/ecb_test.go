package rates_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"kessai/authz/rates"
)

// envelope puts days into a file that is otherwise as it should be.
func envelope(days string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
<gesmes:subject>Reference rates</gesmes:subject>
<Cube>` + days + `</Cube>
</gesmes:Envelope>`
}

func day(cubes string) string { return envelope(`<Cube time="2026-10-06">` + cubes + `</Cube>`) }

func TestBadFiles(t *testing.T) {
	const usd = `<Cube currency="USD" rate="1.1"/>`
	var many strings.Builder
	for i := range rates.MaxCurrencies + 1 {
		fmt.Fprintf(&many, `<Cube currency="%c%c%c" rate="1"/>`, 'A'+i/26/26, 'A'+i/26%26, 'A'+i%26)
	}
	for name, c := range map[string]struct{ file, want string }{
		"nothing":          {"", "it is empty"},
		"only a comment":   {"<!-- rates -->", "it is empty"},
		"no XML":           {"USD 1.1", "line 1: there is text where none may be"},
		"HTML":             {"<html><body>Service unavailable</body></html>", "line 1: it must begin with the element Envelope of the namespace http://www.gesmes.org/xml/2002-08-01"},
		"breaks off":       {strings.TrimSuffix(day(usd), "</Cube></Cube>\n</gesmes:Envelope>"), "line 4: it is no well-formed XML, or breaks off"},
		"another encoding": {strings.Replace(day(usd), "UTF-8", "UTF-16", 1), "line 1: it is not in UTF-8"},
		"no UTF-8":         {day("<Cube currency=\"\xff\"/>"), "line 4: it is no well-formed XML, or breaks off"},
		"too large":        {day("<!--" + strings.Repeat("x", rates.MaxFileBytes) + "-->" + usd), "it has more than 262144 bytes"},
		"document type":    {`<!DOCTYPE e [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>` + day(usd), "line 1: it has a document type or another directive, which is not taken"},
		"entity":           {day(`<Cube currency="USD" rate="&one;"/>`), "line 4: it is no well-formed XML, or breaks off"},
		"deep": {strings.Replace(day(usd), "Reference rates", strings.Repeat("<a>", 9)+strings.Repeat("</a>", 9), 1),
			"line 3: its elements lie too deep"},
		"second root":       {day(usd) + "<a/>", "line 5: there is something behind the end of it"},
		"no namespace":      {strings.ReplaceAll(day(usd), ` xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref"`, ""), "line 4: it must have elements Cube of the namespace http://www.ecb.int/vocabulary/2002-08-01/eurofxref only"},
		"another namespace": {strings.ReplaceAll(day(usd), "eurofxref", "other"), "line 4: it must have elements Cube of the namespace http://www.ecb.int/vocabulary/2002-08-01/eurofxref only"},
		"another envelope":  {strings.ReplaceAll(day(usd), "gesmes.org", "example.org"), "line 2: it must begin with the element Envelope of the namespace http://www.gesmes.org/xml/2002-08-01"},
		"namespace inside":  {day(`<x:Cube xmlns:x="urn:x" currency="USD" rate="1.1"/>`), "line 4: there is an attribute of another namespace"},
		"no day":            {envelope(""), "it has no day with rates"},
		"no list":           {strings.Replace(strings.Replace(day(""), "<Cube>", "", 1), "</Cube>\n", "", 1), "it has no day with rates"},
		"no rates":          {day(""), "it has no rates"},
		"missing date":      {envelope("<Cube>" + usd + "</Cube>"), "line 4: there must be an element Cube of the namespace http://www.ecb.int/vocabulary/2002-08-01/eurofxref with [time] here"},
		"bad date":          {envelope(`<Cube time="2026-02-30">` + usd + "</Cube>"), "line 4: the day must be given as YYYY-MM-DD, from 1999 on"},
		"old date":          {envelope(`<Cube time="1998-12-31">` + usd + "</Cube>"), "line 4: the day must be given as YYYY-MM-DD, from 1999 on"},
		"two days":          {envelope(`<Cube time="2026-10-06">` + usd + `</Cube><Cube time="2026-10-05">` + usd + `</Cube>`), "line 4: it has more than one day: give the daily file, not the one of the last 90 days or of all time"},
		"two lists":         {strings.Replace(day(usd), "</gesmes:Envelope>", "<Cube/></gesmes:Envelope>", 1), "line 5: it has a second list of days"},
		"twice":             {day(usd + usd), "line 4: it has USD twice"},
		"the euro":          {day(`<Cube currency="EUR" rate="1"/>`), "line 4: it has a rate of the euro, which is what rates are in"},
		"small letters":     {day(`<Cube currency="usd" rate="1"/>`), "line 4: a currency must be three capital letters"},
		"zero":              {day(`<Cube currency="USD" rate="0"/>`), "line 4: the rate of USD is not from 0.0001 to 10000000"},
		"zero point zero":   {day(`<Cube currency="USD" rate="0.000"/>`), "line 4: the rate of USD is not from 0.0001 to 10000000"},
		"tiny":              {day(`<Cube currency="USD" rate="0.00009"/>`), "line 4: the rate of USD is not from 0.0001 to 10000000"},
		"huge":              {day(`<Cube currency="USD" rate="10000000.1"/>`), "line 4: the rate of USD is not from 0.0001 to 10000000"},
		"negative":          {day(`<Cube currency="USD" rate="-1.1"/>`), "line 4: the rate of USD must be a number above zero, of digits with a point"},
		"NaN":               {day(`<Cube currency="USD" rate="NaN"/>`), "line 4: the rate of USD must be a number above zero, of digits with a point"},
		"infinite":          {day(`<Cube currency="USD" rate="Inf"/>`), "line 4: the rate of USD must be a number above zero, of digits with a point"},
		"exponent":          {day(`<Cube currency="USD" rate="1e3"/>`), "line 4: the rate of USD must be a number above zero, of digits with a point"},
		"a comma":           {day(`<Cube currency="USD" rate="1,1"/>`), "line 4: the rate of USD must be a number above zero, of digits with a point"},
		"fraction":          {day(`<Cube currency="USD" rate="1/3"/>`), "line 4: the rate of USD must be a number above zero, of digits with a point"},
		"no rate":           {day(`<Cube currency="USD"/>`), "line 4: there must be an element Cube of the namespace http://www.ecb.int/vocabulary/2002-08-01/eurofxref with [currency rate] here"},
		"another attribute": {day(`<Cube currency="USD" rate="1" per="100"/>`), "line 4: there must be an element Cube of the namespace http://www.ecb.int/vocabulary/2002-08-01/eurofxref with [currency rate] here"},
		"attribute twice":   {day(`<Cube currency="USD" rate="1" rate="2"/>`), "line 4: there is an attribute twice"},
		"inside a rate":     {day(`<Cube currency="USD" rate="1"><Cube/></Cube>`), "line 4: there is something in the rate of USD"},
		"text":              {day("USD 1.1" + usd), "line 4: there is text where none may be"},
		"too many":          {day(many.String()), "line 4: it has more than 300 currencies"},
	} {
		_, err := rates.Read(strings.NewReader(c.file))
		fault, ok := errors.AsType[*rates.Fault](err)
		if !ok || fault.Error() != c.want {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, c.want)
		}
	}
}

func TestReaderBreaks(t *testing.T) {
	gone := errors.New("the disk is gone")
	if _, err := rates.Read(io.MultiReader(strings.NewReader(day("")[:200]), failing{gone})); !errors.Is(err, gone) {
		t.Errorf("%v; want the reader's error", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// What other banks or later days may do with the form, and the bank has done.
func TestGoodFiles(t *testing.T) {
	const usd = `<Cube currency="USD" rate="1.1"/>`
	for name, file := range map[string]string{
		"a mark at the beginning": "\xef\xbb\xbf" + day(usd),
		"double quotes":           day(usd),
		"line ends of Windows":    strings.ReplaceAll(day(usd), "\n", "\r\n"),
		"other prefixes":          strings.NewReplacer("gesmes:", "g:", "xmlns:gesmes", "xmlns:g").Replace(day(usd)),
		"comments":                day("<!-- new -->" + usd),
		"a currency that is gone": day(usd + `<Cube currency="BGN" rate="1.9558"/>`),
	} {
		table, err := rates.Read(strings.NewReader(file))
		if err != nil || len(table.Rates) != 1 {
			t.Errorf("%s: %v, %v", name, table, err)
		}
	}
}

// A file that is cut anywhere is refused: none of its beginnings is a file.
func TestHalfAFile(t *testing.T) {
	b, err := os.ReadFile("../../configs/eurofxref-daily.xml")
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.TrimRight(string(b), "\n")
	for n := range len(whole) {
		if table, err := rates.Read(strings.NewReader(whole[:n])); err == nil {
			t.Fatalf("%d of %d bytes are read as %d rates", n, len(whole), len(table.Rates))
		}
	}
}

func FuzzRead(f *testing.F) {
	b, err := os.ReadFile("../../configs/eurofxref-daily.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(day(`<Cube currency="USD" rate="1.1"/>`)))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := rates.Read(strings.NewReader(string(data)))
		if err != nil {
			if _, ok := errors.AsType[*rates.Fault](err); !ok || len(err.Error()) > 300 {
				t.Fatalf("the error does not say where, or too much: %v", err)
			}
			return
		}
		for c, rate := range table.Rates {
			if !c.Known() || rate.Sign() <= 0 {
				t.Fatalf("1 EUR is %v %v", rate, c)
			}
		}
	})
}
