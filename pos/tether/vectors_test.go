package tether_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"kessai"
	"kessai/pos/card"
	"kessai/pos/tether"
)

// octets are bytes that stand in hexadecimal in a JSON file.
type octets []byte

func (o *octets) UnmarshalText(s []byte) (err error) {
	*o, err = hex.DecodeString(string(s))
	return err
}

// vectors is testdata/vectors.json. A reader in JavaScript made it, with its own HPKE.
type vectors struct {
	CRC  struct{ Of, Is octets }
	Keys struct {
		GatewaySeed octets `json:"gateway_seed"`
		Gateway     octets
		ReaderSeed  octets `json:"reader_seed"`
		Reader      octets
		ReaderID    string `json:"reader_id"`
		Other       octets
	}
	Enrolment struct {
		Code        string
		CodeAsShown string `json:"code_as_shown"`
		Key         octets
		Name        string
		Nonce       octets
		Enrol       octets
		Enrolled    octets
	}
	Offers        []offerVector
	RefusedOffers []struct {
		Why      string
		Encoding octets
	} `json:"refused_offers"`
	Sealed    []sealedVector
	PINBlocks []struct {
		Name, PAN, PIN     string
		Key, Random, Block octets
	} `json:"pin_blocks"`
	Frames []struct {
		Name        string
		Type        byte
		Body, Frame octets
	}
	Lines []struct {
		Name   string
		Stream octets
		Frames []octets
	}
}

type offerVector struct {
	Name, Suite     string
	Transaction     uint64
	Merchant, Shop  string
	Amount          int64
	Currency        string
	Decimals        int
	Reader          string
	CardFor         uint16 `json:"card_for"`
	PINFor          uint16 `json:"pin_for"`
	Public, Private octets
	Encoding, Hash  octets
	ToSign          octets `json:"to_sign"`
	Signature       octets
}

type sealedVector struct {
	Offer, Name string
	Step        tether.Step
	Info        octets
	Card        *struct {
		Track2 string
		EMV    octets
	}
	PAN, PIN   string
	Exported   octets
	Plain, Enc octets
	Ciphertext octets
	ToSign     octets `json:"to_sign"`
	Signature  octets
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Offers) < 6 || len(v.RefusedOffers) < 25 || len(v.Sealed) < 20 || len(v.PINBlocks) < 5 || len(v.Frames) < 15 || len(v.Lines) < 8 {
		t.Fatal("the vectors are not all there")
	}
	return v
}

func (v *vectors) offer(t testing.TB, name string) *offerVector {
	t.Helper()
	for i := range v.Offers {
		if v.Offers[i].Name == name {
			return &v.Offers[i]
		}
	}
	t.Fatalf("there is no offer %q", name)
	return nil
}

func TestVectors_Offers(t *testing.T) {
	v := readVectors(t)
	for _, c := range v.Offers {
		suite, ok := tether.ParseSuite(c.Suite)
		currency, ok2 := kessai.ParseCurrency(c.Currency)
		merchant, err := kessai.ParseMerchantID(c.Merchant)
		reader, ok3 := kessai.ParseReaderID(c.Reader)
		if !ok || !ok2 || !ok3 || err != nil || currency.Exponent() != c.Decimals {
			t.Fatalf("%s: the vector itself is wrong", c.Name)
		}
		o := tether.Offer{Suite: suite, ID: kessai.TxID(c.Transaction), Merchant: merchant, Shop: c.Shop,
			Amount: kessai.Amount{Value: c.Amount, Currency: currency}, Reader: reader, CardFor: c.CardFor, PINFor: c.PINFor, PublicKey: c.Public}
		b, err := o.Encode()
		if err != nil || !bytes.Equal(b, c.Encoding) {
			t.Errorf("%s: encoded\n%x, %v; want\n%x", c.Name, b, err, c.Encoding)
		}
		if hash := tether.OfferHash(b); !bytes.Equal(hash[:], c.Hash) || !bytes.Equal(tether.OfferToSign(b), c.ToSign) {
			t.Errorf("%s: the hash or what is signed differs", c.Name)
		}
		if !tether.CheckOffer(ed25519.PublicKey(v.Keys.Gateway), b, c.Signature) || tether.CheckOffer(ed25519.PublicKey(v.Keys.Other), b, c.Signature) {
			t.Errorf("%s: the signature is not the gateway's", c.Name)
		}
		back, err := tether.DecodeOffer(b)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if again, err := back.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: read and written again it is another", c.Name)
		}
	}
	for _, c := range v.RefusedOffers {
		if o, err := tether.DecodeOffer(c.Encoding); !errors.Is(err, tether.ErrOffer) || o != nil {
			t.Errorf("%s: %v, want it refused", c.Why, err)
		}
	}
}

// TestVectors_Sealed opens what another HPKE has sealed, with the private key alone.
func TestVectors_Sealed(t *testing.T) {
	v := readVectors(t)
	for _, c := range v.Sealed {
		name := c.Offer + ", " + c.Name + ", " + c.Step.String()
		o := v.offer(t, c.Offer)
		suite, _ := tether.ParseSuite(o.Suite)
		kem, kdf, aead, _ := suite.HPKE()
		key, err := kem.NewPrivateKey(o.Private)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(key.PublicKey().Bytes(), o.Public) {
			t.Fatalf("%s: the key pair is none", name)
		}
		if !bytes.Equal(tether.Info(c.Step, o.Encoding), c.Info) {
			t.Errorf("%s: info differs", name)
		}
		r, err := hpke.NewRecipient(c.Enc, key, kdf, aead, c.Info)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plain, err := r.Open(nil, c.Ciphertext)
		if err != nil || !bytes.Equal(plain, c.Plain) {
			t.Fatalf("%s: opened %x, %v", name, plain, err)
		}
		message := append(append([]byte(nil), c.Enc...), c.Ciphertext...)
		if len(message) != suite.SealedSize(c.Step) {
			t.Errorf("%s: %d bytes, want %d", name, len(message), suite.SealedSize(c.Step))
		}
		if !tether.CheckSealed(ed25519.PublicKey(v.Keys.Reader), c.Step, o.Encoding, message, c.Signature) {
			t.Errorf("%s: the signature is not the reader's", name)
		}
		if c.Step == tether.StepCard {
			checkCard(t, name, &c, plain)
			continue
		}
		exported, err := r.Export(tether.PINKeyContext, 16)
		if err != nil || !bytes.Equal(exported, c.Exported) {
			t.Fatalf("%s: exported %x, %v; want %x", name, exported, err, c.Exported)
		}
		pan, err := kessai.ParsePAN(c.PAN)
		if err != nil {
			t.Fatalf("%s: the vector's number is none", name)
		}
		pin, err := card.OpenPINBlock([16]byte(exported), pan, [16]byte(plain))
		if err != nil || string(pin.Digits()) != c.PIN {
			t.Errorf("%s: the PIN is not the vector's, %v", name, err)
		}
	}
}

func checkCard(t *testing.T, name string, c *sealedVector, plain []byte) {
	t.Helper()
	kind, data := tether.CardTrack2, []byte(c.Card.Track2)
	if c.Card.EMV != nil {
		kind, data = tether.CardEMV, c.Card.EMV
	}
	if want, err := tether.PadCard(kind, data); err != nil || !bytes.Equal(plain, want) {
		t.Errorf("%s: padded otherwise, %v", name, err)
	}
	got, err := tether.ParseCard(plain)
	if err != nil || got.Expiry != 3112 || (got.EMV != nil) != (kind == tether.CardEMV) {
		t.Errorf("%s: not the vector's card, %v", name, err)
	}
	if got.EMV != nil && (got.EMV.Amount != 1280 || got.EMV.Currency != kessai.JPY || got.Sequence != 1 || got.EMV.Counter != 0x42) {
		t.Errorf("%s: the chip's data is not the vector's", name)
	}
}

func TestVectors_PINBlocks(t *testing.T) {
	for _, c := range readVectors(t).PINBlocks {
		pan, err := kessai.ParsePAN(c.PAN)
		if err != nil {
			t.Fatalf("%s: the vector's number is none", c.Name)
		}
		block, err := card.PINBlock([16]byte(c.Key), pan, kessai.Secret(c.PIN), [8]byte(c.Random))
		if err != nil || !bytes.Equal(block[:], c.Block) {
			t.Errorf("%s: block %x, %v; want %x", c.Name, block, err, c.Block)
		}
		if pin, err := card.OpenPINBlock([16]byte(c.Key), pan, [16]byte(c.Block)); err != nil || string(pin.Digits()) != c.PIN {
			t.Errorf("%s: not the vector's PIN, %v", c.Name, err)
		}
	}
}

func TestVectors_Enrolment(t *testing.T) {
	v := readVectors(t)
	c := v.Enrolment
	for _, code := range []string{c.Code, c.CodeAsShown} {
		if k, err := tether.EnrolKey(code); err != nil || !bytes.Equal(k, c.Key) {
			t.Errorf("the key of the code is %x, %v; want %x", k, err, c.Key)
		}
	}
	e, err := tether.DecodeEnrol(c.Enrol)
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != c.Name || !bytes.Equal(e.Key, v.Keys.Reader) || !bytes.Equal(e.Nonce[:], c.Nonce) || e.Reader().String() != v.Keys.ReaderID || !e.Check(c.Key) {
		t.Error("the enrolment is not the vector's, or not true")
	}
	if b, err := e.Encode(); err != nil || !bytes.Equal(b, c.Enrol) {
		t.Errorf("written again it is another: %v", err)
	}
	if b, err := tether.NewEnrolled(e, ed25519.PublicKey(v.Keys.Gateway), c.Key).Encode(); err != nil || !bytes.Equal(b, c.Enrolled) {
		t.Errorf("the answer is %x, %v; want %x", b, err, c.Enrolled)
	}
	d, err := tether.DecodeEnrolled(c.Enrolled)
	if err != nil || !d.Check(e, c.Key) {
		t.Errorf("the answer is not true: %v", err)
	}
}

func TestVectors_Frames(t *testing.T) {
	v := readVectors(t)
	for _, c := range v.Frames {
		b, err := tether.AppendFrame(nil, tether.Type(c.Type), c.Body)
		if err != nil || !bytes.Equal(b, c.Frame) {
			t.Errorf("%s: frame %x, %v; want %x", c.Name, b, err, c.Frame)
		}
		checkBody(t, c.Name, tether.Type(c.Type), c.Body)
	}
	for _, c := range v.Lines {
		var want []byte
		for _, f := range c.Frames {
			want = append(want, f...)
		}
		for how, r := range map[string]io.Reader{"whole": bytes.NewReader(c.Stream), "by bytes": iotest.OneByteReader(bytes.NewReader(c.Stream))} {
			if got := scanAll(t, r); !bytes.Equal(got, want) {
				t.Errorf("%s, %s: frames %x, want %x", c.Name, how, got, want)
			}
		}
	}
}

// scanAll gives the frames of a line, written again.
func scanAll(t testing.TB, r io.Reader) (all []byte) {
	t.Helper()
	for s := tether.NewScanner(r); ; {
		f, err := s.Next()
		switch {
		case errors.Is(err, tether.ErrFrame):
		case err == io.EOF:
			return all
		case err != nil:
			t.Fatal(err)
		default:
			if all, err = tether.AppendFrame(all, f.Type, f.Body); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// checkBody reads a body as its type has it, and writes it again.
func checkBody(t testing.TB, name string, kind tether.Type, body []byte) {
	t.Helper()
	type encoder interface{ Encode() ([]byte, error) }
	var e encoder
	var err error
	switch kind {
	case tether.PhoneOffer, tether.ReaderCard, tether.ReaderPIN:
		e, err = tether.DecodeSigned(body)
	case tether.PhoneEnd:
		e, err = tether.DecodeEnd(body)
	case tether.PhoneEnrolled:
		e, err = tether.DecodeEnrolled(body)
	case tether.ReaderHello:
		e, err = tether.DecodeHello(body)
	case tether.ReaderEnrol:
		e, err = tether.DecodeEnrol(body)
	case tether.ReaderError:
		f, err := tether.ParseFault(body)
		if err != nil || strings.Contains(f.String(), "fault(") {
			t.Errorf("%s: fault %v, %v", name, f, err)
		}
		return
	default:
		if len(body) != 0 {
			t.Errorf("%s: has a body", name)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if b, err := e.Encode(); err != nil || !bytes.Equal(b, body) {
		t.Errorf("%s: written again it is %x, %v; want %x", name, b, err, body)
	}
}
