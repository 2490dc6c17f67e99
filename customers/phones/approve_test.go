package phones

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kessai"
)

// approved reports whether the gateway would take a proof as a yes.
func approved(p Proof, err error) bool { return err == nil && !p.Wrong }

func TestP9_PasswordApprovesThisSaleAndNoOther(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	coffee, cake := testSale(t, 42, "suzuki"), testSale(t, 43, "suzuki")

	proof, err := p.approve(coffee, coffee, nil)
	if !approved(proof, err) || proof.Sale != 42 || proof.Customer != "suzuki" || proof.Factor != kessai.FactorPassword || proof.ServerFinal == "" || len(proof.Evidence) == 0 {
		t.Fatalf("%+v, %v", proof, err)
	}
	// What the phone saw is not what the gateway has: the same payment with one
	// more byte, and a proof that was made for another payment.
	dearer := Shown{42, append(bytes.Clone(coffee.Canonical), '0')}
	if proof, err := p.approve(coffee, dearer, nil); !errors.Is(err, ErrRefused) {
		t.Errorf("a dearer coffee: %+v, %v", proof, err)
	}
	if proof, err := p.approve(coffee, cake, nil); !errors.Is(err, ErrGone) {
		t.Errorf("a try of another sale: %+v, %v", proof, err)
	}
	// The same with a device that signs whatever it is told.
	seen := sha256.Sum256(coffee.Canonical)
	r := p.run("kessai-sale", seen)
	try, serverFirst, err := h.BeginPassword(p.in, 42, r.first)
	if err != nil {
		t.Fatal(err)
	}
	final, message := p.final(r, serverFirst)
	proof, err = h.FinishPassword(p.in, dearer, try, final, p.sign(sha256.Sum256(dearer.Canonical), message))
	if err != nil || !proof.Wrong || proof.Evidence != nil || proof.ServerFinal != "" {
		t.Errorf("the digest of another sale: %+v, %v", proof, err)
	}
	bad := h.phone(t, "suzuki", "aoi-1235")
	bad.in, bad.key = p.in, p.key
	if proof, err := bad.approve(coffee, coffee, nil); err != nil || !proof.Wrong || proof.Evidence != nil || proof.ServerFinal != "" {
		t.Errorf("a wrong password: %+v, %v", proof, err)
	}
	// A stolen cookie and password, without the device's key.
	thief := h.phone(t, "suzuki", "aoi-1234")
	thief.in = p.in
	if proof, err := thief.approve(coffee, coffee, nil); !errors.Is(err, ErrRefused) {
		t.Errorf("another device: %+v, %v", proof, err)
	}
	// Somebody else's name in the message.
	sato := h.phone(t, "sato", "umi-5678")
	sato.in, sato.key = p.in, p.key
	if proof, err := sato.approve(coffee, coffee, nil); !errors.Is(err, ErrRefused) {
		t.Errorf("another customer: %+v, %v", proof, err)
	}
}

func TestTriesAreGoodOnceAndForTwoMinutes(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	other := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	coffee := testSale(t, 42, "suzuki")
	digest := sha256.Sum256(coffee.Canonical)
	begin := func() (try, final string, signature []byte) {
		t.Helper()
		r := p.run("kessai-sale", digest)
		try, serverFirst, err := h.BeginPassword(p.in, 42, r.first)
		if err != nil {
			t.Fatal(err)
		}
		final, message := p.final(r, serverFirst)
		return try, final, p.sign(digest, message)
	}
	try, final, signature := begin()
	if _, err := h.FinishPassword(other.in, coffee, try, final, signature); !errors.Is(err, ErrGone) {
		t.Errorf("another device took the try: %v", err)
	}
	if proof, err := h.FinishPassword(p.in, coffee, try, final, signature); !approved(proof, err) {
		t.Fatalf("%+v, %v", proof, err)
	}
	if _, err := h.FinishPassword(p.in, coffee, try, final, signature); !errors.Is(err, ErrGone) {
		t.Errorf("a proof works twice: %v", err)
	}
	// With a new try the old message is worth nothing.
	again, _, _ := begin()
	if proof, err := h.FinishPassword(p.in, coffee, again, final, signature); approved(proof, err) {
		t.Error("a recorded proof works with a new try")
	}
	try, final, signature = begin()
	h.pass(TryLifetime)
	if _, err := h.FinishPassword(p.in, coffee, try, final, signature); !errors.Is(err, ErrGone) {
		t.Errorf("a try is good after two minutes: %v", err)
	}
	try, final, signature = begin()
	h.pass(TryLifetime - time.Millisecond)
	if proof, err := h.FinishPassword(p.in, coffee, try, final, signature); !approved(proof, err) {
		t.Errorf("a try is not good for two minutes: %v", err)
	}
}

func TestOneTryHasOneWinner(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	coffee := testSale(t, 42, "suzuki")
	digest := sha256.Sum256(coffee.Canonical)
	for range 50 {
		r := p.run("kessai-sale", digest)
		try, serverFirst, err := h.BeginPassword(p.in, 42, r.first)
		if err != nil {
			t.Fatal(err)
		}
		final, message := p.final(r, serverFirst)
		signature := p.sign(digest, message)
		var won, gone atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				switch proof, err := h.FinishPassword(p.in, coffee, try, final, signature); {
				case approved(proof, err):
					won.Add(1)
				case errors.Is(err, ErrGone):
					gone.Add(1)
				}
			})
		}
		if all.Wait(); won.Load() != 1 || gone.Load() != 7 {
			t.Fatalf("%d winners, %d losers", won.Load(), gone.Load())
		}
	}
}

func flipped(b []byte, bit int) []byte {
	c := bytes.Clone(b)
	c[bit/8] ^= 1 << (bit % 8)
	return c
}

// TestEveryBitOfAPassword: nothing that is sent may be one bit otherwise.
func TestEveryBitOfAPassword(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	coffee := testSale(t, 42, "suzuki")
	for bit := 0; ; bit++ {
		more := false
		proof, err := p.approve(coffee, coffee, func(final string, signature []byte) (string, []byte) {
			if more = bit < 8*len(final); more {
				final = string(flipped([]byte(final), bit))
			}
			return final, signature
		})
		if !more {
			if !approved(proof, err) {
				t.Errorf("nothing was changed: %+v, %v", proof, err)
			}
			break
		}
		if approved(proof, err) {
			t.Fatalf("bit %d of client-final makes no difference", bit)
		}
	}
	for bit := range 8 * 64 {
		proof, err := p.approve(coffee, coffee, func(final string, signature []byte) (string, []byte) { return final, flipped(signature, bit) })
		if approved(proof, err) {
			t.Fatalf("bit %d of the signature makes no difference", bit)
		}
	}
	for bit := range 8 * len(coffee.Canonical) {
		if proof, err := p.approve(coffee, Shown{42, flipped(coffee.Canonical, bit)}, nil); approved(proof, err) {
			t.Fatalf("bit %d of the sale makes no difference", bit)
		}
	}
}

// TestEveryBitOfAPasskey: the same, with a device that signs whatever comes.
func TestEveryBitOfAPasskey(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	if _, err := p.addPasskey(); err != nil {
		t.Fatal(err)
	}
	coffee := testSale(t, 42, "suzuki")
	proof, err := p.approveByPasskey(coffee, coffee, nil)
	if !approved(proof, err) || proof.Factor != kessai.FactorPasskey || len(proof.Evidence) == 0 {
		t.Fatalf("%+v, %v", proof, err)
	}
	for name, part := range map[string]func(*answer) *[]byte{
		"client data":        func(a *answer) *[]byte { return &a.clientData },
		"authenticator data": func(a *answer) *[]byte { return &a.data },
		"signature":          func(a *answer) *[]byte { return &a.signature },
		"user handle":        func(a *answer) *[]byte { return &a.handle },
	} {
		for bit, more := 0, true; more; bit++ {
			proof, err := p.approveByPasskey(coffee, coffee, func(a *answer) {
				if b := part(a); bit < 8*len(*b) {
					*b = flipped(*b, bit)
				} else {
					more = false
				}
			})
			if more && approved(proof, err) {
				t.Fatalf("bit %d of the %s makes no difference", bit, name)
			}
		}
	}
	for bit := range 8 * len(coffee.Canonical) {
		if proof, err := p.approveByPasskey(coffee, Shown{42, flipped(coffee.Canonical, bit)}, nil); approved(proof, err) {
			t.Fatalf("bit %d of the sale makes no difference", bit)
		}
	}
}

func TestPasskeyApproval(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	coffee := testSale(t, 42, "suzuki")
	if _, err := p.approveByPasskey(coffee, coffee, nil); !errors.Is(err, ErrGone) {
		t.Errorf("without any passkey: %v", err)
	}
	if _, err := p.addPasskey(); err != nil {
		t.Fatal(err)
	}
	// A finger is asked for: presence alone is not enough.
	proof, err := p.approveByPasskey(coffee, coffee, func(a *answer) { *a = p.assert(challengeOf(t, a), userPresent) })
	if err != nil || !proof.Wrong {
		t.Errorf("without verification of the user: %+v, %v", proof, err)
	}
	// The counter went back: there are two of it.
	if proof, err := p.approveByPasskey(coffee, coffee, nil); !approved(proof, err) {
		t.Fatalf("%+v, %v", proof, err)
	}
	p.passkey.count = 1
	if proof, err := p.approveByPasskey(coffee, coffee, nil); err != nil || !proof.Wrong {
		t.Errorf("a copy of the passkey: %+v, %v", proof, err)
	}
	p.passkey.count = 1000
	if proof, err := p.approveByPasskey(coffee, coffee, nil); !approved(proof, err) {
		t.Errorf("%+v, %v", proof, err)
	}
	// Somebody else's.
	sato := h.phone(t, "sato", "umi-5678").mustSignIn()
	if _, err := sato.addPasskey(); err != nil {
		t.Fatal(err)
	}
	sato.in, sato.key = p.in, p.key
	if proof, err := sato.approveByPasskey(coffee, coffee, nil); err != nil || !proof.Wrong {
		t.Errorf("another customer's passkey: %+v, %v", proof, err)
	}
	if err := h.store.RemovePasskey("suzuki", b64(p.passkey.id)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.approveByPasskey(coffee, coffee, nil); !errors.Is(err, ErrGone) {
		t.Errorf("a passkey that was removed: %v", err)
	}
}
