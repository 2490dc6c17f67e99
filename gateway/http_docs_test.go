package gateway

import (
	"bytes"
	"html"
	"strings"
	"testing"

	"kessai"
)

func TestHTTP_PageShowsEverything(t *testing.T) {
	f := newHTTPFixture(t, nil)
	a := f.do("GET", "/docs", "", "Authorization", "")
	if a.status != 200 || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d, %q", a.status, a.header.Get("Content-Type"))
	}
	page := html.UnescapeString(string(a.raw))
	var want []string
	for code, kind := range problemKinds {
		want = append(want, `id="problem-`+string(code)+`"`)
		if kind.title == "" {
			t.Errorf("problem %s has no title", code)
		}
	}
	for _, r := range f.server.routes() {
		want = append(want, "<code>"+strings.ReplaceAll(r.path, ":id", "{id}")+"</code>")
	}
	for _, k := range kessai.Kinds() {
		if k.OfCustomer() && k != kessai.Cancellation {
			continue // no merchant sees it
		}
		want = append(want, "<code>"+k.String()+"</code>")
	}
	for _, s := range jsonStatuses {
		want = append(want, "<code>"+s+"</code>")
	}
	for _, w := range want {
		if !strings.Contains(page, w) {
			t.Errorf("the page does not show %s", w)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "http://") || strings.Contains(page, "https://") || strings.Contains(page, "style=") {
		t.Error("the page has a script, a style of its own on an element, or an address outside")
	}
	if !strings.HasPrefix(a.header.Get("Content-Security-Policy"), "default-src 'none'; ") {
		t.Errorf("policy %q", a.header.Get("Content-Security-Policy"))
	}
	if root := f.do("GET", "/", ""); root.status != 302 || !strings.HasSuffix(root.header.Get("Location"), "/docs") {
		t.Errorf("/: %d to %q", root.status, root.header.Get("Location"))
	}
	if spec := f.do("GET", "/openapi.yaml", "", "Authorization", ""); !bytes.Equal(spec.raw, openAPI) {
		t.Error("/openapi.yaml is not the document")
	}
}

func TestHTTP_PageEscapes(t *testing.T) {
	page := httpMust[docsPage](t)(renderDocs([]byte(`
info: {title: "<b>&", version: "1", summary: x, description: "**<i>** and ` + "`<u>`" + `"}
components: {schemas: {A: {$ref: "#/components/schemas/A"}, B: {type: "<s>", description: "a < b"}}}
`)))
	for _, tag := range []string{"<b>", "<i>", "<u>", "<s>", "a < b"} {
		if bytes.Contains(page.html, []byte(tag)) {
			t.Errorf("%s went through", tag)
		}
	}
	if !bytes.Contains(page.html, []byte("<strong>&lt;i&gt;</strong> and <code>&lt;u&gt;</code>")) {
		t.Error("the description is not shown")
	}
	for _, bad := range []string{"", "a: [", "\t"} {
		if _, err := renderDocs([]byte(bad)); err == nil {
			t.Errorf("%q makes a page", bad)
		}
	}
}
