package gateway

import (
	"fmt"
	"html/template"
	"iter"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// docsNode is a place in the OpenAPI document. It is read as a tree of YAML
// nodes, because the order in which things are written is the order in which
// they are to be shown, and a Go map would lose it. A node that is not there
// has no Node, and everything in it is empty.
type docsNode struct {
	*yaml.Node
	root *yaml.Node
}

func parseDocs(document []byte) (docsNode, error) {
	var d yaml.Node
	if err := yaml.Unmarshal(document, &d); err != nil {
		return docsNode{}, fmt.Errorf("openapi.yaml: %w", err)
	}
	if d.Kind != yaml.DocumentNode || len(d.Content) != 1 {
		return docsNode{}, fmt.Errorf("openapi.yaml holds no document")
	}
	return docsNode{d.Content[0], d.Content[0]}, nil
}

// raw gives a member, following aliases but not references.
func (n docsNode) raw(key string) docsNode {
	for name, member := range n.rawMembers() {
		if name == key {
			return member
		}
	}
	return docsNode{root: n.root}
}

// get gives a member, or what it refers to.
func (n docsNode) get(key string) docsNode { return n.raw(key).resolved() }

// text gives the text of a scalar member; empty where there is none.
func (n docsNode) text(key string) string {
	if m := n.get(key); m.Node != nil {
		return m.Value
	}
	return ""
}

func (n docsNode) rawMembers() iter.Seq2[string, docsNode] {
	return func(yield func(string, docsNode) bool) {
		if n.Node == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.at(n.Content[i+1])) {
				return
			}
		}
	}
}

func (n docsNode) members() iter.Seq2[string, docsNode] {
	return func(yield func(string, docsNode) bool) {
		for name, m := range n.rawMembers() {
			if !yield(name, m.resolved()) {
				return
			}
		}
	}
}

func (n docsNode) rawList() (all []docsNode) {
	if n.Node == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	for _, c := range n.Content {
		all = append(all, n.at(c))
	}
	return all
}

func (n docsNode) list() []docsNode {
	all := n.rawList()
	for i := range all {
		all[i] = all[i].resolved()
	}
	return all
}

func (n docsNode) at(child *yaml.Node) docsNode {
	if child.Kind == yaml.AliasNode {
		child = child.Alias
	}
	return docsNode{child, n.root}
}

const docsSchemas = "#/components/schemas/"

// refName gives the name of the schema that the node refers to; empty for none.
func (n docsNode) refName() string {
	for name, m := range n.rawMembers() {
		if name == "$ref" && strings.HasPrefix(m.Value, docsSchemas) {
			return m.Value[len(docsSchemas):]
		}
	}
	return ""
}

// resolved follows references inside the document.
func (n docsNode) resolved() docsNode {
	for range 8 { // a chain longer than that is a ring
		ref := ""
		for name, m := range n.rawMembers() {
			if name == "$ref" {
				ref = m.Value
			}
		}
		if ref == "" {
			return n
		}
		n = docsNode{n.root, n.root}
		for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			n = n.raw(step)
		}
	}
	return docsNode{root: n.root}
}

// json writes the node as indented JSON, as an example shows it.
func (n docsNode) json() string {
	var b strings.Builder
	e := jsontext.NewEncoder(&b, jsontext.WithIndent("  "), jsontext.EscapeForHTML(false))
	n.encode(e)
	return strings.TrimSuffix(b.String(), "\n")
}

func (n docsNode) encode(e *jsontext.Encoder) {
	var err error
	switch {
	case n.Node == nil:
		err = e.WriteToken(jsontext.Null)
	case n.Kind == yaml.MappingNode:
		_ = e.WriteToken(jsontext.BeginObject)
		for name, m := range n.rawMembers() {
			_ = e.WriteToken(jsontext.String(name))
			m.encode(e)
		}
		err = e.WriteToken(jsontext.EndObject)
	case n.Kind == yaml.SequenceNode:
		_ = e.WriteToken(jsontext.BeginArray)
		for _, m := range n.rawList() {
			m.encode(e)
		}
		err = e.WriteToken(jsontext.EndArray)
	case n.Tag == "!!int" || n.Tag == "!!bool":
		err = e.WriteValue(jsontext.Value(n.Value))
	default:
		err = e.WriteToken(jsontext.String(n.Value))
	}
	if err != nil { // the document is part of the program, and tested
		panic("openapi.yaml: an example is no JSON: " + err.Error())
	}
}

var (
	docsStrong = regexp.MustCompile(`\*\*(.+?)\*\*`)
	docsCode   = regexp.MustCompile("`([^`]+)`")
)

// prose shows a text member: paragraphs, **strong** and `code` of CommonMark,
// which is all that the document uses.
func (n docsNode) prose(key string) template.HTML {
	var b strings.Builder
	for _, paragraph := range strings.Split(strings.TrimSpace(n.text(key)), "\n\n") {
		if paragraph == "" {
			continue
		}
		s := template.HTMLEscapeString(paragraph)
		s = docsStrong.ReplaceAllString(s, "<strong>$1</strong>")
		s = docsCode.ReplaceAllString(s, "<code>$1</code>")
		b.WriteString("<p>" + s + "</p>")
	}
	return template.HTML(b.String())
}
