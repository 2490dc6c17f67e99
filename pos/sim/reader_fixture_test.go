package sim

import (
	"crypto/ed25519"
	"crypto/hpke"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"kessai"
	"kessai/pos/tether"
)

// The reader in virtual time: the test is the phone at the other end of the line, and
// the gateway behind it.

const testPAN = "4242424242424242"

var stripe, chipped = mustCard(testPAN + " 2912"), mustCard(testPAN + " 2912 chip")

func mustCard(text string) ReaderCard {
	c, err := ParseReaderCard(text)
	if err != nil {
		panic(err)
	}
	return c
}

// end is the other end of a reader's line.
type end struct {
	t       *testing.T
	r       *Reader
	line    net.Conn
	frames  *tether.Scanner
	gateway ed25519.PrivateKey
	sale    kessai.TxID
}

// plugged gives a reader that trusts a gateway, with a line in it.
func plugged(t *testing.T) *end {
	t.Helper()
	r, err := NewReader(ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := ed25519.GenerateKey(nil)
	if err := r.Trust(key.Public().(ed25519.PublicKey)); err != nil {
		t.Fatal(err)
	}
	e := &end{t: t, r: r, gateway: key}
	e.plug()
	return e
}

func (e *end) plug() {
	ours, theirs := net.Pipe()
	go e.r.Serve(theirs)
	e.line, e.frames = ours, tether.NewScanner(ours)
	e.t.Cleanup(func() { ours.Close() })
}

func (e *end) say(t tether.Type, body []byte) {
	e.t.Helper()
	b, err := tether.AppendFrame(nil, t, body)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := e.line.Write(b); err != nil {
		e.t.Fatal(err)
	}
}

// hear gives the body of the next frame, which must be of this type.
func (e *end) hear(want tether.Type) []byte {
	e.t.Helper()
	f, err := e.frames.Next()
	if err != nil || f.Type != want {
		e.t.Fatalf("the reader says %#x %x, %v; want %#x. It shows %q", f.Type, f.Body, err, want, e.r.Display())
	}
	return f.Body
}

func (e *end) fault(want tether.Fault) {
	e.t.Helper()
	if got, err := tether.ParseFault(e.hear(tether.ReaderError)); err != nil || got != want {
		e.t.Fatalf("the reader says %v, %v; want %v", got, err, want)
	}
}

// offer makes the offer of a new payment, and gives it with its private key.
func (e *end) offer(suite tether.Suite) (*tether.Offer, hpke.PrivateKey) {
	kem, _, _, _ := suite.HPKE()
	key, err := kem.GenerateKey()
	if err != nil {
		e.t.Fatal(err)
	}
	merchant, _ := kessai.ParseMerchantID("AOI000000000001")
	e.sale++
	return &tether.Offer{
		Suite: suite, ID: e.sale, Merchant: merchant, Shop: "Kissaten Aoi 喫茶店あおい", Amount: kessai.Amount{Value: 450, Currency: kessai.JPY},
		Reader: e.r.ID(), CardFor: 60, PINFor: 30, PublicKey: key.PublicKey().Bytes(),
	}, key
}

// signed gives the body of the frame with an offer.
func (e *end) signed(o *tether.Offer) (body, text []byte) {
	e.t.Helper()
	text, err := o.Encode()
	if err != nil {
		e.t.Fatal(err)
	}
	body, err = (&tether.Signed{Message: text, Signature: ed25519.Sign(e.gateway, tether.OfferToSign(text))}).Encode()
	if err != nil {
		e.t.Fatal(err)
	}
	return body, text
}

// open opens what the reader sealed, as the gateway does.
func (e *end) open(t tether.Type, step tether.Step, suite tether.Suite, key hpke.PrivateKey, text []byte) (plain, exported []byte) {
	e.t.Helper()
	s, err := tether.DecodeSigned(e.hear(t))
	if err != nil {
		e.t.Fatal(err)
	}
	if !tether.CheckSealed(e.r.PublicKey(), step, text, s.Message, s.Signature) {
		e.t.Fatal("the signature is not the reader's")
	}
	_, kdf, aead, _ := suite.HPKE()
	if want := suite.SealedSize(step); len(s.Message) != want {
		e.t.Fatalf("%d bytes are sealed, want %d", len(s.Message), want)
	}
	size := tether.CardSize
	if step == tether.StepPIN {
		size = tether.PINSize
	}
	cut := len(s.Message) - size - 16
	recipient, err := hpke.NewRecipient(s.Message[:cut], key, kdf, aead, tether.Info(step, text))
	if err != nil {
		e.t.Fatal(err)
	}
	if plain, err = recipient.Open(nil, s.Message[cut:]); err != nil {
		e.t.Fatal(err)
	}
	exported, err = recipient.Export(tether.PINKeyContext, 16)
	if err != nil {
		e.t.Fatal(err)
	}
	return plain, exported
}

// shows waits until nothing goes on, and looks for a text on the display.
func (e *end) shows(want ...string) {
	e.t.Helper()
	synctest.Wait()
	d := e.r.Display()
	for _, w := range want {
		if !strings.Contains(strings.Join(d[:], "\n"), w) {
			e.t.Fatalf("the reader shows %q, want %q", d, w)
		}
	}
	for _, line := range d {
		if fit(line) != line {
			e.t.Fatalf("%q is too long for the display", line)
		}
	}
}

func (e *end) hasKey(want bool) {
	e.t.Helper()
	synctest.Wait()
	if v := e.r.View(); v.Key != want {
		e.t.Fatalf("there is a key in the memory: %v, want %v. It shows %q", v.Key, want, v.Display)
	}
}
