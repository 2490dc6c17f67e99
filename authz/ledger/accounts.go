package ledger

import (
	"fmt"
	"regexp"

	"kessai"
)

// AccountKind says what an account is for.
type AccountKind uint8

// The kinds of account. Clearing accounts stand for the world outside.
const (
	CustomerAccount AccountKind = iota + 1
	MerchantAccount
	ClearingAccount
)

// AccountSpec asks for an account.
type AccountSpec struct {
	Name      string // unique, for example customer/1234567890
	Kind      AccountKind
	Currency  kessai.Currency
	Opening   int64 // put in from the clearing account when the account is new; otherwise ignored
	Overdraft int64 // how far below zero a customer's balance may go
}

// Account is an account as it stands, in minor units.
type Account struct {
	ID AccountID
	AccountSpec
	Balance int64
	Held    int64
}

var accountName = regexp.MustCompile(`^(customer|merchant)/[!-~]{1,64}$`)

// accountChunk is the number of accounts that are opened in one block.
const accountChunk = 300

// OpenAccounts opens the accounts that do not exist yet, sets the overdraft of
// those that do, and gives the number of each. Nothing is done if one of them
// cannot be. Doing it again changes nothing, so an interrupted call is repeated.
func (b *Book) OpenAccounts(specs []AccountSpec) ([]AccountID, error) {
	b.mu.RLock()
	err := b.state.checkSpecs(specs)
	b.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	ids := make([]AccountID, 0, len(specs))
	for len(specs) > 0 {
		n := min(accountChunk, len(specs))
		p := &pending{specs: specs[:n], done: make(chan struct{}, 1)}
		if err := b.send(p); err != nil {
			return nil, err
		}
		if <-p.done; p.err != nil {
			return nil, p.err
		}
		ids, specs = append(ids, p.ids...), specs[n:]
	}
	return ids, nil
}

// checkSpecs refuses accounts that cannot be opened.
func (s *state) checkSpecs(specs []AccountSpec) error {
	first := make(map[string]int, len(specs))
	for i := range specs {
		a := &specs[i]
		if j, twice := first[a.Name]; twice && specs[j] != *a {
			return fmt.Errorf("account %s is asked for twice, in two ways", a.Name)
		}
		first[a.Name] = i
		was := s.accounts.get(uint64(s.byName[a.Name]))
		switch {
		case !accountName.MatchString(a.Name):
			return fmt.Errorf("account %d of %d has a name that is not customer/ID or merchant/ID", i+1, len(specs))
		case a.Kind != CustomerAccount && a.Kind != MerchantAccount:
			return fmt.Errorf("account %s is neither a customer's nor a merchant's", a.Name)
		case !a.Currency.Known():
			return fmt.Errorf("account %s has a currency that ISO 4217 does not list", a.Name)
		case a.Opening < 0 || a.Opening > kessai.MaxAmount || a.Overdraft < 0 || a.Overdraft > kessai.MaxAmount:
			return fmt.Errorf("account %s: opening balance and overdraft must be 0 to %d", a.Name, int64(kessai.MaxAmount))
		case was != nil && (was.Kind != a.Kind || was.Currency != a.Currency):
			return fmt.Errorf("account %s exists in %s and cannot become one in %s", a.Name, was.Currency, a.Currency)
		}
	}
	return nil
}

// AccountByName finds an account.
func (b *Book) AccountByName(name string) (Account, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if a := b.state.accounts.get(uint64(b.state.byName[name])); a != nil && b.Err() == nil {
		return *a, true
	}
	return Account{}, false
}

// Account gives one account.
func (b *Book) Account(id AccountID) (Account, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if a := b.state.accounts.get(uint64(id)); a != nil && b.Err() == nil {
		return *a, true
	}
	return Account{}, false
}

// openAccounts does what [Book.OpenAccounts] asks of one block.
func (t *batch) openAccounts(s *state, p *pending) error {
	if p.err = s.checkSpecs(p.specs); p.err != nil {
		return nil
	}
	for i := range p.specs {
		spec := &p.specs[i]
		if id, exists := s.byName[spec.Name]; exists {
			p.ids = append(p.ids, id)
			if s.accounts.get(uint64(id)).Overdraft == spec.Overdraft {
				continue
			}
			if err := s.setOverdraft(id, spec.Overdraft); err != nil {
				return err
			}
			t.body = appendOverdraft(t.body, id, spec.Overdraft)
			t.count++
			continue
		}
		clearing := AccountSpec{Name: clearingName(spec.Currency), Kind: ClearingAccount, Currency: spec.Currency}
		open := []*AccountSpec{spec}
		if _, exists := s.byName[clearing.Name]; !exists && spec.Name != clearing.Name {
			open = []*AccountSpec{&clearing, spec}
		}
		for _, a := range open {
			if err := s.openAccount(*a); err != nil {
				return err
			}
			t.body = appendAccount(t.body, a)
			t.count++
		}
		p.ids = append(p.ids, s.byName[spec.Name])
	}
	return nil
}
