package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"kessai/pos/sim"
)

// TestEvidenceOfARealPurchase has a simulated phone approve a payment of a real
// gateway, and checks what is kept of it: while the gateway runs, after it has
// stopped, and with another key than the one that it was sealed with.
func TestEvidenceOfARealPurchase(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	gateway := startDemo(t, "--data", data)
	base, ctx := "http://"+gateway.HTTP, context.Background()
	phone, err := sim.NewPhone(base, "1234567890", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := phone.SignIn(ctx, "aoi-1234"); err != nil {
		t.Fatal(err)
	}
	aoi := shop{base, "sk_test_aoi"}
	_, asked := aoi.ask(t, "POST", "/v1/payments", coffee)
	id := fmt.Sprint(asked["id"])
	if out := verifyEvidence(t, 1, data, id); !strings.Contains(out, "no customer approved "+id) {
		t.Errorf("before the approval: %s", out)
	}
	waiting, err := phone.Sales(ctx)
	if err != nil || len(waiting) != 1 {
		t.Fatalf("what waits: %+v, %v", waiting, err)
	}
	if out, err := phone.Approve(ctx, &waiting[0], "aoi-1234"); err != nil || out.Outcome != "approved" {
		t.Fatalf("%+v, %v", out, err)
	}
	expect := func(out string) {
		t.Helper()
		for _, want := range []string{
			`^payment   ` + id + `, approved by pay_\d{12}$`, `^shown     .*, to customer 1234567890, 20`, `^          1 × Coffee$`,
			`^digest    [0-9a-f]{64}$`, `^signed    by password, at 20.*, recorded at 20`, `^device    [0-9a-f]{16} `,
			`^  holds   the proof was made with the customer's password$`, `^  holds   the device signed`, `^the evidence holds$`,
		} {
			if !regexp.MustCompile("(?m)" + want).MatchString(out) {
				t.Errorf("no line like %s in\n%s", want, out)
			}
		}
		if strings.Contains(out, "FAILS") || strings.Contains(out, "aoi-1234") {
			t.Errorf("%s", out)
		}
	}
	expect(verifyEvidence(t, 0, data, id))
	devices, err := exec.Command("kessai", "customer", "devices", "--data", data, "1234567890").CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^device  [0-9a-f]{16}  `).Match(devices) {
		t.Errorf("%v: %s", err, devices)
	}
	gateway.signal(t, syscall.SIGTERM)
	if code, said := gateway.exit(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	expect(verifyEvidence(t, 0, data, id))

	other := filepath.Join(t.TempDir(), "other.key")
	if err := os.WriteFile(other, []byte(strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("kessai", "evidence", "verify", "--data", data, "--set", "keys.phone_file="+other, id).CombinedOutput()
	if err == nil {
		t.Errorf("it holds with another key:\n%s", out)
	}
}

func verifyEvidence(t *testing.T, exit int, data, id string) string {
	t.Helper()
	cmd := exec.Command("kessai", "evidence", "verify", "--data", data, id)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != exit {
		t.Errorf("exit code %d, want %d:\n%s", got, exit, out)
	}
	return string(out)
}
