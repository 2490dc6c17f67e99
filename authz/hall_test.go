package authz

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
)

var modes = []cache.Mode{cache.Both, cache.MediaOnly, cache.TerminalsOnly, cache.Filter}

var (
	other      = kessai.TerminalID([]byte("AOI00002"))
	suspended  = kessai.TerminalID([]byte("AOI00009"))
	stranger   = kessai.TerminalID([]byte("NOBODY01"))
	second     = kessai.MediumID{2}
	stolen     = kessai.MediumID{3}
	unheard    = kessai.MediumID{9}
	wire       = NewConnection()
	otherWire  = NewConnection()
	errOffline = errors.New("the registry is offline")
)

// hall is an engine in one mode with a registry that a test can slow down, break
// and change.
type hall struct {
	*Engine
	t *testing.T

	mu        sync.Mutex
	mode      cache.Mode
	media     map[kessai.MediumID]cache.Medium
	terminals map[kessai.TerminalID]cache.Terminal
	version   uint64
	slow      time.Duration // how long one look-up takes
	held      chan struct{} // look-ups wait until it is closed; nil: they do not
	broken    bool
	asked     int
	retained  map[kessai.MediumID]kessai.TerminalID
	stan      kessai.STAN
	now       func() time.Time
}

// inVirtualTime runs a test for each mode, each in a bubble of its own.
func inVirtualTime(t *testing.T, modes []cache.Mode, o Options, f func(t *testing.T, h *hall)) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t, dir, mode, o)
				defer h.book.Close()
				f(t, h)
			})
		})
	}
}

func newHall(t *testing.T, dir string, mode cache.Mode, o Options) *hall {
	t.Helper()
	b, err := ledger.Open(ledger.Options{Dir: dir, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := b.OpenAccounts([]ledger.AccountSpec{
		{Name: "merchant/aoi", Kind: ledger.MerchantAccount, Currency: kessai.JPY},
		{Name: "customer/1", Kind: ledger.CustomerAccount, Currency: kessai.JPY, Opening: 1_000_000},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{t: t, mode: mode, version: 1, now: time.Now, retained: make(map[kessai.MediumID]kessai.TerminalID)}
	_, f := sound()
	f.Terminal.Account, f.Medium.Account, f.Medium.Expiry = uint32(ids[0]), uint32(ids[1]), 0
	bad, off := f.Medium, f.Terminal
	bad.Status, off.Status = cache.MediumStolen, cache.TerminalSuspended
	h.media = map[kessai.MediumID]cache.Medium{card: f.Medium, second: f.Medium, stolen: bad}
	h.terminals = map[kessai.TerminalID]cache.Terminal{pos: f.Terminal, other: f.Terminal, suspended: off}
	o.HoldFor = time.Hour
	o.Registry = Registry{Medium: h.medium, Terminal: h.terminal, Version: h.versionNow, Retain: h.retain}
	h.Engine = New(b, new(cache.Cache), o)
	h.load()
	return h
}

// load puts what the registry says into memory.
func (h *hall) load() {
	b := cache.NewBuilder(h.mode, len(h.media), len(h.terminals))
	b.AddMerchant(shop)
	for id, m := range h.media {
		b.AddMedium(id, m)
	}
	for id, t := range h.terminals {
		b.AddTerminal(id, t)
	}
	h.valid.Swap(b.Snapshot(h.now(), h.version))
}

// setMedium changes a medium in the registry, and in memory where it is there.
func (h *hall) setMedium(id kessai.MediumID, status cache.MediumStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.media[id]
	m.Status = status
	h.media[id] = m
	h.version++
	h.load()
}

func (h *hall) setTerminal(id kessai.TerminalID, status cache.TerminalStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.terminals[id]
	f.Status = status
	h.terminals[id] = f
	h.version++
	h.load()
}

func (h *hall) versionNow() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.version
}

// look is what every look-up goes through: the facts are read first, and then
// take their time.
func look[K comparable, V any](h *hall, of map[K]V, id K) (V, error) {
	h.mu.Lock()
	h.asked++
	facts, slow, held, broken := of[id], h.slow, h.held, h.broken
	h.mu.Unlock()
	time.Sleep(slow)
	if held != nil {
		<-held
	}
	if broken {
		return *new(V), errOffline
	}
	return facts, nil
}

func (h *hall) medium(id kessai.MediumID) (cache.Medium, error) { return look(h, h.media, id) }

func (h *hall) terminal(id kessai.TerminalID) (cache.Terminal, error) {
	return look(h, h.terminals, id)
}

func (h *hall) retain(id kessai.MediumID, by kessai.TerminalID, _ time.Time) (bool, error) {
	if h.broken {
		return false, errOffline
	}
	if s := h.media[id].Status; s != cache.MediumStolen && s != cache.MediumRetained {
		return false, nil
	}
	h.retained[id] = by
	h.setMedium(id, cache.MediumRetained)
	return true, nil
}

func (h *hall) lookUps() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// at is a request of a medium at a terminal, without an attempt yet.
func (h *hall) at(terminal kessai.TerminalID, medium kessai.MediumID) Request {
	return Request{Wire: ledger.WireISO, Terminal: terminal, Medium: medium, Received: h.now()}
}

// opens opens a dialogue by whichever way answers.
func (h *hall) opens(terminal kessai.TerminalID, medium kessai.MediumID, by Party) Opening {
	r := h.at(terminal, medium)
	if o, ok := h.Open(&r, by); ok {
		return o
	}
	return h.OpenAsking(&r, by)
}

// opened opens a dialogue that must open.
func (h *hall) opened(terminal kessai.TerminalID, medium kessai.MediumID) Opening {
	h.t.Helper()
	o := h.opens(terminal, medium, wire)
	if o.Code != kessai.NoReasonToDecline || o.Dialogue == (DialogueID{}) {
		h.t.Fatalf("the dialogue did not open: %+v", o)
	}
	return o
}

// purchase makes a purchase ready under the next STAN, in a dialogue.
func (h *hall) purchase(in DialogueID, by Party) Request {
	h.stan++
	r := h.at(pos, kessai.MediumID{})
	r.Kind, r.Amount = kessai.Purchase, kessai.Amount{Value: 100, Currency: kessai.JPY}
	r.Attempt = Attempt{MTI: [4]byte([]byte("0200")), STAN: h.stan, Transmitted: morning}
	r.Dialogue = &InDialogue{ID: in, By: by}
	return r
}

// says sends a request, as new as if it came over the wire.
func (h *hall) says(r Request) (Reply, error) {
	if r.Dialogue != nil {
		r.Dialogue = &InDialogue{ID: r.Dialogue.ID, By: r.Dialogue.By}
	}
	r.Received = h.now()
	return h.AuthorizeOne(h.t.Context(), &r)
}

func (h *hall) hears(r Request, want kessai.ResponseCode) Reply {
	h.t.Helper()
	reply, err := h.says(r)
	if err != nil || reply.Code != want {
		h.t.Errorf("%v, %v; want %v", reply.Code, err, want)
	}
	return reply
}

func (h *hall) recorded(want int) {
	h.t.Helper()
	if n := h.book.Stats().Transactions; n != uint64(want) {
		h.t.Errorf("%d transactions are in the book, want %d", n, want)
	}
}
