package ledger

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"kessai"
)

// TestR_OneWinner has everybody end the same payments by card at the same moment: a
// right PIN and wrong ones, the customer, the gateway, the terminal and the deadline,
// with the gateway stopped in between. Each payment has one winner, and each card the
// wrong PINs that follow from the order in the book.
func TestR_OneWinner(t *testing.T) {
	races := 5_000
	if raceEnabled {
		races = 1_000
	}
	synctest.Test(t, func(t *testing.T) {
		r := &racing{dir: t.TempDir(), rnd: rand.New(rand.NewPCG(20261126, 1)), heard: map[kessai.TxID][]Tx{}, wins: map[string]int{}, byCard: true}
		r.open(t)
		r.shop, r.customers = people(t, r.book(), 1_000_000_000, 1_000_000_000)
		wrong := map[kessai.MediumID]int{}
		locked := 0
		for r.n < races {
			r.round(t, 100)
			locked += r.judgePINs(t, wrong)
		}
		t.Logf("who won: %v; %d cards were locked", r.wins, locked)
		for _, who := range []string{"approval", "cancellation", "wrong proofs", "deadline", "reversal"} {
			if r.wins[who] < races/200 {
				t.Errorf("only %d of %d races were won by the %s", r.wins[who], races, who)
			}
		}
		if locked < races/200 {
			t.Errorf("only %d cards were locked", locked)
		}
		if err := r.book().Close(); err != nil {
			t.Fatal(err)
		}
		if rep, err := Verify(r.dir, nil); err != nil || rep.Waiting+rep.HoldsOpen != 0 {
			t.Errorf("%+v, %v", rep, err)
		}
	})
}

// guessed is a PIN, and what came of it.
type guessed struct {
	tx    Tx
	wrong bool
}

// withCards gives the PINs for a payment that waits for a card.
func (r *racing) withCards(c *contest) (asks []func(*testing.T) Tx) {
	id, of := Ref{ID: c.sale.ID}, c.sale.Customer
	for _, verdict := range []kessai.ResponseCode{kessai.Approved, kessai.WrongProof, kessai.WrongProof} {
		op := Op{
			Kind: kessai.Approval, Original: id, Customer: of, Factor: kessai.FactorPIN, Verdict: verdict,
			Medium: kessai.MediumID{1, byte(r.rnd.IntN(30))},
		}
		asks = append(asks, func(t *testing.T) Tx {
			tx := r.commit(t, op)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.guesses = append(r.guesses, guessed{tx, verdict == kessai.WrongProof})
			return tx
		})
	}
	return asks
}

// judgePINs goes through a round's PINs in the order of the book, holds each answer
// and each card's count against what follows, and unlocks the cards.
func (r *racing) judgePINs(t *testing.T, wrong map[kessai.MediumID]int) (locked int) {
	t.Helper()
	slices.SortFunc(r.guesses, func(a, b guessed) int { return cmp.Compare(a.tx.ID, b.tx.ID) })
	for _, g := range r.guesses {
		card, want := g.tx.Medium, kessai.Approved
		switch {
		case wrong[card] >= defaultPINTries:
			want = kessai.TriesExceeded
		case g.wrong:
			want = kessai.WrongProof
			wrong[card]++
		case g.tx.Code != kessai.InvalidTransaction:
			wrong[card] = 0
		}
		if g.tx.Code != want && g.tx.Code != kessai.InvalidTransaction { // the payment had ended before
			t.Fatalf("a PIN (wrong: %v) of a card with %d wrong ones became %+v", g.wrong, wrong[card], g.tx)
		}
	}
	r.guesses = nil
	for card, n := range wrong {
		wantPINs(t, r.book(), card, n)
		if n == defaultPINTries {
			r.commit(t, Op{Kind: kessai.Unlock, Medium: card})
			wrong[card] = 0
			locked++
		}
	}
	return locked
}
