// Package web holds the pages that the gateway serves, as files in the program.
//
// What it is for: keeping HTML, CSS and JavaScript as what they are. What it is
// not for: filling them in or serving them; package gateway does that. Start
// reading with docs.html for the API page, with phone/app.js for the customer's phone, and
// with floor/floor.js for the demo's shop floor. The folder browser holds the tests that look at the pages with a real
// browser.
package web

import "embed"

// DocsHTML is the template (html/template) of the API page.
//
//go:embed docs.html
var DocsHTML string

// DocsCSS is the style of the API page, which is put into it.
//
//go:embed docs.css
var DocsCSS string

// Phone is the customer's phone as a web app: the folder phone, which belongs at
// the path /phone/ with index.html as its page. The service worker (phone/sw.js)
// must be served from that folder, since its place is its scope.
//
//go:embed phone
var Phone embed.FS

// Floor is the shop floor of the demo: the folder floor, which belongs at the path
// /demo/ with index.html as its page.
//
//go:embed floor
var Floor embed.FS
