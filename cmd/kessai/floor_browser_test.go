package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The demo's shop floor in Chromium: a visitor who sees it for the first time buys at
// the till and at the vending machine with the phone in the frame, while drinks get
// stuck and the power fails (system P, steps P-1 to P-14).
func TestBrowser_Floor(t *testing.T) {
	if os.Getenv("KESSAI_BROWSER") != "1" {
		t.Skip("needs chromium and npm ci in gateway/web/browser; set KESSAI_BROWSER=1, as make test does")
	}
	_, port, err := net.SplitHostPort(startDemo(t).HTTP)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	scenes := strings.Fields(os.Getenv("SCENES"))
	run := exec.CommandContext(ctx, "node", append([]string{"floor.mjs", "http://localhost:" + port, os.Getenv("KESSAI_SCREENSHOTS")}, scenes...)...)
	run.Dir = "../../gateway/web/browser"
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
