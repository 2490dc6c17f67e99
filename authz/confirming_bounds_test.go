package authz

import (
	"testing"

	"kessai"
	"kessai/authz/ledger"
)

// TestP_ClaimIsFoundWithoutItsName: names are forgotten with the book's retention, and
// what was claimed is shown as before.
func TestP_ClaimIsFoundWithoutItsName(t *testing.T) {
	onFloor(t, 2, func(t *testing.T, f *floor) {
		r := f.request(0)
		r.Confirm.Asks, r.Confirm.Customer = kessai.AsksClaim, ""
		id := f.ask(r).Tx.ID
		claim := f.ofCustomer(kessai.Claim, id, f.customer(1)) // as one whose name is forgotten
		claim.Note = []byte(`{"v":1,"customer":"1"}`)
		if _, code, err := f.commitOf(t.Context(), &claim); code != kessai.Approved || err != nil {
			t.Fatal(code, err)
		}
		if now, code, err := f.Approve(t.Context(), Proof{Sale: id, Customer: f.customer(1), Factor: kessai.FactorPasskey}); code != kessai.Approved || err != nil {
			t.Fatal(code, err)
		} else if s, err := f.Sale(&now); err != nil || s.Customer != "1" {
			t.Errorf("%+v, %v", s, err)
		}
		late := f.ofCustomer(kessai.Claim, id, f.customer(1)) // a repeat takes the name again
		late.Names[0], late.Note = ledger.Name{Key: claimKey(id, f.customer(1))}, []byte(`{"v":1,"customer":"another"}`)
		now, code, err := f.commitOf(t.Context(), &late)
		if s, err2 := f.Sale(&now); code != kessai.InvalidTransaction || err != nil || err2 != nil || s.Customer != "1" {
			t.Errorf("%v, %v; %+v, %v", code, err, s, err2)
		}
	})
}

// TestP_NobodyFillsTheBook: what cannot change anything any more is answered and not
// recorded, be it by a stranger who tries passwords or a customer who tries again.
func TestP_NobodyFillsTheBook(t *testing.T) {
	onFloor(t, 1, func(t *testing.T, f *floor) {
		id, ctx := f.waits(0).Tx.ID, t.Context()
		proof := Proof{Sale: id, Customer: f.customer(0), Factor: kessai.FactorPassword, Evidence: []byte("{}")}
		if _, code, err := f.Approve(ctx, proof); code != kessai.Approved || err != nil {
			t.Fatal(code, err)
		}
		for range 5 {
			if code, err := f.SignIn(ctx, f.customer(0), true); code != kessai.WrongProof || err != nil {
				t.Fatal(code, err)
			}
		}
		before := f.book.Stats().Transactions
		for range 10 {
			if code, err := f.SignIn(ctx, f.customer(0), true); code != kessai.TriesExceeded || err != nil {
				t.Error(code, err)
			}
			if sale, code, err := f.Approve(ctx, proof); code != kessai.InvalidTransaction || sale.ID != id || err != nil {
				t.Error(code, err)
			}
			if sale, code, err := f.CancelByCustomer(ctx, id, f.customer(0)); code != kessai.InvalidTransaction || sale.ID != id || err != nil {
				t.Error(code, err)
			}
		}
		if n := f.book.Stats().Transactions; n != before {
			t.Errorf("%d transactions were recorded", n-before)
		}
	})
}
