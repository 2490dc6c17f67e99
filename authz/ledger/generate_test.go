package ledger

import (
	"testing"

	"kessai"
)

// TestGenerate makes a book to measure with and checks it like any other.
func TestGenerate(t *testing.T) {
	o := Options{Dir: t.TempDir(), Logf: t.Logf, Resident: 2_000, SnapshotEvery: 3_000, SnapshotPause: 1}
	want := Sample{Transactions: 20_000, Customers: 500, Merchants: 7, Seed: 1}
	if err := Generate(o, want); err != nil {
		t.Fatal(err)
	}
	kinds := make(map[kessai.Kind]int)
	next := kessai.TxID(1)
	r, err := Scan(o.Dir, nil, func(tx *Tx) error {
		if tx.ID != next {
			t.Fatalf("transaction %d comes where %d should", tx.ID, next)
		}
		next++
		kinds[tx.Kind]++
		return nil
	})
	if err != nil || r.Transactions != want.Transactions || r.Accounts != 508 || next != 20_001 {
		t.Fatalf("%+v, %v; %d were given", r, err, next-1)
	}
	for _, k := range []kessai.Kind{kessai.Purchase, kessai.PreAuthorization, kessai.Completion, kessai.Reversal} {
		if kinds[k] == 0 {
			t.Errorf("no %v is in it", k)
		}
	}
	b := openTest(t, o)
	if s := b.Stats(); s.SnapshotBlock != s.Blocks || s.Attempts != want.Transactions || s.FollowerLag != 0 {
		t.Errorf("it was left as %+v", s)
	}
	if Generate(o, want) == nil {
		t.Error("a book was written over a book")
	}
}
