package moov

import (
	"fmt"
	"strconv"

	"github.com/dgraph-io/badger/v4"

	"kessai"
)

// request is one request on its way through the book.
type request struct {
	mti  string
	m    *message
	id   kessai.TxID // its number, if it is not a repeat
	card kessai.MediumID
}

// once carries the request out in a badger transaction and notes what became of
// it, declines too. A repeat gives what was noted.
func (r *request) once(txn *badger.Txn) (transaction, error) {
	if r.m.Sent == "" || r.m.STAN == "" || r.m.Terminal == "" || len(r.m.Processing) != 6 {
		return transaction{Code: formatError}, nil
	}
	t := transaction{Kind: r.mti[:2] + r.m.Processing[:2], Terminal: r.m.Terminal, Card: r.card.String()}
	if r.m.Amount != "" {
		v, err := strconv.ParseUint(r.m.Amount, 10, 63)
		if err != nil {
			return transaction{Code: formatError}, nil
		}
		t.Amount = int64(v)
	}
	attempt := attemptKey(r.mti, r.m)
	var id kessai.TxID
	if repeat, err := get(txn, attempt, &id); err != nil {
		return t, err
	} else if repeat {
		return r.again(txn, id, t)
	}
	var err error
	if t.Code, err = r.decide(txn, &t); err != nil {
		return t, err
	}
	if err := set(txn, transactionKey(r.id), t); err != nil {
		return t, err
	}
	return t, set(txn, attempt, r.id)
}

// again gives the outcome of the first sending, if this is the same request.
func (r *request) again(txn *badger.Txn, id kessai.TxID, asked transaction) (t transaction, err error) {
	if _, err := get(txn, transactionKey(id), &t); err != nil {
		return t, err
	}
	if t.Kind != asked.Kind || t.Card != asked.Card || t.Amount != asked.Amount {
		return transaction{Code: otherContent}, nil
	}
	r.id = id
	return t, nil
}

// decide judges the request, moves the money, and gives the response code.
func (r *request) decide(txn *badger.Txn, t *transaction) (code string, err error) {
	var asks terminal
	ok, err := get(txn, terminalKey(r.m.Terminal), &asks)
	if err != nil {
		return "", err
	}
	if !ok || r.m.Merchant != "" && r.m.Merchant != asks.Merchant {
		return noTerminal, nil
	}
	if r.m.Currency != "" && r.m.Currency != currency {
		return noTransaction, nil
	}
	t.Shop = asks.Account
	switch t.Kind {
	case "0200":
		return r.purchase(txn, t)
	case "0231":
		return r.inquiry(txn, t)
	case "0400":
		return r.reversal(txn, t)
	}
	return noTransaction, nil
}

const currency = "392" // DE49: load.Currency

func (r *request) purchase(txn *badger.Txn, t *transaction) (string, error) {
	if code, err := r.judgeCard(txn, t); err != nil || code != approved {
		return code, err
	}
	if t.Amount == 0 {
		return noAmount, nil
	}
	ok, err := move(txn, t.Customer, t.Shop, t.Amount)
	if err == nil && !ok {
		return noMoney, nil
	}
	return approved, err
}

func (r *request) inquiry(txn *badger.Txn, t *transaction) (code string, err error) {
	if code, err = r.judgeCard(txn, t); err != nil || code != approved {
		return code, err
	}
	t.Balance, err = balance(txn, t.Customer)
	return approved, err
}

func (r *request) judgeCard(txn *badger.Txn, t *transaction) (string, error) {
	var c card
	ok, err := get(txn, cardKey(r.card), &c)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return noCard, nil
	case r.m.Expiry != "" && r.m.Expiry != c.Expiry:
		return expired, nil
	}
	t.Customer = c.Account
	return approved, nil
}

// reversal undoes the purchase that DE37 names, once.
func (r *request) reversal(txn *badger.Txn, t *transaction) (string, error) {
	id, ok := kessai.ParseTxID(r.m.RRN)
	if !ok {
		return noRecord, nil
	}
	var original transaction
	ok, err := get(txn, transactionKey(id), &original)
	if err != nil {
		return "", err
	}
	if !ok || original.Kind != "0200" || original.Terminal != r.m.Terminal || original.Code != approved {
		return noRecord, nil
	}
	if original.Undone {
		return approved, nil
	}
	if ok, err := move(txn, original.Shop, original.Customer, original.Amount); err != nil || !ok {
		return malfunction, err
	}
	original.Undone = true
	return approved, set(txn, transactionKey(id), original)
}

// reply turns the request's message into its answer.
func (r *request) reply(t *transaction) {
	m := r.m
	m.PAN, m.Expiry, m.RRN, m.Approval, m.Amounts = "", "", "", "", ""
	m.Code = t.Code
	if t.Kind == "" {
		return // nothing was noted
	}
	m.RRN = r.id.RRN()
	if t.Code != approved {
		return
	}
	m.Approval = r.id.ApprovalCode()
	if t.Kind == "0231" {
		m.Amounts = fmt.Sprintf("0002%sC%012d", currency, min(t.Balance, kessai.MaxAmount))
	}
}
