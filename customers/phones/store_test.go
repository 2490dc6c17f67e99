package phones

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kessai/store"
)

func TestTheStoreSurvivesReopening(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	if _, err := p.addPasskey(); err != nil {
		t.Fatal(err)
	}
	sub, err := ParseSubscription("https://fcm.googleapis.com/x", b64(pushKey(t)), b64(random(16)))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.setPush("suzuki", p.in.Device.ID, &sub); err != nil {
		t.Fatal(err)
	}
	code, _, err := h.store.Invite("sato", h.now)
	if err != nil {
		t.Fatal(err)
	}
	before, err := h.store.read("suzuki")
	if err != nil {
		t.Fatal(err)
	}
	dir := h.store.lock.Name()
	if _, err := Open(dir); !errors.Is(err, store.ErrLocked) {
		t.Errorf("it was opened twice: %v", err)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	*h.store = Store{lock: again.lock, db: again.db, seed: again.seed}
	after, err := h.store.read("suzuki")
	was, _ := json.Marshal(before)
	is, _ := json.Marshal(after)
	if diff := cmp.Diff(string(was), string(is)); diff != "" || err != nil || after.Devices[0].Push.Endpoint != sub.Endpoint {
		t.Errorf("%v (-before +after):\n%s", err, diff)
	}
	if _, err := h.Session(p.token); err != nil {
		t.Errorf("the session: %v", err)
	}
	coffee := testSale(t, 42, "suzuki")
	if proof, err := p.approveByPasskey(coffee, coffee, nil); !approved(proof, err) {
		t.Errorf("the passkey: %+v, %v", proof, err)
	}
	if id, err := h.Invitation(code); id != "sato" || err != nil {
		t.Errorf("the invitation: %q, %v", id, err)
	}
	if devices, passkeys, _, err := h.store.RevokeAll("suzuki", h.now); devices != 1 || passkeys != 1 || err != nil {
		t.Errorf("revoked: %d devices, %d passkeys, %v", devices, passkeys, err)
	}
	if _, err := h.Session(p.token); !errors.Is(err, ErrGone) {
		t.Errorf("a session without a device: %v", err)
	}
}

func TestADamagedStoreIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Invite("suzuki", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tables[0], flipped(b, 8*20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("it was opened: %v", err)
	}
	if got, _ := os.ReadFile(tables[0]); !cmp.Equal(got, flipped(b, 8*20)) {
		t.Error("looking at it changed it")
	}
}

func TestTenDevices(t *testing.T) {
	h := newHouse(t)
	var first *phone
	for i := range MaxDevices {
		p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
		if i == 0 {
			first = p
		}
		h.pass(time.Minute)
	}
	if err := h.phone(t, "suzuki", "aoi-1234").signIn(); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	// One that was away for a month makes room.
	h.pass(unused - MaxDevices*time.Minute)
	h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	devices, err := h.store.Devices("suzuki")
	if err != nil || len(devices) != MaxDevices {
		t.Fatalf("%d devices, %v", len(devices), err)
	}
	for _, d := range devices {
		if d.ID == first.in.Device.ID {
			t.Error("it was another that made room")
		}
	}
}

func TestTriesAreBounded(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234").mustSignIn()
	digest := sha256.Sum256([]byte("x"))
	var ids []string
	for range MaxDeviceTries + 1 {
		id, _, err := h.BeginPassword(p.in, 42, p.run("kessai-sale", digest).first)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if _, err := h.known.take(ids[0], toApprove, p.in.Device.ID, 42); !errors.Is(err, ErrGone) {
		t.Errorf("a device has more than %d tries: %v", MaxDeviceTries, err)
	}
	if _, err := h.known.take(ids[1], toApprove, p.in.Device.ID, 42); err != nil {
		t.Error(err)
	}
	if h.strangers.most != MaxTries || h.known.most != MaxTries || h.strangers.perPeer != MaxPeerTries {
		t.Error("the tables have other limits")
	}
}

// Whoever begins and begins ends what they began before, and nobody else's; where
// many do, the oldest makes room.
func TestNobodyIsShutOutByStrangers(t *testing.T) {
	h := newHouse(t)
	small := newTries(h.Service.now, 6, 3)
	begin := func(from string) string { return small.add(&try{purpose: toRenew, from: from}) }
	there := func(id string) bool { return small.byID[id] != nil }
	mine := begin("2001:db8::1")
	var theirs []string
	for range 100 {
		theirs = append(theirs, begin("192.0.2.1"))
	}
	if !there(mine) || there(theirs[96]) || !there(theirs[97]) || !there(theirs[99]) {
		t.Error("one address takes the place of another")
	}
	for _, from := range []string{"a", "b", "c"} {
		begin(from)
	}
	if there(mine) || !there(theirs[97]) || small.order.Len() != 6 {
		t.Errorf("%d tries; the oldest is there: %v", small.order.Len(), there(mine))
	}
	h.pass(TryLifetime)
	if begin("d"); small.order.Len() != 1 || len(small.byID) != 1 || len(small.peers) != 1 {
		t.Errorf("%d tries are left", small.order.Len())
	}
}

func TestNothingSecretCanBePrinted(t *testing.T) {
	h := newHouse(t)
	p := h.phone(t, "suzuki", "aoi-1234")
	sub, err := ParseSubscription("https://fcm.googleapis.com/SECRET", b64(pushKey(t)), b64([]byte("SECRETSECRETSECR")))
	if err != nil {
		t.Fatal(err)
	}
	p.mustSignIn()
	if err := h.store.setPush("suzuki", p.in.Device.ID, &sub); err != nil {
		t.Fatal(err)
	}
	devices, err := h.store.Devices("suzuki")
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprint(h.keys.claim)
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{h.keys, *h.keys, sub, &sub, devices, SignedIn{Token: p.token}, h.people["suzuki"].Verifier} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("x", "v", v)
	}
	b, err := json.Marshal([]any{h.keys, SignedIn{Token: p.token}, h.people["suzuki"].Verifier})
	out.Write(b)
	for _, secret := range []string{"SECRET", "534543524554", key, p.token.Reveal(), fmt.Sprintf("%x", h.keys.claim), "SCRAM-SHA-256$"} {
		if strings.Contains(out.String(), secret) || err != nil {
			t.Errorf("%.20q is printed (%v)", secret, err)
		}
	}
}
