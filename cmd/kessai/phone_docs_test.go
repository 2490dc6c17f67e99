package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kessai/pos/sim"
)

// customerDoes is what customers do between the examples of docs/PHONE.md. Said is
// what the last example printed.
type customerDoes map[string]func(said string) error

// TestPhoneExamples runs every example of docs/PHONE.md, in the order in which they
// stand there, with customers who do what stands between them.
func TestPhoneExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/PHONE.md")
	if err != nil {
		t.Fatal(err)
	}
	g := startLive(t)
	does := customersOf(t, g)
	ran, done := 0, 0
	for _, block := range consoleBlock.FindAllSubmatch(page, -1) {
		for _, step := range strings.Split("\n"+string(block[1]), "\n$ ")[1:] {
			command, rest, _ := strings.Cut(step, "\n")
			var want strings.Builder
			var actions []string
			for line := range strings.Lines(rest) {
				if action, ok := strings.CutPrefix(line, "# "); ok {
					actions = append(actions, strings.TrimSpace(action))
				} else {
					want.WriteString(line)
				}
			}
			cmd := exec.Command("bash", "-c", strings.ReplaceAll(command, "127.0.0.1:8080", g.HTTP))
			cmd.Env = append(os.Environ(), "ISO="+g.ISO[0])
			out, _ := cmd.CombinedOutput() // an exit code that is not 0 has a message, which is compared
			if !sameText(string(out), want.String()) {
				t.Errorf("$ %s\n%s\nbut the page says\n%s", command, out, want.String())
			}
			ran++
			for _, action := range actions {
				do, ok := does[action]
				if !ok {
					t.Fatalf("nobody does %q", action)
				}
				if err := do(string(out)); err != nil {
					t.Fatalf("%s: %v", action, err)
				}
				done++
			}
		}
	}
	if ran < 10 || done < 4 {
		t.Errorf("only %d examples were found, and %d things that customers do", ran, done)
	}
}

// customersOf signs two customers in, the first two transactions of the book.
func customersOf(t *testing.T, g *liveGateway) customerDoes {
	t.Helper()
	ctx := context.Background()
	phones := make(map[string]*sim.Phone)
	for _, id := range []string{"1234567890", "2345678901"} {
		phone, err := sim.NewPhone("http://"+g.HTTP, id, nil)
		if err == nil {
			err = phone.SignIn(ctx, samplePasswords[id])
		}
		if err != nil {
			t.Fatal(err)
		}
		phones[id] = phone
	}
	one, other := phones["1234567890"], phones["2345678901"]
	first := func(p *sim.Phone) sim.PhoneSale {
		t.Helper()
		all, err := p.Sales(ctx)
		if err != nil || len(all) != 1 {
			t.Fatalf("what waits: %+v, %v", all, err)
		}
		return all[0]
	}
	claim := regexp.MustCompile(`"code":"([0-9A-Z]{24})"`)
	return customerDoes{
		"the customer agrees": func(string) error {
			s := first(one)
			_, err := one.Approve(ctx, &s, samplePasswords[one.Customer])
			return err
		},
		"the customer agrees, puts the card in and types its PIN": func(string) error {
			return paysWithReader(t, g, one)
		},
		"the other customer cancels": func(string) error {
			_, err := other.Cancel(ctx, first(other).Sale.ID.String())
			return err
		},
		"the customer claims it": func(said string) error {
			code := claim.FindStringSubmatch(said)
			if code == nil {
				t.Fatalf("there is no code in %s", said)
			}
			_, err := one.Claim(ctx, code[1])
			return err
		},
	}
}

// paysWithReader gives a customer a card reader, as the operator does, and has them pay
// with it.
func paysWithReader(t *testing.T, g *liveGateway, phone *sim.Phone) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	invited, err := exec.Command("kessai", "reader", "invite", "--data", g.data, phone.Customer).Output()
	if err != nil {
		return err
	}
	code, _, _ := strings.Cut(string(invited), "\n")
	reader, err := sim.NewReader(sim.ReaderOptions{})
	if err != nil {
		return err
	}
	here, there := net.Pipe()
	defer here.Close()
	go func() { _ = reader.Serve(there) }()
	if _, err := phone.Attach(ctx, here); err != nil {
		return err
	}
	go func() {
		if reader.AwaitPhase(ctx, "code") == nil {
			reader.Type(strings.ReplaceAll(code, " ", "") + string(sim.KeyOK))
		}
	}()
	if _, err := phone.EnrolReader(ctx); err != nil {
		return err
	}
	card, err := sim.ParseReaderCard("4242424242424242 2912")
	if err != nil {
		return err
	}
	reader.Insert(card)
	go func() {
		if reader.AwaitPhase(ctx, "pin") == nil {
			reader.Type("1234" + string(sim.KeyOK))
		}
	}()
	waiting, err := phone.Sales(ctx)
	if err != nil || len(waiting) != 1 {
		return fmt.Errorf("%d payments wait, %w", len(waiting), err)
	}
	_, err = phone.ApproveWithReader(ctx, &waiting[0])
	return err
}

// TestPhoneDocNamesWhatThereIs: the settings and commands of docs/PHONE.md exist.
func TestPhoneDocNamesWhatThereIs(t *testing.T) {
	page, err := os.ReadFile("../../docs/PHONE.md")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, key := range knownKeys() {
		known[key] = true
	}
	named := make(map[string]bool)
	for _, m := range regexp.MustCompile("`((?:phone|reader|rates|keys|http)\\.[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		named[m[1]] = true
		if !known[m[1]] && m[1] != "phone.key" {
			t.Errorf("there is no setting %s", m[1])
		}
	}
	for key := range known {
		if (strings.HasPrefix(key, "phone.") || strings.HasPrefix(key, "reader.")) && !named[key] {
			t.Errorf("the page does not name %s", key)
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([A-Za-z.]+\.md)`).FindAllStringSubmatch(string(page), -1) {
		if _, err := os.Stat(filepath.Join("../../docs", m[1])); err != nil {
			t.Error(err)
		}
	}
}
