package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"kessai"
	"kessai/authz/ledger"
	"kessai/bench/load"
	"kessai/merchants"
)

func TestThresholds(t *testing.T) {
	r := &Result{Throughput: 50_000, Missed: 0, Errors: 3, Sent: 10, Latency: Percentiles{P50: 1, P99: 9.5, P999: 20, Max: 31}}
	for text, kept := range map[string]bool{
		"p99<10ms": true, "p99<9ms": false, "p99<=9500us": true, "p50 < 1ms": false, "p50<=1ms": true, "max<31ms": false, "p999<1s": true,
		"throughput>49999": true, "throughput>50000": false, "throughput>=50000": true, "missed<1": true, "errors<1": false, "declined<1": true,
	} {
		th, err := ParseThreshold(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if why := th.Check(r); (why == "") != kept {
			t.Errorf("%s: %q, kept should be %v", text, why, kept)
		}
	}
	for _, bad := range []string{"", "p99", "p99<", "p99<10", "p95<10ms", "throughput>fast", "throughput>-1", "errors=0", "p99<-1ms", "errors<1ms", "missed<NaN"} {
		if _, err := ParseThreshold(bad); err == nil {
			t.Errorf("%q is taken for a threshold", bad)
		}
	}
	th, _ := ParseThreshold("p99<1s")
	if th.Check(&Result{}) == "" {
		t.Error("a latency is within bounds although nothing was asked")
	}
}

func TestOverBudget(t *testing.T) {
	r := &Result{Stages: map[string]Stage{
		"decode": {P50: 1, P99: 30, BudgetP50: 2, BudgetP99: 20}, "judge": {P50: 3, P99: 4, BudgetP50: 2, BudgetP99: 20}, "encode": {P50: 9, P99: 9},
	}}
	want := []string{"decode p99: 30 µs, budget 20 µs", "judge p50: 3.00 µs, budget 2.00 µs"}
	if got := r.OverBudget(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestQuantileOfBuckets reads between two scrapes, evenly within a bucket.
func TestQuantileOfBuckets(t *testing.T) {
	h := func(counts ...uint64) *dto.Histogram {
		out := new(dto.Histogram)
		for i, c := range counts {
			end := float64(int(1) << i)
			out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: &end, CumulativeCount: &c})
		}
		return out
	}
	d := between(h(100, 100, 100), h(150, 200, 200)) // 50 up to 1, 50 from 1 to 2
	for q, want := range map[float64]float64{0.25: 0.5, 0.5: 1, 0.75: 1.5, 1: 2} {
		if got := d.quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := between(h(5, 5), h(5, 5)).quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// TestRegistryFiles: an import takes what is written, whole.
func TestRegistryFiles(t *testing.T) {
	p := load.Population{Media: 250, Terminals: 130}
	paths, err := WriteRegistry(t.TempDir(), p)
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		im, err := merchants.ParseImport(filepath.Base(path), bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(path), err)
		}
		records += im.Len()
	}
	if want := 100 + 100 + 130 + 250 + 250; records != want {
		t.Errorf("%d records in %d files, want %d", records, len(paths), want)
	}
	if _, err := WriteRegistry(t.TempDir(), load.Population{}); err == nil {
		t.Error("a registry of nobody was written")
	}
}

// TestFillRegistry: a registry that is filled here has what its files would bring.
func TestFillRegistry(t *testing.T) {
	p := load.Population{Media: 250, Terminals: 130}
	dir := t.TempDir()
	book, err := ledger.Open(ledger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	hasher, err := kessai.NewMediumHasher(make([]byte, kessai.MinKeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	r, err := merchants.OpenRegistry(merchants.Options{Dir: dir, OpenAccounts: book.OpenAccounts, Account: book.AccountByName, Hasher: hasher, APIKeySecret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := FillRegistry(t.Context(), r, Fill{Population: p}); err != nil {
		t.Fatal(err)
	}
	before := r.Stats().Counts
	if want := (merchants.Counts{Merchants: 100, APIKeys: 100, Terminals: 130, Customers: 250, Media: 250}); before != want {
		t.Errorf("it has %+v, want %+v", before, want)
	}
	paths, err := WriteRegistry(t.TempDir(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		im, err := merchants.ParseImport(filepath.Base(path), bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := r.Import(t.Context(), im, nil)
		for _, c := range []merchants.Count{sum.Merchants, sum.APIKeys, sum.Terminals, sum.Customers, sum.Media} {
			if err != nil || c.Added+c.Changed > 0 {
				t.Errorf("%s is another registry: %+v, %v", filepath.Base(path), sum, err)
			}
		}
	}
}

// TestJSONKeys holds the names that others read.
func TestJSONKeys(t *testing.T) {
	yes, n := true, 1.0
	r := Result{
		Stages: map[string]Stage{"decode": {}}, Peers: map[string]Peer{"floor": {}}, Ratios: map[string]float64{"floor": 2},
		Codes: map[string]int64{"00": 1}, AllocsPerOp: &n, BookAgrees: &yes, Resident: &n, Rounds: []float64{1},
		CPU: CPU{Gateway: &n}, Series: []float64{1}, Settings: Settings{Dialect: "d", Framing: "f", Rounds: 5, Procs: 1, Addr: "a", Gateway: []string{"a=b"}},
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	got := keysOf("", v)
	slices.Sort(got)
	want, err := os.ReadFile("testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(got, "\n") + "\n"; text != string(want) {
		t.Errorf("the keys are\n%s\nand should be those of testdata/keys.txt", text)
	}
	for key, value := range map[string]any{"book_agrees": nil, "allocs_per_op": nil} {
		b, err := json.Marshal(Result{})
		if err != nil || !bytes.Contains(b, fmt.Appendf(nil, "%q:null", key)) {
			t.Errorf("%s is not null where it is not known (%v): %s, %v", key, value, b, err)
		}
	}
}

func keysOf(prefix string, v any) (keys []string) {
	m, ok := v.(map[string]any)
	if !ok {
		return []string{prefix}
	}
	for k, inner := range m {
		path := k
		if prefix != "" {
			path = prefix + "." + k
		}
		keys = append(keys, keysOf(path, inner)...)
	}
	return keys
}

func TestTable(t *testing.T) {
	yes, gw := true, 1.5
	r := &Result{Throughput: 123456, Stages: map[string]Stage{"decode": {P50: 1.5, P99: 3, BudgetP50: 2, BudgetP99: 20}}, BookAgrees: &yes, BookNote: "all of it",
		Peers: map[string]Peer{"floor": {Throughput: 700_000, Caveat: "It does nothing."}}, Ratios: map[string]float64{"floor": 0.18}, CPU: CPU{Gateway: &gw}}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"123,456 a second", "closed loop", "decode", "1.50 µs", "agrees: all of it", "0.18 ×", "It does nothing.", "1.5 s gateway"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// shop is a book with customers and one merchant's sales in it, and what would
// have been answered.
type shop struct {
	dir string
	Answered
}

// newShop books some sales, a reversal, a balance inquiry and a decline.
func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t.TempDir(), Answered{Population: load.Population{Media: 3, Terminals: 1}, Outcomes: []*load.Outcome{{}}}}
	b, err := ledger.Open(ledger.Options{Dir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	id, _ := kessai.ParseMerchantID(s.Population.MerchantID(0))
	terminal, _ := kessai.ParseTerminalID(s.Population.TerminalID(0))
	const yen = 392
	specs := []ledger.AccountSpec{{Name: merchants.AccountName(id), Kind: ledger.MerchantAccount, Currency: yen}}
	for i := range 3 {
		specs = append(specs, ledger.AccountSpec{Name: "customer/" + s.Population.CustomerID(i), Kind: ledger.CustomerAccount, Currency: yen, Opening: OpeningBalance})
	}
	accounts, err := b.OpenAccounts(specs)
	if err != nil {
		t.Fatal(err)
	}
	var last kessai.TxID
	for i := range 12 {
		op := ledger.Op{
			Kind: kessai.Purchase, Merchant: id, Terminal: terminal, STAN: kessai.STAN(i + 1), Currency: yen, Amount: int64(100 + i),
			Customer: accounts[1+i%3], Shop: accounts[0], Names: [2]ledger.Name{{Key: ledger.Key{1, byte(i)}, Digest: [16]byte{byte(i)}}}, Wire: ledger.WireISO,
		}
		a := load.Approval{STAN: uint32(i + 1), Amount: uint32(100 + i), Kind: load.Purchase}
		switch i {
		case 4:
			op.Kind, op.Amount, op.Original, a.Kind, a.Amount = kessai.Reversal, 0, ledger.Ref{ID: last}, load.Reversal, 103
		case 7:
			op.Kind, op.Amount, a.Kind, a.Amount = kessai.BalanceInquiry, 0, load.Balance, 0
		case 9:
			op.Verdict = kessai.InvalidCardNumber
		}
		out, err := b.Commit(context.Background(), &op)
		if err != nil {
			t.Fatal(err)
		}
		last = out.Tx.ID
		if !out.Tx.Code.IsApproval() {
			s.Outcomes[0].Recorded++
			continue
		}
		a.RRN = uint64(last)
		s.Outcomes[0].Approvals = append(s.Outcomes[0].Approvals, []load.Approval{a})
	}
	return s
}

func TestBookAgrees(t *testing.T) {
	s := newShop(t)
	note, err := CheckBook(s.dir, s.Answered, nil)
	if err != nil || !strings.Contains(note, "11 approvals and 1 declines") {
		t.Errorf("%q, %v", note, err)
	}
}

// TestBookDisagrees: whatever is changed in what was answered, the check sees it.
func TestBookDisagrees(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*load.Outcome)
		want   string
	}{
		"an approval that the book lacks": {func(o *load.Outcome) {
			o.Approvals = append(o.Approvals, []load.Approval{{RRN: 99, STAN: 99, Amount: 1}})
		}, "is not in the book"},
		"an entry that nobody was told of": {func(o *load.Outcome) { o.Approvals = o.Approvals[1:] }, "nobody was told"},
		"another amount":                   {func(o *load.Outcome) { o.Approvals[2][0].Amount++ }, "was for 103, and is for 102"},
		"another STAN":                     {func(o *load.Outcome) { o.Approvals[2][0].STAN++ }, "another terminal or STAN"},
		"another terminal":                 {func(o *load.Outcome) { o.Approvals[2][0].Terminal++ }, "another terminal or STAN"},
		"another kind":                     {func(o *load.Outcome) { o.Approvals[2][0].Kind = load.Balance }, "was a balance_inquiry"},
		"one answer to two requests":       {func(o *load.Outcome) { o.Approvals = append(o.Approvals, o.Approvals[3]) }, "two requests"},
		"a decline too many":               {func(o *load.Outcome) { o.Recorded++ }, "2 declines"},
		"a decline taken for an approval": {func(o *load.Outcome) {
			o.Approvals = append(o.Approvals, []load.Approval{{RRN: 10, STAN: 10, Amount: 109}})
		}, "is declined in the book"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			c.change(s.Outcomes[0])
			_, err := CheckBook(s.dir, s.Answered, nil)
			if !errors.Is(err, ErrDisagrees) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestBookKnowsWhatWasInFlight: an entry without an answer is fine where a request
// was in flight at the end.
func TestBookKnowsWhatWasInFlight(t *testing.T) {
	s := newShop(t)
	o := s.Outcomes[0]
	a := o.Approvals[5][0]
	o.Approvals = slices.Delete(o.Approvals, 5, 6)
	o.Unanswered = []load.Unanswered{{Terminal: a.Terminal, STAN: a.STAN, Amount: a.Amount, Kind: a.Kind}, {STAN: 500}}
	if _, err := CheckBook(s.dir, s.Answered, nil); err != nil {
		t.Error(err)
	}
}

// TestBookThatWasThereBefore is not held against the run.
func TestBookThatWasThereBefore(t *testing.T) {
	s := newShop(t)
	s.After = 12
	s.Outcomes = []*load.Outcome{{}}
	if _, err := CheckBook(s.dir, s.Answered, nil); err != nil {
		t.Error(err)
	}
}

func TestMachine(t *testing.T) {
	m := ThisMachine()
	if m.Cores < 1 || m.Go == "" {
		t.Errorf("%+v", m)
	}
	r := NewResult("v", time.Now(), Settings{}, &load.Outcome{Latency: load.NewHistogram(), Service: load.NewHistogram()})
	if r.Latency != (Percentiles{}) || r.LatencyCurve != nil {
		t.Errorf("of nothing: %+v", r.Latency)
	}
}

// TestScaleAdd: points come in order of their values, each once, the latest.
func TestScaleAdd(t *testing.T) {
	var s Scale
	for i, v := range []int{64, 1, 10_000, 64, 8} {
		s.Add("conns", "connections", ScalePoint{Value: v, Result: &Result{Throughput: float64(i)}})
	}
	s.Add("media", "cards", ScalePoint{Value: 5})
	if len(s.Axes) != 2 || s.Axes[1].Name != "media" {
		t.Fatalf("the axes are %+v", s.Axes)
	}
	var values []int
	for _, p := range s.Axes[0].Points {
		values = append(values, p.Value)
	}
	if !slices.Equal(values, []int{1, 8, 64, 10_000}) || s.Axes[0].Points[2].Result.Throughput != 3 {
		t.Errorf("the points are %+v", s.Axes[0].Points)
	}
}
