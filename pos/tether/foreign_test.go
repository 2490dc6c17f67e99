package tether_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"kessai/authz/keys"
	"kessai/pos/card"
	"kessai/pos/tether"
)

// TestForeignReader: a reader in JavaScript, with an HPKE of its own, seals what the
// gateway's keys open.
func TestForeignReader(t *testing.T) {
	if os.Getenv("KESSAI_BROWSER") != "1" {
		t.Skip("needs node and npm ci in gateway/web/browser; set KESSAI_BROWSER=1, as make test does")
	}
	for _, suite := range []tether.Suite{tether.SuiteP256, tether.SuiteHybrid} {
		kem, kdf, aead, _ := suite.HPKE()
		keeper, err := keys.New(keys.Options{Max: 1, KEM: kem, KDF: kdf, AEAD: aead})
		if err != nil {
			t.Fatal(err)
		}
		defer keeper.Close()
		p := newPayment(t, suite)
		key, err := keeper.Issue(p.offer.ID)
		if err != nil {
			t.Fatal(err)
		}
		p.offer.PublicKey = key.Public()
		if p.encoding, err = p.offer.Encode(); err != nil {
			t.Fatal(err)
		}
		number := pan(t, "4242424242424242")
		for _, step := range []tether.Step{tether.StepCard, tether.StepPIN} {
			sealed, signature := foreign(t, p, step)
			check := func() bool {
				return tether.CheckSealed(p.reader.Public().(ed25519.PublicKey), step, p.encoding, sealed, signature)
			}
			err := key.Open(tether.Info(step, p.encoding), sealed, tether.PINKeyContext, check, func(plain, exported []byte) error {
				if step == tether.StepCard {
					c, err := tether.ParseCard(plain)
					if err == nil && c.PAN != number {
						t.Errorf("%v: another card", suite)
					}
					return err
				}
				pin, err := card.OpenPINBlock([16]byte(exported), number, [16]byte(plain))
				if string(pin.Digits()) != "1234" {
					t.Errorf("%v: another PIN", suite)
				}
				return err
			})
			if err != nil {
				t.Errorf("%v, %v: %v", suite, step, err)
			}
		}
	}
}

func foreign(t *testing.T, p *payment, step tether.Step) (sealed, signature []byte) {
	t.Helper()
	request := map[string]any{"offer": hex.EncodeToString(p.encoding), "seed": hex.EncodeToString(p.reader.Seed()),
		"gateway":         hex.EncodeToString(p.gateway.Public().(ed25519.PublicKey)),
		"offer_signature": hex.EncodeToString(ed25519.Sign(p.gateway, tether.OfferToSign(p.encoding)))}
	if step == tether.StepCard {
		request["card"] = map[string]string{"track2": track2}
	} else {
		request["pan"], request["pin"] = "4242424242424242", "1234"
	}
	in, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "node", "reader.mjs")
	run.Dir, run.Stdin = "../../gateway/web/browser", bytes.NewReader(in)
	var stderr bytes.Buffer
	run.Stderr = &stderr
	out, err := run.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var answer struct{ Sealed, Signature octets }
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Sealed, answer.Signature
}

// TestVectorsAgain: the file of the vectors is what its program makes.
func TestVectorsAgain(t *testing.T) {
	if os.Getenv("KESSAI_BROWSER") != "1" {
		t.Skip("needs node and npm ci in gateway/web/browser; set KESSAI_BROWSER=1, as make test does")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "node", "vectors.mjs")
	run.Dir = "testdata"
	got, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile("testdata/vectors.json"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("testdata/vectors.json is not what vectors.mjs makes: %v", err)
	}
}
