package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"

	"kessai"
)

var (
	aoi    = must(kessai.ParseMerchantID("AOI000000000001"))
	aoiPOS = must(kessai.ParseTerminalID("AOI00001"))
)

func TestMain(m *testing.M) {
	fileSize = 1 << 20 // so that files of pages begin and end
	firstSegment, mostSegment = 320<<10, 640<<10
	os.Exit(m.Run())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// openTest opens a book that is closed with the test.
func openTest(t testing.TB, o Options) *Book {
	t.Helper()
	o.Logf = t.Logf
	b, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func reopen(t testing.TB, b *Book) *Book {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return openTest(t, Options{Dir: b.o.Dir})
}

// people opens a shop's account and customers' accounts with balances.
func people(t testing.TB, b *Book, balances ...int64) (shop AccountID, customers []AccountID) {
	t.Helper()
	specs := []AccountSpec{{Name: "merchant/aoi", Kind: MerchantAccount, Currency: kessai.JPY}}
	for i, v := range balances {
		specs = append(specs, AccountSpec{Name: fmt.Sprintf("customer/%d", i), Kind: CustomerAccount, Currency: kessai.JPY, Opening: v})
	}
	ids, err := b.OpenAccounts(specs)
	if err != nil {
		t.Fatal(err)
	}
	return ids[0], ids[1:]
}

func keyOf(n uint64) (k Key) {
	binary.BigEndian.PutUint64(k[8:], n)
	k[0] = 1
	return k
}

func named1(n uint64) [2]Name { return [2]Name{{Key: keyOf(n)}} }

func commit(t testing.TB, b *Book, op Op) Outcome {
	t.Helper()
	if op.Merchant.IsZero() {
		op.Merchant, op.Terminal = aoi, aoiPOS
	}
	if op.Currency == 0 {
		op.Currency = kessai.JPY
	}
	out, err := b.Commit(context.Background(), &op)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantCode(t testing.TB, out Outcome, code kessai.ResponseCode) Tx {
	t.Helper()
	if out.Conflict || out.Tx.Code != code {
		t.Fatalf("got code %v (conflict %v), want %v", out.Tx.Code, out.Conflict, code)
	}
	return out.Tx
}

func wantBalance(t testing.TB, b *Book, id AccountID, balance, held int64) {
	t.Helper()
	if a, ok := b.Account(id); !ok || a.Balance != balance || a.Held != held {
		t.Fatalf("account %d has %d, %d held; want %d, %d held", id, a.Balance, a.Held, balance, held)
	}
}

func TestPurchaseMovesMoneyAndSurvivesReopening(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000)
	op := Op{Kind: kessai.Purchase, Names: named1(1), Customer: c[0], Shop: shop, Amount: 450, Note: []byte("coffee")}
	tx := wantCode(t, commit(t, b, op), kessai.Approved)
	again := commit(t, b, op)
	if !again.Replayed || again.Tx != tx {
		t.Fatalf("a repeat got %+v, want the stored %+v", again, tx)
	}
	b = reopen(t, b)
	wantBalance(t, b, c[0], 550, 0)
	wantBalance(t, b, shop, 450, 0)
	if again := commit(t, b, op); !again.Replayed || again.Tx != tx {
		t.Fatalf("after reopening a repeat got %+v, want the stored %+v", again, tx)
	}
	if note, err := b.Note(tx.ID); err != nil || string(note) != "coffee" {
		t.Fatalf("note %q, %v", note, err)
	}
	list, err := b.List(Query{Merchant: aoi, Limit: 10})
	if err != nil || len(list) != 1 || list[0] != tx {
		t.Fatalf("list %v, %v", list, err)
	}
	other := op
	other.Names[0].Digest[0] = 1
	if out := commit(t, b, other); !out.Conflict {
		t.Fatal("the same name with different content was not a conflict")
	}
	wantCode(t, commit(t, b, Op{Kind: kessai.Purchase, Names: named1(2), Customer: c[0], Shop: shop, Amount: 551}), kessai.InsufficientFunds)
}

func TestUncleanStopIsReadBackFromBlocks(t *testing.T) {
	dir := t.TempDir()
	b := openTest(t, Options{Dir: dir})
	shop, c := people(t, b, 100_000)
	for i := range uint64(300) {
		commit(t, b, Op{Kind: kessai.Purchase, Names: named1(i), Customer: c[0], Shop: shop, Amount: 1})
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	withoutSnapshot(t, dir)
	b = openTest(t, Options{Dir: dir})
	wantBalance(t, b, c[0], 99_700, 0)
	if list, err := b.List(Query{Merchant: aoi, Limit: 500}); err != nil || len(list) != 300 {
		t.Fatalf("%d listed, %v", len(list), err)
	}
}

// withoutSnapshot removes everything that follows from the blocks.
func withoutSnapshot(t testing.TB, dir string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(indexDir(dir)), os.RemoveAll(pagesDir(dir))); err != nil {
		t.Fatal(err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	if _, err := Open(Options{Dir: b.o.Dir}); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second opening: %v, want ErrLocked", err)
	}
	if _, err := Verify(b.o.Dir, nil); !errors.Is(err, ErrLocked) {
		t.Fatalf("verifying an open book: %v, want ErrLocked", err)
	}
}
