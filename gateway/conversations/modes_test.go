package conversations

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
)

// step is something that happens to each of four gateways, which differ in what
// they keep in memory and in nothing else.
type step struct {
	who, verb, card string
	amount          int
	twoSteps        bool   // as a dialogue
	between         string // a change of the registry, in a dialogue between its two steps
	change          string // a change of the registry, and nothing is said
	about           int    // a follow-up: which of the sales before, from the last
}

func (s step) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %d card=%s two=%v between=%s %s about=%d", s.who, s.verb, s.amount, s.card, s.twoSteps, s.between, s.change, s.about))
}

var changes = func() (all []string) {
	for _, card := range []string{"suzuki", "sato", "third", "stolen"} {
		for _, status := range []string{"active", "lost", "stolen", "withdrawn"} {
			all = append(all, fmt.Sprintf(`{"medium":{"pan":"@%s","status":"%s"}}`, card, status))
		}
	}
	for _, terminal := range []string{"AOI00001", "AOI00003", "VEND0001"} {
		for _, status := range []string{"registered", "registered", "suspended"} {
			all = append(all, fmt.Sprintf(`{"terminal":{"id":"%s","status":"%s"}}`, terminal, status))
		}
	}
	return append(all, `{"merchant":{"id":"VEND00000000001","status":"blocked"}}`, `{"merchant":{"id":"VEND00000000001","status":"active"}}`)
}()

func drawStep(t *rapid.T) step {
	s := step{
		who:  rapid.SampledFrom(strings.Fields("till till till2 till3 machine suspended stranger aoi aoi vend")).Draw(t, "who"),
		verb: rapid.SampledFrom(strings.Fields("purchase purchase purchase balance verify pre-auth change again reverse complete retained sleep")).Draw(t, "verb"),
		card: rapid.SampledFrom(strings.Fields("suzuki suzuki sato third stolen lost expired unknown mistyped")).Draw(t, "card"),
	}
	switch s.verb {
	case "change":
		s.change = rapid.SampledFrom(changes).Draw(t, "change")
	case "purchase", "balance", "verify", "pre-auth":
		if s.verb == "purchase" || s.verb == "pre-auth" {
			s.amount = rapid.IntRange(1, 6000).Draw(t, "amount")
		}
		if s.twoSteps = rapid.Bool().Draw(t, "two steps"); s.twoSteps && rapid.Bool().Draw(t, "changed") {
			s.between = rapid.SampledFrom(changes).Draw(t, "between")
		}
	default:
		s.about = rapid.IntRange(0, 5).Draw(t, "about")
	}
	return s
}

// quartet is the four gateways.
type quartet struct {
	t     *testing.T
	plays []*play
	sales []sale // that were approved everywhere
	n     int
}

type sale struct{ who, name string }

// TestV_ModesNeverDifferInOutcome plays the same random requests to a gateway in
// each mode: over both wires, in one step and in two, with changes of the registry
// before and in between. What is approved in one is approved in all, what is
// declined is declined with the same code, and the books agree. Where one mode
// declines at once what another one finds out a moment later, it is the outcome of
// the two steps together that counts.
func TestV_ModesNeverDifferInOutcome(t *testing.T) {
	warmUp(t)
	dirs := make([]string, 4)
	for i := range dirs {
		dirs[i] = dataFolder(t)
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(begin))
		q := &quartet{t: t}
		for i, dir := range dirs {
			p := newPlay(t, dir, newCoverage())
			p.o.mode = cache.Mode(i)
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			defer p.end()
			q.plays = append(q.plays, p)
		}
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			for _, s := range rapid.SliceOfN(rapid.Custom(drawStep), 1, 12).Draw(rt, "steps") {
				got := q.play(s)
				if same := slices.Compact(slices.Clone(got)); len(same) != 1 {
					rt.Fatalf("%v: in the modes both, media-only, terminals-only and filter the outcome is %q", s, got)
				}
			}
		})
		q.booksAgree()
		if len(q.sales) == 0 {
			t.Error("no sale was approved: nothing was shown")
		}
	})
}

// play does a step everywhere and gives the four outcomes.
func (q *quartet) play(s step) (outcomes []string) {
	q.n++
	name := fmt.Sprintf("n%d", q.n)
	switch s.verb {
	case "change":
		return q.all(func(p *play) string { return p.change(s.change) })
	case "sleep":
		time.Sleep(time.Duration(s.about) * 7 * time.Second)
		return []string{""}
	case "again", "reverse", "complete":
		if s.about >= len(q.sales) {
			return []string{""}
		}
		of := q.sales[len(q.sales)-1-s.about]
		line := fmt.Sprintf("%s %s of=%s", of.who, s.verb, of.name)
		switch s.verb {
		case "again":
			line = of.who + " repeat " + of.name
		case "complete":
			line = fmt.Sprintf("%s complete 1 of=%s", of.who, of.name)
		}
		return q.all(func(p *play) string { return q.code(p, line) })
	case "retained":
		return q.all(func(p *play) string { return q.code(p, s.who+" retained card="+s.card) })
	}
	amount := ""
	if s.amount > 0 {
		amount = fmt.Sprint(" ", s.amount)
	}
	if !s.twoSteps {
		outcomes = q.all(func(p *play) string { return q.code(p, s.who+" "+s.verb+amount+" card="+s.card+" as="+name) })
	} else {
		outcomes = q.dialogue(s, amount, name)
	}
	if outcomes[0] == "00" || outcomes[0] == "10" {
		q.sales = append(q.sales, sale{s.who, name})
	}
	return outcomes
}

// dialogue opens one everywhere, has the registry change where nothing speaks
// against it, and gives the outcomes of the transactions, or of the openings where
// those were declined.
func (q *quartet) dialogue(s step, amount, name string) []string {
	opened := q.all(func(p *play) string { return q.code(p, s.who+" open card="+s.card+" as=o"+name) })
	if opened[0] == "85" && s.between != "" {
		synctest.Wait() // the look-ups beside have ended, and must not count any more
		q.all(func(p *play) string { return p.change(s.between) })
	}
	i := -1
	return q.all(func(p *play) string {
		if i++; opened[i] != "85" {
			return opened[i]
		}
		return q.code(p, s.who+" "+s.verb+amount+" in=o"+name+" as="+name)
	})
}

func (q *quartet) all(do func(p *play) string) (out []string) {
	for _, p := range q.plays {
		out = append(out, do(p))
	}
	return out
}

// code says a line and gives the response code that was heard, or whatever else.
func (q *quartet) code(p *play, line string) string {
	a, err := p.ask(split(line))
	if err != nil {
		q.t.Fatalf("%s: %v", line, err)
	}
	got := a()
	noted(got)
	if code, _, ok := strings.Cut(got.brief, " ("); ok {
		return code
	}
	return got.text
}

// booksAgree compares what moved or is held, in its order, and every balance.
func (q *quartet) booksAgree() {
	books := q.all(func(p *play) string {
		var b strings.Builder
		stats := p.house.book.Stats()
		for id := range stats.Transactions {
			t, ok := p.house.book.Find(ledger.Ref{ID: kessai.TxID(id + 1)})
			if ok && t.Code.IsApproval() {
				fmt.Fprintln(&b, t.Kind, t.Code, t.Merchant, t.Terminal, t.Medium, t.Amount, t.Status, t.Reversed, t.Held)
			}
		}
		for id := range stats.Accounts {
			a, _ := p.house.book.Account(ledger.AccountID(id + 1))
			fmt.Fprintln(&b, a.Name, a.Balance, a.Held)
		}
		return b.String()
	})
	for i, b := range books[1:] {
		if b != books[0] {
			q.t.Errorf("the books of the modes both and %v differ:\n%s\n%s", cache.Mode(i+1), books[0], b)
		}
	}
}
