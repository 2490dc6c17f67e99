package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kessai"
)

const httpAdminKey = "admin_key_of_the_tests_0123456789"

func withAdmin(o *HTTPOptions) { o.Control, o.AdminKey = newFeedControl().Control, httpAdminKey }

// admin asks the admin API for everything that it has.
func (c *httpContract) admin(f *httpFixture) {
	key := []string{"Authorization", "Bearer " + httpAdminKey}
	changes := func(path, body string, headers ...string) {
		f.do("POST", path, body, slices.Concat([]string{"Content-Type", mimeJSONLines}, key, headers)...)
	}
	changes("/v1/admin/changes", lines(lineStolen, lineSuspended))
	changes("/v1/admin/changes?skip_bad=1", lines(lineAbsent, lineSuspended), "Content-Type", mimeNDJSON)
	changes("/v1/admin/changes", lines(lineAbsent))
	changes("/v1/admin/changes", "")
	changes("/v1/admin/changes?skip_bad=maybe", lineStolen)
	changes("/v1/admin/changes", lineStolen, "Content-Type", "application/json")
	changes("/v1/admin/changes", lineStolen, "Content-Encoding", "gzip")
	changes("/v1/admin/changes", strings.Repeat("\n", 65<<10))
	for _, path := range []string{"/v1/admin/changes", "/v1/admin/refresh"} {
		changes(path, "\n", "Accept", "image/png")
		changes(path, "\n", "Authorization", "")
	}
	f.do("POST", "/v1/admin/refresh", "\n", key...)
	f.do("GET", "/v1/admin/validity", "", key...)
	f.do("GET", "/v1/admin/validity", "")
}

// TestAdminHTTP_Keys: a merchant's key opens nothing here, and the admin key
// nothing elsewhere.
func TestAdminHTTP_Keys(t *testing.T) {
	f := newHTTPFixture(t, withAdmin)
	for name, header := range map[string]string{
		"none": "", "a merchant's": "Bearer " + httpKeyAoi, "part of it": "Bearer " + httpAdminKey[:32], "more than it": "Bearer " + httpAdminKey + "0",
		"other letters": "Bearer " + strings.ToUpper(httpAdminKey), "another scheme": "Basic " + httpAdminKey, "no scheme": httpAdminKey, "empty": "Bearer ",
	} {
		httpCheckProblem(t, name, f.do("GET", "/v1/admin/validity", "", "Authorization", header), "unauthorized", "")
		httpCheckProblem(t, name, f.do("POST", "/v1/admin/changes", lineStolen, "Authorization", header), "unauthorized", "")
	}
	if a := f.do("GET", "/v1/admin/validity", "", "Authorization", "bearer "+httpAdminKey); a.status != http.StatusOK || a.text("mode") != "both" {
		t.Errorf("with the key: %d %s", a.status, a.raw)
	}
	httpCheckProblem(t, "admin key for payments", f.do("GET", "/v1/payments", "", "Authorization", "Bearer "+httpAdminKey), "unauthorized", "")
	if log := f.log.String(); strings.Contains(log, httpAdminKey) || strings.Contains(log, "4242424242424242") {
		t.Error("a secret stands in the log")
	}
}

// TestAdminHTTP_OffUnlessConfigured: without a key there is nothing there, not
// even for an empty one.
func TestAdminHTTP_OffUnlessConfigured(t *testing.T) {
	for name, change := range map[string]func(*HTTPOptions){
		"nothing":   nil,
		"no key":    func(o *HTTPOptions) { o.Control = newFeedControl().Control },
		"key alone": func(o *HTTPOptions) { o.AdminKey = httpAdminKey },
	} {
		f := newHTTPFixture(t, change)
		for _, header := range []string{"", "Bearer ", "Bearer " + httpAdminKey, "Bearer " + httpKeyAoi} {
			httpCheckProblem(t, name, f.do("GET", "/v1/admin/validity", "", "Authorization", header), "not_found", "")
			httpCheckProblem(t, name, f.do("POST", "/v1/admin/changes", lineStolen, "Authorization", header), "not_found", "")
			httpCheckProblem(t, name, f.do("POST", "/v1/admin/refresh", "", "Authorization", header), "not_found", "")
		}
	}
}

func TestAdminHTTP_Changes(t *testing.T) {
	control := newFeedControl()
	f := newHTTPFixture(t, func(o *HTTPOptions) { o.Control, o.AdminKey = control.Control, httpAdminKey })
	send := func(query, body string, headers ...string) *httpAnswer {
		return f.do("POST", "/v1/admin/changes"+query, body, append([]string{"Content-Type", mimeJSONLines, "Authorization", "Bearer " + httpAdminKey}, headers...)...)
	}
	if a := send("", lines(lineStolen, lineSuspended)); a.status != http.StatusOK || a.number("applied") != 2 || a.number("version") != 1 || control.count() != 2 {
		t.Errorf("two good lines: %d %s", a.status, a.raw)
	}
	if a := send("?skip_bad=1", lines(lineAbsent, lineSuspended)); a.number("applied") != 1 || len(a.body["skipped"].([]any)) != 1 {
		t.Errorf("one bad line skipped: %d %s", a.status, a.raw)
	}
	for _, c := range []struct {
		name, query, body, code, field string
		headers                        []string
	}{
		{"no such medium", "", lines(lineStolen, lineAbsent), "change_refused", "line 2", nil},
		{"no JSON", "?skip_bad=0", lines(lineStolen, "stolen"), "change_refused", "line 2", nil},
		{"nothing", "", "", "change_refused", "", nil},
		{"skip maybe", "?skip_bad=maybe", lineStolen, "invalid_parameter", "skip_bad", nil},
		{"skip twice", "?skip_bad=1&skip_bad=1", lineStolen, "invalid_parameter", "skip_bad", nil},
		{"unknown parameter", "?" + httpPlanted + "=1", lineStolen, "invalid_parameter", "", nil},
		{"JSON", "", lineStolen, "unsupported_media_type", "Content-Type", []string{"Content-Type", "application/json"}},
		{"compressed", "", lineStolen, "unsupported_encoding", "Content-Encoding", []string{"Content-Encoding", "gzip"}},
		{"too large", "", strings.Repeat("\n", 64<<10+1), "body_too_large", "", nil},
		{"only HTML", "", lineStolen, "not_acceptable", "Accept", []string{"Accept", "text/html"}},
	} {
		before := control.count()
		httpCheckProblem(t, c.name, send(c.query, c.body, c.headers...), c.code, c.field)
		if control.count() != before {
			t.Errorf("%s: something was applied", c.name)
		}
	}
	f.server.Drain()
	httpCheckProblem(t, "draining", send("", lineStolen), "draining", "")
	if log := f.log.String(); strings.Contains(log, "4242424242424242") || strings.Contains(log, httpPlanted) {
		t.Error("a card number stands in the log")
	}
}

// TestAdminHTTP_Limits: what is more than so many in one second is refused, and
// does not reach the registry; the next second is another.
func TestAdminHTTP_Limits(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	d := newAdminDoor(newFeedControl().Control, kessai.Secret(httpAdminKey), func() time.Time { return at })
	in := func() bool {
		leave, ok := d.enter()
		if ok {
			leave()
		}
		return ok
	}
	for n := range maxAdminPerSecond {
		if !in() {
			t.Fatalf("request %d is refused", n+1)
		}
	}
	if in() {
		t.Error("there is no limit in a second")
	}
	at = at.Add(time.Second)
	var leaves []func()
	for range maxAdminInFlight {
		leave, ok := d.enter()
		if !ok {
			t.Fatal("a second has no effect on the next")
		}
		leaves = append(leaves, leave)
	}
	if in() {
		t.Error("there is no limit to those at once")
	}
	leaves[0]()
	if !in() {
		t.Error("whoever leaves makes no room")
	}
}
