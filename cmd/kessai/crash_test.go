package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"kessai"
)

var (
	crashKills = flag.Int("kills", 0, "how often the crash test kills the gateway (default 20; 1000 with KESSAI_SOAK=1)")
	crashSeed  = flag.Uint64("crashseed", 0, "seed of the crash test's random choices (default: a new one)")
)

// TestCrash_NothingAcknowledgedIsLost kills the real binary with SIGKILL, again
// and again on one data folder, while terminals ask it over both wires. After
// each kill everything that was answered is there, once, and all sums are right;
// what was not answered is there as a whole or not at all.
//
// SIGKILL leaves what the kernel has been given to write, so this is about a
// crash of the process. What is left of files after a power cut is the subject
// of the tests of authz/ledger.
func TestCrash_NothingAcknowledgedIsLost(t *testing.T) {
	r := newCrashRun(t, buildKessai(t, ""))
	r.gateway, r.kills = r.tools, 20
	if os.Getenv("KESSAI_SOAK") != "" {
		r.kills = 1000
	}
	if *crashKills > 0 {
		r.kills = *crashKills
	}
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
	if r.inFlight == 0 || r.answered == 0 {
		t.Errorf("%d attempts were answered and %d were not: the kills proved nothing", r.answered, r.inFlight)
	}
}

// TestCrash_ControlMustFail runs the same test against a gateway that answers
// before a block is on disk and loses what is not. The crash test has to notice.
func TestCrash_ControlMustFail(t *testing.T) {
	r := newCrashRun(t, buildKessai(t, ""))
	r.gateway, r.kills = buildKessai(t, "crashcontrol"), 20
	err := r.run()
	if !errors.Is(err, errLost) {
		t.Fatalf("a gateway that loses what it acknowledged was killed %d times, and the crash test says: %v", r.killed, err)
	}
	t.Logf("as it has to be, after %d kills: %v", r.killed, err)
}

// crashRun is a crash test: rounds of load, SIGKILL, and checks.
type crashRun struct {
	gateway string // the binary that is killed
	tools   string // the binary that imports and verifies
	dir     string
	kills   int
	random  *rand.Rand
	logf    func(string, ...any)

	shop   *crashShop
	books  *crashBooks
	sample []*crashAttempt // some of all that were answered in earlier rounds
	seen   int             // how many the sample was drawn from

	killed, early      int // kills under load, and while the gateway was starting
	answered, inFlight int // attempts at the moments of the kills
}

func newCrashRun(t *testing.T, tools string) *crashRun {
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-crashseed %d", seed)
	r := &crashRun{tools: tools, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0)), logf: t.Logf}
	r.shop = newCrashShop(r.random)
	r.books = newCrashBooks(r.shop)
	return r
}

func (r *crashRun) data() string { return filepath.Join(r.dir, "data") }

func (r *crashRun) launch() (*crashGateway, error) {
	return launch(r.gateway, r.dir, "--data", r.data(), "--set", `iso.listeners=[{address: "127.0.0.1:0"}]`)
}

// run gives the first thing that is wrong.
func (r *crashRun) run() error {
	shop := filepath.Join(r.dir, "shop.yaml")
	if err := r.shop.write(shop); err != nil {
		return err
	}
	if out, err := exec.Command(r.tools, "import", "--data", r.data(), shop).CombinedOutput(); err != nil {
		return fmt.Errorf("kessai import: %w\n%s", err, out)
	}
	g, err := r.launch()
	if err != nil {
		return err
	}
	defer func() {
		if g != nil {
			_ = g.kill()
		}
	}()
	if err := g.ready(); err != nil {
		return err
	}
	for r.killed < r.kills {
		attempts, err := r.load(g)
		if err != nil {
			return err
		}
		var last uint64
		if g, last, err = r.reopen(); err != nil {
			return fmt.Errorf("after kill %d: %w", r.killed, err)
		}
		if err := r.check(g, attempts, last); err != nil {
			return fmt.Errorf("after kill %d: %w", r.killed, err)
		}
	}
	r.logf("%d kills under load, %d while starting: %d attempts answered, %d in flight, %d transactions in the book",
		r.killed, r.early, r.answered, r.inFlight, len(r.books.booked))
	return r.end(g)
}

// load has terminals ask without pause, kills the gateway at some moment, and
// gives all that was asked.
func (r *crashRun) load(g *crashGateway) ([]*crashAttempt, error) {
	const connections, lanesOverISO, lanesOverJSON = 4, 12, 3
	var clients [connections]*crashClient
	for i := range clients {
		c, err := newCrashClient(g)
		if err != nil {
			return nil, err
		}
		defer c.close()
		clients[i] = c
	}
	var lanes []*crashLane
	for i, c := range clients {
		for n := range lanesOverISO + lanesOverJSON {
			lanes = append(lanes, &crashLane{
				shop: r.shop, over: n >= lanesOverISO, own: c, other: clients[(i+1)%connections],
				random: rand.New(rand.NewPCG(r.random.Uint64(), 0)),
			})
		}
	}
	var running sync.WaitGroup
	for _, l := range lanes {
		running.Go(l.run)
	}
	time.Sleep(time.Duration(20+r.random.IntN(300)) * time.Millisecond) // the moment of the kill
	err := g.kill()
	running.Wait()
	r.killed++

	var attempts []*crashAttempt
	for _, l := range lanes {
		attempts = append(attempts, l.attempts...)
		err = errors.Join(err, l.err)
	}
	return attempts, err
}

// reopen verifies the book as the kill has left it, and starts the gateway
// again; now and then only after another kill while it was starting. It gives the
// last transaction in the book.
func (r *crashRun) reopen() (_ *crashGateway, last uint64, err error) {
	if last, err = verified(r.tools, r.data()); err != nil {
		return nil, 0, err
	}
	if r.random.IntN(3) == 0 {
		g, err := r.launch()
		if err != nil {
			return nil, 0, err
		}
		time.Sleep(time.Duration(r.random.IntN(100)) * time.Millisecond)
		if err := g.kill(); err != nil {
			return nil, 0, fmt.Errorf("while starting: %w", err)
		}
		r.early++
	}
	g, err := r.launch()
	if err != nil {
		return nil, 0, err
	}
	if err := g.ready(); err != nil {
		_ = g.kill()
		return nil, 0, err
	}
	return g, last, nil
}

// check compares what the gateway knows after a kill with what it said before.
// The book ended at transaction last when it was verified.
func (r *crashRun) check(g *crashGateway, attempts []*crashAttempt, last uint64) error {
	before := uint64(len(r.books.booked))
	if last < before {
		return fmt.Errorf("%w: the book ends at transaction %d, and %d were seen in it before", errLost, last, before)
	}
	c, err := newCrashClient(g)
	if err != nil {
		return err
	}
	defer c.close()
	listed, err := listedFrom(c, before, last)
	if err != nil {
		return err
	}
	var heard, unheard []*crashAttempt
	claimed := make(claims)
	for _, a := range attempts {
		if a.answer == nil {
			unheard = append(unheard, a)
			continue
		}
		heard = append(heard, a)
		if err := claimed.claim(a, listed); err != nil {
			return err
		}
	}
	r.answered += len(heard)
	r.inFlight += len(unheard)

	fresh, err := r.inquire(c)
	if err != nil {
		return err
	}
	more, err := r.askAgain(c, unheard)
	if err != nil {
		return err
	}
	fresh = append(fresh, more...)
	for _, a := range unheard {
		switch known := a.answer.id <= last; {
		case !known:
			fresh = append(fresh, a)
		default:
			if err := claimed.claim(a, listed); err != nil {
				return err
			}
		}
		if a.over == overJSON && a.answer.replayed != (a.answer.id <= last) {
			return fmt.Errorf("%s was not answered before the kill, and got RRN %d after it, where the book ended at %d; said to be a repeat: %t",
				a, a.answer.id, last, a.answer.replayed)
		}
	}
	if err := claimed.unclaimed(before+1, last, listed); err != nil {
		return err
	}
	if err := r.repeat(c, append(heard, r.sample...)); err != nil {
		return err
	}
	more, err = r.inquire(c)
	if err != nil {
		return err
	}
	if err := r.follow(c, claimed, append(fresh, more...)); err != nil {
		return err
	}
	r.keep(heard)
	return nil
}

// inquire asks for the balance of every card.
func (r *crashRun) inquire(c *crashClient) (asked []*crashAttempt, err error) {
	for card := range r.shop.cards {
		a := r.shop.attempt(r.random, kessai.BalanceInquiry, card, overJSON)
		if err := send(c, a, false); err != nil {
			return nil, err
		}
		asked = append(asked, a)
	}
	return asked, nil
}

// askAgain does what terminals do when no answer comes: it repeats the message,
// or reverses it by what its request said. Where it reverses, the message comes
// late nevertheless. It gives the reversals.
func (r *crashRun) askAgain(c *crashClient, unheard []*crashAttempt) ([]*crashAttempt, error) {
	var reversals []*crashAttempt
	first := make([]*crashAttempt, len(unheard))
	for i, a := range unheard {
		if a.over == overISO && a.original == nil && !a.undone && r.random.IntN(3) == 0 {
			a.undone = true
			first[i] = r.shop.followUp(r.random, kessai.Reversal, a)
			reversals = append(reversals, first[i])
		}
	}
	return reversals, inParallel(len(unheard), func(i int) error {
		if first[i] != nil {
			if err := send(c, first[i], false); err != nil {
				return err
			}
		}
		return send(c, unheard[i], true)
	})
}

// repeat sends again what was answered, and wants the same answer.
func (r *crashRun) repeat(c *crashClient, answered []*crashAttempt) error {
	return inParallel(len(answered), func(i int) error {
		a := answered[i]
		again, err := c.ask(a, i%2 == 0)
		switch {
		case err != nil:
			return fmt.Errorf("%s, RRN %d, sent again: %w", a, a.answer.id, err)
		case !again.same(*a.answer):
			return fmt.Errorf("%w: %s was answered with %+v, and sent again with %+v", errLost, a, *a.answer, again)
		case a.over == overJSON && !again.replayed:
			return fmt.Errorf("%s, RRN %d, sent again, is not said to be a repeat", a, again.id)
		}
		return nil
	})
}

// follow does the sums over all that is new in the book, in its order.
func (r *crashRun) follow(c *crashClient, claimed claims, fresh []*crashAttempt) error {
	before := uint64(len(r.books.booked))
	listed, err := listedFrom(c, before, before+uint64(len(claimed)+len(fresh)))
	if err != nil {
		return err
	}
	for _, a := range fresh {
		if err := claimed.claim(a, listed); err != nil {
			return err
		}
	}
	last := before + uint64(len(listed))
	if err := claimed.unclaimed(before+1, last, listed); err != nil {
		return err
	}
	for id := before + 1; id <= last; id++ {
		if err := r.books.post(claimed[id], listed[id]); err != nil {
			return err
		}
		r.books.booked = append(r.books.booked, bookedOf(listed[id]))
	}
	for _, p := range listed {
		if err := r.books.agrees(p); err != nil {
			return err
		}
	}
	return nil
}

// keep puts answered attempts into the sample, each with the same chance.
func (r *crashRun) keep(answered []*crashAttempt) {
	const size = 200
	for _, a := range answered {
		r.seen++
		if len(r.sample) < size {
			r.sample = append(r.sample, a)
		} else if i := r.random.IntN(r.seen); i < size {
			r.sample[i] = a
		}
	}
}

// end looks at the whole book once more, and ends the gateway as one should.
func (r *crashRun) end(g *crashGateway) error {
	c, err := newCrashClient(g)
	if err != nil {
		return err
	}
	defer c.close()
	listed, err := listedFrom(c, 0, uint64(len(r.books.booked)))
	if err != nil {
		return err
	}
	for i, was := range r.books.booked {
		if p := listed[uint64(i+1)]; bookedOf(p) != was {
			return fmt.Errorf("transaction %d was %+v and is %+v", i+1, was, bookedOf(p))
		}
	}
	if err := g.stop(); err != nil {
		return err
	}
	n, err := verified(r.tools, r.data())
	if err == nil && n != uint64(len(r.books.booked)) {
		err = fmt.Errorf("the book has %d transactions, %d were seen", n, len(r.books.booked))
	}
	return err
}
