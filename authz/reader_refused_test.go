package authz

import (
	"errors"
	"testing"
	"time"

	"kessai"
	"kessai/authz/keys"
	"kessai/authz/ledger"
	"kessai/cache"
	cards "kessai/pos/card"
	"kessai/pos/tether"
)

// chipSays is what a chip says of a payment of 450 yen.
func chipSays(pan kessai.PAN, amount, other int64, currency kessai.Currency) []byte {
	b, _ := cards.AppendEMV(nil, &cards.Card{PAN: pan, Expiry: 2912, EMV: &cards.EMV{
		Information: 0x80, Date: [3]byte{0, 1, 1}, Amount: amount, Other: other, Currency: currency, Country: 392,
	}})
	return b
}

// TestR_CardsThatAreRefused: each reason of ends the sale with its code,
// frees the money and destroys the key.
func TestR_CardsThatAreRefused(t *testing.T) {
	medium := func(f *readerFloor, change func(*cache.Medium)) {
		id := hasher.Medium(plainCard(0))
		m := f.media[id]
		change(&m)
		f.media[id] = m
		f.book.Close()
		f.open()
	}
	plain := func(f *readerFloor, offer []byte) ReaderMessage { return f.readerOf(0).card(f.t, offer, plainCard(0)) }
	track := func(data string) func(*readerFloor, []byte) ReaderMessage {
		return func(f *readerFloor, offer []byte) ReaderMessage {
			return f.readerOf(0).data(f.t, offer, tether.CardTrack2, []byte(data))
		}
	}
	emv := func(amount, other int64, currency kessai.Currency) func(*readerFloor, []byte) ReaderMessage {
		return func(f *readerFloor, offer []byte) ReaderMessage {
			return f.readerOf(0).data(f.t, offer, tether.CardEMV, chipSays(plainCard(0), amount, other, currency))
		}
	}
	for _, c := range []struct {
		name    string
		before  func(*readerFloor) // before the sale
		between func(*readerFloor) // between offer and card
		message func(*readerFloor, []byte) ReaderMessage
		code    kessai.ResponseCode
	}{
		{"a chip that says the same", nil, nil, emv(450, 0, kessai.JPY), kessai.Approved},
		{"no card at all", nil, nil, track("hello"), kessai.InvalidCardNumber},
		{"a wrong check digit", nil, nil, track("4000000000000003=29121010000"), kessai.InvalidCardNumber},
		{"no chip", nil, nil, func(f *readerFloor, offer []byte) ReaderMessage {
			return f.readerOf(0).data(f.t, offer, tether.CardEMV, []byte{0x5a, 0x01, 0x40})
		}, kessai.InvalidCardNumber},
		{"a chip that was asked for more", nil, nil, emv(451, 0, kessai.JPY), kessai.SecurityViolation},
		{"in another currency", nil, nil, emv(450, 0, kessai.EUR), kessai.SecurityViolation},
		{"and for cash", nil, nil, emv(450, 1, kessai.JPY), kessai.SecurityViolation},
		{"an unknown card", nil, nil, func(f *readerFloor, offer []byte) ReaderMessage { return f.readerOf(0).card(f.t, offer, panOf(99)) }, kessai.InvalidCardNumber},
		{"another customer's card", nil, nil, func(f *readerFloor, offer []byte) ReaderMessage { return f.readerOf(0).card(f.t, offer, plainCard(1)) }, kessai.InvalidCardNumber},
		{"another month", nil, nil, func(f *readerFloor, offer []byte) ReaderMessage {
			return f.readerOf(0).data(f.t, offer, tether.CardTrack2, trackOf(plainCard(0), 2911))
		}, kessai.ExpiredCard},
		{"lost", func(f *readerFloor) { medium(f, func(m *cache.Medium) { m.Status = cache.MediumLost }) }, nil, plain, kessai.LostCard},
		{"stolen", func(f *readerFloor) { medium(f, func(m *cache.Medium) { m.Status = cache.MediumStolen }) }, nil, plain, kessai.StolenCard},
		{"withdrawn", func(f *readerFloor) { medium(f, func(m *cache.Medium) { m.Status = cache.MediumWithdrawn }) }, nil, plain, kessai.PickUpCard},
		{"not for purchases", func(f *readerFloor) {
			medium(f, func(m *cache.Medium) { m.Allowed = kessai.KindSetOf(kessai.Refund) })
		}, nil, plain, kessai.NotPermittedToCard},
		{"more than it may pay at once", func(f *readerFloor) { medium(f, func(m *cache.Medium) { m.Limits.Single = 449 }) }, nil, plain, kessai.AmountLimit},
		{"more than it may pay in a day", func(f *readerFloor) { medium(f, func(m *cache.Medium) { m.Limits.DayTotal = 449 }) }, nil, plain, kessai.AmountLimit},
		{"the registry cannot be read", nil, func(f *readerFloor) { f.change(func() { f.fails = errRegistry }) }, plain, kessai.SystemMalfunction},
		{"revoked since", nil, func(f *readerFloor) { r := f.readerOf(0); f.change(func() { r.revoked = true }) }, plain, kessai.SecurityViolation},
		{"given to another since", nil, func(f *readerFloor) { r := f.readerOf(0); f.change(func() { r.owner = "1" }) }, plain, kessai.SecurityViolation},
		{"no evidence", nil, func(f *readerFloor) { f.evidence = func(ReaderProof) []byte { return nil } }, plain, kessai.SystemMalfunction},
		{"evidence too long to keep", nil, func(f *readerFloor) {
			f.evidence = func(ReaderProof) []byte { return make([]byte, ledger.MaxNote+1) }
		}, plain, kessai.SystemMalfunction},
		{"another reader's signature", nil, nil, func(f *readerFloor, offer []byte) ReaderMessage { return f.readerOf(1).card(f.t, offer, plainCard(0)) }, kessai.SecurityViolation},
		{"no signature", nil, nil, func(f *readerFloor, offer []byte) ReaderMessage { return ReaderMessage{Sealed: plain(f, offer).Sealed} }, kessai.SecurityViolation},
		{"nothing", nil, nil, func(*readerFloor, []byte) ReaderMessage { return ReaderMessage{} }, kessai.SecurityViolation},
		{"truncated", nil, nil, func(f *readerFloor, offer []byte) ReaderMessage {
			sealed := plain(f, offer).Sealed
			return f.readerOf(0).sign(tether.StepCard, offer, sealed[:len(sealed)-1])
		}, kessai.SecurityViolation},
		{"extended", nil, nil, func(f *readerFloor, offer []byte) ReaderMessage {
			return f.readerOf(0).sign(tether.StepCard, offer, append(plain(f, offer).Sealed, 0))
		}, kessai.SecurityViolation},
		{"sealed as a PIN", nil, nil, func(f *readerFloor, offer []byte) ReaderMessage {
			return f.readerOf(0).sign(tether.StepCard, offer, f.readerOf(0).pin(f.t, offer, plainCard(0), rightPIN).Sealed)
		}, kessai.SecurityViolation},
	} {
		t.Run(c.name, func(t *testing.T) {
			onReaderFloor(t, 2, func(t *testing.T, f *readerFloor) {
				if c.before != nil {
					c.before(f)
				}
				id, offer := f.offered(0)
				if c.between != nil {
					c.between(f)
				}
				s, err := f.ReaderCard(background, id, f.customer(0), c.message(f, offer))
				if c.name == "evidence too long to keep" {
					if err == nil {
						t.Error("the book took it")
					}
				} else if err != nil || s.Step != ReaderEnded {
					t.Fatal(s.Step, err)
				}
				f.ended(0, id, c.code)
				if n := f.ReaderStats().Ended[ReaderEnd{ReaderCard, c.code}]; n != 1 {
					t.Errorf("%+v", f.ReaderStats())
				}
			})
		})
	}
}

func trackOf(pan kessai.PAN, expiry uint16) []byte {
	b, _ := cards.AppendTrack2(nil, pan, expiry, "101", "")
	return b
}

// TestR_PINsThatAreRefused.
func TestR_PINsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		between func(*readerFloor)
		message func(*readerFloor, []byte) ReaderMessage
		code    kessai.ResponseCode
		tries   int
	}{
		{"right", nil, typed(rightPIN), kessai.Approved, 0},
		{"wrong", nil, typed("1235"), kessai.WrongProof, 1},
		{"longer", nil, typed("12345"), kessai.WrongProof, 1},
		{"for another card", nil, func(f *readerFloor, offer []byte) ReaderMessage {
			return f.readerOf(0).pin(f.t, offer, plainCard(0), rightPIN)
		}, kessai.SecurityViolation, 0},
		{"sealed as a card", nil, func(f *readerFloor, offer []byte) ReaderMessage {
			return f.readerOf(0).sign(tether.StepPIN, offer, f.readerOf(0).card(f.t, offer, pinCard(0)).Sealed)
		}, kessai.SecurityViolation, 0},
		{"signed as a card", nil, func(f *readerFloor, offer []byte) ReaderMessage {
			return f.readerOf(0).sign(tether.StepCard, offer, typed(rightPIN)(f, offer).Sealed)
		}, kessai.SecurityViolation, 0},
		{"stolen since", func(f *readerFloor) {
			id := hasher.Medium(pinCard(0))
			s, m := cache.NewBuilder(cache.Both, 1, 1), f.media[id]
			m.Status, m.Account = cache.MediumStolen, m.Account+uint32(f.first)
			s.AddMedium(id, m)
			s.AddMerchant(shop)
			old := f.valid.Load()
			var known cache.Terminal
			old.ReadTerminal(&known, f.terminal(0))
			s.AddTerminal(f.terminal(0), known)
			f.valid.Swap(s.Snapshot(time.Now(), 2))
		}, typed(rightPIN), kessai.StolenCard, 0},
		{"without a PIN since", func(f *readerFloor) { f.change(func() { clear(f.pins) }) }, typed(rightPIN), kessai.SystemMalfunction, 0},
		{"with another PIN since", func(f *readerFloor) { f.change(func() { f.pins[hasher.Medium(pinCard(0))] = "4321" }) }, typed(rightPIN), kessai.WrongProof, 1},
		{"the registry cannot be read", func(f *readerFloor) { f.change(func() { f.fails = errRegistry }) }, typed(rightPIN), kessai.SystemMalfunction, 0},
		{"revoked since", func(f *readerFloor) { r := f.readerOf(0); f.change(func() { r.revoked = true }) }, typed(rightPIN), kessai.SecurityViolation, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
				id, offer := f.asked(0)
				if c.between != nil {
					c.between(f)
				}
				s, err := f.ReaderPIN(background, id, f.customer(0), c.message(f, offer))
				if err != nil || s.Step != ReaderEnded {
					t.Fatal(s.Step, err)
				}
				f.ended(0, id, c.code)
				if n := f.book.PINTries(hasher.Medium(pinCard(0))); n != c.tries {
					t.Errorf("%d wrong PINs are counted, want %d", n, c.tries)
				}
				if n := f.ReaderStats().Ended[ReaderEnd{ReaderPIN, c.code}]; n != 1 {
					t.Errorf("%+v", f.ReaderStats())
				}
			})
		})
	}
}

func typed(pin string) func(*readerFloor, []byte) ReaderMessage {
	return func(f *readerFloor, offer []byte) ReaderMessage {
		return f.readerOf(0).pin(f.t, offer, pinCard(0), pin)
	}
}

// TestR_ThreeWrongPINsLockTheCard, also over a restart, until it is unlocked. Then no
// PIN is asked for any more.
func TestR_ThreeWrongPINsLockTheCard(t *testing.T) {
	onReaderFloor(t, 1, func(t *testing.T, f *readerFloor) {
		for try, code := range []kessai.ResponseCode{kessai.WrongProof, kessai.WrongProof, kessai.TriesExceeded} {
			id, offer := f.asked(0)
			if _, err := f.ReaderPIN(background, id, f.customer(0), typed("9999")(f, offer)); err != nil {
				t.Fatal(err)
			}
			f.ended(0, id, code)
			if try == 1 {
				f.CloseReaders()
				f.book.Close()
				f.open()
			}
		}
		id, offer := f.offered(0)
		if s, err := f.ReaderCard(background, id, f.customer(0), f.readerOf(0).card(t, offer, pinCard(0))); err != nil || s.Step != ReaderEnded {
			t.Error(s.Step, err)
		}
		f.ended(0, id, kessai.TriesExceeded)
		if err := f.UnlockCard(background, hasher.Medium(pinCard(0))); err != nil {
			t.Fatal(err)
		}
		id, offer = f.asked(0)
		if s, err := f.ReaderPIN(background, id, f.customer(0), typed(rightPIN)(f, offer)); err != nil || s.Sale.Standing() != kessai.Approved {
			t.Error(s.Sale.Standing(), err)
		}
	})
}

// TestR_WhoMayBegin: the sale must be theirs, and the reader too.
func TestR_WhoMayBegin(t *testing.T) {
	onReaderFloor(t, 2, func(t *testing.T, f *readerFloor) {
		id := f.buy(0)
		mine, theirs := f.readerOf(0), f.readerOf(1)
		if _, err := f.approve(1, id); err != ErrNoSale {
			t.Error("another's sale:", err)
		}
		if _, err := f.approve(0, id+1); err != ErrNoSale {
			t.Error("no sale:", err)
		}
		if _, err := f.ReaderNow(id, f.customer(1)); err != ErrNoSale {
			t.Error("another's sale:", err)
		}
		if _, err := f.approveWith(0, id, theirs.id); err != ErrReader {
			t.Error("another's reader:", err)
		}
		if _, err := f.approveWith(0, id, kessai.ReaderID{1}); err != ErrReader {
			t.Error("no reader:", err)
		}
		f.change(func() { mine.revoked = true })
		if _, err := f.approve(0, id); err != ErrReader {
			t.Error("a revoked reader:", err)
		}
		f.change(func() { mine.revoked, f.fails = false, errRegistry })
		if _, err := f.approve(0, id); !errors.Is(err, errRegistry) {
			t.Error("no registry:", err)
		}
		f.change(func() { f.fails = nil })
		f.step(0, id, ReaderApproves)
		if n := f.ReaderStats().Issued; n != 0 {
			t.Errorf("%d keys were made", n)
		}
		phone := f.waits(1).Tx.ID
		if _, err := f.approve(1, phone); err != ErrNoSale {
			t.Error("a payment without a reader:", err)
		}
		if _, code, err := f.Approve(background, Proof{Sale: id, Customer: f.customer(0), Factor: kessai.FactorPasskey}); code.IsApproval() || err != nil {
			t.Error("a passkey approves what a card is to pay:", code, err)
		}
		f.step(0, id, ReaderApproves)
	})
	onFloor(t, 1, func(t *testing.T, f *floor) { // a gateway that serves no readers
		r := f.request(0)
		r.Confirm.Asks = kessai.AsksReader
		if reply := f.ask(r); reply.Code != kessai.InvalidTransaction {
			t.Error(reply.Code)
		}
		if _, err := f.ReaderNow(1, f.customer(0)); err != ErrNoSale || f.ReaderFault() != nil {
			t.Error(err)
		}
	})
}

// TestR_NoMoreKeysThanAllowed: who finds none waits on, and may try again.
func TestR_NoMoreKeysThanAllowed(t *testing.T) {
	onReaderFloorWith(t, 2, ReaderOptions{MaxKeys: 1}, func(t *testing.T, f *readerFloor) {
		first, offer := f.offered(0)
		second := f.buy(1)
		if _, err := f.approve(1, second); !errors.Is(err, keys.ErrFull) {
			t.Fatal(err)
		}
		f.step(1, second, ReaderApproves)
		if _, err := f.ReaderCard(background, first, f.customer(0), f.readerOf(0).card(t, offer, plainCard(0))); err != nil {
			t.Fatal(err)
		}
		if s, err := f.approve(1, second); err != nil || s.Step != ReaderCard {
			t.Fatal(s.Step, err)
		}
	})
}
