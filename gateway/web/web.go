// Package web holds the pages that the gateway serves, as files in the program.
//
// What it is for: keeping HTML and CSS as HTML and CSS. What it is not for:
// filling them in; package gateway does that. Start reading with docs.html. The
// folder browser holds the test that looks at the pages with a real browser.
package web

import _ "embed"

// DocsHTML is the template (html/template) of the API page.
//
//go:embed docs.html
var DocsHTML string

// DocsCSS is the style of the API page, which is put into it.
//
//go:embed docs.css
var DocsCSS string
