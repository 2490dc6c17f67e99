package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/common/expfmt"

	"kessai"
)

// TestISO_NoCardNumberLeaks sends ten thousand purchases with random cards, in
// DE2 or on track 2, some of them malformed, and looks for the numbers in the
// logs, at their most talkative, and in the metrics.
func TestISO_NoCardNumberLeaks(t *testing.T) {
	const purchases, inFlight = 10_000, 100
	w := newISOShop(t)
	_, addr := listenISO(t, w.options())
	p := dialISO(t, addr)
	random := rand.New(rand.NewPCG(1, 2))
	numbers := make([]string, purchases)
	for i := range numbers {
		numbers[i] = randomPAN(t, random)
	}
	for at := 0; at < purchases; at += inFlight {
		var batch []byte
		for i, number := range numbers[at : at+inFlight] {
			batch = append(batch, p.frame(leakySale(p, i, number))...)
		}
		p.write(batch)
		for range inFlight {
			if got := p.receive(); got[2] != "" || got[35] != "" || got[39] != "14" && got[39] != "30" {
				t.Fatalf("answered with %s and card fields %t", got[39], got[2]+got[35] != "")
			}
		}
	}
	var metrics bytes.Buffer
	families, err := w.metrics.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&metrics, f); err != nil {
			t.Fatal(err)
		}
	}
	expectNone(t, "log", w.log.String(), numbers)
	expectNone(t, "metrics", metrics.String(), numbers)
	if n := metric(t, w.metrics, "kessai_requests_total", "wire=iso8583", "code=14"); n < purchases/2 {
		t.Errorf("only %v purchases reached the engine", n)
	}
}

// leakySale carries the card in one of the ways in which it can come, right or
// wrong.
func leakySale(p *isoTerminal, i int, number string) fields {
	f := p.financial("0200", "000000", fields{4: yen(450), 49: "392"})
	switch i % 10 {
	case 0:
		f[35] = number + "=3912101123456789"
	case 1:
		f[2], f[35] = number, number+"=3913101123456789"
	case 2:
		f[2], f[49] = number, "999"
	default:
		f[2], f[14] = number, "3912"
	}
	return f
}

func randomPAN(t *testing.T, random *rand.Rand) string {
	digits := fmt.Sprintf("9%014d", random.Int64N(1e14))
	for check := range 10 {
		if number := digits + fmt.Sprint(check); isPAN(number) {
			return number
		}
	}
	t.Fatal("no check digit fits")
	return ""
}

func isPAN(s string) bool { _, err := kessai.ParsePAN(s); return err == nil }

// expectNone looks for any sixteen digits in a row that are one of the numbers:
// one pass, however many there are.
func expectNone(t *testing.T, where, text string, numbers []string) {
	t.Helper()
	if len(text) == 0 {
		t.Errorf("the %s is empty: nothing was searched", where)
	}
	known := make(map[string]bool, len(numbers))
	for _, n := range numbers {
		known[n] = true
	}
	for i := 0; i+16 <= len(text); i++ {
		if known[text[i:i+16]] {
			t.Fatalf("the %s holds a card number at byte %d", where, i)
		}
	}
}
