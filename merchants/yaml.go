package merchants

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yaml reads the YAML form: a mapping of sections, each a list of records.
//
// It walks the nodes itself and does not decode into structs with KnownFields:
// that gives messages with the text of the file in them, has no line for a
// wrong value, and reads an ID of digits as a number.
func (p *parser) yaml(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, MaxYAMLBytes+1))
	if err != nil {
		return err
	}
	if len(data) > MaxYAMLBytes {
		return p.fault(0, "is larger than "+strconv.Itoa(MaxYAMLBytes>>20)+" MiB; use CSV for so many records")
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return p.fault(0, "is empty")
	} else if err != nil {
		return p.yamlFault(err)
	}
	if err := dec.Decode(&next); err == nil {
		return p.fault(next.Line, "has more than one YAML document")
	} else if !errors.Is(err, io.EOF) {
		return p.yamlFault(err)
	}
	if len(doc.Content) == 0 {
		return p.fault(0, "is empty")
	}
	return p.yamlSections(doc.Content[0])
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// yamlFault gives the library's complaint where that is one of its fixed
// sentences, and leaves out those that quote the file.
func (p *parser) yamlFault(err error) error {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	for _, begin := range []string{"did not find ", "could not find ", "found ", "mapping ", "block ", "while ", "control characters", "invalid UTF-8"} {
		if strings.HasPrefix(text, begin) && !strings.Contains(text, "anchor") {
			return p.fault(line, "is no valid YAML: "+text)
		}
	}
	return p.fault(line, "is no valid YAML")
}

func (p *parser) yamlSections(n *yaml.Node) error {
	return p.yamlMapping(n, "sections", func(name, value *yaml.Node) error {
		s := sectionNamed(name.Value)
		if s == nil {
			return p.fault(name.Line, "has an unknown section; there are merchants, terminals, api_keys, customers, media and items")
		}
		if value.Kind != yaml.SequenceNode || value.Anchor != "" {
			return &FileError{File: p.im.file, Line: value.Line, Section: s.name, Problem: "must be a list of records"}
		}
		for i, rec := range value.Content {
			if err := p.yamlRecord(s, i+1, rec); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *parser) yamlRecord(s *section, number int, n *yaml.Node) error {
	w := &row{
		p: p, s: s, at: place{int32(n.Line), int32(number)},
		text: make([]string, len(s.fields)), lines: make([]int32, len(s.fields)),
	}
	fault := func(line int, problem string) error {
		return &FileError{File: p.im.file, Line: line, Section: s.name, Record: number, Problem: problem}
	}
	if n.Kind != yaml.MappingNode {
		return fault(n.Line, "must be fields with values")
	}
	err := p.yamlMapping(n, "fields", func(name, value *yaml.Node) error {
		i := s.index(name.Value)
		if i < 0 {
			return fault(name.Line, "has an unknown field; there are "+strings.Join(s.fields, ", "))
		}
		w.lines[i] = int32(value.Line)
		text, ok := yamlText(value, s.fields[i] == "allow")
		if !ok {
			w.fail(s.fields[i], "must be a plain value; leave a field that has none out")
		}
		w.text[i] = text
		return w.err
	})
	if err != nil {
		return err
	}
	return p.record(w)
}

// yamlText gives a value as it is written, so that 0123 stays 0123.
func yamlText(n *yaml.Node, list bool) (text string, ok bool) {
	if n.Anchor != "" {
		return "", false
	}
	if list && n.Kind == yaml.SequenceNode && len(n.Content) > 0 {
		var all []string
		for _, c := range n.Content {
			t, ok := yamlText(c, false)
			if !ok || strings.Contains(t, " ") {
				return "", false
			}
			all = append(all, t)
		}
		return strings.Join(all, " "), true
	}
	if n.Kind != yaml.ScalarNode || n.Value == "" || n.ShortTag() == "!!null" || n.Style&yaml.TaggedStyle != 0 {
		return "", false
	}
	return n.Value, true
}

// yamlMapping calls f with each name and value, and refuses a name that comes twice.
func (p *parser) yamlMapping(n *yaml.Node, of string, f func(name, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode || n.Anchor != "" {
		return p.fault(n.Line, "must be a mapping of "+of+" here")
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode || name.Anchor != "" {
			return p.fault(name.Line, "must have plain names for "+of)
		}
		if err := f(name, value); err != nil {
			return err
		}
		if seen[name.Value] { // known by now, so no secret
			return p.fault(name.Line, "has "+name.Value+" twice")
		}
		seen[name.Value] = true
	}
	return nil
}
