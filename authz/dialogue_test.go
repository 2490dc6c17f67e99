package authz

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/cache"
)

// smaller are the modes in which the registry has to be asked.
var smaller = modes[1:]

// TestV8_SlowRegistryDoesNotDelayThePositiveAnswer, and V-9, V-10: the look-up
// begins when the answer goes out, the transaction waits for it at the last
// moment, and no second one is made.
func TestV8_SlowRegistryDoesNotDelayThePositiveAnswer(t *testing.T) {
	inVirtualTime(t, smaller, Options{}, func(t *testing.T, h *hall) {
		h.held = make(chan struct{})
		began := time.Now()
		r := h.at(pos, card)
		o, ok := h.Open(&r, wire)
		if !ok || o.Code != kessai.NoReasonToDecline || time.Since(began) != 0 {
			t.Fatalf("%+v, %v, after %v", o, ok, time.Since(began))
		}
		synctest.Wait()
		if h.lookUps() != 1 {
			t.Fatalf("%d look-ups run beside", h.lookUps())
		}
		time.AfterFunc(5*time.Second, func() { close(h.held) })
		time.Sleep(time.Second)
		h.hears(h.purchase(o.Dialogue, wire), kessai.Approved)
		if d := time.Since(began); d != 5*time.Second || h.lookUps() != 1 {
			t.Errorf("approved after %v and %d look-ups", d, h.lookUps())
		}
	})
}

// TestV10_LookUpUsuallyCostsNothing: it has ended before the transaction comes.
func TestV10_LookUpUsuallyCostsNothing(t *testing.T) {
	inVirtualTime(t, smaller, Options{}, func(t *testing.T, h *hall) {
		h.slow = 2 * time.Second
		o := h.opened(pos, card)
		time.Sleep(3 * time.Second)
		began := time.Now()
		h.hears(h.purchase(o.Dialogue, wire), kessai.Approved)
		if d := time.Since(began); d != 0 || h.lookUps() != 1 {
			t.Errorf("approved after %v and %d look-ups", d, h.lookUps())
		}
	})
}

// TestV11_TurnsOutInvalid: what memory did not know speaks against it, and
// nothing is carried out.
func TestV11_TurnsOutInvalid(t *testing.T) {
	inVirtualTime(t, []cache.Mode{cache.MediaOnly}, Options{}, func(t *testing.T, h *hall) {
		for terminal, wantRecords := range map[kessai.TerminalID]int{suspended: 1, stranger: 1} {
			o := h.opened(terminal, card)
			r := h.purchase(o.Dialogue, wire)
			r.Terminal = terminal
			h.hears(r, kessai.NotPermittedToTerminal)
			if terminal == suspended {
				h.recorded(wantRecords)
			}
			h.hears(r, kessai.NotPermittedToTerminal)
		}
		h.recorded(1) // strangers leave nothing, and a repeat is no second one
	})
	inVirtualTime(t, []cache.Mode{cache.TerminalsOnly}, Options{}, func(t *testing.T, h *hall) {
		o := h.opened(pos, stolen)
		if reply := h.hears(h.purchase(o.Dialogue, wire), kessai.StolenCard); reply.Tx.Medium != stolen {
			t.Error("the decline is recorded for another card")
		}
		o = h.opened(pos, unheard)
		h.hears(h.purchase(o.Dialogue, wire), kessai.InvalidCardNumber)
	})
}

// TestV_StolenInBetweenIsRefused: after the positive answer, before the
// transaction, and while the transaction waits for the registry.
func TestV_StolenInBetweenIsRefused(t *testing.T) {
	inVirtualTime(t, modes, Options{}, func(t *testing.T, h *hall) {
		o := h.opened(pos, card)
		synctest.Wait()
		h.setMedium(card, cache.MediumStolen)
		h.hears(h.purchase(o.Dialogue, wire), kessai.StolenCard)

		h.slow = 5 * time.Second
		for name, report := range map[string]func(){
			"medium":   func() { h.setMedium(second, cache.MediumStolen) },
			"terminal": func() { h.setTerminal(pos, cache.TerminalSuspended) },
		} {
			h.setMedium(second, cache.MediumActive)
			h.setTerminal(pos, cache.TerminalRegistered)
			o := h.opened(pos, second)
			if h.mode != cache.Both { // there, nothing waits
				time.AfterFunc(2*time.Second, report)
			} else {
				report()
			}
			reply, err := h.says(h.purchase(o.Dialogue, wire))
			if err != nil || reply.Code.IsApproval() {
				t.Errorf("reported while it waited (%s): %v, %v", name, reply.Code, err)
			}
		}
		h.setTerminal(pos, cache.TerminalRegistered)
		h.setMedium(second, cache.MediumActive)
		if h.mode != cache.Both {
			time.AfterFunc(2*time.Second, func() { h.setMedium(second, cache.MediumLost) })
			one := h.purchase(DialogueID{}, wire)
			one.Dialogue, one.Medium = nil, second
			h.hears(one, kessai.LostCard)
		}
	})
}

// TestV_UnreadableRegistryDoesNothing: 96, nothing recorded, and the same request
// is carried out when the registry is back.
func TestV_UnreadableRegistryDoesNothing(t *testing.T) {
	inVirtualTime(t, smaller, Options{}, func(t *testing.T, h *hall) {
		h.broken = true
		o := h.opened(pos, card)
		synctest.Wait()
		r := h.purchase(o.Dialogue, wire)
		h.hears(r, kessai.SystemMalfunction)
		one := h.purchase(DialogueID{}, wire)
		one.Dialogue, one.Medium = nil, card
		h.hears(one, kessai.SystemMalfunction)
		h.recorded(0)
		h.mu.Lock()
		h.broken = false
		h.mu.Unlock()
		h.hears(r, kessai.Approved)
		h.hears(one, kessai.Approved)
		h.recorded(2)
	})
}

// TestV13_LookUpsBesideAreBounded: where as many run as may, the transaction
// makes its own.
func TestV13_LookUpsBesideAreBounded(t *testing.T) {
	inVirtualTime(t, smaller, Options{Dialogue: DialogueOptions{MaxBeside: 1}}, func(t *testing.T, h *hall) {
		h.held = make(chan struct{})
		h.opened(other, second)
		o := h.opened(pos, card)
		synctest.Wait()
		if h.lookUps() != 1 {
			t.Fatalf("%d look-ups run", h.lookUps())
		}
		close(h.held)
		h.hears(h.purchase(o.Dialogue, wire), kessai.Approved)
		if h.lookUps() != 2 {
			t.Errorf("%d look-ups were made", h.lookUps())
		}
	})
}

// TestV4_NegativeAnswersAreTheSameInEveryMode, and V-5.
func TestV4_NegativeAnswersAreTheSameInEveryMode(t *testing.T) {
	inVirtualTime(t, modes, Options{MaxAge: time.Hour}, func(t *testing.T, h *hall) {
		cases := []struct {
			name     string
			terminal kessai.TerminalID
			medium   kessai.MediumID
			change   func(*Request)
			want     kessai.ResponseCode
			late     bool // in the smaller modes it turns out later
		}{
			{"both good", pos, card, nil, kessai.NoReasonToDecline, false},
			{"stolen at a good terminal", pos, stolen, nil, kessai.StolenCard, h.mode == cache.TerminalsOnly},
			{"good at a suspended terminal", suspended, card, nil, kessai.NotPermittedToTerminal, h.mode == cache.MediaOnly},
			{"stolen at a suspended terminal", suspended, stolen, nil, kessai.NotPermittedToTerminal, false},
			{"stolen at a stranger", stranger, stolen, nil, kessai.NotPermittedToTerminal, false},
			{"not registered", pos, unheard, nil, kessai.InvalidCardNumber, h.mode == cache.TerminalsOnly || h.mode == cache.Filter},
			{"no card number", pos, unheard, func(r *Request) { r.BadPAN = true }, kessai.InvalidCardNumber, false},
			{"another merchant's terminal", pos, card, func(r *Request) { r.Merchant[0] = 'X' }, kessai.InvalidMerchant, h.mode == cache.MediaOnly},
			{"another merchant's terminal, stolen", pos, stolen, func(r *Request) { r.Merchant[0] = 'X' }, kessai.InvalidMerchant, false},
			{"memory too old", pos, card, func(r *Request) { r.Received = r.Received.Add(2 * time.Hour) }, kessai.SystemMalfunction, false},
			{"memory too old, stolen", pos, stolen, func(r *Request) { r.Received = r.Received.Add(2 * time.Hour) }, kessai.StolenCard, false},
		}
		for _, c := range cases {
			r := h.at(c.terminal, c.medium)
			if c.change != nil {
				c.change(&r)
			}
			o, ok := h.Open(&r, wire)
			if !ok {
				o = h.OpenAsking(&r, wire)
			}
			if c.late {
				if o.Code != kessai.NoReasonToDecline {
					t.Errorf("%s: %v, where memory knows nothing against it", c.name, o.Code)
				}
				continue
			}
			if o.Code != c.want || o.Code.IsApproval() != (o.Dialogue != DialogueID{}) {
				t.Errorf("%s: %v, dialogue %v; want %v", c.name, o.Code, o.Dialogue, c.want)
			}
		}
		h.recorded(0)
	})
}

// TestV3_JudgedFromMemoryAlone: in mode both the registry is never asked.
func TestV3_JudgedFromMemoryAlone(t *testing.T) {
	inVirtualTime(t, modes[:1], Options{}, func(t *testing.T, h *hall) {
		h.broken = true
		o := h.opened(pos, card)
		h.hears(h.purchase(o.Dialogue, wire), kessai.Approved)
		h.opens(stranger, unheard, wire)
		if h.lookUps() != 0 {
			t.Errorf("%d look-ups", h.lookUps())
		}
	})
}

// TestV4_DialogueIsItsPartysOnly: whoever does not hold it is told that there is
// none, nothing is recorded, and the dialogue stays open.
// TestV7_DialogueEnds in each of the ways in which it can, and cannot be used
// afterwards.
// TestV7_OneTransactionWins where two come at once, and its repeat gets the
// stored answer, also while it waits and when the dialogue is gone.
func TestV7_OneTransactionWins(t *testing.T) {
	inVirtualTime(t, modes, Options{}, func(t *testing.T, h *hall) {
		h.held = make(chan struct{})
		o := h.opened(pos, card)
		synctest.Wait()
		requests := []Request{h.purchase(o.Dialogue, wire), h.purchase(o.Dialogue, wire)}
		replies := make([]Reply, 4)
		var all sync.WaitGroup
		for i := range replies {
			all.Go(func() {
				if i >= 2 {
					time.Sleep(time.Second) // repeats
				}
				r := requests[i%2]
				if i >= 2 {
					r.Attempt.MTI[3] = '1'
				}
				replies[i], _ = h.says(r)
			})
		}
		time.Sleep(2 * time.Second)
		close(h.held)
		all.Wait()
		won := 0
		if replies[1].Code == kessai.Approved {
			won = 1
		}
		if w, l := replies[won], replies[1-won]; w.Code != kessai.Approved || l.Code != kessai.NoSuchRecord || l.Tx.ID != 0 {
			t.Fatalf("%v (%v), %v (%v)", replies[0].Code, replies[0].Tx.ID, replies[1].Code, replies[1].Tx.ID)
		}
		if again := replies[2+won]; again.Code != kessai.Approved || again.Tx.ID != replies[won].Tx.ID {
			t.Errorf("the winner's repeat: %v (%v)", again.Code, again.Tx.ID)
		}
		time.Sleep(time.Minute)
		if again := h.hears(requests[won], kessai.Approved); !again.Replayed {
			t.Error("the winner was carried out again")
		}
		changed := requests[won]
		changed.Amount.Value++
		h.hears(changed, kessai.DuplicateTransmission)
		h.hears(requests[1-won], kessai.NoSuchRecord)
		h.recorded(1)
	})
}

// TestV4_DialoguesAreBounded: a terminal has one, and all together have a limit.
// TestV12_RetainedMedium: the terminal's report reaches the registry, and the
// medium is refused as one to be kept from then on.
func TestV12_RetainedMedium(t *testing.T) {
	inVirtualTime(t, modes, Options{}, func(t *testing.T, h *hall) {
		report := func(terminal kessai.TerminalID, medium kessai.MediumID) kessai.ResponseCode {
			r := h.at(terminal, medium)
			return h.Retained(&r)
		}
		for range 2 {
			if code := report(pos, stolen); code != kessai.Approved || h.retained[stolen] != pos {
				t.Errorf("%v, kept by %v", code, h.retained[stolen])
			}
		}
		for _, c := range []struct {
			terminal kessai.TerminalID
			medium   kessai.MediumID
			want     kessai.ResponseCode
		}{
			{pos, card, kessai.InvalidTransaction},
			{pos, unheard, kessai.InvalidCardNumber},
			{stranger, stolen, kessai.NotPermittedToTerminal},
			{suspended, stolen, kessai.Approved}, // it was in service when it kept it
		} {
			if code := report(c.terminal, c.medium); code != c.want {
				t.Errorf("%v at %v: %v, want %v", c.medium, c.terminal, code, c.want)
			}
		}
		r := h.purchase(DialogueID{}, wire)
		r.Dialogue, r.Medium = nil, stolen
		h.hears(r, kessai.PickUpCard)
		h.broken = true
		if code := report(pos, stolen); code != kessai.SystemMalfunction {
			t.Errorf("with the registry offline: %v", code)
		}
	})
}

// TestV_ModeMayChangeWithinADialogue: what was looked up for one mode is not what
// another one lacks.
func TestV_ModeMayChangeWithinADialogue(t *testing.T) {
	inVirtualTime(t, modes, Options{}, func(t *testing.T, h *hall) {
		from := h.mode
		for _, to := range modes {
			for medium, want := range map[kessai.MediumID]kessai.ResponseCode{card: kessai.Approved, second: kessai.StolenCard} {
				h.mode = from
				h.setMedium(second, cache.MediumActive)
				o := h.opened(pos, medium)
				synctest.Wait()
				h.mode = to
				h.setMedium(second, cache.MediumStolen)
				h.hears(h.purchase(o.Dialogue, wire), want)
			}
		}
	})
}

// TestV4_TableInManyHands: whatever comes at once, a dialogue is used once, and
// nothing is left of those that have ended.
