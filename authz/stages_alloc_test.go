package authz

import (
	"testing"

	"kessai"
	"kessai/cache"
)

// TestStagesDoNotAllocate holds each part of judge and decide to no allocation on
// the way of a purchase, so that one which begins to is named.
func TestStagesDoNotAllocate(t *testing.T) {
	_, f := sound()
	valid := new(cache.Cache)
	s := cache.NewBuilder(cache.Both, 1, 1)
	s.AddMerchant(shop)
	s.AddMedium(card, f.Medium)
	s.AddTerminal(pos, f.Terminal)
	valid.Swap(s.Snapshot(morning, 1))
	e, r := New(nil, valid, Options{}), benchRequest()
	for name, do := range map[string]func(){
		"judging": func() {
			if got := e.judge(r); got != f {
				t.Fatalf("got %+v", got)
			}
		},
		"the verdict": func() {
			if code := Decide(r, &f); code != kessai.Approved {
				t.Fatal(code)
			}
		},
		"the attempt's key":    func() { sink.Names[0].Key = r.attemptKey(r.Attempt, e.o.Acquirer) },
		"the digest":           func() { sink.Names[0].Digest = r.digest() },
		"the book's operation": func() { e.op(&sink, r, &f, kessai.Approved) },
	} {
		if n := testing.AllocsPerRun(1_000, do); n != 0 {
			t.Errorf("%s allocates %v times, want 0", name, n)
		}
	}
}
