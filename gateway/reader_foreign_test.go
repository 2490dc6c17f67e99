package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/pos/tether"
)

// foreignReader is a card reader that was written from docs/READER.md alone, in
// JavaScript, with the HPKE of @hpke/core.
type foreignReader struct {
	t    testing.TB
	seed string
	in   io.Writer
	out  *json.Decoder
}

func newForeignReader(t testing.TB, key ed25519.PrivateKey) *foreignReader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	run := exec.CommandContext(ctx, "node", "reader.mjs")
	var stderr bytes.Buffer
	run.Dir, run.Stderr = "web/browser", &stderr
	in, out := httpMust[io.WriteCloser](t)(run.StdinPipe()), httpMust[io.ReadCloser](t)(run.StdoutPipe())
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		_ = in.Close()
		if err := run.Wait(); err != nil {
			t.Errorf("the reader in JavaScript: %v\n%s", err, stderr.Bytes())
		}
	})
	return &foreignReader{t, hex.EncodeToString(key.Seed()), in, json.NewDecoder(out)}
}

// says has the reader do one thing. What is asked and answered is in hexadecimal.
func (r *foreignReader) says(request map[string]any) (answer map[string]string) {
	r.t.Helper()
	request["seed"] = r.seed
	line := append(httpMust[[]byte](r.t)(json.Marshal(request)), '\n')
	if _, err := r.in.Write(line); err != nil {
		r.t.Fatal(err)
	}
	if err := r.out.Decode(&answer); err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// A reader that shares nothing with this gateway is enrolled, and pays with card and
// PIN, in either suite.
func TestPhone_Reader_Foreign(t *testing.T) {
	if os.Getenv("KESSAI_BROWSER") != "1" {
		t.Skip("needs node and npm ci in gateway/web/browser; set KESSAI_BROWSER=1, as make test does")
	}
	for _, suite := range []tether.Suite{tether.SuiteP256, tether.SuiteHybrid} {
		t.Run(suite.String(), func(t *testing.T) {
			f := newReaderFixture(t, func(_ *phoneSetup, o *authz.ReaderOptions) { o.Suite = suite })
			p := f.in("suzuki")
			public, key := httpKeyPair(t)
			r := newForeignReader(t, key)
			gateway := f.enrolForeign(p, r, kessai.ReaderIDOf(public))

			chip := func(amount string) map[string]string {
				return map[string]string{"emv": "5a08" + httpCard + "5f2403991231" + "9f26081122334455667788" + "9f270180" + "9f36020042" + "9f370401020304" + "82021980" +
					"95050000008000" + "9a03261122" + "9c0100" + "9f0206" + amount + "5f2a020392" + "9f1a020392"}
			}
			stripe := func(track2 string) map[string]string { return map[string]string{"track2": track2} }
			for _, c := range []struct {
				card      map[string]string
				pin, code string
			}{
				{stripe(";" + httpCard + "=99121010000012300?"), readerPIN, "00"},
				{chip("000000000450"), readerPIN, "00"},
				{chip("000000000451"), "", "63"}, // not what the sale is about
				{stripe(httpCard + "=9912="), "1111", "55"},
				{stripe("4111111111111111=9912101"), "", "14"}, // nobody's
			} {
				id := f.askedReader("suzuki")
				begun := p.beginReader(id, &testReader{id: kessai.ReaderIDOf(public)})
				f.expectStep("beginning", begun, "card")
				request := func(more map[string]any) sealed {
					more["offer"], more["gateway"] = hex.EncodeToString(begun.bytes(t, "offer")), gateway
					more["offer_signature"] = hex.EncodeToString(begun.bytes(t, "offer_signature"))
					m := r.says(more)
					return sealed{httpMust[[]byte](t)(hex.DecodeString(m["sealed"])), httpMust[[]byte](t)(hex.DecodeString(m["signature"]))}
				}
				a := p.sendCard(id, request(map[string]any{"card": c.card}))
				if c.pin != "" {
					f.expectStep("the card", a, "pin")
					a = p.sendPIN(id, request(map[string]any{"pan": httpCard, "pin": c.pin}))
				}
				f.expectEnd("a payment of the reader in JavaScript", a, id, c.code)
			}
		})
	}
}

// enrolForeign enrols the reader, by the phone that does not know the code, and gives
// the gateway's key as the reader took it.
func (f *readerFixture) enrolForeign(p *testPhone, r *foreignReader, id kessai.ReaderID) (gateway string) {
	f.t.Helper()
	code, _, err := f.store.InviteReader(f.keys, "suzuki", time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	sent := r.says(map[string]any{"code": code.Reveal(), "name": "JavaScript"})["enrol"]
	a := p.call("POST", "/phone/v1/readers", map[string]any{"enrol": raw64(httpMust[[]byte](f.t)(hex.DecodeString(sent)))})
	if a.status != 201 {
		f.t.Fatalf("the enrolment: %d %s", a.status, a.raw)
	}
	if got, _ := a.body["reader"].(map[string]any); got["id"] != id.String() || got["name"] != "JavaScript" {
		f.t.Errorf("the reader that was enrolled: %s", a.raw)
	}
	gateway = r.says(map[string]any{"code": code.Reveal(), "enrol": sent, "enrolled": hex.EncodeToString(a.bytes(f.t, "enrolled"))})["gateway"]
	if gateway != hex.EncodeToString(f.keys.ReaderKey().Public().(ed25519.PublicKey)) {
		f.t.Error("the reader took another key for the gateway's")
	}
	return gateway
}

func httpKeyPair(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, key
}
