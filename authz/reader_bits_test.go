package authz

import (
	"sync"
	"testing"

	"kessai"
	"kessai/authz/ledger"
	"kessai/pos/tether"
)

// TestR_AnyBitChanged: every single-bit change of what a reader sealed, which it even
// signs again, and of its signature, ends the sale with the same code in the same
// state.
func TestR_AnyBitChanged(t *testing.T) {
	together, every := pick(200, 100), pick(1, 29)
	onReaderFloor(t, together, func(t *testing.T, f *readerFloor) {
		size := tether.SuiteP256.SealedSize(tether.StepCard)
		cardBits, pinBits := 8*(size+64), 8*(tether.SuiteP256.SealedSize(tether.StepPIN)+64)
		var bits []int
		for b := 0; b < cardBits+pinBits; b += every {
			bits = append(bits, b)
		}
		for len(bits) > 0 {
			n := min(together, len(bits))
			var all sync.WaitGroup
			for i, bit := range bits[:n] {
				all.Go(func() {
					if bit < cardBits {
						f.changed(i, bit, tether.StepCard)
					} else {
						f.changed(i, bit-cardBits, tether.StepPIN)
					}
				})
			}
			all.Wait()
			bits = bits[n:]
			f.noKeys()
		}
		if n := f.ReaderStats().Ended; len(n) != 2 || n[ReaderEnd{ReaderCard, kessai.SecurityViolation}] != uint64((cardBits+every-1)/every) {
			t.Errorf("%v", n)
		}
		for i := range together {
			if n := f.book.PINTries(hasher.Medium(pinCard(i))); n != 0 {
				t.Errorf("%d wrong PINs are counted", n)
			}
		}
	})
}

// changed sends a message with one bit changed: one of the sealed message, which is
// signed again, or one of the signature.
func (f *readerFloor) changed(i, bit int, step tether.Step) {
	f.t.Helper()
	send, device := f.ReaderCard, f.readerOf(i)
	var id kessai.TxID
	var offer []byte
	var m ReaderMessage
	if step == tether.StepCard {
		id, offer = f.offered(i)
		m = device.card(f.t, offer, pinCard(i))
	} else {
		id, offer = f.asked(i)
		m, send = device.pin(f.t, offer, pinCard(i), rightPIN), f.ReaderPIN
	}
	if at := bit / 8; at < len(m.Sealed) {
		m.Sealed[at] ^= 1 << (bit % 8)
		m = device.sign(step, offer, m.Sealed)
	} else {
		m.Signature[at-len(m.Sealed)] ^= 1 << (bit % 8)
	}
	s, err := send(background, id, f.customer(i), m)
	if err != nil || s.Step != ReaderEnded || s.Offer != nil || s.Signature != nil || !s.Until.IsZero() ||
		s.Sale.Status != ledger.Cancelled || s.Sale.Told != kessai.SecurityViolation || s.Sale.Tries != 0 || !s.Sale.Medium.IsZero() {
		f.t.Errorf("bit %d of step %v: %v, %v, %v, %v", bit, step, s.Step, s.Sale.Status, s.Sale.Told, err)
	}
}
