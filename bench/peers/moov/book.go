package moov

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"kessai"
	"kessai/bench/load"
)

// The store holds, each under a letter: c cards (by the keyed hash of their
// number, which itself does not go to the disk), t terminals, a accounts, x
// transactions, and k attempts, which lead to their transaction.
type (
	card struct {
		Account string
		Expiry  string
	}
	terminal struct {
		Merchant string
		Account  string
	}
	transaction struct {
		Code     string // DE39
		Kind     string // MTI and processing code
		Terminal string
		Card     string // the hash
		Customer string // account
		Shop     string // account
		Amount   int64
		Balance  int64 // of the customer, as a balance inquiry was answered
		Undone   bool  // reversed
	}
)

// book is badger, and what it does not hold.
type book struct {
	db      *badger.DB
	numbers *badger.Sequence
	hasher  *kessai.MediumHasher
}

func newBook(ctx context.Context, dir string, o Options) (_ *book, err error) {
	if err := o.Population.Validate(); err != nil {
		return nil, err
	}
	if o.Balance < 0 {
		return nil, errors.New("the balance of a customer must be at least 0")
	}
	key := make([]byte, kessai.MinKeyBytes)
	_, _ = rand.Read(key) // never fails
	b := new(book)
	if b.hasher, err = kessai.NewMediumHasher(key); err != nil {
		return nil, err
	}
	if err := b.fill(ctx, dir, o); err != nil {
		return nil, fmt.Errorf("make the population: %w", err)
	}
	if b.db, err = badger.Open(options(dir).WithSyncWrites(true)); err != nil {
		return nil, fmt.Errorf("open badger: %w", err)
	}
	if b.numbers, err = b.db.GetSequence([]byte("number"), 10_000); err != nil {
		return nil, errors.Join(fmt.Errorf("begin the numbers: %w", err), b.db.Close())
	}
	return b, nil
}

func options(dir string) badger.Options { return badger.DefaultOptions(dir).WithLogger(nil) }

func (b *book) close() error { return errors.Join(b.numbers.Release(), b.db.Close()) }

// fill makes cards, terminals and accounts. Closing the store syncs it.
func (b *book) fill(ctx context.Context, dir string, o Options) (err error) {
	db, err := badger.Open(options(dir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	w := db.NewWriteBatch()
	defer w.Cancel()
	p := o.Population
	for n := range p.Media {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		pan, err := kessai.ParsePAN(p.PAN(n))
		if err != nil {
			return err
		}
		account := "c" + strconv.Itoa(n)
		if err := errors.Join(
			set(w, cardKey(b.hasher.Medium(pan)), card{Account: account, Expiry: load.Expiry}),
			setBalance(w, account, o.Balance)); err != nil {
			return err
		}
	}
	for n := range p.Terminals {
		merchant := p.MerchantID(p.MerchantOf(n))
		account := "m" + merchant
		if err := errors.Join(
			set(w, terminalKey(p.TerminalID(n)), terminal{Merchant: merchant, Account: account}),
			setBalance(w, account, 0)); err != nil {
			return err
		}
	}
	return w.Flush()
}

// maxTries bounds how often a transaction is tried again when others were faster.
const maxTries = 1000

// answer carries a request out and makes its answer of it. After an error nothing
// may be answered: the outcome is unknown.
func (b *book) answer(ctx context.Context, mti string, m *message) error {
	n, err := b.numbers.Next()
	if err != nil {
		return err
	}
	var pan kessai.PAN
	if m.PAN != "" {
		pan, _ = kessai.ParsePAN(m.PAN) // a wrong number is one that is not known
	}
	r := request{mti: mti, m: m, id: kessai.TxID(n + 1), card: b.hasher.Medium(pan)}
	var t transaction
	for range maxTries {
		err = b.db.Update(func(txn *badger.Txn) (err error) {
			t, err = r.once(txn)
			return err
		})
		if !errors.Is(err, badger.ErrConflict) {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if errors.Is(err, badger.ErrConflict) {
		t, err = transaction{Code: malfunction}, nil // nothing was done
	}
	r.reply(&t)
	return err
}

// The response codes, DE39.
const (
	approved      = "00"
	noAmount      = "13"
	noCard        = "14"
	noRecord      = "25"
	formatError   = "30"
	noMoney       = "51"
	expired       = "54"
	noTerminal    = "58"
	otherContent  = "94"
	malfunction   = "96"
	noTransaction = "12"
)

// setter is badger's transaction and its batch.
type setter interface{ Set(key, value []byte) error }

func cardKey(id kessai.MediumID) []byte { return append([]byte("c"), id[:]...) }
func terminalKey(id string) []byte      { return []byte("t" + id) }
func accountKey(id string) []byte       { return []byte("a" + id) }
func transactionKey(id kessai.TxID) []byte {
	return binary.BigEndian.AppendUint64([]byte("x"), uint64(id))
}

// attemptKey names a request: a repeat (0201) has the name of the first sending.
func attemptKey(mti string, m *message) []byte {
	return []byte(strings.Join([]string{"k", m.Acquirer, m.Terminal, m.Sent, m.STAN, mti[:3]}, "/"))
}

func set(w setter, key []byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.Set(key, b)
}

// get reads a value; it is false where there is none.
func get(txn *badger.Txn, key []byte, v any) (bool, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, item.Value(func(b []byte) error { return json.Unmarshal(b, v) })
}

func setBalance(w setter, account string, v int64) error { return set(w, accountKey(account), v) }

func balance(txn *badger.Txn, account string) (v int64, err error) {
	ok, err := get(txn, accountKey(account), &v)
	if err == nil && !ok {
		err = errors.New("an account is missing")
	}
	return v, err
}

// move takes an amount from one account to the other. It is false where the money
// is not there, or the other cannot hold it.
func move(txn *badger.Txn, from, to string, amount int64) (bool, error) {
	a, err := balance(txn, from)
	if err != nil {
		return false, err
	}
	b, err := balance(txn, to)
	if err != nil || a < amount || b > math.MaxInt64-amount {
		return false, err
	}
	return true, errors.Join(setBalance(txn, from, a-amount), setBalance(txn, to, b+amount))
}
