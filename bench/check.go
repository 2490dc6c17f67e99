package bench

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kessai"
	"kessai/authz/ledger"
	"kessai/bench/load"
	"kessai/customers"
	"kessai/merchants"
)

// Answered is what a benchmark was told, for the book to confirm.
type Answered struct {
	Population load.Population
	Outcomes   []*load.Outcome
	After      kessai.TxID // what the book has up to this number was there before
}

// maxFaults bounds what is told of a book that does not agree.
const maxFaults = 5

// ErrDisagrees says that the book and the answers tell different things.
var ErrDisagrees = errors.New("the book does not agree with what was answered")

// CheckBook reads the whole book in a data folder and holds it against what was
// answered. The gateway must have ended. It gives a sentence on what was compared.
// The error is [ErrDisagrees], with the first reasons, or says why the book could
// not be read.
//
// Every approval has exactly one entry, of the same number, kind, amount, terminal
// and STAN. Nothing is approved in the book that was neither answered nor in
// flight when the run ended. There are as many declines as were answered. The
// accounts add up to zero, and every customer and merchant has what the entries make of it.
func CheckBook(dir string, a Answered, progress func(what string, done, total uint64)) (string, error) {
	c := newBookCheck(a)
	if _, err := ledger.Scan(dir, progress, c.entry); err != nil {
		return "", err
	}
	c.leftOver()
	if err := c.balances(dir); err != nil {
		return "", err
	}
	if len(c.faults) > 0 {
		return "", fmt.Errorf("%w: %s", ErrDisagrees, strings.Join(c.faults, "; "))
	}
	return fmt.Sprintf("%s approvals and %s declines answered, and each is in it once; the balances of %s customers and %s merchants follow",
		count(int64(c.approvals)), count(c.declined), count(int64(len(c.customers))), count(int64(len(c.shops)))), nil
}

type bookCheck struct {
	Answered
	said      []load.Approval // in order of RRN
	next      int             // the first of them that has not been met
	open      map[openKey]int
	approvals int
	declined  int64                      // answered and recorded
	found     int64                      // declines in the book
	unsure    int64                      // requests without an answer
	moved     map[ledger.AccountID]int64 // by every entry of the book
	customers map[ledger.AccountID]bool  // those whom this run concerned
	shops     map[ledger.AccountID]bool
	faults    []string
}

// openKey is what is known of a request without an answer.
type openKey struct {
	terminal kessai.TerminalID
	stan     kessai.STAN
	kind     kessai.Kind
}

func newBookCheck(a Answered) *bookCheck {
	c := &bookCheck{Answered: a, open: make(map[openKey]int), moved: make(map[ledger.AccountID]int64),
		customers: make(map[ledger.AccountID]bool), shops: make(map[ledger.AccountID]bool)}
	for _, o := range a.Outcomes {
		for _, chunk := range o.Approvals {
			c.said = append(c.said, chunk...)
		}
		for _, u := range o.Unanswered {
			id, _ := kessai.ParseTerminalID(a.Population.TerminalID(int(u.Terminal)))
			c.open[openKey{id, kessai.STAN(u.STAN), kinds[u.Kind]}]++
		}
		c.unsure += int64(len(o.Unanswered))
		c.declined += o.Recorded
	}
	slices.SortFunc(c.said, func(x, y load.Approval) int { return cmp.Compare(x.RRN, y.RRN) })
	c.approvals = len(c.said)
	return c
}

var kinds = map[load.Kind]kessai.Kind{
	load.Purchase: kessai.Purchase, load.Balance: kessai.BalanceInquiry, load.Reversal: kessai.Reversal,
}

func (c *bookCheck) fault(format string, args ...any) {
	if len(c.faults) < maxFaults {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

// entry looks at one transaction of the book. They come in order.
func (c *bookCheck) entry(t *ledger.Tx) error {
	c.move(t)
	if t.ID <= c.After {
		return nil
	}
	for c.next < len(c.said) && c.said[c.next].RRN < uint64(t.ID) {
		c.missing()
	}
	switch {
	case c.next < len(c.said) && c.said[c.next].RRN == uint64(t.ID):
		c.compare(t, &c.said[c.next])
		c.next++
	case !t.Code.IsApproval():
		c.found++
	default:
		key := openKey{t.Terminal, t.STAN, t.Kind}
		if c.open[key] == 0 {
			c.fault("%s was approved, and nobody was told and nobody waited for it", t.ID)
			return nil
		}
		c.open[key]--
		c.unsure--
	}
	return nil
}

// move adds up what an entry moved between a customer and a merchant.
func (c *bookCheck) move(t *ledger.Tx) {
	amount := t.Amount
	switch {
	case !t.Code.IsApproval():
		return
	case t.Kind == kessai.Purchase:
	case t.Kind == kessai.Reversal:
		amount = -amount
	default:
		return // a benchmark asks for nothing else that moves money
	}
	c.moved[t.Customer] -= amount
	c.moved[t.Shop] += amount
	if t.ID > c.After {
		c.customers[t.Customer], c.shops[t.Shop] = true, true
	}
}

func (c *bookCheck) compare(t *ledger.Tx, a *load.Approval) {
	switch {
	case !t.Code.IsApproval():
		c.fault("%s was answered as approved, and is declined in the book", t.ID)
	case t.Kind != kinds[a.Kind]:
		c.fault("%s was a %s, and is a %s in the book", t.ID, kinds[a.Kind], t.Kind)
	case a.Kind != load.Balance && t.Amount != int64(a.Amount):
		c.fault("%s was for %d, and is for %d in the book", t.ID, a.Amount, t.Amount)
	case t.Terminal.String() != c.Population.TerminalID(int(a.Terminal)) || uint32(t.STAN) != a.STAN:
		c.fault("%s has another terminal or STAN in the book", t.ID)
	}
}

// missing says that the next approval is not in the book, or is in the answers twice.
func (c *bookCheck) missing() {
	rrn := c.said[c.next].RRN
	if c.next > 0 && c.said[c.next-1].RRN == rrn {
		c.fault("%s was the answer to two requests", kessai.TxID(rrn))
	} else {
		c.fault("%s was answered as approved, and is not in the book", kessai.TxID(rrn))
	}
	c.next++
}

func (c *bookCheck) leftOver() {
	for c.next < len(c.said) {
		c.missing()
	}
	if c.found < c.declined || c.found > c.declined+max(0, c.unsure) {
		c.fault("%d declines were answered, and %d are in the book", c.declined, c.found)
	}
}

// balances holds the accounts against what the entries make of them.
func (c *bookCheck) balances(dir string) error {
	b, err := ledger.Open(ledger.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer b.Close()
	for _, accounts := range []map[ledger.AccountID]bool{c.customers, c.shops} {
		for id := range accounts {
			if a, ok := b.Account(id); !ok || a.Balance != a.Opening+c.moved[id] {
				c.fault("account %s has %d, and should have %d", a.Name, a.Balance, a.Opening+c.moved[id])
			}
		}
	}
	return c.told(b)
}

// told holds the merchants' accounts against the answers alone: not what the book
// says of itself. Where requests had no answer, the two may differ.
func (c *bookCheck) told(b *ledger.Book) error {
	if c.After > 0 || len(c.open) > 0 {
		return nil
	}
	sold := make(map[int]int64)
	for i := range c.said {
		a := &c.said[i]
		m := c.Population.MerchantOf(int(a.Terminal))
		switch a.Kind {
		case load.Purchase:
			sold[m] += int64(a.Amount)
		case load.Reversal:
			sold[m] -= int64(a.Amount)
		}
	}
	total := int64(0)
	for m, sum := range sold {
		id, err := kessai.ParseMerchantID(c.Population.MerchantID(m))
		if err != nil {
			return err
		}
		if a, _ := b.AccountByName(merchants.AccountName(id)); a.Balance != sum {
			c.fault("merchant %s has %d, and by the answers should have %d", id, a.Balance, sum)
		}
		total += sum
	}
	return c.paid(b, total)
}

// paid adds up the customers, as far as they are few.
func (c *bookCheck) paid(b *ledger.Book, total int64) error {
	if c.Population.Media > 1_000_000 {
		return nil
	}
	spent := int64(0)
	for i := range c.Population.Media {
		a, ok := b.AccountByName(customers.AccountName(customers.ID(c.Population.CustomerID(i))))
		if !ok {
			c.fault("customer %d has no account", i)
		}
		spent += OpeningBalance - a.Balance
	}
	if spent != total {
		c.fault("the customers have spent %d, and by the answers should have spent %d", spent, total)
	}
	return nil
}
