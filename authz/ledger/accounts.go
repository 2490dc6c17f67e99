package ledger

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"kessai"
)

// AccountKind says what an account is for.
type AccountKind uint8

// The kinds of account. Clearing accounts stand for the world outside; what is
// in an e-money account is on a medium, and all of them together are the float.
const (
	CustomerAccount AccountKind = iota + 1
	MerchantAccount
	ClearingAccount
	EMoneyAccount
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

// accountRow is what of an account is in memory. What it is called is in its
// label, on disk.
type accountRow struct {
	balance, held int64
	packed        uint64 // overdraft (40 bits), currency (16), kind (8)
	rest          uint64 // the half of the name's digest that the index does not have

	// An e-money account has no overdraft and no holds of its own. In their place
	// it has its medium's counter and its newest transaction: see purse.go.
}

// label is what never changes of an account and is rarely asked for.
type label struct {
	name    string
	opening int64
}

func packAccount(spec *AccountSpec) uint64 {
	return uint64(spec.Overdraft)<<24 | uint64(spec.Currency)<<8 | uint64(spec.Kind)
}

func (a *accountRow) kind() AccountKind         { return AccountKind(a.packed) }
func (a *accountRow) currency() kessai.Currency { return kessai.Currency(a.packed >> 8) }
func (a *accountRow) setOverdraft(v int64)      { a.packed = a.packed&(1<<24-1) | uint64(v)<<24 }

// overdraft is how far below zero the account may go.
func (a *accountRow) overdraft() int64 {
	if a.kind() == EMoneyAccount {
		return 0
	}
	return int64(a.packed >> 24)
}

// available is what can be spent.
func (a *accountRow) available() int64 {
	if a.kind() == EMoneyAccount {
		return a.balance
	}
	return a.balance - a.held + a.overdraft()
}

// covers reports whether the account must cover what is debited to it.
func (a *accountRow) covers() bool { return a.kind() == CustomerAccount || a.kind() == EMoneyAccount }

// account gives the account of a row, with its label. What is held of an e-money
// account is not known here.
func (a *accountRow) account(id AccountID, l label) Account {
	held := a.held
	if a.kind() == EMoneyAccount {
		held = 0
	}
	return Account{
		ID: id, Balance: a.balance, Held: held,
		AccountSpec: AccountSpec{Name: l.name, Kind: a.kind(), Currency: a.currency(), Opening: l.opening, Overdraft: a.overdraft()},
	}
}

// accountNumber finds an account by the digest of its name; zero where there is
// none.
func (s *state) accountNumber(name string) AccountID { return s.numberOf(nameDigest(name)) }

func (s *state) numberOf(hash, rest uint64) AccountID {
	p := s.byName.probe(hash)
	for id := p.next(); id != 0; id = p.next() {
		if s.accounts.get(id).rest == rest {
			return AccountID(id)
		}
	}
	return 0
}

// confirm makes sure that an account that was found by its name's digest has
// that very name.
func (s *state) confirm(id AccountID, name string) error {
	switch l := s.labels.get(uint64(id)); {
	case l == nil:
		return cmp.Or(s.lost(), fmt.Errorf("the name of account %d is missing", id))
	case l.name != name:
		return fmt.Errorf("account %s cannot be opened: the digest of its name is that of account %d; choose another name", name, id)
	}
	return nil
}

var accountName = regexp.MustCompile(`^((customer|merchant)/[!-~]{1,64}|purse/[0-9a-f]{32})$`)

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
		was := s.accounts.get(uint64(s.accountNumber(a.Name)))
		switch {
		case !accountName.MatchString(a.Name):
			return fmt.Errorf("account %d of %d has a name that is not customer/ID, merchant/ID or purse/MEDIUM", i+1, len(specs))
		case a.Kind != CustomerAccount && a.Kind != MerchantAccount && a.Kind != EMoneyAccount,
			(a.Kind == EMoneyAccount) != strings.HasPrefix(a.Name, pursePrefix):
			return fmt.Errorf("account %s is not of the kind that its name says", a.Name)
		case a.Kind == EMoneyAccount && (a.Opening != 0 || a.Overdraft != 0):
			return fmt.Errorf("account %s: a medium's account begins with nothing and has no overdraft", a.Name)
		case !a.Currency.Known():
			return fmt.Errorf("account %s has a currency that ISO 4217 does not list", a.Name)
		case a.Opening < 0 || a.Opening > kessai.MaxAmount || a.Overdraft < 0 || a.Overdraft > kessai.MaxAmount:
			return fmt.Errorf("account %s: opening balance and overdraft must be 0 to %d", a.Name, int64(kessai.MaxAmount))
		case was != nil && (was.kind() != a.Kind || was.currency() != a.Currency):
			return fmt.Errorf("account %s exists in %s and cannot become one in %s", a.Name, was.currency(), a.Currency)
		}
	}
	return nil
}

// AccountByName finds an account. It compares digests, not names (see nameDigest
// for what that can miss), so that a million look-ups cost no reading.
func (b *Book) AccountByName(name string) (Account, bool) {
	row, id := b.accountByName(name)
	if id == 0 {
		return Account{}, false
	}
	a := row.account(id, label{name: name})
	a.Held += b.heldOnPurse(&row)
	return a, true
}

func (b *Book) accountByName(name string) (row accountRow, id AccountID) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if id = b.state.accountNumber(name); id == 0 || b.Err() != nil {
		return accountRow{}, 0
	}
	return *b.state.accounts.get(uint64(id)), id
}

// AccountNumbers gives the numbers of many accounts; zero where there is none. Each
// question for one waits until the block is on disk that is being written; this
// waits once. The next block waits for it: some hundred names take a tenth of a
// millisecond. Like [Book.AccountByName], it compares digests.
func (b *Book) AccountNumbers(names []string) []AccountID {
	digests := make([][2]uint64, len(names))
	for i, name := range names {
		digests[i][0], digests[i][1] = nameDigest(name)
	}
	ids := make([]AccountID, len(names))
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.Err() != nil {
		return ids
	}
	for i, d := range digests {
		ids[i] = b.state.numberOf(d[0], d[1])
	}
	return ids
}

// Account gives one account. Its name and opening balance may have to be read
// from disk; an account whose name cannot be read is not found.
func (b *Book) Account(id AccountID) (Account, bool) {
	row, ok, err := readRow(b, &b.state.accounts, nil, uint64(id), nil)
	if !ok || err != nil {
		return Account{}, false
	}
	l, ok, err := readRow(b, &b.state.labels, b.labelFiles(), uint64(id), (*decoder).label)
	if err != nil {
		b.o.Logf("the name of account %d cannot be read: %v", id, err)
	}
	a := row.account(id, l)
	a.Held += b.heldOnPurse(&row)
	return a, ok && err == nil
}

// openAccounts does what [Book.OpenAccounts] asks of one block.
func (t *batch) openAccounts(s *state, p *pending) error {
	p.err = s.checkSpecs(p.specs)
	for i := range p.specs {
		if id := s.accountNumber(p.specs[i].Name); id != 0 && p.err == nil {
			p.err = s.confirm(id, p.specs[i].Name)
		}
	}
	if p.err != nil {
		return s.lost()
	}
	for i := range p.specs {
		spec := &p.specs[i]
		if id := s.accountNumber(spec.Name); id != 0 {
			p.ids = append(p.ids, id)
			if s.accounts.get(uint64(id)).overdraft() == spec.Overdraft {
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
		if s.accountNumber(clearing.Name) == 0 {
			open = []*AccountSpec{&clearing, spec}
		}
		for _, a := range open {
			if err := s.openAccount(*a); err != nil {
				return err
			}
			t.body = appendAccount(t.body, a)
			t.count++
		}
		p.ids = append(p.ids, s.accountNumber(spec.Name))
	}
	return nil
}
