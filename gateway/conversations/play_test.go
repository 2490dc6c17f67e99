package conversations

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
	"kessai/merchants"
)

// patience is how long a party waits for an answer, in virtual time.
const patience = 15 * time.Second

// play is a story that is being played.
type play struct {
	t    *testing.T
	dir  string // the data folder; another one after each crash
	runs int
	o    settings
	seen *coverage

	house     *house // nil while the gateway is down
	iso, http *pipes
	down      chan error // the end of a drain that has begun; nil otherwise

	tills   map[string]*till
	shops   map[string]*shop
	people  map[string]*person    // customers with phones
	media   map[string]*carrier   // media that carry e-money, by the names of their cards
	said    map[string]*utterance // by the name that as= gave
	waiting map[string]chan answer

	references map[string]string // of sales, by the names that stories call them

	lastWithReader kessai.TxID // the payment that somebody used a card reader for
}

// utterance is something that was said and may be spoken of later.
type utterance struct {
	who    string
	again  func() ask // says it again
	iso    *isoSaid   // what was said over ISO 8583; nil over JSON
	id     kessai.TxID
	amount int64
	talk   string // the number of the dialogue that it opened
}

// ask is something that is about to be said. Nothing has been sent before it is
// called; it returns when the answer has come, or will not come any more.
type ask func() answer

// answer is what was heard.
type answer struct {
	who, text, numbers, tail string // numbers are RRN and approval code
	page                     string // what is to be printed
	brief                    string // what both wires say in the same way; empty where there is no payment
	id                       kessai.TxID
	dialogue                 string // the number of the one that was opened
	after                    time.Duration
	said                     *utterance
}

// brief puts an answer into words that are the same over either wire. The
// amount of a reversal is not: ISO 8583 repeats what was sent.
func brief(code string, reversal bool, amount int64) string {
	n, _ := strconv.Atoi(code)
	c := kessai.ResponseCode(n)
	if reversal || !c.IsApproval() || amount == 0 {
		return fmt.Sprintf("%s (%s)", code, c.Text())
	}
	return fmt.Sprintf("%s (%s) amount=%d", code, c.Text(), amount)
}

func (a answer) line() string {
	line := fmt.Sprintf("%s +%v %s\n", a.who, a.after, strings.Join(strings.Fields(a.text+" "+a.numbers+" "+a.tail), " "))
	for row := range strings.Lines(a.page) {
		line += strings.TrimRight("| "+row, " \n") + "\n"
	}
	return line
}

func newPlay(t *testing.T, dir string, seen *coverage) *play {
	p := &play{
		t: t, dir: filepath.Join(dir, "0"), seen: seen, o: settings{hold: 30 * time.Second},
		people: make(map[string]*person), references: make(map[string]string),
		tills: newTills(), shops: newShops(), media: make(map[string]*carrier), said: make(map[string]*utterance), waiting: make(map[string]chan answer),
	}
	for name := range people {
		p.people[name] = &person{name: name}
	}
	var err error
	if p.o.devices, err = newDevices(); err != nil {
		t.Fatal(err)
	}
	return p
}

// end stops the gateway, and has its book checked from the first block to the
// last.
func (p *play) end() {
	if p.runs == 0 {
		return
	}
	for _, d := range p.o.devices {
		d.unplug()
	}
	err := p.stop()
	time.Sleep(time.Minute) // fasthttp's cleaner of idle workers looks every ten seconds whether it is still needed
	if err != nil {
		p.t.Error(err)
		return
	}
	if _, err := ledger.Verify(p.dir, nil); err != nil {
		p.t.Errorf("the book at the end of the story: %v", err)
	}
}

// block plays the commands of one block and gives what was heard.
func (p *play) block(commands []string) string {
	p.begun(split(commands[0]))
	switch commands[0] {
	case "together":
		return p.together(commands[1:])
	case "import":
		return p.imported(strings.Join(commands[1:], "\n"))
	}
	var heard strings.Builder
	for _, c := range commands {
		heard.WriteString(p.command(c))
	}
	return heard.String()
}

// begun starts the gateway before the first words that need one.
func (p *play) begun(w words) {
	if p.runs > 0 || w.who == "gateway" {
		return
	}
	if err := p.start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *play) command(line string) string {
	synctest.Wait() // whatever was said before has come as far as it gets
	w := split(line)
	p.begun(w)
	out, ok, err := p.surroundings(w)
	if err == nil && !ok {
		var a ask
		if a, err = p.ask(w); err == nil {
			return p.hear(w, a)
		}
	}
	if err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	return out
}

// hear asks and waits for the answer, unless that is to come later.
func (p *play) hear(w words, a ask) string {
	if !w.later {
		return noted(a())
	}
	name := w.or("as", strings.TrimSpace(w.rest))
	answered := make(chan answer, 1)
	p.waiting[name] = answered
	go func() { answered <- a() }()
	synctest.Wait() // it is on its way as far as it gets
	return ""
}

// noted keeps the number that an utterance was given.
func noted(a answer) string {
	if a.said != nil && a.id != 0 {
		a.said.id = a.id
	}
	if a.said != nil {
		a.said.talk = a.dialogue
	}
	return a.line()
}

// ask makes what a party says ready to be said.
func (p *play) ask(w words) (ask, error) {
	if w.verb == "repeat" {
		u, ok := p.said[strings.TrimSpace(w.rest)]
		if !ok || u.who != w.who {
			return nil, fmt.Errorf("%s has said nothing of that name", w.who)
		}
		return u.again(), nil
	}
	if p.house == nil {
		return nil, errors.New("the gateway is down")
	}
	if w.named["purse"] != "" {
		return p.purseAsks(w)
	}
	if t, ok := p.tills[w.who]; ok {
		return p.tillAsks(t, w)
	}
	if s, ok := p.shops[w.who]; ok {
		return p.shopAsks(s, w)
	}
	if d, ok := p.o.devices[w.who]; ok {
		return p.deviceAsks(w.who, d, w)
	}
	if one, ok := p.people[w.who]; ok {
		return p.personAsks(one, w)
	}
	return nil, errors.New("nobody of that name is here, and nothing of that name happens")
}

// called keeps what is said under the name that as= gives.
func (p *play) called(w words, said *utterance) {
	if name := w.named["as"]; name != "" {
		p.said[name] = said
	}
}

// together says everything at once.
func (p *play) together(lines []string) string {
	var asks []ask
	for _, line := range lines {
		times := 1
		if n, rest, ok := strings.Cut(line, " "); ok {
			if v, err := strconv.Atoi(n); err == nil {
				times, line = v, rest
			}
		}
		for range times {
			a, err := p.ask(split(line))
			if err != nil {
				p.t.Fatalf("%s: %v", line, err)
			}
			asks = append(asks, a)
		}
	}
	counts := make(map[string]int)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, a := range asks {
		all.Go(func() {
			got := a()
			mu.Lock()
			defer mu.Unlock()
			if got.brief == "" {
				got.brief = got.text
			}
			counts[fmt.Sprintf("+%v %s", got.after, got.brief)]++
		})
	}
	all.Wait()
	var heard strings.Builder
	for _, text := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&heard, "%d x %s\n", counts[text], text)
	}
	return heard.String()
}

// surroundings does what happens around the parties; false where the words are
// a party's.
func (p *play) surroundings(w words) (out string, ok bool, err error) {
	switch w.who {
	case "gateway":
		return "", true, p.settings(strings.Fields(w.verb + " " + w.rest))
	case "sleep":
		d, err := time.ParseDuration(w.verb)
		time.Sleep(d)
		return "", true, err
	case "start":
		return "", true, p.start()
	case "stop":
		return "", true, p.stop()
	case "restart":
		return "", true, errors.Join(p.stop(), p.start())
	case "crash":
		return "", true, p.crash()
	case "drain":
		return "", true, p.drain()
	case "unready":
		p.house.http.Drain()
		return "", true, nil
	case "pause":
		p.house.gate.pause()
		return "", true, nil
	case "resume":
		p.house.gate.resume()
		return "", true, nil
	case "slow-registry":
		d, err := time.ParseDuration(w.verb)
		p.house.slow.Store(int64(d))
		return "", true, err
	case "registry":
		p.house.offline.Store(w.verb == "offline")
		return "", true, nil
	case "change":
		return p.change(w.verb + " " + w.rest), true, nil
	case "waiting":
		s := p.house.engine.PhoneStats()
		return fmt.Sprintf("%d payments wait, %d wait for them, phones were called %d times\n", s.Waiting, s.Watching, p.house.pushed.Load()), true, nil
	case "dialogues":
		return fmt.Sprintf("%d open\n", p.house.engine.Dialogues()), true, nil
	case "account":
		return p.account(w.verb), true, nil
	case "medium":
		return p.carries(w.verb), true, nil
	case "keys":
		return p.keysSay(), true, nil
	case "wrong-pins":
		out, err = p.wrongPINs(w.verb)
		return out, true, err
	case "unlock":
		out, err = p.unlock(w.verb)
		return out, true, err
	case "book":
		return p.bookSays(), true, nil
	case "hear":
		answered, ok := p.waiting[w.verb]
		if !ok {
			return "", true, errors.New("nobody waits for an answer of that name")
		}
		delete(p.waiting, w.verb)
		return noted(<-answered), true, nil
	}
	return "", false, nil
}

func (p *play) settings(words []string) (err error) {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		var e error
		switch name {
		case "hold":
			p.o.hold, e = time.ParseDuration(value)
		case "max-age":
			p.o.maxAge, e = time.ParseDuration(value)
		case "mode":
			var ok bool
			if p.o.mode, ok = cache.ParseMode(value); !ok {
				e = fmt.Errorf("there is no mode %s", value)
			}
		case "dialogue":
			p.o.dialogue.Timeout, e = time.ParseDuration(value)
		case "max-dialogues":
			p.o.dialogue.MaxOpen, e = strconv.Atoi(value)
		case "sign-on":
			p.o.signOn = value == "required"
		case "max-in-flight":
			p.o.maxInFlight, e = strconv.Atoi(value)
		default:
			var known bool
			if known, e = p.o.setPhone(name, value); !known {
				known, e = p.o.setReader(name, value)
			}
			if !known {
				e = fmt.Errorf("the gateway has no setting %s", name)
			}
		}
		err = errors.Join(err, e)
	}
	return err
}

func (p *play) start() (err error) {
	if p.house != nil {
		return errors.New("the gateway runs already")
	}
	if p.house, err = openHouse(p.dir, p.o, p.t.Logf); err != nil {
		p.house = nil
		return err
	}
	p.runs++
	p.iso, p.http = newPipes(), newPipes()
	p.house.serve(p.iso, p.http)
	return nil
}

// stop ends the gateway as SIGTERM does.
func (p *play) stop() error {
	if p.house == nil {
		return nil
	}
	if err := p.drain(); err != nil {
		return err
	}
	p.house.gate.resume()
	err := <-p.down
	p.down = nil
	for _, t := range p.tills {
		t.hangUp()
	}
	p.seen.book(p.house.book)
	err = errors.Join(err, p.house.close())
	p.house = nil
	return err
}

// drain begins the end: no new work, and what is in flight is finished.
func (p *play) drain() error {
	if p.house == nil {
		return errors.New("the gateway is down")
	}
	if p.down != nil {
		return nil
	}
	down := make(chan error, 1)
	p.down = down
	h := p.house
	h.http.Drain()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		down <- h.shutdown(ctx)
	}()
	synctest.Wait()
	return nil
}

// crash takes what is on disk as it is, and goes on from that. The gateway that
// was running is left to end, in a folder that nobody looks at any more.
func (p *play) crash() error {
	if p.house == nil {
		return errors.New("the gateway is down")
	}
	synctest.Wait()
	after := filepath.Join(filepath.Dir(p.dir), strconv.Itoa(p.runs))
	if err := copyFolder(p.dir, after); err != nil {
		return err
	}
	for _, t := range p.tills {
		t.hangUp()
	}
	p.seen.book(p.house.book)
	at := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.house.shutdown(ctx) // says that connections were cut
	if err := p.house.close(); err != nil {
		return err
	}
	p.house, p.dir = nil, after
	if took := time.Since(at); took > time.Minute {
		return fmt.Errorf("the gateway took %v of virtual time to end", took)
	}
	return p.start()
}

func (p *play) imported(yaml string) string {
	sum, err := p.house.imported("import.yaml", []byte(yaml))
	if err != nil {
		return fmt.Sprintf("refused: %v\n", err)
	}
	var b strings.Builder
	for _, c := range []struct {
		name string
		merchants.Count
	}{{"merchants", sum.Merchants}, {"terminals", sum.Terminals}, {"API keys", sum.APIKeys}, {"customers", sum.Customers}, {"media", sum.Media}, {"items", sum.Items}} {
		if c.Count != (merchants.Count{}) {
			fmt.Fprintf(&b, "%s: %d added, %d changed\n", c.name, c.Added, c.Changed)
		}
	}
	return b.String()
}

func (p *play) account(name string) string {
	a, ok := p.house.book.AccountByName(name)
	if !ok {
		return name + " does not exist\n"
	}
	return fmt.Sprintf("%s has %d, %d held\n", name, a.Balance, a.Held)
}

// bookSays gives the sizes of the book, and the sum over all accounts, which
// must be zero: clearing stands for the world that money was put in from.
func (p *play) bookSays() string {
	b := p.house.book
	s := b.Stats()
	var sum int64
	for id := range s.Accounts {
		a, _ := b.Account(ledger.AccountID(id + 1))
		sum += a.Balance
	}
	return fmt.Sprintf("%d transactions, %d holds open, sum %d\n", s.Transactions, s.HoldsOpen, sum)
}
