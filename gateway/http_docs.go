package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"

	"kessai/gateway/web"
)

// docsPage is the API page, made once at start.
type docsPage struct {
	html   []byte
	policy string // its Content-Security-Policy: its own style, and nothing else
}

type docsView struct {
	Title, Version, Summary string
	CSS                     template.CSS
	Intro, Authentication   template.HTML
	Groups                  []docsGroup
	Schemas                 []docsSchema
	Problems                []docsValue
}

type docsGroup struct {
	ID, Name    string
	Description template.HTML
	Operations  []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary string
	Description, Body         template.HTML
	BodyRequired              bool
	Parameters                []docsField
	Examples                  []docsExample
	Responses                 []docsResponse
}

type docsResponse struct {
	Status            string
	Description, Body template.HTML
	Examples          []docsExample
}

type docsSchema struct {
	Name              string
	Description, Type template.HTML
	Fields            []docsField
	Values            []docsValue
}

type docsField struct {
	Name, In, Limits  string
	Type, Description template.HTML
	Required          bool
}

type docsValue struct {
	Name, Status string
	Description  template.HTML
}

type docsExample struct{ Name, Where, Text string }

// renderDocs makes the API page from the OpenAPI document, so that the two
// cannot disagree.
func renderDocs(document []byte) (docsPage, error) {
	root, err := parseDocs(document)
	if err != nil {
		return docsPage{}, err
	}
	page, err := template.New("docs").Parse(web.DocsHTML)
	if err != nil {
		return docsPage{}, fmt.Errorf("the template of the API page: %w", err)
	}
	view := docsViewOf(root)
	view.CSS = template.CSS(web.DocsCSS)
	var out bytes.Buffer
	if err := page.Execute(&out, view); err != nil {
		return docsPage{}, fmt.Errorf("the API page: %w", err)
	}
	_, style, _ := bytes.Cut(out.Bytes(), []byte("<style>"))
	style, _, _ = bytes.Cut(style, []byte("</style>"))
	sum := sha256.Sum256(style)
	return docsPage{html: out.Bytes(), policy: "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'"}, nil
}

func docsViewOf(root docsNode) docsView {
	info := root.get("info")
	v := docsView{
		Title: info.text("title"), Version: info.text("version"), Summary: info.text("summary"),
		Intro:          info.prose("description"),
		Authentication: root.get("components").get("securitySchemes").get("apiKey").prose("description"),
	}
	for _, tag := range root.get("tags").list() {
		g := docsGroup{Name: tag.text("name"), Description: tag.prose("description")}
		g.ID = "group-" + strings.ToLower(g.Name)
		for path, item := range root.get("paths").members() {
			for method, op := range item.members() {
				if tags := op.get("tags").list(); len(tags) > 0 && tags[0].Value == g.Name {
					g.Operations = append(g.Operations, docsOperationOf(strings.ToUpper(method), path, item, op))
				}
			}
		}
		v.Groups = append(v.Groups, g)
	}
	for name, s := range root.get("components").get("schemas").members() {
		if name != "ProblemCode" {
			v.Schemas = append(v.Schemas, docsSchemaOf(name, s))
			continue
		}
		for _, code := range s.get("anyOf").list() {
			v.Problems = append(v.Problems, docsValue{code.text("const"), code.text("title"), code.prose("description")})
		}
	}
	return v
}

func docsOperationOf(method, path string, item, op docsNode) docsOperation {
	o := docsOperation{
		ID: op.text("operationId"), Method: method, Path: path,
		Summary: op.text("summary"), Description: op.prose("description"),
	}
	for _, p := range append(item.get("parameters").list(), op.get("parameters").list()...) {
		f := docsFieldOf(p.text("name"), p.get("schema"))
		f.In, f.Required, f.Description = p.text("in"), p.text("required") == "true", p.prose("description")
		o.Parameters = append(o.Parameters, f)
	}
	if body := op.get("requestBody"); body.Node != nil {
		o.BodyRequired = body.text("required") == "true"
		o.Body, o.Examples = docsContent(body.get("content"), o.Summary+", request")
	}
	for status, r := range op.get("responses").members() {
		response := docsResponse{Status: status, Description: r.prose("description")}
		response.Body, response.Examples = docsContent(r.get("content"), o.Summary+", answer "+status)
		if status != "200" && status != "201" {
			response.Body, response.Examples = "", nil // they are all problems
		}
		o.Responses = append(o.Responses, response)
	}
	return o
}

// docsContent describes a body: its media type, its schema, its examples.
func docsContent(content docsNode, where string) (is template.HTML, examples []docsExample) {
	for mediaType, media := range content.members() {
		is = "<code>" + template.HTML(template.HTMLEscapeString(mediaType)) + "</code>: " + docsType(media.raw("schema"))
		for _, e := range media.get("examples").members() {
			examples = append(examples, docsExample{e.text("summary"), where, e.get("value").json()})
		}
		if e := media.get("example"); e.Node != nil {
			examples = append(examples, docsExample{"An example", where, e.json()})
		}
	}
	return is, examples
}

func docsSchemaOf(name string, s docsNode) docsSchema {
	out := docsSchema{Name: name, Description: s.prose("description")}
	required := make(map[string]bool)
	for _, r := range s.get("required").list() {
		required[r.Value] = true
	}
	for field, member := range s.get("properties").rawMembers() {
		f := docsFieldOf(field, member)
		f.Required = required[field]
		out.Fields = append(out.Fields, f)
	}
	for _, value := range s.get("anyOf").list() {
		out.Values = append(out.Values, docsValue{Name: value.text("const"), Description: value.prose("description")})
	}
	if len(out.Fields) == 0 && len(out.Values) == 0 {
		out.Type = docsType(s)
		if l := docsLimits(s); l != "" {
			out.Type += template.HTML(template.HTMLEscapeString(", " + l))
		}
	}
	return out
}

func docsFieldOf(name string, schema docsNode) docsField {
	f := docsField{Name: name, Type: docsType(schema), Description: schema.prose("description")}
	if schema.refName() == "" {
		f.Limits = docsLimits(schema)
	} else if f.Description == "" {
		f.Description = schema.resolved().prose("description")
	}
	return f
}

// docsType names the type of a schema, with a link where it has a name.
func docsType(s docsNode) template.HTML {
	if name := s.refName(); name != "" {
		anchor := "schema-" + name
		if name == "ProblemCode" {
			anchor = "problems"
		}
		return template.HTML(fmt.Sprintf(`<a href="#%s">%s</a>`, template.HTMLEscapeString(anchor), template.HTMLEscapeString(name)))
	}
	if all := s.raw("allOf").rawList(); len(all) > 0 {
		return docsType(all[0])
	}
	switch t, format := s.text("type"), s.text("format"); {
	case t == "array":
		return "array of " + docsType(s.raw("items"))
	case t == "object" && s.get("properties").Node != nil:
		var names []string
		for name := range s.get("properties").members() {
			names = append(names, "<code>"+template.HTMLEscapeString(name)+"</code>")
		}
		return template.HTML("object with " + strings.Join(names, ", "))
	case format != "" && format != "int64":
		return template.HTML(template.HTMLEscapeString(t + ", " + format))
	default:
		return template.HTML(template.HTMLEscapeString(t))
	}
}

// docsLimits says in words what a value must be besides its type.
func docsLimits(s docsNode) string {
	var parts []string
	for _, l := range [...]struct{ key, words string }{
		{"minimum", "at least %s"}, {"maximum", "at most %s"}, {"minLength", "at least %s characters"},
		{"maxLength", "at most %s characters"}, {"minItems", "at least %s"}, {"maxItems", "at most %s"},
		{"pattern", "pattern %s"}, {"default", "default %s"}, {"const", "always %s"},
	} {
		if v := s.text(l.key); v != "" && !(l.key == "minLength" && v == "1") {
			parts = append(parts, fmt.Sprintf(l.words, v))
		}
	}
	if values := s.get("enum").list(); len(values) > 0 {
		var names []string
		for _, v := range values {
			names = append(names, v.Value)
		}
		parts = append(parts, "one of "+strings.Join(names, ", "))
	}
	return strings.Join(parts, ", ")
}
