package sale

import (
	"fmt"
	"unicode/utf8"
)

// span is a range of code points, both ends included.
type span struct{ from, to rune }

// unseen are the code points that no text of a sale may hold: they cannot be seen,
// change the order in which others are shown, or look different on every device.
// They are listed here, and not taken from the tables of Unicode, so that the
// gateway and every phone refuse the same whatever version of Unicode each has.
// In ascending order.
var unseen = []span{
	{0x0000, 0x001F},    // controls
	{0x007F, 0x009F},    // delete and controls
	{0x00AD, 0x00AD},    // soft hyphen
	{0x034F, 0x034F},    // combining grapheme joiner
	{0x0600, 0x0605},    // Arabic number signs
	{0x061C, 0x061C},    // Arabic letter mark
	{0x06DD, 0x06DD},    // Arabic end of ayah
	{0x070F, 0x070F},    // Syriac abbreviation mark
	{0x0890, 0x0891},    // Arabic pound and piastre mark above
	{0x08E2, 0x08E2},    // Arabic disputed end of ayah
	{0x115F, 0x1160},    // Hangul fillers
	{0x1680, 0x1680},    // Ogham space
	{0x17B4, 0x17B5},    // Khmer vowels that are not shown
	{0x180B, 0x180F},    // Mongolian selectors
	{0x2000, 0x200B},    // spaces of other widths, down to none
	{0x200E, 0x200F},    // direction marks
	{0x2028, 0x202F},    // ends of line, direction embedding and override, narrow space
	{0x205F, 0x206F},    // spaces and operators without form, direction isolates
	{0x2800, 0x2800},    // Braille without dots
	{0x3164, 0x3164},    // Hangul filler
	{0xD800, 0xF8FF},    // surrogates, private use
	{0xFDD0, 0xFDEF},    // no characters
	{0xFE00, 0xFE0D},    // variation selectors 1 to 14
	{0xFEFF, 0xFEFF},    // byte order mark
	{0xFFA0, 0xFFA0},    // half width Hangul filler
	{0xFFF0, 0xFFFF},    // specials, and what stands for broken text
	{0x110BD, 0x110BD},  // Kaithi number signs
	{0x110CD, 0x110CD},  //
	{0x13430, 0x1343F},  // Egyptian format controls
	{0x1BCA0, 0x1BCA3},  // shorthand format controls
	{0x1D173, 0x1D17A},  // musical format controls
	{0x1FFFE, 0x1FFFF},  // no characters
	{0x2FFFE, 0x2FFFF},  //
	{0x3FFFE, 0x10FFFF}, // unassigned planes, tags, more variation selectors, private use
}

// marks are marks that are put above or below the character before them. Many of
// them in a row would run over the lines above. In ascending order.
var marks = []span{
	{0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x0610, 0x061A},
	{0x064B, 0x065F}, {0x06D6, 0x06DC}, {0x06DF, 0x06E4}, {0x06E7, 0x06E8},
	{0x06EA, 0x06ED}, {0x08D3, 0x08E1}, {0x08E3, 0x08FF}, {0x0E34, 0x0E3A},
	{0x0E47, 0x0E4E}, {0x0EB4, 0x0EBC}, {0x0EC8, 0x0ECE}, {0x1AB0, 0x1AFF},
	{0x1DC0, 0x1DFF}, {0x20D0, 0x20FF}, {0x302A, 0x302F}, {0x3099, 0x309A},
	{0xFE20, 0xFE2F},
}

// maxMarks is how many marks may follow each other. Vietnamese needs two, Arabic
// three.
const maxMarks = 4

const (
	nonJoiner = 0x200C // zero width, needed in Persian
	joiner    = 0x200D // zero width, needed in Devanagari and emoji
	textForm  = 0xFE0E // shows the character before it as text
	emojiForm = 0xFE0F // shows it as a picture
)

func in(spans []span, c rune) bool {
	for _, s := range spans {
		if c <= s.to {
			return c >= s.from
		}
	}
	return false
}

func isSpace(c rune) bool { return c == ' ' || c == 0xA0 || c == 0x3000 }

// isForm reports whether c only changes how its neighbours look.
func isForm(c rune) bool { return c == nonJoiner || c == joiner || c == textForm || c == emojiForm }

// takesForm reports whether the form c may stand behind before. Below U+0600 are the
// scripts of Europe, Armenian and Hebrew, which need none. A picture may be joined
// to another.
func takesForm(before, c rune) bool {
	return before >= 0x600 && !isSpace(before) && (!isForm(before) || before == emojiForm && c == joiner)
}

// CheckText says why a text cannot stand on a sale: what is signed must be what
// is seen. most is in characters. An empty text is fine. The rules are in
// docs/SALE-DIGEST.md; the field's name stands in the error, the text does not.
func CheckText(field, s string, most int) error {
	if !utf8.ValidString(s) {
		return invalid(field, "must be UTF-8")
	}
	before, row, count := rune(' '), 0, 0 // a space cannot be first
	for _, c := range s {
		if count++; count > most {
			return invalid(field, fmt.Sprintf("must have at most %d characters", most))
		}
		switch {
		case in(unseen, c):
			return invalid(field, fmt.Sprintf("must not hold U+%04X, which cannot be seen or changes how the rest is seen", c))
		case isSpace(c) && isSpace(before):
			return invalid(field, "must not begin or end with a space, nor have two in a row")
		case isForm(c) && !takesForm(before, c):
			return invalid(field, fmt.Sprintf("must not hold U+%04X there: it only belongs behind a character of a script that uses it", c))
		}
		row++
		if !in(marks, c) {
			row = 0
		}
		if row > maxMarks || row > 0 && isSpace(before) {
			return invalid(field, "must not have a mark without a character, nor more than 4 marks on one")
		}
		before = c
	}
	if s != "" && (isSpace(before) || before == joiner || before == nonJoiner) {
		return invalid(field, "must not end with a space or a joiner")
	}
	return nil
}
