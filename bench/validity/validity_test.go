package validity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/bench"
	"kessai/bench/peers/postgres"
	"kessai/cache"
	"kessai/customers"
	"kessai/merchants"
)

// TestPopulation: the truth about a card is what is stored of it, and there are
// some of every sort.
func TestPopulation(t *testing.T) {
	p := Population{Media: 5000, Terminals: 2000}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if (Population{Media: MinMedia - 1, Terminals: MinTerminals}).Validate() == nil {
		t.Error("a population without some of every sort is taken")
	}
	seen := make(map[kessai.ResponseCode]int)
	for card := range p.Media {
		s, expiry := p.Medium(card)
		code := p.want(card, 0)
		if valid := s == customers.Active && expiry != expired; valid != (code == kessai.Approved) || valid != (card < p.Valid().Media) {
			t.Fatalf("card %d is %v until %d, and is to be answered with %v", card, s, expiry, code)
		}
		seen[code]++
	}
	for n := range 100 {
		if s, _ := p.Medium(p.Lost(n)); s != customers.Lost {
			t.Fatalf("card %d, the lost one number %d, is %v", p.Lost(n), n, s)
		}
	}
	if len(seen) != 1+len(conditions) || seen[kessai.Approved] != p.Media-p.Invalid() {
		t.Errorf("the sorts of cards are %v", seen)
	}
	if p.want(p.Media, 0) != kessai.InvalidCardNumber || p.want(0, p.Terminals-1) != kessai.NotPermittedToTerminal {
		t.Error("a card that nobody knows, or a terminal that is not valid, is to be approved")
	}
}

// TestQuestions: the same seed asks the same, about valid numbers.
func TestQuestions(t *testing.T) {
	p := Population{Media: 5000, Terminals: 2000}
	one, two := make([]question, 1000), make([]question, 1000)
	newAsker(p, 7, 1).draw(one)
	newAsker(p, 7, 1).draw(two)
	codes := make(map[kessai.ResponseCode]bool)
	for i := range one {
		if one[i] != two[i] {
			t.Fatal("the same seed asks something else")
		}
		if _, err := kessai.ParsePAN(one[i].pan[:]); err != nil {
			t.Fatalf("question %d has no card number", i)
		}
		if id, err := kessai.ParseTerminalID(one[i].terminal[:]); err != nil || id.String()[0] != 'B' {
			t.Fatalf("question %d has terminal %q", i, one[i].terminal)
		}
		codes[one[i].want] = true
	}
	if len(codes) < 4 {
		t.Errorf("a thousand questions want %v only", codes)
	}
}

// TestEarlyAnswersAreHeldToWhatTheirModeKnows: an early answer may be positive
// because of what its mode does not know, and of nothing else.
func TestEarlyAnswersAreHeldToWhatTheirModeKnows(t *testing.T) {
	const terminal, stolen, stranger = kessai.NotPermittedToTerminal, kessai.StolenCard, kessai.InvalidCardNumber
	for mode, blind := range map[cache.Mode][]kessai.ResponseCode{
		cache.Both: {}, cache.MediaOnly: {terminal}, cache.TerminalsOnly: {stolen, stranger}, cache.Filter: {stranger},
	} {
		c := contender{mode: mode, early: true}
		for _, want := range []kessai.ResponseCode{terminal, stolen, stranger} {
			may := false
			for _, b := range blind {
				may = may || b == want
			}
			if c.mustSee(want, kessai.Approved) == may {
				t.Errorf("mode %v: approval of what has to get %v: allowed %v", mode, want, !may)
			}
			if !c.mustSee(want, kessai.LostCard) {
				t.Errorf("mode %v: a wrong refusal is allowed", mode)
			}
		}
	}
	if full := (contender{mode: cache.TerminalsOnly}); !full.mustSee(stolen, kessai.Approved) {
		t.Error("a full verdict may be wrong")
	}
}

func TestBounds(t *testing.T) {
	r := &Result{JudgeNS: 350, Ratios: map[string]float64{"registry": 25}, Modes: map[string]*Mode{"both": {Verdict: &Measured{NS: 350}}}}
	for text, kept := range map[string]bool{
		"judge_ns<=400": true, "judge_ns < 350": false, "ratios.registry>=20": true, "ratios.registry>25": false, "wrong<1": true,
		"modes.both.verdict.ns<=400": true, "ratios.postgres>=200": false, "load.ratios.refresh<=2": false,
	} {
		b, err := ParseBound(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if why := b.Check(r); (why == "") != kept {
			t.Errorf("%s: %q, kept should be %v", text, why, kept)
		}
	}
	for _, bad := range []string{"", "judge_ns", "judge_ns<", "judge_ns<fast", "ratios.moov>1", "p99<1ms", "judge_ns=3", "judge_ns<NaN"} {
		if _, err := ParseBound(bad); err == nil {
			t.Errorf("%q is taken for a threshold", bad)
		}
	}
}

func TestTable(t *testing.T) {
	r := &Result{Asked: 12345, JudgeNS: 350, Ratios: map[string]float64{"registry": 25.04}, Others: map[string]*Measured{"registry": {NS: 8765}},
		Modes: map[string]*Mode{"both": {Early: &Measured{NS: 300}, Verdict: &Measured{NS: 350, PerSecond: 5_000_000}, Bytes: 280 << 20, BytesMedium: 27.5, Resident: 700 << 20}},
		Load:  &Load{Rate: 50_000, Maximum: 100_000, Phases: map[string]*Phase{"quiet": {}, "refresh": {Events: 3, EventMS: 2500}}, Ratios: map[string]float64{"refresh": 1.4}}}
	var out strings.Builder
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12,345 verdicts", "350 ns", "5,000,000", "27.50 bytes", "25.0 times faster", "8.77 µs", "700 MiB resident", "2.50 s", "1.40"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

// TestV3_JudgingAllocatesNothing: from the bytes of the IDs, and of a whole
// message, to the verdict.
func TestV3_JudgingAllocatesNothing(t *testing.T) {
	p := Population{Media: MinMedia, Terminals: MinTerminals}
	h, err := kessai.NewMediumHasher(make([]byte, kessai.MinKeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	valid := new(cache.Cache)
	valid.Swap(snapshotOf(t, p, h))
	j := newJudge(&Stores{Hasher: h}, valid)
	r, err := newReader(j)
	if err != nil {
		t.Fatal(err)
	}
	questions := make([]question, batch)
	newAsker(p, 1, 1).draw(questions)
	for name, ask := range map[string]ask{"verdict": j.full, "early": j.early, "message": r.message} {
		i, wrong := 0, 0
		n := testing.AllocsPerRun(2000, func() {
			q := &questions[i%batch]
			if code, ok, err := ask(q); err != nil || !ok || code != q.want {
				wrong++
			}
			i++
		})
		if n != 0 && !raceEnabled || wrong > 0 {
			t.Errorf("%s: %v allocations, %d wrong", name, n, wrong)
		}
	}
}

// TestRun: each way of judging gives the verdicts that it has to, PostgreSQL's
// too, and a second run finds PostgreSQL filled.
func TestRun(t *testing.T) {
	p := Population{Media: MinMedia, Terminals: MinTerminals}
	dir := t.TempDir()
	book, err := ledger.Open(ledger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	h, err := kessai.NewMediumHasher(make([]byte, kessai.MinKeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	r, err := merchants.OpenRegistry(merchants.Options{Dir: dir, OpenAccounts: book.OpenAccounts, Account: book.AccountByName, Hasher: h, APIKeySecret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := bench.FillRegistry(t.Context(), r, p.Fill()); err != nil {
		t.Fatal(err)
	}
	stores := &Stores{Registry: r, Hasher: h}
	o := Options{Population: p, Seed: 1, Rounds: 3, Slot: 10 * time.Millisecond, Progress: func(string) {}}
	if _, ok := postgres.Found(); ok {
		o.Postgres = startPostgres(t, stores, p)
	}
	res, err := Run(t.Context(), stores, o)
	if err != nil {
		t.Fatal(err)
	}
	allocates := res.Allocs > 0.01 && !raceEnabled // the stores allocate beside it
	if res.Wrong > 0 || res.Asked == 0 || allocates {
		t.Errorf("%d of %d verdicts were wrong, %v allocations", res.Wrong, res.Asked, res.Allocs)
	}
	for _, name := range res.ModeOrder() {
		if m := res.Modes[name]; m.Verdict.NS <= 0 || m.Verdict.PerSecond <= 0 || m.Bytes <= 0 {
			t.Errorf("mode %s: %+v, %+v", name, m, m.Verdict)
		}
	}
	if len(res.ModeOrder()) != 4 || res.Ratios["registry"] <= 1 || o.Postgres != nil && res.Ratios["postgres"] <= 1 {
		t.Errorf("modes %v, ratios %v", res.ModeOrder(), res.Ratios)
	}
	if early := res.Modes["both"].Early.Waited; early != 0 {
		t.Errorf("in mode both %v of the answers wait", early)
	}
}

// startPostgres starts a server in a folder that is kept, stops it, and starts it
// again.
func startPostgres(t *testing.T, s *Stores, p Population) *Postgres {
	dir, err := os.MkdirTemp("", "kessai-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // PostgreSQL's own user must be able to enter
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var said []string
	start := func() *Postgres {
		pg, err := StartPostgres(t.Context(), s, p, filepath.Join(dir, "pg"), 2, func(what string) { said = append(said, what) })
		if err != nil {
			t.Fatal(err)
		}
		return pg
	}
	if err := start().Close(); err != nil {
		t.Fatal(err)
	}
	filled := len(said)
	pg := start()
	t.Cleanup(func() {
		if err := pg.Close(); err != nil {
			t.Error(err)
		}
	})
	if again := len(said) - filled; again >= filled {
		t.Errorf("it was filled again: %q", said)
	}
	return pg
}
