package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"kessai/pos/sim"
)

// withReader has a customer's simulated phone and card reader, enrolled with the code
// that the operator got from kessai reader invite.
func withReader(t *testing.T, data, base string) (*sim.Phone, *sim.Reader) {
	t.Helper()
	ctx := t.Context()
	phone, err := sim.NewPhone(base, "1234567890", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := phone.SignIn(ctx, "aoi-1234"); err != nil {
		t.Fatal(err)
	}
	reader, err := sim.NewReader(sim.ReaderOptions{Name: "Pocket reader"})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	go func() {
		if err := reader.Serve(far); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the reader: %v", err)
		}
	}()
	if _, err := phone.Attach(ctx, near); err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`^[0-9]{4}( [0-9]{4}){5}`).FindString(operator(t, "", "reader", "invite", "--data", data, "1234567890"))
	enrolled := make(chan error, 1)
	go func() {
		_, err := phone.EnrolReader(ctx)
		enrolled <- err
	}()
	if err := reader.AwaitPhase(ctx, "code"); err != nil {
		t.Fatal(err)
	}
	reader.Type(strings.ReplaceAll(code, " ", "") + "E")
	if err := <-enrolled; err != nil {
		t.Fatal(err)
	}
	return phone, reader
}

// operator runs a command, gives it a line, and expects it to end well.
func operator(t *testing.T, line string, args ...string) string {
	t.Helper()
	cmd := exec.Command("kessai", args...)
	cmd.Stdin = strings.NewReader(line + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kessai %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// buyWithReader has a shop ask, and the customer pay with the reader. It gives the
// payment and the code that both are told.
func buyWithReader(t *testing.T, base string, phone *sim.Phone, reader *sim.Reader, pin string) (id, told string) {
	t.Helper()
	ctx := t.Context()
	_, asked := shop{base, "sk_test_aoi"}.ask(t, "POST", "/v1/payments", strings.NewReplacer(`"confirm":"phone"`, `"confirm":"reader"`, `"customer":"1234567890"`, `"customer":"+815000000001"`).Replace(coffee))
	id = fmt.Sprint(asked["id"])
	waiting, err := phone.Sales(ctx)
	if err != nil || len(waiting) != 1 {
		t.Fatalf("what waits of %v: %+v, %v", asked, waiting, err)
	}
	card, err := sim.ParseReaderCard("4242424242424242 2912 chip")
	if err != nil {
		t.Fatal(err)
	}
	end, ctx2 := make(chan sim.ReaderStep, 1), ctx
	go func() {
		s, err := phone.ApproveWithReader(ctx2, &waiting[0])
		if err != nil {
			t.Errorf("the payment: %v", err)
		}
		end <- s
	}()
	if err := reader.AwaitPhase(ctx, "card"); err != nil {
		t.Fatal(err)
	}
	reader.Insert(card)
	if _, err := reader.Await(ctx, func(v sim.ReaderView) bool { return v.Phase == "pin" || v.Phase == "over" }); err != nil {
		t.Fatal(err)
	}
	reader.Type(pin + "E")
	s := <-end
	reader.Remove()
	return id, s.Sale.Told.Code
}

// TestEvidenceOfACardReader has a customer pay with a card in a reader, names found by
// phone number, and checks what is kept; three wrong PINs lock the card until the
// operator unlocks it, and a reader that is revoked leaves its evidence behind.
func TestEvidenceOfACardReader(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	gateway := startDemo(t, "--data", data)
	base := "http://" + gateway.HTTP
	phone, reader := withReader(t, data, base)
	listed := operator(t, "", "reader", "list", "--data", data, "1234567890")
	if !regexp.MustCompile(`(?m)^reader  ` + reader.ID().String() + `  Pocket reader +added 20\S+  never used +in use$`).MatchString(listed) {
		t.Errorf("the list: %s", listed)
	}
	id, told := buyWithReader(t, base, phone, reader, "1234")
	if told != "00" {
		t.Fatalf("the payment ended with %q", told)
	}
	expect := func(out, reader string) {
		t.Helper()
		for _, want := range []string{
			`^payment   ` + id + `, approved by pay_\d{12}$`, `^          1 × Coffee$`, `^signed    by card_pin, at 20.*, recorded at 20`,
			`^device    [0-9a-f]{16} `, reader, `^  holds   the device signed the sale and the card reader$`,
			`^  holds   the card reader signed the card`, `^  holds   the card reader signed the PIN`, `^  not checked: the offer`, `^the evidence holds$`,
		} {
			if !regexp.MustCompile("(?m)" + want).MatchString(out) {
				t.Errorf("no line like %s in\n%s", want, out)
			}
		}
		if strings.Contains(out, "FAILS") || strings.Contains(out, "4242424242424242") {
			t.Errorf("%s", out)
		}
	}
	named := `^reader    ` + reader.ID().String() + ` "Pocket reader", enrolled 20\S+, `
	expect(verifyEvidence(t, 0, data, id), named+"in use$")

	for _, want := range []string{"55", "55", "75"} {
		unpaid, told := buyWithReader(t, base, phone, reader, "9999")
		if told != want {
			t.Errorf("a wrong PIN is answered %q, want %s", told, want)
		}
		if out := verifyEvidence(t, 1, data, unpaid); !strings.Contains(out, unpaid+" was not paid ("+want+", ") {
			t.Errorf("evidence of a payment that was not paid: %s", out)
		}
	}
	if out := operator(t, "4242424242424242", "card", "unlock", "--data", data); out != "unlocked: ****4242 of 1234567890; wrong PINs until now: 3\n" {
		t.Errorf("unlock: %s", out)
	}
	if _, told := buyWithReader(t, base, phone, reader, "1234"); told != "00" {
		t.Errorf("after the card was unlocked: %q", told)
	}

	if out := operator(t, "", "reader", "revoke", "--data", data, reader.ID().String()); out != "revoked: "+reader.ID().String()+" (Pocket reader) of 1234567890\n" {
		t.Errorf("revoke: %s", out)
	}
	_, _ = shop{base, "sk_test_aoi"}.ask(t, "POST", "/v1/payments", strings.Replace(coffee, `"confirm":"phone"`, `"confirm":"reader"`, 1))
	waiting, err := phone.Sales(context.Background())
	if err != nil || len(waiting) != 1 {
		t.Fatalf("%+v, %v", waiting, err)
	}
	if s, err := phone.ApproveWithReader(t.Context(), &waiting[0]); err == nil {
		t.Errorf("a revoked reader is offered a payment: %s", s.Step)
	}
	gateway.signal(t, syscall.SIGTERM)
	if code, said := gateway.exit(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	expect(verifyEvidence(t, 0, data, id), named+"revoked 20\\S+$")
	if out := operator(t, "4242424242424242", "card", "unlock", "--data", data); !strings.HasSuffix(out, "wrong PINs until now: 0\n") {
		t.Errorf("without a gateway: %s", out)
	}
}
