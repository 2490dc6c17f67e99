package ledger

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"kessai"
)

// TestP_OneWinner has everybody end the same waiting payments at the same moment:
// the customer approves, and another device of theirs cancels, the terminal cancels
// and reverses, somebody guesses, two phones claim, the deadline passes, and the
// gateway is stopped in between. Each payment has one winner, whom everybody names.
func TestP_OneWinner(t *testing.T) {
	races := 10_000
	if raceEnabled {
		races = 1_500
	}
	synctest.Test(t, func(t *testing.T) {
		r := &racing{dir: t.TempDir(), rnd: rand.New(rand.NewPCG(20261124, 1)), heard: map[kessai.TxID][]Tx{}, wins: map[string]int{}}
		r.open(t)
		r.shop, r.customers = people(t, r.book(), 1_000_000_000, 1_000_000_000)
		for r.n < races {
			r.round(t, 100)
		}
		t.Logf("who won: %v", r.wins)
		for _, who := range []string{"approval", "cancellation", "wrong proofs", "deadline", "reversal"} {
			if r.wins[who] < races/200 {
				t.Errorf("only %d of %d races were won by the %s", r.wins[who], races, who)
			}
		}
		if err := r.book().Close(); err != nil {
			t.Fatal(err)
		}
		if rep, err := Verify(r.dir, nil); err != nil || rep.Waiting+rep.HoldsOpen != 0 {
			t.Errorf("%+v, %v", rep, err)
		}
	})
}

type racing struct {
	dir       string
	rnd       *rand.Rand
	shop      AccountID
	customers []AccountID
	n         int
	names     atomic.Uint64
	spent     [2]int64
	wins      map[string]int
	byCard    bool

	mu      sync.Mutex
	current *Book
	heard   map[kessai.TxID][]Tx
	guesses []guessed // this round's PINs
}

func (r *racing) book() *Book {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

func (r *racing) open(t *testing.T) {
	b := must(Open(Options{Dir: r.dir, Resident: 1, SnapshotEvery: 2_000, SnapshotPause: 1, Logf: t.Logf}))
	b.OnEnded(func(all []Tx) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, tx := range all {
			r.heard[tx.ID] = append(r.heard[tx.ID], tx)
		}
	})
	r.mu.Lock()
	r.current = b
	r.mu.Unlock()
}

// commit asks until the gateway runs that is asked.
func (r *racing) commit(t *testing.T, op Op) Tx {
	op.Merchant, op.Terminal, op.Currency = aoi, aoiPOS, kessai.JPY
	if op.Kind.OfCustomer() {
		op.Merchant, op.Terminal = kessai.MerchantID{}, kessai.TerminalID{}
	} else if op.Names == [2]Name{} {
		op.Names = named1(r.names.Add(1))
	}
	for {
		out, err := commitInBubble(r.book(), op)
		if errors.Is(err, ErrClosed) {
			time.Sleep(time.Nanosecond)
			continue
		}
		if err != nil {
			t.Error(err)
		}
		return out.Tx
	}
}

// commitInBubble is Commit without the pool, which goes from bubble to bubble.
func commitInBubble(b *Book, op Op) (Outcome, error) {
	one := []Task{{Op: op, Err: op.check()}}
	err := commitTasks(b, one)
	return one[0].Outcome, cmp.Or(err, one[0].Err)
}

func commitTasks(b *Book, tasks []Task) error {
	p := &pending{tasks: tasks, done: make(chan struct{}, 1)}
	err := b.commitNow(p)
	if err == errOthers {
		err = b.send(p)
	}
	if err == nil {
		<-p.done
		err = p.err
	}
	return err
}

// saveInBubble saves when nobody else does: in a bubble no time passes while
// somebody waits for a lock.
func saveInBubble(b *Book, whole bool) error {
	for b.snapping.Load() {
		time.Sleep(time.Millisecond)
	}
	return b.save(whole)
}

func bubbled(t *testing.T, b *Book, op Op) Tx {
	t.Helper()
	op.Currency = kessai.JPY
	if op.Merchant, op.Terminal = aoi, aoiPOS; op.Kind.OfCustomer() {
		op.Merchant, op.Terminal = kessai.MerchantID{}, kessai.TerminalID{}
	}
	out, err := commitInBubble(b, op)
	if err != nil || out.Conflict {
		t.Fatal(out, err)
	}
	return out.Tx
}

// contest is one payment and what those were told who would end it.
type contest struct {
	sale Tx
	mu   sync.Mutex
	told []Tx
}

func (r *racing) round(t *testing.T, size int) {
	wait := time.Duration(1+r.rnd.IntN(3)) * time.Second
	start := time.Now()
	all := make([]*contest, size)
	tasks := make([]Task, size)
	for i := range tasks {
		op := Op{
			Kind: kessai.Purchase, Names: named1(r.names.Add(1)), Merchant: aoi, Terminal: aoiPOS, Currency: kessai.JPY,
			Customer: r.customers[i%2], Shop: r.shop, Amount: 100, Asks: kessai.AsksPhone, WaitFor: wait,
		}
		switch {
		case r.byCard:
			op.Asks = kessai.AsksReader
		case i%3 == 0:
			op.Asks, op.Customer = kessai.AsksClaim, 0
		}
		if i%5 == 0 {
			op.Kind, op.HoldFor = kessai.PreAuthorization, time.Hour
		}
		tasks[i] = Task{Op: op, Err: op.check()}
	}
	if err := commitTasks(r.book(), tasks); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i] = (&contest{sale: tasks[i].Outcome.Tx}); all[i].sale.Status != Waiting {
			t.Fatalf("%+v", tasks[i])
		}
		r.n++
	}
	var running sync.WaitGroup
	for _, c := range all {
		early := 2 * time.Nanosecond * time.Duration(min(1, r.rnd.IntN(4))) // before the deadline, or with it
		for _, ask := range r.contenders(c, r.rnd.IntN(5)) {
			running.Go(func() {
				time.Sleep(time.Until(start.Add(wait - early)))
				tx := ask(t)
				c.mu.Lock()
				c.told = append(c.told, tx)
				c.mu.Unlock()
			})
		}
	}
	if r.rnd.IntN(3) == 0 { // the gateway is stopped in the middle of it
		time.Sleep(time.Until(start.Add(wait - 2*time.Nanosecond)))
		if err := r.book().Close(); err != nil {
			t.Fatal(err)
		}
		r.open(t)
	}
	running.Wait()
	time.Sleep(time.Until(start.Add(wait)))
	synctest.Wait()
	copied := r.book()
	if killed := r.n/size%4 == 0; killed {
		copied = openTest(t, Options{Dir: copyBook(t, r.dir), Resident: 1})
		defer copied.Close()
		if diff := gocmp.Diff(r.book().state.derived().PINs, copied.state.derived().PINs); diff != "" {
			t.Fatalf("after a kill, other PINs count:\n%s", diff)
		}
	}
	for _, c := range all {
		r.judge(t, c, copied)
	}
	for i, id := range r.customers {
		wantBalance(t, r.book(), id, 1_000_000_000-r.spent[i], 0)
		wantBalance(t, copied, id, 1_000_000_000-r.spent[i], 0)
	}
	wantBalance(t, copied, r.shop, r.spent[0]+r.spent[1], 0)
}

// copyBook copies what a killed gateway leaves, but for the index.
func copyBook(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, dir := range []string{blocksDir(from), pagesDir(from)} {
		if err := os.CopyFS(filepath.Join(to, must(filepath.Rel(from, dir))), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(witnessPath(to), must(os.ReadFile(witnessPath(from))), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// contenders gives those who would end a payment; some are not there.
func (r *racing) contenders(c *contest, without int) (asks []func(*testing.T) Tx) {
	id := Ref{ID: c.sale.ID}
	of := c.sale.Customer
	add := func(op Op) { asks = append(asks, func(t *testing.T) Tx { return r.commit(t, op) }) }
	if r.byCard {
		asks = r.withCards(c)
		add(Op{Kind: kessai.Cancellation, Original: id, Customer: of})
	} else if of == 0 {
		for _, who := range r.customers {
			asks = append(asks, func(t *testing.T) Tx {
				if tx := r.commit(t, Op{Kind: kessai.Claim, Original: id, Customer: who}); tx.Code != kessai.Approved {
					return tx
				}
				return r.commit(t, Op{Kind: kessai.Approval, Original: id, Customer: who, Factor: kessai.FactorPasskey})
			})
		}
	} else {
		add(Op{Kind: kessai.Approval, Original: id, Customer: of, Factor: kessai.FactorPassword, DayTries: 1 << 30})
		add(Op{Kind: kessai.Cancellation, Original: id, Customer: of})
		for range 3 {
			add(Op{Kind: kessai.Approval, Original: id, Customer: of, Factor: kessai.FactorPassword, Verdict: kessai.WrongProof, DayTries: 1 << 30})
		}
	}
	add(Op{Kind: kessai.Cancellation, Original: id, Ends: kessai.DoNotHonour})
	add(Op{Kind: kessai.Reversal, Original: id})
	r.rnd.Shuffle(len(asks), func(i, j int) { asks[i], asks[j] = asks[j], asks[i] })
	return asks[:max(0, len(asks)-without)]
}

// judge finds who won, and whether all say the same.
func (r *racing) judge(t *testing.T, c *contest, copied *Book) {
	t.Helper()
	now, ok := r.book().Find(Ref{ID: c.sale.ID})
	if again, _ := copied.Find(Ref{ID: c.sale.ID}); !ok || again != now {
		t.Fatalf("the book has %+v, after a kill %+v", now, again)
	}
	winners := map[string]int{}
	var undone bool
	for _, tx := range c.told {
		switch {
		case tx.Kind == kessai.Approval && tx.Code == kessai.Approved:
			winners["approval"]++
		case tx.Kind == kessai.Cancellation && tx.Code == kessai.Approved:
			winners["cancellation"]++
		case tx.Kind == kessai.Approval && tx.Ends != 0:
			winners["wrong proofs"]++
		case tx.Kind == kessai.Reversal && tx.Amount > 0:
			undone = true
		}
	}
	if undone && winners["approval"] == 0 {
		winners["reversal"]++
	}
	if now.Status == Expired {
		winners["deadline"]++
	}
	r.mu.Lock()
	heard := r.heard[now.ID]
	delete(r.heard, now.ID)
	r.mu.Unlock()
	if len(winners) != 1 || len(heard) > 1 || len(heard) == 0 && now.Status != Expired { // it may have ended on opening
		t.Fatalf("%v won %+v, which was told %d times; %+v", winners, now, len(heard), c.told)
	}
	for who, times := range winners {
		r.wins[who]++
		want := map[string]kessai.ResponseCode{
			"approval": kessai.Approved, "wrong proofs": kessai.TriesExceeded, "deadline": kessai.TooLate, "reversal": kessai.CustomerCancellation,
			"cancellation": now.Told,
		}[who]
		if who == "wrong proofs" && r.byCard {
			if want = now.Told; want != kessai.TriesExceeded { // the first ends it
				want = kessai.WrongProof
			}
		}
		if times != 1 || now.Standing() != want || len(heard) == 1 && heard[0].Standing() != want || now.Status == Waiting {
			t.Fatalf("the %s won %d times; the book says %v, and told %+v", who, times, now.Standing(), heard)
		}
	}
	switch {
	case now.Status == Posted:
		r.spent[now.Customer-r.customers[0]] += 100
	case now.Status == Pending: // so that nothing is held when all are added up
		r.commit(t, Op{Kind: kessai.Release, Original: Ref{ID: now.ID}})
		if copied != r.book() {
			bubbled(t, copied, Op{Kind: kessai.Release, Names: named1(1<<50 + uint64(now.ID)), Original: Ref{ID: now.ID}})
		}
	}
}

// TestP_WrongProofsAgainstARightOne has many guess while the customer approves.
func TestP_WrongProofsAgainstARightOne(t *testing.T) {
	b := openTest(t, Options{Dir: t.TempDir()})
	shop, c := people(t, b, 1_000_000)
	approved := 0
	for n := range uint64(200) {
		sale := wantCode(t, commit(t, b, Op{
			Kind: kessai.Purchase, Names: named1(n), Customer: c[0], Shop: shop, Amount: 100, Asks: kessai.AsksPhone, WaitFor: time.Hour,
		}), kessai.Approved)
		told := make([]Tx, 8)
		var running sync.WaitGroup
		for i := range told {
			running.Go(func() {
				op := Op{Kind: kessai.Approval, Original: Ref{ID: sale.ID}, Customer: c[0], Factor: kessai.FactorPassword, DayTries: 1 << 30}
				if i != int(n%8) {
					op.Verdict = kessai.WrongProof
				}
				told[i] = commit(t, b, op).Tx
			})
		}
		running.Wait()
		codes := map[kessai.ResponseCode]int{}
		for _, tx := range told {
			codes[tx.Code]++
		}
		now, _ := b.Find(Ref{ID: sale.ID})
		approved += codes[kessai.Approved]
		switch {
		case codes[kessai.Approved] == 1 && now.Status == Posted && codes[kessai.WrongProof] < 3 && int(now.Tries) == codes[kessai.WrongProof]:
		case codes[kessai.Approved] == 0 && now.Status == Cancelled && codes[kessai.WrongProof] == 3 && now.Tries == 3 && now.Told == kessai.TriesExceeded:
		default:
			t.Fatalf("answers %v, the sale is %+v", codes, now)
		}
	}
	sales, signIns := b.Tries(c[0])
	if sales != 200*7 || signIns != 0 {
		t.Errorf("%d and %d wrong proofs were counted, want 1400 and 0", sales, signIns)
	}
	wantBalance(t, b, c[0], 1_000_000-int64(approved)*100, 0)
}

// TestP_DayTriesAreExact has a stranger guess at many payments at once, and at many
// sign-ins: what is counted is exact, and stays so whatever becomes of the gateway.
func TestP_DayTriesAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		options := func(dir string) Options { // a day takes ten minutes
			return Options{Dir: dir, Resident: 1, SnapshotEvery: 1 << 30, BusinessDay: func(t time.Time) int32 { return int32(t.Unix() / 600) }}
		}
		b := openTest(t, options(t.TempDir()))
		reopen := func(t *testing.T, b *Book) *Book {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			return openTest(t, options(b.o.Dir))
		}
		shop, c := people(t, b, 1_000_000)
		tasks := make([]Task, 3*pageSize) // their pages leave memory
		for n := range tasks {
			tasks[n].Op = Op{
				Kind: kessai.Purchase, Names: named1(uint64(n)), Merchant: aoi, Customer: c[0], Shop: shop, Currency: kessai.JPY, Amount: 100,
				Asks: kessai.AsksPhone, WaitFor: 9 * time.Minute,
			}
		}
		if err := commitTasks(b, tasks); err != nil {
			t.Fatal(err)
		}
		guess := func(kind kessai.Kind, verdict kessai.ResponseCode, factor kessai.Factor, n int) (codes [100]int) {
			var running sync.WaitGroup
			var mu sync.Mutex
			for i := range n {
				running.Go(func() {
					op := Op{Kind: kind, Customer: c[0], Factor: factor, Verdict: verdict}
					if kind == kessai.Approval {
						op.Original = Ref{ID: tasks[i].Outcome.Tx.ID}
					}
					tx := bubbled(t, b, op)
					mu.Lock()
					codes[tx.Code]++
					mu.Unlock()
				})
			}
			running.Wait()
			return codes
		}
		want := func(what string, codes [100]int, code kessai.ResponseCode, n int) {
			t.Helper()
			if codes[code] != n {
				t.Errorf("%s: %d were answered with %v, want %d", what, codes[code], code, n)
			}
		}
		wantTries := func(what string, wantSales, wantSignIns int) {
			t.Helper()
			if sales, signIns := b.Tries(c[0]); sales != wantSales || signIns != wantSignIns {
				t.Errorf("%s: %d and %d wrong proofs are counted, want %d and %d", what, sales, signIns, wantSales, wantSignIns)
			}
		}
		codes := guess(kessai.Approval, kessai.WrongProof, kessai.FactorPassword, 60)
		want("guesses", codes, kessai.WrongProof, 5)
		want("guesses", codes, kessai.TriesExceeded, 55)
		wantTries("after guesses", 5, 0)
		want("the right password", guess(kessai.Approval, 0, kessai.FactorPassword, 1), kessai.TriesExceeded, 1)
		want("a passkey", guess(kessai.Approval, 0, kessai.FactorPasskey, 1), kessai.Approved, 1)
		want("a sign-in", guess(kessai.SignIn, 0, kessai.FactorPassword, 1), kessai.Approved, 1)
		codes = guess(kessai.SignIn, kessai.WrongProof, kessai.FactorPassword, 20)
		want("wrong sign-ins", codes, kessai.WrongProof, 5)
		want("the right sign-in", guess(kessai.SignIn, 0, kessai.FactorPassword, 1), kessai.TriesExceeded, 1)
		want("a sign-in by passkey", guess(kessai.SignIn, 0, kessai.FactorPasskey, 1), kessai.Approved, 1)
		for what, how := range map[string]func(){
			"from pages": func() { b = reopen(t, b) },
			"from blocks": func() {
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				withoutSnapshot(t, b.o.Dir)
				b = openTest(t, options(b.o.Dir))
			},
			"after a kill": func() {
				if err := saveInBubble(b, true); err != nil {
					t.Fatal(err)
				}
				b = openTest(t, options(copyBook(t, b.o.Dir)))
			},
		} {
			how()
			wantTries(what, 5, 5)
			want(what, guess(kessai.SignIn, 0, kessai.FactorPassword, 1), kessai.TriesExceeded, 1)
			if n := len(b.Waiting()); n != len(tasks)-1 {
				t.Errorf("%s: %d wait, want %d", what, n, len(tasks)-1)
			}
		}
		if tx := bubbled(t, b, Op{Kind: kessai.Unlock, Customer: c[0]}); tx.Code != kessai.Approved {
			t.Errorf("the unlock: %v", tx.Code)
		}
		wantTries("after the unlock", 0, 0)
		guess(kessai.Approval, kessai.WrongProof, kessai.FactorPassword, 2)
		b = reopen(t, b)
		wantTries("after the unlock, 2 guesses and reopening", 2, 0)
		b = openTest(t, options(copyBook(t, b.o.Dir)))
		wantTries("and after a kill", 2, 0)
		time.Sleep(10 * time.Minute)
		wantTries("the day after", 0, 0)
		b = reopen(t, b)
		wantTries("the day after, reopened", 0, 0)
		if n := len(b.Waiting()); n != 0 {
			t.Errorf("%d wait the day after", n)
		}
		wantBalance(t, b, c[0], 1_000_000-100, 0)
	})
}
