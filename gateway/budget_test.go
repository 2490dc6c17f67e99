package gateway

import (
	"strings"
	"testing"
	"time"

	"kessai/authz"
	"kessai/configs"
)

const goodBudget = `
decode: {p50: 1µs, p99: 10µs}
judge:  {p50: 2us, p99: 20us}
decide: {p50: 3µs, p99: 3µs}
commit:
  p50: 4ms
  p99: 1.5s
encode: {p50: 500ns, p99: 50µs}
`

func TestBudget(t *testing.T) {
	b, err := ParseBudget([]byte(goodBudget))
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[authz.Stage][2]time.Duration{
		authz.StageDecode: {time.Microsecond, 10 * time.Microsecond},
		authz.StageJudge:  {2 * time.Microsecond, 20 * time.Microsecond},
		authz.StageDecide: {3 * time.Microsecond, 3 * time.Microsecond},
		authz.StageCommit: {4 * time.Millisecond, 1500 * time.Millisecond},
		authz.StageEncode: {500, 50 * time.Microsecond},
	} {
		if b.P50[s] != want[0] || b.P99[s] != want[1] {
			t.Errorf("stage %s: %v and %v, want %v", s, b.P50[s], b.P99[s], want)
		}
	}
}

func TestBudget_Refused(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(goodBudget, old) {
			t.Fatalf("there is no %q to change", old)
		}
		return strings.Replace(goodBudget, old, new, 1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":               {"", "empty"},
		"comments only":       {"# nothing\n", "empty"},
		"no YAML":             {"decode: {p50: 1ms\ncommit: }", "is no valid YAML"},
		"a list":              {"- decode\n", "line 1: the stages must stand here"},
		"two documents":       {goodBudget + "---\ndecode: 1\n", "line 9: a second document"},
		"unknown stage":       {change("judge:", "jugde:"), "line 3: there is no such stage; the stages are decode, judge, decide, commit, encode"},
		"missing stages":      {change("judge:  {p50: 2us, p99: 20us}\ndecide: {p50: 3µs, p99: 3µs}\n", ""), "these stages have no budget: judge, decide"},
		"a stage twice":       {goodBudget + "judge: {p50: 2us, p99: 20us}\n", "line 9: stands in line 3 already"},
		"a percentile twice":  {change("p99: 20us", "p99: 20us, p99: 30us"), "line 3: stage judge: line 3: stands in line 3 already"},
		"a stage of one time": {change("{p50: 2us, p99: 20us}", "2us"), "line 3: stage judge: line 3: p50 and p99 must stand here"},
		"an alias":            {"decode: &d {p50: 1µs, p99: 10µs}\njudge: *d\n", "line 2: stage judge: line 2: p50 and p99 must stand here"},
		"another percentile":  {change("p99: 20us", "p99: 20us, p90: 5us"), "line 3: stage judge: line 3: a stage has p50 and p99"},
		"no p50":              {change("p50: 4ms", ""), "line 5: stage commit: p50 is missing"},
		"no p99":              {change("p99: 1.5s", ""), "line 5: stage commit: p99 is missing"},
		"p50 over p99":        {change("p99: 1.5s", "p99: 3ms"), "line 5: stage commit: p50 is 4ms, more than p99, which is 3ms"},
		"negative":            {change("p50: 4ms", "p50: -4ms"), "line 6: p50 must be more than zero"},
		"zero":                {change("p50: 4ms", "p50: 0"), "line 6: p50 must be more than zero"},
		"no unit":             {change("p99: 1.5s", "p99: 15"), "line 7: p99 is no duration"},
		"no number":           {change("p99: 1.5s", "p99: fast"), "line 7: p99 is no duration"},
		"nothing":             {change("p99: 1.5s", "p99:"), "line 7: p99 is no duration"},
		"a list of times":     {change("p99: 1.5s", "p99: [1s]"), "line 7: p99 is no duration"},
		"too long a time":     {change("p99: 1.5s", "p99: 99999999999h"), "line 7: p99 is no duration"},
		"too large":           {goodBudget + strings.Repeat("#", maxBudget), "larger than 64 KiB"},
	} {
		if _, err := ParseBudget([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestBudget_BuiltIn: the file in the binary can be read, and what the metrics
// show is what it says.
func TestBudget_BuiltIn(t *testing.T) {
	b, err := ParseBudget(configs.Budget)
	if err != nil {
		t.Fatal(err)
	}
	m := NewMetrics(MetricsOptions{Budget: b})
	for s := range authz.NumStages {
		stage := "stage=" + s.String()
		expectCount(t, m, "kessai_stage_budget_seconds", b.P50[s].Seconds(), stage, "percentile=50")
		expectCount(t, m, "kessai_stage_budget_seconds", b.P99[s].Seconds(), stage, "percentile=99")
		m.Stage(s, b.P99[s], 1)
		expectCount(t, m, "kessai_stage_overruns_total", 0, stage)
		m.Stage(s, b.P99[s]+1, 1)
		expectCount(t, m, "kessai_stage_overruns_total", 1, stage)
	}
	if n := gathered(t, NewMetrics(MetricsOptions{}))("kessai_stage_budget_seconds"); n != 0 {
		t.Errorf("without a budget the metrics show one of %v s", n)
	}
}

// FuzzBudget: whatever a file holds, it is refused, or every stage has a budget
// that can be met.
func FuzzBudget(f *testing.F) {
	f.Add(string(configs.Budget))
	f.Add(goodBudget)
	f.Add("decode: &a {p50: 1s, p99: *a}\n")
	f.Add("a: &a [*a]\n---\n")
	f.Add("<<: {decode: {p50: 1s}}\n? [1]\n: 2\n")
	f.Add("decode: {p50: 9223372036854775807ns, p99: 1e9h}\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseBudget([]byte(text))
		if err != nil {
			if b != (Budget{}) {
				t.Errorf("refused (%v), and yet it gave a budget", err)
			}
			return
		}
		for s := range authz.NumStages {
			if b.P50[s] <= 0 || b.P50[s] > b.P99[s] {
				t.Errorf("stage %s: p50 %v, p99 %v", s, b.P50[s], b.P99[s])
			}
		}
	})
}
