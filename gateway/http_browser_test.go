package gateway

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

// The API page in Chromium: accessible in light, dark and at 320 px, usable with
// the keyboard, and without a request that leaves the server.
func TestBrowser_APIPage(t *testing.T) {
	if os.Getenv("KESSAI_BROWSER") != "1" {
		t.Skip("needs chromium and npm ci in gateway/web/browser; set KESSAI_BROWSER=1, as make test does")
	}
	f := newHTTPFixture(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "node", "run.mjs", f.url, os.Getenv("KESSAI_SCREENSHOTS"))
	if run.Args[3] == "" {
		run.Args[3] = t.TempDir()
	}
	run.Dir = "web/browser"
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
