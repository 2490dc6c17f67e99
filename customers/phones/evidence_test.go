package phones

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"kessai/pos/sale"
)

// evidences gives what is kept of an approval by password, and by passkey.
func evidences(t *testing.T) (h *house, p *phone, coffee Shown, byPassword, byPasskey []byte) {
	t.Helper()
	h = newHouse(t)
	p = h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	if _, err := p.addPasskey(); err != nil {
		t.Fatal(err)
	}
	coffee = testSale(t, 42, "suzuki")
	proof, err := p.approve(coffee, coffee, nil)
	if !approved(proof, err) {
		t.Fatalf("%+v, %v", proof, err)
	}
	byPassword = proof.Evidence
	if proof, err = p.approveByPasskey(coffee, coffee, nil); !approved(proof, err) {
		t.Fatalf("%+v, %v", proof, err)
	}
	return h, p, coffee, byPassword, proof.Evidence
}

func TestEvidenceHolds(t *testing.T) {
	h, p, coffee, byPassword, byPasskey := evidences(t)
	for factor, kept := range map[string][]byte{"password": byPassword, "passkey": byPasskey} {
		r, err := Verify(kept, coffee, h.keys)
		if err != nil || !r.Holds() || r.Missing != "" {
			t.Errorf("%s: %+v, %v", factor, r, err)
		}
		if r.Factor != factor || r.Device.ID != p.in.Device.ID || r.Device.Name != "Pixel" || !r.Time.Equal(h.now) || r.Sale.Shop != "Kissaten Aoi" || len(r.Checks) < 6 {
			t.Errorf("%s: %+v", factor, r)
		}
		if factor == "passkey" && r.Origin != "https://pay.example.com" {
			t.Errorf("origin %q", r.Origin)
		}
		// Another payment, or the same with another content in the book.
		for name, has := range map[string]Shown{"another payment": testSale(t, 43, "suzuki"), "another customer": testSale(t, 42, "sato"), "another ID": {43, coffee.Canonical}} {
			if r, err := Verify(kept, has, h.keys); err != nil || r.Holds() {
				t.Errorf("%s: evidence for %s holds (%v)", factor, name, err)
			}
		}
		// Proof and stored key are not in the clear.
		v := h.people["suzuki"].Verifier.StoredKey()
		if enc, _ := json.Marshal(v[:]); bytes.Contains(kept, bytes.Trim(enc, `"`)) {
			t.Errorf("%s: the stored key can be read", factor)
		}
	}
	r, err := Verify(byPassword, coffee, nil)
	if err != nil || !r.Holds() || r.Missing == "" {
		t.Errorf("without a key: %+v, %v", r, err)
	}
	other, _ := NewKeys(bytes.Repeat([]byte{9}, 32))
	if r, err := Verify(byPassword, coffee, other); err != nil || r.Holds() {
		t.Errorf("with another key: %+v, %v", r, err)
	}
	if r, err := Verify(byPasskey, coffee, nil); err != nil || !r.Holds() || r.Missing != "" {
		t.Errorf("a passkey's evidence needs no key: %+v, %v", r, err)
	}
}

// TestEveryBitOfEvidence turns over each bit of whatever was signed or sealed; some
// of them, unless there is time.
func TestEveryBitOfEvidence(t *testing.T) {
	step := 7
	if os.Getenv("KESSAI_SOAK") != "" {
		step = 1
	}
	h, _, coffee, byPassword, byPasskey := evidences(t)
	for _, kept := range [][]byte{byPassword, byPasskey} {
		parts := func(e *Evidence) map[string]*[]byte {
			m := map[string]*[]byte{"sale": &e.Sale, "device key": &e.Device.Key, "device signature": &e.Device.Signature}
			if e.Scram != nil {
				m["sealed"] = &e.Scram.Sealed
			} else {
				m["client data"], m["authenticator data"], m["signature"], m["nonce"] = &e.Passkey.ClientData, &e.Passkey.AuthenticatorData, &e.Passkey.Signature, &e.Passkey.Nonce
			}
			return m
		}
		var e Evidence
		if err := json.Unmarshal(kept, &e); err != nil {
			t.Fatal(err)
		}
		holds := func() bool {
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Verify(b, coffee, h.keys)
			return err == nil && r.Holds()
		}
		if !holds() {
			t.Fatal("what nobody touched does not hold")
		}
		for name, part := range parts(&e) {
			for bit := 0; bit < 8*len(*part); bit += step {
				was := *part
				if *part = flipped(was, bit); holds() {
					t.Fatalf("bit %d of the %s makes no difference", bit, name)
				}
				*part = was
			}
		}
		if e.Scram == nil {
			continue
		}
		was := e.Scram.AuthMessage
		for bit := 0; bit < 8*len(was); bit += step {
			if e.Scram.AuthMessage = string(flipped([]byte(was), bit)); holds() {
				t.Fatalf("bit %d of the signed message makes no difference", bit)
			}
		}
	}
}

func TestEvidenceThatIsNone(t *testing.T) {
	h, _, coffee, byPassword, _ := evidences(t)
	for name, b := range map[string][]byte{
		"empty": nil, "a note": []byte(`{"v":1,"shop":"Aoi"}`), "no object": []byte(`[]`), "more behind": append(bytes.Clone(byPassword), byPassword...),
		"another version": bytes.Replace(byPassword, []byte(`{"v":1`), []byte(`{"v":2`), 1), "another factor": bytes.Replace(byPassword, []byte(`"password"`), []byte(`"passkey"`), 1),
		"too long": append(bytes.Clone(byPassword), bytes.Repeat([]byte(" "), MaxEvidence)...),
	} {
		if r, err := Verify(b, coffee, h.keys); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestEvidenceOfALongSale: of the longest sale there is, the evidence has the
// digest, and is within its limit.
func TestEvidenceOfALongSale(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	if _, err := p.addPasskey(); err != nil {
		t.Fatal(err)
	}
	s, err := sale.Decode(testSale(t, 42, "suzuki").Canonical)
	if err != nil {
		t.Fatal(err)
	}
	name := bytes.Repeat([]byte("珈"), sale.MaxName)
	s.Items, s.Total.Value = nil, 0
	for range sale.MaxItems {
		s.Items = append(s.Items, sale.Item{Code: "2000000000008", Name: string(name), Quantity: 1, Price: 450, Tax: 1000})
		s.Total.Value += 450
	}
	b, err := s.Encode()
	if err != nil || len(b) < maxSaleKept {
		t.Fatal(len(b), err)
	}
	long := Shown{42, b}
	for factor, approve := range map[string]func() (Proof, error){
		"password": func() (Proof, error) { return p.approve(long, long, nil) },
		"passkey":  func() (Proof, error) { return p.approveByPasskey(long, long, nil) },
	} {
		proof, err := approve()
		if !approved(proof, err) || len(proof.Evidence) > 4<<10 {
			t.Fatalf("%s: %d bytes, %v", factor, len(proof.Evidence), err)
		}
		if r, err := Verify(proof.Evidence, long, h.keys); err != nil || !r.Holds() {
			t.Errorf("%s: %+v, %v", factor, r, err)
		}
		has := Shown{42, flipped(b, 8*len(b)-1)}
		if r, err := Verify(proof.Evidence, has, h.keys); err != nil || r.Holds() {
			t.Errorf("%s: another sale: %v", factor, err)
		}
	}
}
