package receipt

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// columnsOf gives how many columns a printer with fixed columns gives to a
// character: two to wide ones, none to those that stand on another (UAX #11; what
// it calls ambiguous counts one, as where Latin is printed).
func columnsOf(c rune) int {
	switch {
	case unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf) || c >= 0x1160 && c <= 0x11FF: // and the later parts of a Hangul syllable
		return 0
	case c >= 0x1F1E6 && c <= 0x1F1FF: // a flag is made of two of these
		return 1
	}
	switch width.LookupRune(c).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func columns(s string) (n int) {
	for _, c := range s {
		n += columnsOf(c)
	}
	return n
}

// wrap breaks s into lines of at most most columns: at spaces where it can, else
// between characters, never before a mark. Between wide characters a line may end
// anywhere, as Japanese is written. A word that fits is not broken.
func wrap(s string, most int) (lines []string) {
	line, width := "", 0 // of line in columns
	push := func() {
		lines = append(lines, strings.TrimRight(line, " \u3000"))
		line, width = "", 0
	}
	for _, piece := range pieces(s) {
		w := columns(strings.TrimRight(piece, " \u3000"))
		if line != "" && width+w > most {
			push()
		}
		for w > most {
			head := fit(piece, most)
			line = piece[:head]
			push()
			piece = piece[head:]
			w = columns(strings.TrimRight(piece, " \u3000"))
		}
		line += piece
		width += columns(piece)
	}
	if line != "" {
		push()
	}
	return lines
}

// notFirst does not begin a line in Japanese (JIS X 4051, the commonest of it).
const notFirst = "、。，．・：；？！ー）」』】〉》〕］｝々ぁぃぅぇぉっゃゅょァィゥェォッャュョ"

// pieces cuts s where a line may end: behind spaces, and beside wide characters.
func pieces(s string) (all []string) {
	start := 0
	var before rune
	for i, c := range s {
		space := before == ' ' || before == 0x3000
		wide := !strings.ContainsRune(notFirst, c) && columnsOf(c) == 2 && c != 0x3000 && before != 0x200D || columnsOf(before) == 2 && columnsOf(c) > 0 && c != ' ' && !strings.ContainsRune(notFirst, c)
		if i > start && (space && c != ' ' || !space && wide) {
			all = append(all, s[start:i])
			start = i
		}
		before = c
	}
	return append(all, s[start:])
}

// fit gives how many bytes of s fit into most columns; at least one character,
// with the marks on it.
func fit(s string, most int) int {
	n := 0
	for i, c := range s {
		if n += columnsOf(c); n > most && i > 0 {
			return i
		}
	}
	return len(s)
}

// rtl reports whether s has characters that are written from right to left.
func rtl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool {
		return c >= 0x590 && c <= 0x8FF || c >= 0xFB1D && c <= 0xFDFF || c >= 0xFE70 && c <= 0xFEFE || c >= 0x10800 && c <= 0x10FFF || c >= 0x1E800 && c <= 0x1EFFF
	})
}

// page collects lines of a fixed number of columns.
type page struct {
	b       strings.Builder
	columns int
	rtl     bool // the language is written from right to left
}

// isolated keeps the direction of a text from what stands beside it, where the
// language is written from right to left and the text is not.
func (p *page) isolated(s string) string {
	if !p.rtl || s == "" || rtl(s) {
		return s
	}
	return "\u2066" + s + "\u2069"
}

// line writes a line: spaces in front, and what stands behind them.
func (p *page) line(s string) {
	s = strings.TrimRight(s, " ")
	text := strings.TrimLeft(s, " ")
	p.b.WriteString(s[:len(s)-len(text)])
	p.b.WriteString(p.isolated(text))
	p.b.WriteByte('\n')
}

// whole writes a line of a picture, whose spaces must stay where they are.
func (p *page) whole(s string) {
	if !p.rtl {
		s = strings.TrimRight(s, " ")
	}
	p.b.WriteString(p.isolated(s))
	p.b.WriteByte('\n')
}

func (p *page) wrapped(s string) {
	for _, l := range wrap(s, p.columns) {
		p.line(l)
	}
}

func (p *page) centred(s string) {
	for _, l := range wrap(s, p.columns) {
		p.line(strings.Repeat(" ", (p.columns-columns(l))/2) + l)
	}
}

func (p *page) rule(of string) { p.line(strings.Repeat(of, p.columns)) }

// pair puts left to the left and right to the right of one line where both fit
// with a space between, and else right at the end of a line of its own.
func (p *page) pair(left, right string) {
	if columns(left)+1+columns(right) > p.columns {
		p.wrapped(left)
		left = ""
	}
	gap := p.columns - columns(left) - columns(right)
	if gap < 0 {
		p.wrapped(right)
		return
	}
	text := strings.TrimLeft(left, " ")
	indent := left[:len(left)-len(text)]
	p.b.WriteString(indent + p.isolated(text) + strings.Repeat(" ", gap) + p.isolated(strings.TrimRight(right, " ")) + "\n")
}
