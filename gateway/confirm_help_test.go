package gateway

import (
	"context"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/confirm"
	"kessai/authz/ledger"
	"kessai/pos/sale"
)

// testItems is the item file of every merchant. The merchant of the vending machine
// sells at its prices only.
var testItems = map[string]sale.Item{
	"2000000000015": {Code: "2000000000015", Name: "Coffee", Price: 450, Tax: 1000},
	"A1":            {Code: "A1", Name: "Water", Price: 120, Tax: 800},
}

// testPhones knows the customers whose accounts are called customer/ID. Only the
// third has no phone. Nobody is asked too often.
func testPhones(book *ledger.Book) authz.PhoneOptions {
	return authz.PhoneOptions{
		Customer: func(id string) (authz.CustomerFacts, bool, error) {
			a, ok := book.AccountByName("customer/" + id)
			return authz.CustomerFacts{ID: id, Account: a.ID, Currency: a.Currency, Reachable: id != "third"}, ok, nil
		},
		Shop: func(m kessai.MerchantID) (string, bool) { return "Shop " + m.String(), m.String()[0] == 'V' },
		Item: func(_ kessai.MerchantID, code string) (sale.Item, bool, error) {
			it, ok := testItems[code]
			return it, ok, nil
		},
		Room: confirm.Options{PerAccount: 1_000_000},
	}
}

func testCodes() PhoneCodes {
	return PhoneCodes{
		Number:  func(id kessai.TxID) string { return id.RRN()[10:] },
		Claim:   func(id kessai.TxID) string { return "C" + id.RRN() },
		Receipt: func(id kessai.TxID) string { return "R" + id.RRN() },
		Origin:  "https://pay.example.com",
	}
}

// customerOf gives the account of a customer.
func customerOf(t testing.TB, book *ledger.Book, id string) ledger.AccountID {
	t.Helper()
	a, ok := book.AccountByName("customer/" + id)
	if !ok {
		t.Fatalf("there is no customer %s", id)
	}
	return a.ID
}

// approves has a customer approve a payment on their phone.
func approves(t testing.TB, e *authz.Engine, id kessai.TxID, customer ledger.AccountID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, code, err := e.Approve(ctx, authz.Proof{Sale: id, Customer: customer, Factor: kessai.FactorPassword, Evidence: []byte(`{}`)})
	if err != nil || code != kessai.Approved {
		t.Errorf("the approval of %s: %v, %v", id, code, err)
	}
}
