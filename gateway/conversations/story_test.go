package conversations

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// part is a piece of a story: a block of commands with what was heard, or text
// between blocks.
type part struct {
	text     string   // as it stands, with its line ends; empty for a block
	commands []string // nil for text
	heard    string
	line     int
}

const rule = "----"

// parse reads a story.
func parse(text string) (parts []part, err error) {
	lines := strings.SplitAfter(text, "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "# ") {
		return nil, fmt.Errorf("line 1: a story begins with # and what it proves")
	}
	for i := 0; i < len(lines); {
		if at := strings.TrimSpace(lines[i]); at == "" || strings.HasPrefix(at, "#") {
			if n := len(parts); n > 0 && parts[n-1].commands == nil {
				parts[n-1].text += lines[i]
			} else {
				parts = append(parts, part{text: lines[i], line: i + 1})
			}
			i++
			continue
		}
		b := part{line: i + 1}
		for ; i < len(lines) && strings.TrimSpace(lines[i]) != rule; i++ {
			if strings.TrimSpace(lines[i]) == "" {
				return nil, fmt.Errorf("line %d: the commands end without %s", i+1, rule)
			}
			b.commands = append(b.commands, strings.TrimRight(lines[i], "\n"))
		}
		if i == len(lines) {
			return nil, fmt.Errorf("line %d: the commands end without %s", i+1, rule)
		}
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != ""; i++ {
			b.heard += lines[i]
		}
		parts = append(parts, b)
	}
	return parts, nil
}

// render writes a story as parse reads it.
func render(parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
		if p.commands != nil {
			b.WriteString(strings.Join(p.commands, "\n") + "\n" + rule + "\n" + p.heard)
		}
	}
	return b.String()
}

// words is a command taken apart: who speaks, what is said, values without a
// name, and values with one.
type words struct {
	who, verb string
	plain     []string
	named     map[string]string
	fields    [][2]string // field=N:VALUE
	rest      string      // everything behind the verb
	later     bool        // the answer is not waited for
}

func split(line string) words {
	w := words{named: make(map[string]string)}
	line = strings.TrimSpace(line)
	if head, ok := strings.CutSuffix(line, " &"); ok {
		line, w.later = head, true
	}
	var rest string
	w.who, rest, _ = strings.Cut(line, " ")
	w.verb, w.rest, _ = strings.Cut(rest, " ")
	for _, f := range strings.Fields(w.rest) {
		name, value, ok := strings.Cut(f, "=")
		switch {
		case !ok:
			w.plain = append(w.plain, f)
		case name == "field":
			n, v, _ := strings.Cut(value, ":")
			w.fields = append(w.fields, [2]string{n, v})
		default:
			w.named[name] = value
		}
	}
	return w
}

// known are the names that a value can have.
var known = strings.Fields("purse tear say in code card expiry stan terminal merchant currency cash of by as leaving mti key at hold max-age sign-on max-in-flight confirm customer ref items with wait reader raw")

// amount gives the first value without a name; zero where there is none.
func (w words) amount() (int64, error) {
	for name := range w.named {
		if !slices.Contains(known, name) {
			return 0, fmt.Errorf("nobody knows the word %s=", name)
		}
	}
	if len(w.plain) == 0 {
		return 0, nil
	}
	return strconv.ParseInt(w.plain[0], 10, 64)
}

func (w words) or(name, otherwise string) string {
	if v, ok := w.named[name]; ok {
		return v
	}
	return otherwise
}
