package phones

import (
	"cmp"
	"container/list"
	"encoding/base64"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"kessai"
	"kessai/customers"
)

// purpose says what a try is for. One that is for another thing is not found.
type purpose uint8

const (
	toSignIn purpose = iota
	toSignInByPasskey
	toRenew
	toApprove
	toApproveByPasskey
	toAddPasskey
)

// try is the first half of a proof. It is in memory only, good for one use.
type try struct {
	id      string
	purpose purpose
	began   time.Time

	customer  customers.ID
	stranger  bool   // no such customer, or no password: nothing can hold
	device    string // of those who are signed in
	from      string // the address that a stranger asks from
	wanted    string // the device that a stranger says it is
	sale      kessai.TxID
	deviceKey []byte // of those who sign in
	scram     *conversation
	challenge []byte // of a passkey or a renewal; the nonce, where a sale is in the challenge too

	registration *webauthn.SessionData // of a passkey that is to be added
}

// tries bounds what is under way. Whoever is signed in has a table apart from
// strangers, so that those cannot fill it.
type tries struct {
	now     func() time.Time
	most    int
	perPeer int

	mu    sync.Mutex
	byID  map[string]*list.Element
	order *list.List // of *try, oldest first
	peers map[string]int
}

func newTries(now func() time.Time, most, perPeer int) *tries {
	return &tries{now: now, most: most, perPeer: perPeer,
		byID: make(map[string]*list.Element), order: list.New(), peers: make(map[string]int)}
}

// peer names who began a try: a device, or an address.
func (y *try) peer() string { return cmp.Or(y.device, y.from) }

// add keeps a try and names it. A peer that has as many as it may loses its oldest:
// somebody goes back and forth. Where the table is full, the oldest of all makes
// room. To refuse instead would let whoever fills the table shut out everybody for
// two minutes; a proof takes seconds.
func (t *tries) add(y *try) string {
	y.id, y.began = base64.RawURLEncoding.EncodeToString(random(16)), t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	switch {
	case t.peers[y.peer()] >= t.perPeer:
		t.removeOldest(y.peer())
	case t.order.Len() >= t.most:
		t.remove(t.order.Front())
	}
	t.byID[y.id] = t.order.PushBack(y)
	t.peers[y.peer()]++
	return y.id
}

// take gives a try and forgets it; of those who ask for the same at once, one
// gets it, and the others ErrGone. So does whoever asks for one that is for
// something else, or of another device or sale; the try then stays.
func (t *tries) take(id string, p purpose, device string, sale kessai.TxID) (*try, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	e, ok := t.byID[id]
	if !ok {
		return nil, ErrGone
	}
	y := e.Value.(*try)
	if y.purpose != p || y.device != device || y.sale != sale {
		return nil, ErrGone
	}
	t.remove(e)
	return y, nil
}

// expire forgets what is too old. The clock may jump back: then a try lives longer,
// at most by the jump.
func (t *tries) expire() {
	now := t.now()
	for e := t.order.Front(); e != nil && now.Sub(e.Value.(*try).began) >= TryLifetime; e = t.order.Front() {
		t.remove(e)
	}
}

func (t *tries) removeOldest(peer string) {
	for e := t.order.Front(); e != nil; e = e.Next() {
		if e.Value.(*try).peer() == peer {
			t.remove(e)
			return
		}
	}
}

func (t *tries) remove(e *list.Element) {
	y := t.order.Remove(e).(*try)
	delete(t.byID, y.id)
	if t.peers[y.peer()]--; t.peers[y.peer()] == 0 {
		delete(t.peers, y.peer())
	}
}
