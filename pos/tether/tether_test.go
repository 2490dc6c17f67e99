package tether_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/pos/tether"
)

// payment is one payment with its keys, as gateway and reader have them.
type payment struct {
	offer           *tether.Offer
	encoding        []byte
	key             hpke.PrivateKey
	gateway, reader ed25519.PrivateKey
}

func seed(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func newPayment(t testing.TB, suite tether.Suite) *payment {
	t.Helper()
	kem, _, _, ok := suite.HPKE()
	if !ok {
		t.Fatal("no such suite")
	}
	key, err := kem.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	p := &payment{key: key, gateway: seed(1), reader: seed(2)}
	merchant, _ := kessai.ParseMerchantID("KISSATEN-AOI")
	p.offer = &tether.Offer{Suite: suite, ID: 4711, Merchant: merchant, Shop: "Kissaten Aoi", Amount: kessai.Amount{Value: 1280, Currency: kessai.JPY},
		Reader: kessai.ReaderIDOf(p.reader.Public().(ed25519.PublicKey)), CardFor: 60, PINFor: 60, PublicKey: key.PublicKey().Bytes()}
	if p.encoding, err = p.offer.Encode(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *payment) open(step tether.Step, offer, sealed []byte) ([]byte, error) {
	_, kdf, aead, _ := p.offer.Suite.HPKE()
	return hpke.Open(p.key, kdf, aead, tether.Info(step, offer), sealed)
}

const track2 = "4242424242424242=31122010000000000"

func TestSealed(t *testing.T) {
	for _, suite := range []tether.Suite{tether.SuiteP256, tether.SuiteHybrid} {
		p := newPayment(t, suite)
		a, err := tether.SealCard(p.encoding, tether.CardTrack2, []byte(track2))
		if err != nil {
			t.Fatal(err)
		}
		b, err := tether.SealCard(p.encoding, tether.CardTrack2, []byte(track2))
		if err != nil || bytes.Equal(a, b) || bytes.Equal(a[:32], b[:32]) {
			t.Errorf("%v: a card sealed twice is the same, %v", suite, err)
		}
		plain, err := p.open(tether.StepCard, p.encoding, a)
		if err != nil || len(a) != suite.SealedSize(tether.StepCard) || len(a) > tether.MaxSealed {
			t.Fatalf("%v: %d bytes, %v", suite, len(a), err)
		}
		if c, err := tether.ParseCard(plain); err != nil || c.PAN.Last4().String() != "****4242" {
			t.Errorf("%v: not the card that was sealed, %v", suite, err)
		}
		if _, err := p.open(tether.StepPIN, p.encoding, a); err == nil {
			t.Errorf("%v: a card opens as a PIN", suite)
		}
		pin, err := tether.SealPIN(p.encoding, pan(t, "4242424242424242"), "1234")
		if err != nil || len(pin) != suite.SealedSize(tether.StepPIN) {
			t.Fatalf("%v: %d bytes, %v", suite, len(pin), err)
		}
		if _, err := p.open(tether.StepCard, p.encoding, pin); err == nil {
			t.Errorf("%v: a PIN opens as a card", suite)
		}
	}
}

func pan(t testing.TB, s string) kessai.PAN {
	t.Helper()
	p, err := kessai.ParsePAN(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSealedIsBound: a message opens for its own offer only, whatever in it differs.
func TestSealedIsBound(t *testing.T) {
	p := newPayment(t, tether.SuiteP256)
	sealed, err := tether.SealCard(p.encoding, tether.CardTrack2, []byte(track2))
	if err != nil {
		t.Fatal(err)
	}
	merchant, _ := kessai.ParseMerchantID("KISSATEN-MIDORI")
	for what, change := range map[string]func(*tether.Offer){
		"transaction": func(o *tether.Offer) { o.ID++ },
		"merchant":    func(o *tether.Offer) { o.Merchant = merchant },
		"shop":        func(o *tether.Offer) { o.Shop += "!" },
		"amount":      func(o *tether.Offer) { o.Amount.Value++ },
		"currency":    func(o *tether.Offer) { o.Amount.Currency = kessai.EUR },
		"reader":      func(o *tether.Offer) { o.Reader[0]++ },
		"card time":   func(o *tether.Offer) { o.CardFor++ },
		"PIN time":    func(o *tether.Offer) { o.PINFor++ },
	} {
		o := *p.offer
		change(&o)
		other, err := o.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.open(tether.StepCard, other, sealed); err == nil {
			t.Errorf("opens with another %s", what)
		}
		if tether.CheckSealed(p.reader.Public().(ed25519.PublicKey), tether.StepCard, other, sealed, tether.SignSealed(p.reader, tether.StepCard, p.encoding, sealed)) {
			t.Errorf("the signature fits another %s", what)
		}
	}
	q := newPayment(t, tether.SuiteP256)
	if _, err := q.open(tether.StepCard, p.encoding, sealed); err == nil {
		t.Error("opens with the key of another payment")
	}
}

func TestSignatures(t *testing.T) {
	p := newPayment(t, tether.SuiteP256)
	key, sealed := p.reader.Public().(ed25519.PublicKey), []byte("sealed")
	signature := tether.SignSealed(p.reader, tether.StepPIN, p.encoding, sealed)
	check := func(key ed25519.PublicKey, step tether.Step, offer, sealed, signature []byte) bool {
		return tether.CheckSealed(key, step, offer, sealed, signature)
	}
	if !check(key, tether.StepPIN, p.encoding, sealed, signature) {
		t.Fatal("the reader's own signature is refused")
	}
	for why, ok := range map[string]bool{
		"another step":        check(key, tether.StepCard, p.encoding, sealed, signature),
		"another message":     check(key, tether.StepPIN, p.encoding, []byte("Sealed"), signature),
		"another offer":       check(key, tether.StepPIN, p.encoding[1:], sealed, signature),
		"another reader":      check(seed(3).Public().(ed25519.PublicKey), tether.StepPIN, p.encoding, sealed, signature),
		"cut off":             check(key, tether.StepPIN, p.encoding, sealed, signature[:63]),
		"no signature":        check(key, tether.StepPIN, p.encoding, sealed, nil),
		"no key":              check(nil, tether.StepPIN, p.encoding, sealed, signature),
		"an offer's":          check(key, tether.StepPIN, p.encoding, sealed, ed25519.Sign(p.reader, tether.OfferToSign(p.encoding))),
		"an offer by another": tether.CheckOffer(key, p.encoding, ed25519.Sign(p.gateway, tether.OfferToSign(p.encoding))),
		"an offer unlabelled": tether.CheckOffer(p.gateway.Public().(ed25519.PublicKey), p.encoding, ed25519.Sign(p.gateway, p.encoding)),
	} {
		if ok {
			t.Errorf("%s: is accepted", why)
		}
	}
}

func TestPadding(t *testing.T) {
	for _, n := range []int{1, 37, 255, 256, tether.MaxCardData} {
		data := bytes.Repeat([]byte{7}, n)
		b, err := tether.PadCard(tether.CardEMV, data)
		if err != nil || len(b) != tether.CardSize {
			t.Fatalf("%d bytes: %d, %v", n, len(b), err)
		}
		if kind, got, err := tether.UnpadCard(b); err != nil || kind != tether.CardEMV || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	whole, _ := tether.PadCard(tether.CardTrack2, []byte(track2))
	for why, f := range map[string]func([]byte) []byte{
		"cut off":               func(b []byte) []byte { return b[1:] },
		"too long":              func(b []byte) []byte { return append(b, 0) },
		"nothing":               func([]byte) []byte { return nil },
		"kind 0":                func(b []byte) []byte { b[0] = 0; return b },
		"kind 3":                func(b []byte) []byte { b[0] = 3; return b },
		"no data":               func(b []byte) []byte { return append([]byte{1}, make([]byte, 511)...) },
		"longer than there is":  func(b []byte) []byte { b[1], b[2] = 0x01, 0xfe; return b },
		"shorter than there is": func(b []byte) []byte { b[2]--; return b },
		"a bit in the padding":  func(b []byte) []byte { b[511] = 1; return b },
	} {
		if _, _, err := tether.UnpadCard(f(bytes.Clone(whole))); err != tether.ErrPadding {
			t.Errorf("%s: %v, want it refused", why, err)
		}
	}
	for _, c := range []struct {
		kind tether.CardKind
		n    int
	}{{0, 1}, {3, 1}, {1, 0}, {2, 510}} {
		if _, err := tether.PadCard(c.kind, make([]byte, c.n)); err != tether.ErrPadding {
			t.Errorf("kind %d, %d bytes: %v, want it refused", c.kind, c.n, err)
		}
	}
	if _, err := tether.SealCard([]byte("no offer"), tether.CardTrack2, []byte(track2)); !errors.Is(err, tether.ErrOffer) {
		t.Errorf("sealed for no offer: %v", err)
	}
}

// TestEnrolment: who does not know the code gets nowhere, on either side.
func TestEnrolment(t *testing.T) {
	k, err := tether.EnrolKey("3141 5926-5358 9793 2384 6264")
	if err != nil {
		t.Fatal(err)
	}
	wrong, _ := tether.EnrolKey("314159265358979323846265")
	reader, gateway := seed(2), seed(1).Public().(ed25519.PublicKey)
	e, err := tether.NewEnrol(reader, "Suzuki 1", k)
	if err != nil || !e.Check(k) || e.Check(wrong) || e.Check(nil) {
		t.Fatalf("who knows the code is not told from who does not: %v", err)
	}
	if again, _ := tether.NewEnrol(reader, "Suzuki 1", k); again.Nonce == e.Nonce {
		t.Error("two enrolments have one nonce")
	}
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(b) {
		changed := bytes.Clone(b)
		changed[i/8] ^= 1 << (i % 8)
		if got, err := tether.DecodeEnrol(changed); err == nil && got.Check(k) {
			t.Fatalf("bit %d of the enrolment may be changed", i)
		}
	}
	d := tether.NewEnrolled(e, gateway, k)
	if !d.Check(e, k) || d.Check(e, wrong) {
		t.Error("who answers with the code is not told from who does not")
	}
	other, _ := tether.NewEnrol(seed(3), "Suzuki 1", k)
	if d.Check(other, k) {
		t.Error("the answer to one reader fits another")
	}
	b, err = d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(b) {
		changed := bytes.Clone(b)
		changed[i/8] ^= 1 << (i % 8)
		if got, err := tether.DecodeEnrolled(changed); err == nil && got.Check(e, k) {
			t.Fatalf("bit %d of the answer may be changed", i)
		}
	}
	for _, code := range []string{"", "1234", strings.Repeat("1", 23), strings.Repeat("1", 25), strings.Repeat("1", 23) + "x", strings.Repeat("１", 24)} {
		if _, err := tether.EnrolKey(code); err != tether.ErrCode {
			t.Errorf("a code of %d bytes: %v, want it refused", len(code), err)
		}
	}
	for _, name := range []string{"", strings.Repeat("n", 33), "a\nb", "\xff", "a\u0085"} {
		if _, err := tether.NewEnrol(reader, name, k); !errors.Is(err, tether.ErrEnrol) {
			t.Errorf("name %q: %v, want it refused", name, err)
		}
	}
	if _, err := tether.NewEnrol(nil, "Suzuki 1", k); !errors.Is(err, tether.ErrEnrol) {
		t.Errorf("without a key: %v", err)
	}
	if d := tether.NewEnrolled(e, nil, k); d.Check(e, k) {
		t.Error("an answer without a key is accepted")
	} else if _, err := d.Encode(); !errors.Is(err, tether.ErrEnrol) {
		t.Errorf("an answer without a key: %v", err)
	}
}

func TestBodies(t *testing.T) {
	key := seed(2).Public().(ed25519.PublicKey)
	hello := tether.Hello{Reader: kessai.ReaderIDOf(key), Key: key, Name: "Suzuki 1", State: tether.StateCard, Enrolled: true, Can: tether.CanChip | tether.CanP256}
	b, err := hello.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tether.DecodeHello(b); err != nil || got.Name != hello.Name || got.State != hello.State || !got.Enrolled || got.Can != hello.Can {
		t.Errorf("the hello is another: %v", err)
	}
	refused := map[string]error{}
	refuse := func(why string, err error) { refused[why] = err }
	change := func(at int, to byte) error {
		c := bytes.Clone(b)
		c[at] = to
		_, err := tether.DecodeHello(c)
		return err
	}
	refuse("another reader's ID", change(0, b[0]+1))
	refuse("no such state", change(len(b)-4, 6))
	refuse("neither enrolled nor not", change(len(b)-3, 2))
	_, err = tether.DecodeHello(b[1:])
	refuse("a hello cut off", err)
	_, err = tether.DecodeHello(append(b, 0))
	refuse("a hello too long", err)
	_, err = tether.DecodeSigned([]byte{0, 0, 0, 64})
	refuse("nothing signed", err)
	_, err = tether.DecodeSigned([]byte{0, 1, 7, 0, 2, 1, 2})
	refuse("a short signature", err)
	_, err = (&tether.Signed{Message: make([]byte, 4096), Signature: make([]byte, 64)}).Encode()
	refuse("too much signed", err)
	_, err = tether.DecodeEnd([]byte("5"))
	refuse("an end cut off", err)
	_, err = tether.DecodeEnd([]byte("5x\x00"))
	refuse("an end in letters", err)
	_, err = tether.DecodeEnd([]byte("552"))
	refuse("an end neither settled nor not", err)
	_, err = (&tether.End{Code: 100}).Encode()
	refuse("an end of three digits", err)
	_, err = tether.ParseFault(nil)
	refuse("no fault", err)
	_, err = tether.ParseFault([]byte{0})
	refuse("fault 0", err)
	_, err = tether.AppendFrame(nil, tether.PhoneHello, make([]byte, tether.MaxBody+1))
	refuse("a frame too long", err)
	for why, err := range refused {
		if !errors.Is(err, tether.ErrBody) && !errors.Is(err, tether.ErrEnrol) {
			t.Errorf("%s: %v, want it refused", why, err)
		}
	}
	if f, err := tether.ParseFault([]byte{200}); err != nil || f.Ends() || f.String() != "fault(200)" {
		t.Errorf("a fault of a later version: %v, %v", f, err)
	}
	for f := tether.FaultFrame; f <= tether.FaultCard; f++ {
		if strings.Contains(f.String(), "(") || f.Ends() != (f >= tether.FaultInside) {
			t.Errorf("fault %d is %q, ends: %v", uint8(f), f, f.Ends())
		}
	}
}

// TestScanner_Silence: a frame that was cut off swallows nothing that comes later.
func TestScanner_Silence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, reader := net.Pipe()
		defer phone.Close()
		defer reader.Close()
		whole, _ := tether.AppendFrame(nil, tether.PhoneAskPIN, nil)
		got := make(chan error)
		go func() {
			s := tether.NewScanner(reader)
			_, err := s.Next()
			got <- err
			f, err := s.Next()
			if f.Type != tether.PhoneAskPIN {
				t.Errorf("a frame of type %x", f.Type)
			}
			got <- err
		}()
		cut, _ := tether.AppendFrame(nil, tether.PhoneOffer, make([]byte, 1000))
		if _, err := phone.Write(cut[:500]); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := <-got; err != tether.ErrFrame || time.Since(start) != tether.Silence {
			t.Errorf("%v after %v, want it dropped after %v", err, time.Since(start), tether.Silence)
		}
		time.Sleep(time.Hour) // between frames a line may be silent as long as it likes
		if _, err := phone.Write(whole); err != nil {
			t.Fatal(err)
		}
		if err := <-got; err != nil {
			t.Errorf("the next frame: %v", err)
		}
	})
}

func TestNames(t *testing.T) {
	for _, s := range []tether.Suite{tether.SuiteP256, tether.SuiteHybrid} {
		kem, kdf, aead, ok := s.HPKE()
		if got, ok2 := tether.ParseSuite(s.String()); !ok || !ok2 || got != s || kdf.ID() != 1 || aead.ID() != 2 {
			t.Errorf("suite %d is %q, KEM %x", s, s, kem.ID())
		}
	}
	for _, s := range []tether.Suite{0, 3} {
		if _, _, _, ok := s.HPKE(); ok || s.PublicSize() != 0 || s.SealedSize(tether.StepCard) != 0 || s.String() != "unknown" {
			t.Errorf("suite %d is known", s)
		}
	}
	if tether.SuiteP256.SealedSize(0) != 0 {
		t.Error("no step has a length")
	}
	for s := tether.StateIdle; s < 8; s++ {
		if s.String() == "" || (s.String() == "unknown") != (s > tether.StatePINSent) {
			t.Errorf("state %d is %q", uint8(s), s)
		}
	}
}

// TestKeysOfEverybody: under a key whose point has a small order one signature fits
// every message. No such key is anybody's, whichever way its point is written.
func TestKeysOfEverybody(t *testing.T) {
	k, err := tether.EnrolKey(strings.Repeat("1", tether.CodeDigits))
	if err != nil {
		t.Fatal(err)
	}
	identity, signature := make(ed25519.PublicKey, 32), make([]byte, 64)
	identity[0], signature[0] = 1, 1
	if !ed25519.Verify(identity, []byte("anything"), signature) {
		t.Fatal("the key of everybody signs nothing: this test proves nothing")
	}
	good, err := tether.NewEnrol(seed(1), "reader", k)
	if err != nil {
		t.Fatal(err)
	}
	form, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, y := range []string{"00", "01", "ec", "ed", "ee"} {
		for _, sign := range []byte{0, 0x80} {
			key, _ := hex.DecodeString(y + strings.Repeat("00", 31))
			if y >= "ec" {
				key, _ = hex.DecodeString(y + strings.Repeat("ff", 30) + "7f")
			}
			key[31] |= sign
			copy(form[1:], key)
			if _, err := tether.DecodeEnrol(form); !errors.Is(err, tether.ErrEnrol) {
				t.Errorf("key %x: %v, want it refused", key, err)
			}
		}
	}
}
