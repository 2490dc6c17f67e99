package authz

import (
	"bytes"
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/tether"
)

var background = context.Background()

// TestR_SettledWithCardAndPIN goes through once.
func TestR_SettledWithCardAndPIN(t *testing.T) {
	onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
		r := f.byReader(0)
		r.Confirm.Customer = "+81500" // the customer is named by their number
		heard := make(chan ledger.Tx, 1)
		reply := f.ask(r)
		id := reply.Tx.ID
		if _, err := f.Await(id, func(t ledger.Tx) { heard <- t }); err != nil {
			t.Fatal(err)
		}
		s := f.step(0, id, ReaderApproves)
		if s.Offer != nil || s.Until.Sub(time.Unix(0, s.Sale.Time)) != 2*time.Minute || reply.Tx.Deadline-reply.Tx.Time != int64(4*time.Minute) {
			t.Errorf("%+v", s)
		}
		f.evidence = func(p ReaderProof) []byte { return []byte(`{"proof":1}`) }
		s, err := f.approve(0, id)
		if err != nil || s.Step != ReaderCard {
			t.Fatal(s.Step, err)
		}
		offer, err := tether.DecodeOffer(s.Offer)
		if err != nil || offer.ID != id || offer.Amount != r.Amount || offer.Reader != f.readerOf(0).id || offer.Merchant != shop || offer.CardFor != 60 || offer.PINFor != 60 {
			t.Fatalf("%+v, %v", offer, err)
		}
		card := f.readerOf(0).card(t, s.Offer, pinCard(0))
		if s, err = f.ReaderCard(background, id, f.customer(0), card); err != nil || s.Step != ReaderPIN {
			t.Fatal(s.Step, s.Sale.Told, err)
		}
		if n := f.ReaderStats(); n.Keys != 1 || n.Waiting != [ReaderEnded]int{0, 0, 1} {
			t.Errorf("%+v", n)
		}
		pin := f.readerOf(0).pin(t, s.Offer, pinCard(0), rightPIN)
		if s, err = f.ReaderPIN(background, id, f.customer(0), pin); err != nil || s.Step != ReaderEnded {
			t.Fatal(s.Step, err)
		}
		sale := s.Sale
		if sale.Status != ledger.Posted || sale.Medium != hasher.Medium(pinCard(0)) || sale.Last4 != (kessai.Last4{}) || sale.Agreed == 0 {
			t.Errorf("%+v", sale)
		}
		agreed, _ := f.book.Find(ledger.Ref{ID: sale.Agreed})
		note, err := f.book.Note(sale.Agreed)
		if agreed.Factor != kessai.FactorPIN || string(note) != `{"proof":1}` || err != nil {
			t.Errorf("%v, %s, %v", agreed.Factor, note, err)
		}
		want := ReaderProof{sha256.Sum256(mustOffer(t, offer)), sha256.Sum256(card.Sealed), card.Signature, sha256.Sum256(pin.Sealed), pin.Signature}
		if p := f.proofs[0]; p.OfferHash != want.OfferHash || p.CardHash != want.CardHash || p.PINHash != want.PINHash ||
			!bytes.Equal(p.CardSignature, want.CardSignature) || !bytes.Equal(p.PINSignature, want.PINSignature) {
			t.Errorf("%+v", p)
		}
		if told := <-heard; told.Standing() != kessai.Approved {
			t.Error("the shop heard something else")
		}
		f.ended(0, id, kessai.Approved)
		if a, _ := f.book.AccountByName("merchant/aoi"); a.Balance != 450 {
			t.Errorf("the shop has %d", a.Balance)
		}
		if n := f.ReaderStats(); n.Ended[ReaderEnd{ReaderPIN, kessai.Approved}] != 1 || n.Issued != 1 || n.Refused != 0 {
			t.Errorf("%+v", n)
		}
		if shown, err := f.Sale(&sale); err != nil || shown.Customer != "0" {
			t.Errorf("%+v, %v", shown, err) // their ID, not their number
		}
	})
}

func mustOffer(t *testing.T, o *tether.Offer) []byte {
	t.Helper()
	b, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestR_SettledWithoutPIN: a card that has none settles by itself, also with the
// suite for the time after quantum computers, and also what is only held.
func TestR_SettledWithoutPIN(t *testing.T) {
	onReaderFloorWith(t, 1, ReaderOptions{Suite: tether.SuiteHybrid}, func(t *testing.T, f *readerFloor) {
		r := f.byReader(0)
		r.Kind, r.Attempt.MTI = kessai.PreAuthorization, MTI(kessai.PreAuthorization)
		id := f.ask(r).Tx.ID
		s, err := f.approve(0, id)
		if err != nil {
			t.Fatal(err)
		}
		if s, err = f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, s.Offer, plainCard(0))); err != nil || s.Sale.Status != ledger.Pending || s.Step != ReaderEnded {
			t.Fatal(s.Step, s.Sale.Status, err)
		}
		if agreed, _ := f.book.Find(ledger.Ref{ID: s.Sale.Agreed}); agreed.Factor != kessai.FactorCard {
			t.Error(agreed.Factor)
		}
	})
}
