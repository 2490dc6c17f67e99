package merchants

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// csv reads the CSV form (RFC 4180): a header row with the names of fields, which
// tell the kind of record, then a record on each line. It goes line by line, so a
// file may be far larger than what it is read with.
func (p *parser) csv(r io.Reader) error {
	lines := &lineReader{p: p, r: bufio.NewReaderSize(r, MaxCSVLine)}
	in := csv.NewReader(lines)
	in.ReuseRecord = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return p.fault(0, "is empty")
	}
	if err != nil {
		return p.csvFault(err)
	}
	s, columns, err := p.csvHeader(header)
	if err != nil {
		return err
	}
	w := &row{s: s, text: make([]string, len(s.fields))}
	for number := int32(1); ; number++ {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return p.csvFault(err)
		}
		line, _ := in.FieldPos(0)
		w.at = place{int32(line), number}
		for i, text := range fields {
			w.text[columns[i]] = text
		}
		if err := p.record(w); err != nil {
			return err
		}
	}
}

// csvHeader tells the section from the names of its fields, and gives for each
// column the field that it holds.
func (p *parser) csvHeader(header []string) (*section, []int, error) {
	for i := range sections {
		s := &sections[i]
		columns, required, seen := make([]int, 0, len(header)), 0, make(map[int]bool)
		for _, name := range header {
			f := s.index(name)
			if f < 0 || seen[f] {
				break
			}
			if f < s.required {
				required++
			}
			columns, seen[f] = append(columns, f), true
		}
		if len(columns) == len(header) && required == s.required {
			return s, columns, nil
		}
	}
	var b strings.Builder
	b.WriteString("must begin with the names of fields, each once, of one kind of record:")
	for _, s := range sections {
		b.WriteString(" " + s.name + " (" + strings.Join(s.fields[:s.required], ",") + " and, if wanted, " + strings.Join(s.fields[s.required:], ",") + ");")
	}
	return nil, nil, p.fault(1, strings.TrimSuffix(b.String(), ";"))
}

// csvFault gives what the csv package complains of, without the text.
func (p *parser) csvFault(err error) error {
	var pe *csv.ParseError
	if !errors.As(err, &pe) {
		return err
	}
	switch {
	case errors.Is(pe.Err, csv.ErrFieldCount):
		return p.fault(pe.Line, "has more or fewer fields on this line than the first line has")
	case errors.Is(pe.Err, csv.ErrQuote), errors.Is(pe.Err, csv.ErrBareQuote):
		return p.fault(pe.Line, `has a quotation mark where none may be: quote the whole field, and write "" for a mark in it`)
	}
	return p.fault(pe.Line, "is no valid CSV")
}

// lineReader passes a file on, line by line, with limits that the csv package
// does not have: on the file, on each line, and that a field ends on its line.
// Without the last, one missing quotation mark would make a field of the rest.
type lineReader struct {
	p    *parser
	r    *bufio.Reader
	line int
	read int64
	rest []byte
}

func (l *lineReader) Read(b []byte) (int, error) {
	if len(l.rest) == 0 {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *lineReader) next() error {
	line, err := l.r.ReadSlice('\n')
	if len(line) == 0 {
		return err
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	l.line++
	l.read += int64(len(line))
	if l.line == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // a mark that spreadsheets begin files with
	}
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return l.p.fault(l.line, "has a line of more than "+strconv.Itoa(MaxCSVLine)+" bytes")
	case l.read > MaxCSVBytes:
		return l.p.fault(l.line, "is larger than "+strconv.Itoa(MaxCSVBytes>>20)+" MiB; split it")
	case bytes.Count(line, []byte{'"'})%2 != 0:
		return l.p.fault(l.line, "has a quoted field that does not end on its line")
	case !utf8.Valid(line), bytes.IndexByte(line, 0) >= 0:
		return l.p.fault(l.line, "is no valid UTF-8")
	}
	l.rest = line
	if len(line) == 0 { // nothing but the mark
		return io.EOF
	}
	return nil
}
