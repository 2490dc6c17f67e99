package ledger

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"kessai"
)

// benchAccounts is the number of customers whose accounts the operations debit.
const benchAccounts = 1_000

// benchPurchase gives the n-th purchase as it comes over ISO 8583, of customers
// in turn. Accounts are numbered as both benchBook and benchState open them:
// clearing 1, shop 2, customers from 3.
func benchPurchase(n uint64) Op {
	op := Op{
		Kind: kessai.Purchase, Names: named1(n), Wire: WireISO, Merchant: aoi, Terminal: aoiPOS,
		Last4: kessai.Last4([]byte("4242")), STAN: kessai.STAN(n % 1_000_000),
		Customer: AccountID(3 + n%benchAccounts), Shop: 2, Currency: kessai.JPY, Amount: 1,
	}
	binary.BigEndian.PutUint64(op.Medium[:], 1+n%benchAccounts)
	return op
}

func benchBook(b *testing.B) *Book {
	book := openTest(b, Options{Dir: b.TempDir()})
	balances := make([]int64, benchAccounts)
	for i := range balances {
		balances[i] = kessai.MaxAmount
	}
	if shop, customers := people(b, book, balances...); shop != 2 || customers[0] != 3 {
		b.Fatalf("the shop has account %d, the first customer %d", shop, customers[0])
	}
	return book
}

// BenchmarkCommitAlone is one operation at a time: each has a block, and a sync,
// of its own.
func BenchmarkCommitAlone(b *testing.B) {
	book := benchBook(b)
	n := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		op := benchPurchase(n)
		if out, err := book.Commit(b.Context(), &op); err != nil || out.Tx.Code != kessai.Approved {
			b.Fatal(out.Tx.Code, err)
		}
	}
}

// BenchmarkCommitTogether has 2,048 callers for each processor: blocks fill up,
// and one sync serves many. (b.Loop does not go with many goroutines.)
func BenchmarkCommitTogether(b *testing.B) {
	book := benchBook(b)
	var names atomic.Uint64
	b.SetParallelism(2048)
	b.ReportAllocs()
	before := book.Stats().Blocks
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			op := benchPurchase(names.Add(1))
			if out, err := book.Commit(b.Context(), &op); err != nil || out.Tx.Code != kessai.Approved {
				b.Error(out.Tx.Code, err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/float64(book.Stats().Blocks-before), "ops/block")
}

// benchState gives a state with the accounts of benchBook.
func benchState(b *testing.B) *state {
	s := newState()
	specs := []AccountSpec{
		{Name: "clearing/JPY", Kind: ClearingAccount, Currency: kessai.JPY},
		{Name: "merchant/aoi", Kind: MerchantAccount, Currency: kessai.JPY},
	}
	for i := range benchAccounts {
		name := string(binary.AppendUvarint([]byte("customer/"), uint64(i)))
		specs = append(specs, AccountSpec{Name: name, Kind: CustomerAccount, Currency: kessai.JPY, Opening: kessai.MaxAmount})
	}
	for _, spec := range specs {
		if err := s.openAccount(spec); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkApply is what the committer does for each operation but for writing:
// has it come before, what becomes of it, and the change to the state.
func BenchmarkApply(b *testing.B) {
	const most = 1 << 17 // transactions in one state: memory is what bounds it
	var s *state
	var n uint64
	b.ReportAllocs()
	for b.Loop() {
		if n%most == 0 {
			b.StopTimer()
			s = benchState(b)
			b.StartTimer()
		}
		n++
		op := benchPurchase(n)
		if _, again := s.repeat(&op); again {
			b.Fatal("it was done before")
		}
		tx := s.decide(&op)
		if err := s.apply(&tx); err != nil || tx.Code != kessai.Approved {
			b.Fatal(tx.Code, err)
		}
	}
}

// benchBlock is the number of transactions in the block that is written and read.
const benchBlock = 256

func benchTxs(b *testing.B) (txs []Tx) {
	s := benchState(b)
	for n := range uint64(benchBlock) {
		op := benchPurchase(n)
		txs = append(txs, s.decide(&op))
	}
	return txs
}

func encodeBlock(raw, body []byte, txs []Tx) (_, _ []byte) {
	bl := block{number: 1, count: uint32(len(txs)), body: body[:0]}
	for i := range txs {
		bl.body = appendTx(bl.body, &txs[i], nil)
	}
	raw, _ = bl.append(raw[:0])
	return raw, bl.body
}

// BenchmarkBlock writes and reads whole blocks with their hash.
func BenchmarkBlock(b *testing.B) {
	b.Run("encode", func(b *testing.B) {
		txs := benchTxs(b)
		raw, body := encodeBlock(nil, nil, txs)
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			raw, body = encodeBlock(raw, body, txs)
		}
	})
	b.Run("decode", func(b *testing.B) {
		raw, _ := encodeBlock(nil, nil, benchTxs(b))
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			bl, _, err := parseBlock(raw)
			if err != nil {
				b.Fatal(err)
			}
			if err := bl.entries(func(*entry) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
