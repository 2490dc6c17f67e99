package authz

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kessai"
)

func TestV4_DialogueIsItsPartysOnly(t *testing.T) {
	inVirtualTime(t, modes, Options{}, func(t *testing.T, h *hall) {
		o := h.opened(pos, card)
		for name, change := range map[string]func(*Request){
			"another connection": func(r *Request) { r.Dialogue.By = otherWire },
			"a merchant":         func(r *Request) { r.Dialogue.By = ByKey(shop) },
			"another terminal":   func(r *Request) { r.Terminal = other },
			"another number":     func(r *Request) { r.Dialogue.ID[15]++ },
			"no number":          func(r *Request) { r.Dialogue.ID = DialogueID{} },
		} {
			r := h.purchase(o.Dialogue, wire)
			change(&r)
			if reply := h.hears(r, kessai.NoSuchRecord); reply.Tx.ID != 0 {
				t.Errorf("%s: recorded", name)
			}
		}
		if h.Close(o.Dialogue, otherWire, h.now()) {
			t.Error("ended by another connection")
		}
		h.HangUp(otherWire)
		r := h.purchase(o.Dialogue, wire)
		r.Medium = card // it may be said again
		h.hears(r, kessai.Approved)
		h.recorded(1)
	})
}

func TestV7_DialogueEnds(t *testing.T) {
	for name, end := range map[string]func(h *hall, o Opening){
		"with its transaction": func(h *hall, o Opening) { h.hears(h.purchase(o.Dialogue, wire), kessai.Approved) },
		"with a decline": func(h *hall, o Opening) {
			r := h.purchase(o.Dialogue, wire)
			r.Amount.Value = 2_000_000
			h.hears(r, kessai.InsufficientFunds)
		},
		"with another card": func(h *hall, o Opening) {
			r := h.purchase(o.Dialogue, wire)
			r.Medium = second
			h.hears(r, kessai.NoSuchRecord)
		},
		"with its time": func(*hall, Opening) { time.Sleep(30 * time.Second) },
		"with its connection": func(h *hall, _ Opening) {
			h.HangUp(wire)
		},
		"by another one":  func(h *hall, _ Opening) { h.opened(pos, second) },
		"when it is told": func(h *hall, o Opening) { h.Close(o.Dialogue, wire, h.now()) },
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, modes[:2], Options{}, func(t *testing.T, h *hall) {
				o := h.opened(pos, card)
				time.Sleep(30*time.Second - 1)
				if h.Dialogues() != 1 {
					t.Fatal("it ended before its time")
				}
				end(h, o)
				before := h.book.Stats().Transactions
				h.hears(h.purchase(o.Dialogue, wire), kessai.NoSuchRecord)
				if h.Close(o.Dialogue, wire, h.now()) {
					t.Error("it could be ended again")
				}
				h.recorded(int(before))
			})
		})
	}
}

func TestV4_DialoguesAreBounded(t *testing.T) {
	inVirtualTime(t, modes[:1], Options{Dialogue: DialogueOptions{MaxOpen: 1, Timeout: time.Minute}}, func(t *testing.T, h *hall) {
		for range 3 {
			h.opened(pos, card)
		}
		if o := h.opens(other, card, wire); o.Code != kessai.SystemMalfunction || !o.Full {
			t.Errorf("%+v", o)
		}
		time.Sleep(time.Minute)
		h.opened(other, card)
		if n := h.Dialogues(); n != 1 {
			t.Errorf("%d are open", n)
		}
		e := h.talks
		h.HangUp(wire)
		if len(e.byID)+len(e.byTerminal)+len(e.byParty)+e.queue.Len() != 0 {
			t.Error("something is left of dialogues that have ended")
		}
	})
}

func TestDialogueIDs(t *testing.T) {
	id := DialogueID{1, 2, 0xab}
	if got, ok := ParseDialogueID([]byte(id.String())); !ok || got != id {
		t.Errorf("%v, %v", got, ok)
	}
	for _, bad := range []string{"", "0", id.String()[1:], id.String() + "0", "g" + id.String()[1:], "0x" + id.String()[2:]} {
		if _, ok := ParseDialogueID([]byte(bad)); ok {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestV4_TableInManyHands(t *testing.T) {
	var opened, ended atomic.Int64
	talks := newDialogues(DialogueOptions{
		Timeout: time.Second, MaxOpen: 8,
		Opened: func() { opened.Add(1) }, Ended: func(Ending) { ended.Add(1) },
	})
	e := &Engine{talks: talks}
	parties := []Party{wire, otherWire}
	var all sync.WaitGroup
	for hand := range 4 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(hand)))
			for n := range 2_000 {
				by := parties[random.IntN(len(parties))]
				r := Request{Terminal: terminalNumber(random.IntN(12)), Medium: card, Received: morning.Add(time.Duration(n) * time.Millisecond)}
				d, err := talks.open(&r, by, func() *beside { return nil })
				if err != nil {
					continue
				}
				r.Dialogue = &InDialogue{ID: d.id, By: by}
				switch random.IntN(4) {
				case 0:
					e.HangUp(by)
				case 1:
					e.Close(d.id, by, r.Received)
				case 2:
					var f Facts
					talks.resume(&r, &f)
					talks.settle([]Ask{{Request: r}})
				}
			}
		})
	}
	all.Wait()
	for _, by := range parties {
		e.HangUp(by)
	}
	if n := len(talks.byID) + len(talks.byTerminal) + len(talks.byParty) + talks.queue.Len(); n != 0 || opened.Load() != ended.Load() {
		t.Errorf("%d entries are left; %d were opened, and %d ended", n, opened.Load(), ended.Load())
	}
}
