package gateway

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
	"kessai/cache"
)

// memory gives a line of /proc/self/status in MiB: VmRSS is what the process has in
// memory, VmHWM the most that it ever had.
func memory(t testing.TB, line string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("there is no /proc:", err)
	}
	for row := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(row, line+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kib >> 10
		}
	}
	t.Fatalf("/proc/self/status has no %s", line)
	return 0
}

// TestSoak_100000WaitForTheirCustomers over ISO 8583, each a message whose answer is
// still to come, in a process of at most 1 GiB that holds the book and the terminals
// too. With KESSAI_SOAK only; docs/PERFORMANCE.md has what it printed.
func TestSoak_100000WaitForTheirCustomers(t *testing.T) {
	if os.Getenv("KESSAI_SOAK") == "" {
		t.Skip("KESSAI_SOAK is not set")
	}
	const customers, terminals, connections, limit = 100_000, 1_000, 50, 1_024
	w := newISOShop(t)
	specs := make([]ledger.AccountSpec, customers)
	for i := range specs {
		specs[i] = ledger.AccountSpec{Name: fmt.Sprintf("customer/%d", i), Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 1000}
	}
	for at := 0; at < customers; at += 1000 {
		if _, err := w.book.OpenAccounts(specs[at : at+1000]); err != nil {
			t.Fatal(err)
		}
	}
	first := customerOf(t, w.book, "0")
	w.engine = soakEngine(t, w, terminals)
	o := withEngine(w)
	o.MaxInFlightPerConn = 64
	_, addr := listenISO(t, o)
	before := memory(t, "VmRSS")
	began := time.Now()
	var all sync.WaitGroup
	till := make([]*isoTerminal, connections)
	for c := range till {
		till[c] = dialISO(t, addr)
		all.Go(func() {
			out := bufio.NewWriterSize(till[c].nc, 64<<10)
			for i := c; i < customers; i += connections {
				m := isoAsks(till[c], "CF", "P", "CU", strconv.Itoa(i), "TI", time.Now().UTC().Format("20060102150405")+"-"+strconv.Itoa(i),
					"IT", "2000000000015|1^|1|-100|Discount")
				m[4], m[41] = yen(350), fmt.Sprintf("T%07d", i%terminals)
				if _, err := out.Write(till[c].frame(m)); err != nil {
					t.Error(err)
				}
			}
			if err := out.Flush(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	until(t, "all wait", func() bool { return w.engine.PhoneStats().Watching == customers })
	took := time.Since(began)
	now, most := memory(t, "VmRSS"), memory(t, "VmHWM")
	t.Logf("%d payments wait: %d MiB in memory (%d MiB before the first), %d MiB at most; it took %v until the last one waited", customers, now, before, most, took.Round(time.Millisecond))
	if most > limit {
		t.Errorf("the process had %d MiB in memory, more than %d", most, limit)
	}
	// They are still answered, every one on its connection.
	const answered = 1000
	for i := range answered {
		all.Go(func() {
			sales := w.engine.Sales(first + ledger.AccountID(i))
			if len(sales) != 1 {
				t.Errorf("customer %d has %d payments", i, len(sales))
				return
			}
			approves(t, w.engine, sales[0].ID, first+ledger.AccountID(i))
		})
	}
	all.Wait()
	for i := range answered {
		if got := till[i%connections].receive(); got[39] != "00" {
			t.Fatalf("customer %d: %v", i, got)
		}
	}
}

// soakEngine is an engine with many terminals on the book of a shop.
func soakEngine(t *testing.T, w *isoShop, terminals int) *authz.Engine {
	b := cache.NewBuilder(cache.Both, 1, terminals)
	m, _ := kessai.ParseMerchantID("AOI000000000001")
	shop, _ := w.book.AccountByName("merchant/aoi")
	b.AddMerchant(m)
	for i := range terminals {
		id, _ := kessai.ParseTerminalID(fmt.Sprintf("T%07d", i))
		b.AddTerminal(id, cache.Terminal{
			Status: cache.TerminalRegistered, Merchant: m, Account: uint32(shop.ID), Currency: kessai.JPY, Allowed: kessai.AllKinds,
		})
	}
	valid := new(cache.Cache)
	valid.Swap(b.Snapshot(time.Now(), 1))
	p := testPhones(w.book)
	p.Timeout = time.Hour
	return authz.New(w.book, valid, authz.Options{Observe: w.metrics.Stage, Phone: p})
}
