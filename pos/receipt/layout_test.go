package receipt

import (
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestColumns(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "Coffee": 6, "Süß": 3, "u\u0308": 1, "珈琲": 4, "ｺｰﾋｰ": 4, "Ａ": 2, "か\u3099": 2, "قهوة": 4, "لَذ": 2,
		"☕": 2, "☕\uFE0F": 2, "🇯🇵": 2, "각": 2, "\u1100\u1161\u11A8": 2, "\u2066x\u2069": 1, "　": 2, "€": 1,
	} {
		if got := columns(text); got != want {
			t.Errorf("%q has %d columns, want %d", text, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"", 10, ""},
		{"one two three", 7, "one two|three"},
		{"one two three", 5, "one|two|three"},
		{"abcdefgh", 3, "abc|def|gh"},
		{"a abcdefgh", 3, "a|abc|def|gh"},
		{"珈琲珈琲", 5, "珈琲|珈琲"},
		{"コーヒー。", 8, "コー|ヒー。"}, // the full stop does not stand alone
		{"大盛　コーヒー", 6, "大盛|コー|ヒー"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301e\u0301|e\u0301"},
		{"Tee珈琲", 4, "Tee|珈琲"},
	} {
		if got := strings.Join(wrap(c.text, c.most), "|"); got != c.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
}

// TestWrapLosesNothing: whatever the text, every line fits, none is empty, and all
// characters but spaces are there in their order.
func TestWrapLosesNothing(t *testing.T) {
	letters := rapid.RuneFrom([]rune("ab -ß漢字ー。、　قهوةか\u3099e\u0301😀👩\u200d❤\uFE0F\u00a0"))
	visible := func(s string) string {
		return strings.Map(func(c rune) rune {
			if unicode.IsSpace(c) {
				return -1
			}
			return c
		}, s)
	}
	rapid.Check(t, func(t *rapid.T) {
		text, most := rapid.StringOfN(letters, 0, 90, -1).Draw(t, "text"), rapid.IntRange(2, 42).Draw(t, "columns")
		lines := wrap(text, most)
		for _, l := range lines {
			if columns(l) > most {
				t.Errorf("%q has more than %d columns", l, most)
			}
		}
		if got := strings.Join(lines, ""); visible(got) != visible(text) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func TestShareRoundsHalfAwayFromZero(t *testing.T) {
	for _, c := range []struct{ v, part, whole, want int64 }{
		{110, 1000, 11000, 10}, {5, 1, 10, 1}, {4, 1, 10, 0}, {-5, 1, 10, -1}, {-4, 1, 10, 0},
		{100 * 999_999_999_999, 10_000, 20_000, 49_999_999_999_950}, {0, 800, 10_800, 0}, {5, 0, 10_000, 0},
	} {
		if got := share(c.v, c.part, c.whole); got != c.want {
			t.Errorf("share(%d, %d, %d) = %d, want %d", c.v, c.part, c.whole, got, c.want)
		}
	}
}

func TestMarks(t *testing.T) {
	for i, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 51: "AZ", 99: "CV"} {
		if got := mark(i); got != want {
			t.Errorf("mark %d is %s, want %s", i, got, want)
		}
	}
}

// TestWordsAreComplete: no language lacks a word or an outcome.
func TestWordsAreComplete(t *testing.T) {
	for _, l := range Languages() {
		w := wordsOf(l)
		for outcome := range english.outcomes {
			if w.outcomes[outcome] == "" {
				t.Errorf("%s: no word for %s", l, outcome)
			}
		}
		for i, word := range []string{
			w.dir, w.group, w.decimal, w.receipt, w.date, w.payment, w.approvalCode, w.reference, w.shop, w.terminal, w.customer,
			w.paidWith, w.phone, w.item, w.price, w.total, w.upTo, w.paid, w.back, w.account, w.toAccount, w.rate, w.check, w.noMoney,
		} {
			if word == "" {
				t.Errorf("%s: word %d is missing", l, i)
			}
		}
		if strings.Count(w.taxIn, "%s") != 3 {
			t.Errorf("%s: %q must take three", l, w.taxIn)
		}
	}
}
