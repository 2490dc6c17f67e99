package main

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/customers"
	"kessai/customers/phones"
)

// The scenes of gateway/web/browser/phone.mjs. Each has a customer of its own.
var phoneScenes = []string{
	"password", "passkey", "cancel", "reversed", "late", "wrong", "several", "claim", "invitation", "revoked",
	"arabic", "foreign", "uncovered", "changed", "weather", "push",
	"reader", "reader_wrong", "reader_away", "reader_no", "reader_card", "reader_stranger", "reader_browser",
}

// readerScene is what a scene with a card reader knows of its customer: the phone
// number by which the shop asks, the code that enrols a reader, the card and its PIN.
type readerScene struct {
	Phone string            `json:"phone"`
	Code  string            `json:"code"`
	Card  map[string]string `json:"card"`
	PIN   string            `json:"pin"`
}

// A PIN of twelve digits is found by chance in nothing that is sent.
const readerScenePIN = "314159265358"

func readerSceneOf(i int) readerScene {
	pan := fmt.Sprintf("40000000000%03d", i)
	for check := range 10 { // of ten digits, one is right (ISO/IEC 7812-1)
		if _, err := kessai.ParsePAN(fmt.Sprint(pan, check)); err == nil {
			pan = fmt.Sprint(pan, check)
			break
		}
	}
	return readerScene{
		Phone: fmt.Sprintf("+8150700000%02d", i), PIN: readerScenePIN,
		Card: map[string]string{"track2": pan + "=29121010000000000"},
	}
}

func isReaderScene(scene string) bool { return strings.HasPrefix(scene, "reader") }

const phonePassword = "aoi-1234"

// The phone app in Chromium, against the real gateway: customers buy by password
// and by passkey, cancel, come too late, claim, lose a phone. Every view is looked at
// in four languages, in light and dark, on narrow and wide screens.
func TestBrowser_Phone(t *testing.T) {
	if os.Getenv("KESSAI_BROWSER") != "1" {
		t.Skip("needs chromium and npm ci in gateway/web/browser; set KESSAI_BROWSER=1, as make test does")
	}
	dir := t.TempDir()
	slow, invitation, readers := startPhones(t, filepath.Join(dir, "slow"), "10m")
	hasty, _, _ := startPhones(t, filepath.Join(dir, "hasty"), "10s")
	ids := make(map[string]string)
	for i, scene := range phoneScenes {
		ids[scene] = phoneCustomer(i)
	}
	settings, err := json.Marshal(map[string]any{
		"base": slow, "hasty": hasty, "keys": sampleKeys, "password": phonePassword, "customers": ids,
		"invitation": invitation, "readers": readers, "pictures": os.Getenv("KESSAI_SCREENSHOTS"),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "settings.json")
	writeTest(t, file, string(settings))
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "node", append([]string{"phone.mjs", file}, strings.Fields(os.Getenv("SCENES"))...)...)
	run.Dir = "../../gateway/web/browser"
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func phoneCustomer(i int) string { return fmt.Sprintf("70000000%02d", i) }

// startPhones starts a gateway whose payments wait so long, with a customer for each
// scene. It gives its address as browsers know it, the code of an invitation, and
// what the scenes with card readers need.
func startPhones(t *testing.T, dir, timeout string) (base, invitation string, readers map[string]readerScene) {
	t.Helper()
	g := &liveGateway{dir: dir, config: filepath.Join(dir, "k.yaml"), data: filepath.Join(dir, "data")}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	verifier := phoneVerifier(t)
	var people, cards strings.Builder
	people.WriteString("customers:\n")
	cards.WriteString("media:\n")
	readers = make(map[string]readerScene)
	for i, scene := range phoneScenes {
		currency, balance, phone := "JPY", 20000, ""
		switch scene {
		case "foreign":
			currency = "EUR"
		case "uncovered":
			balance = 100
		}
		if isReaderScene(scene) {
			r := readerSceneOf(i)
			readers[scene], phone = r, fmt.Sprintf(", phone: %q", r.Phone)
			pan, _, _ := strings.Cut(r.Card["track2"], "=")
			fmt.Fprintf(&cards, "  - {pan: %q, customer: %q, expiry: \"2912\", pin: %q}\n", pan, phoneCustomer(i), r.PIN)
		}
		fmt.Fprintf(&people, "  - {id: %q, name: %q, currency: %s, opening_balance: %d, verifier: %q%s}\n",
			phoneCustomer(i), "Customer "+scene, currency, balance, verifier, phone)
	}
	writeTest(t, filepath.Join(dir, "people.yaml"), people.String()+cards.String())
	for _, file := range []string{"../../configs/demo.yaml", filepath.Join(dir, "people.yaml")} {
		if out, err := exec.Command("kessai", "import", "--data", g.data, file).CombinedOutput(); err != nil {
			t.Fatalf("kessai import: %v\n%s", err, out)
		}
	}
	for i, scene := range phoneScenes {
		if r, ok := readers[scene]; ok {
			out, err := exec.Command("kessai", "reader", "invite", "--data", g.data, phoneCustomer(i)).CombinedOutput()
			if err != nil {
				t.Fatalf("kessai reader invite: %v\n%s", err, out)
			}
			r.Code, _, _ = strings.Cut(string(out), "\n")
			r.Code = strings.ReplaceAll(r.Code, " ", "")
			readers[scene] = r
		}
	}
	store, err := phones.Open(phones.Folder(g.data))
	if err != nil {
		t.Fatal(err)
	}
	code, _, err := store.Invite(customers.ID(phoneCustomer(8)), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	rates := filepath.Join(dir, "rates.xml")
	writeTest(t, rates, fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
	<gesmes:subject>Reference rates</gesmes:subject>
	<gesmes:Sender><gesmes:name>European Central Bank</gesmes:name></gesmes:Sender>
	<Cube><Cube time='%s'><Cube currency='JPY' rate='181.25'/></Cube></Cube>
</gesmes:Envelope>`, time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)))
	writeTest(t, g.config, fmt.Sprintf("data: %s\niso: {listeners: [{address: '127.0.0.1:0'}]}\nphone: {timeout: %s, iterations: 4096}\nrates: {file: %s}\n", g.data, timeout, rates))
	g.start(t)
	_, port, err := net.SplitHostPort(g.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	return "http://localhost:" + port, code.Reveal(), readers
}

// phoneVerifier is what stands for the customers' password, with as few rounds as
// are allowed: the browsers are to be quick.
func phoneVerifier(t *testing.T) string {
	t.Helper()
	const rounds = 4096
	salt := []byte("of all customers")
	salted, err := pbkdf2.Key(sha256.New, phonePassword, salt, rounds, 32)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, b64(salt), b64(stored[:]), b64(mac("Server Key")))
}
