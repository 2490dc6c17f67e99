package sim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/pos/card"
	"kessai/pos/tether"
)

func TestR6_ReaderSealsCardAndPIN(t *testing.T) {
	for _, suite := range []tether.Suite{tether.SuiteP256, tether.SuiteHybrid} {
		for name, c := range map[string]ReaderCard{"stripe": stripe, "chip": chipped} {
			t.Run(suite.String()+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := plugged(t)
					e.say(tether.PhoneHello, nil)
					hello, err := tether.DecodeHello(e.hear(tether.ReaderHello))
					if err != nil || hello.Reader != e.r.ID() || !hello.Enrolled || hello.State != tether.StateIdle {
						t.Fatalf("the reader is %+v, %v", hello, err)
					}
					o, key := e.offer(suite)
					body, text := e.signed(o)
					e.say(tether.PhoneOffer, body)
					e.shows("Kissaten Aoi", "450 JPY", "Insert your card")
					e.hasKey(true)
					e.r.Insert(c)
					plain, _ := e.open(tether.ReaderCard, tether.StepCard, suite, key, text)
					got, err := tether.ParseCard(plain)
					if err != nil || got.PAN != c.PAN || got.Expiry != 2912 || (got.EMV != nil) != c.Chip {
						t.Fatalf("the card is %v, %v", got, err)
					}
					if got.EMV != nil && (got.EMV.Amount != 450 || got.EMV.Currency != kessai.JPY) {
						t.Error("the chip was asked about another amount")
					}
					e.say(tether.PhoneAskPIN, nil)
					e.shows("Kissaten Aoi", "450 JPY", "PIN: ")
					e.r.Type("12<1E") // too short for OK
					e.shows("PIN: **")
					e.r.Type("<234")
					e.shows("PIN: ****")
					e.r.Press(KeyOK)
					plain, exported := e.open(tether.ReaderPIN, tether.StepPIN, suite, key, text)
					pin, err := card.OpenPINBlock([16]byte(exported), c.PAN, [16]byte(plain))
					if err != nil || string(pin.Digits()) != "1234" {
						t.Fatalf("the PIN is another one: %v", err)
					}
					end, _ := (&tether.End{Settled: true}).Encode()
					e.say(tether.PhoneEnd, end)
					e.hear(tether.ReaderEnded)
					e.shows("Paid", "Take your card")
					e.hasKey(false)
					e.r.Remove()
					e.shows("Ready")
				})
			})
		}
	}
}

// The same card and PIN never give the same bytes, and the key of one payment is all
// that there is room for.
func TestR5_ReaderHasRoomForOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := plugged(t)
		e.r.Insert(stripe)
		o, _ := e.offer(tether.SuiteP256)
		body, _ := e.signed(o)
		seen := make(map[string]bool)
		sealed := func(frame tether.Type) {
			t.Helper()
			s, err := tether.DecodeSigned(e.hear(frame))
			if err != nil || seen[string(s.Message)] {
				t.Fatalf("a message came twice, or is none: %v", err)
			}
			seen[string(s.Message)] = true
		}
		for range 20 { // a phone that comes back offers the same again
			e.say(tether.PhoneOffer, body)
			sealed(tether.ReaderCard)
			e.say(tether.PhoneAskPIN, nil)
			synctest.Wait()
			e.r.Type("1234E")
			sealed(tether.ReaderPIN)
		}
		other, _ := e.offer(tether.SuiteP256)
		second, _ := e.signed(other)
		e.say(tether.PhoneOffer, second)
		e.fault(tether.FaultBusy)
		e.shows("450 JPY", "Please wait") // and the first goes on
		end, _ := (&tether.End{Code: kessai.TooLate}).Encode()
		e.say(tether.PhoneEnd, end)
		e.hear(tether.ReaderEnded)
		e.say(tether.PhoneOffer, second)
		sealed(tether.ReaderCard)
	})
}

func TestR6_ReaderRefusesOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := plugged(t)
		e.r.Insert(stripe)
		o, _ := e.offer(tether.SuiteP256)
		body, _ := e.signed(o)
		for i := range 8 * len(body) {
			bad := bytes.Clone(body)
			bad[i/8] ^= 1 << (i % 8)
			e.say(tether.PhoneOffer, bad)
			if f, err := tether.ParseFault(e.hear(tether.ReaderError)); err != nil || f != tether.FaultOffer && f != tether.FaultFrame {
				t.Fatalf("with bit %d turned over, the reader says %v, %v", i, f, err)
			}
		}
		for n := range body {
			e.say(tether.PhoneOffer, body[:n])
			e.fault(tether.FaultFrame)
		}
		o.Reader[0] ^= 1
		others, _ := e.signed(o)
		e.say(tether.PhoneOffer, others)
		e.fault(tether.FaultOffer)
		_, e.gateway, _ = ed25519.GenerateKey(nil)
		o.Reader[0] ^= 1
		foreign, _ := e.signed(o)
		e.say(tether.PhoneOffer, foreign)
		e.fault(tether.FaultOffer)
		e.hasKey(false)
		e.say(tether.PhoneOffer, body) // whole, it is taken
		e.hear(tether.ReaderCard)

		stranger, err := NewReader(ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s := &end{t: t, r: stranger, gateway: e.gateway}
		s.plug()
		o, _ = s.offer(tether.SuiteP256)
		body, _ = s.signed(o)
		s.say(tether.PhoneOffer, body)
		s.fault(tether.FaultStranger)
		s.shows("Not enrolled")
	})
}

// However a payment ends, its key is gone, and what comes later is refused.
func TestR16_ReaderDestroysTheKey(t *testing.T) {
	declined, _ := (&tether.End{Code: kessai.WrongProof}).Encode()
	toPIN := func(e *end) {
		e.r.Insert(chipped)
		e.hear(tether.ReaderCard)
		e.say(tether.PhoneAskPIN, nil)
		synctest.Wait()
	}
	for name, c := range map[string]struct {
		happens func(e *end)
		says    string
	}{
		"no card in time":     {func(e *end) { time.Sleep(61 * time.Second); e.fault(tether.FaultTimeout) }, "The time is over"},
		"cancel for the card": {func(e *end) { e.r.Press(KeyCancel); e.fault(tether.FaultCancelled) }, "Cancelled"},
		"no PIN in time": {func(e *end) {
			toPIN(e)
			e.r.Type("123")
			time.Sleep(31 * time.Second)
			e.fault(tether.FaultTimeout)
		}, "The time is over"},
		"cancel for the PIN": {func(e *end) { toPIN(e); e.r.Type("123X"); e.fault(tether.FaultCancelled) }, "Cancelled"},
		"card pulled out":    {func(e *end) { toPIN(e); e.r.Remove(); e.fault(tether.FaultRemoved) }, "The card was removed"},
		"gateway silent": {func(e *end) {
			e.r.Insert(stripe)
			e.hear(tether.ReaderCard)
			time.Sleep(judgeTime + time.Second)
			e.fault(tether.FaultTimeout)
		}, "The time is over"},
		"wrong PIN":         {func(e *end) { toPIN(e); e.say(tether.PhoneEnd, declined); e.hear(tether.ReaderEnded) }, "Wrong PIN"},
		"unreadable card":   {func(e *end) { e.r.Insert(ReaderCard{Raw: []byte{}, Kind: 1}); e.fault(tether.FaultCard) }, "Cannot read"},
		"line pulled out":   {func(e *end) { toPIN(e); e.line.Close(); time.Sleep(31 * time.Second); e.plug() }, "The time is over"},
		"phone gives it up": {func(e *end) { e.say(tether.PhoneEnd, declined); e.hear(tether.ReaderEnded) }, "Not paid"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := plugged(t)
				o, _ := e.offer(tether.SuiteP256)
				body, _ := e.signed(o)
				e.say(tether.PhoneOffer, body)
				e.hasKey(true)
				synctest.Wait()
				e.r.mu.Lock()
				sale := e.r.sale
				e.r.mu.Unlock()
				c.happens(e)
				e.shows("Not paid", c.says)
				e.hasKey(false)
				e.r.mu.Lock()
				if bytes.Trim(sale.text, "\x00") != nil || bytes.Trim(sale.offer.PublicKey, "\x00") != nil || bytes.Trim(e.r.typed[:cap(e.r.typed)], "\x00") != nil {
					t.Error("something of the payment is left in the memory")
				}
				e.r.mu.Unlock()
				e.say(tether.PhoneAskPIN, nil)
				e.fault(tether.FaultState)
				time.Sleep(resultTime)
				e.shows("Ready")
			})
		})
	}
}

// A phone that comes back finds the payment where it was; a line that is plugged in
// later takes the place of the one before.
func TestReaderLineIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := plugged(t)
		o, _ := e.offer(tether.SuiteP256)
		body, _ := e.signed(o)
		e.say(tether.PhoneOffer, body)
		e.hasKey(true)
		old := e.line
		e.plug()
		if _, err := old.Read(make([]byte, 1)); err == nil {
			t.Error("the old line is still open")
		}
		e.hasKey(true)
		e.r.Insert(stripe)
		e.hear(tether.ReaderCard)
		e.line.Close()
		synctest.Wait()
		if e.r.View().Plugged {
			t.Error("a line that ended is still plugged in")
		}
		e.plug()
		e.say(tether.PhoneAskPIN, nil)
		e.shows("PIN:")
		// What is no frame is answered, and the next one is heard.
		if _, err := e.line.Write([]byte("KR\x09garbage")); err != nil {
			t.Fatal(err)
		}
		e.fault(tether.FaultFrame)
		e.say(0x7f, nil)
		e.fault(tether.FaultType)
		e.shows("PIN:")
	})
}

func TestReaderIsEnrolled(t *testing.T) {
	code := strings.Repeat("135790", 4)
	path := filepath.Join(t.TempDir(), "reader.json")
	r, err := NewReader(ReaderOptions{Name: "Suzuki's", State: path})
	if err != nil {
		t.Fatal(err)
	}
	k, _ := tether.EnrolKey(code)
	gateway, _, _ := ed25519.GenerateKey(nil)
	synctest.Test(t, func(t *testing.T) {
		e := &end{t: t, r: r}
		e.plug()
		enrol := func(typed string, answer func(*tether.Enrol) []byte) {
			t.Helper()
			e.say(tether.PhoneEnrol, nil)
			e.shows("Type the code")
			r.Type(typed)
			e.shows("1357 90")
			r.Press(KeyOK)
			said, err := tether.DecodeEnrol(e.hear(tether.ReaderEnrol))
			if err != nil || !said.Check(k) || said.Name != "Suzuki's" || said.Reader() != r.ID() {
				t.Fatalf("the reader says %+v, %v", said, err)
			}
			e.say(tether.PhoneEnrolled, answer(said))
		}
		other, _ := tether.EnrolKey(strings.Repeat("2", 24))
		for _, key := range [][]byte{other, nil} { // from one who does not know the code
			enrol(code, func(said *tether.Enrol) []byte {
				b, _ := tether.NewEnrolled(said, gateway, key).Encode()
				return b
			})
			e.fault(tether.FaultEnrol)
			e.shows("Not enrolled")
		}
		e.say(tether.PhoneEnrol, nil) // the gateway refuses
		synctest.Wait()
		r.Type(code + "E")
		e.hear(tether.ReaderEnrol)
		refused, _ := (&tether.End{Code: kessai.CustomerCancellation}).Encode()
		e.say(tether.PhoneEnd, refused)
		e.hear(tether.ReaderEnded)
		e.shows("Not enrolled", "Check the code")
		e.say(tether.PhoneEnrol, nil)
		e.shows("Type the code")
		r.Type(code[:23] + "E") // one digit is missing
		e.shows("Type the code")
		time.Sleep(codeTime)
		e.fault(tether.FaultTimeout)
		if r.Enrolled() {
			t.Fatal("the reader is enrolled")
		}
		enrol(code, func(said *tether.Enrol) []byte {
			b, _ := tether.NewEnrolled(said, gateway, k).Encode()
			return b
		})
		if hello, err := tether.DecodeHello(e.hear(tether.ReaderHello)); err != nil || !hello.Enrolled {
			t.Fatalf("the reader says %+v, %v", hello, err)
		}
		e.shows("Enrolled")
		e.line.Close()
	})

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the state has mode %v, %v", info.Mode(), err)
	}
	again, err := NewReader(ReaderOptions{State: path})
	if err != nil || again.ID() != r.ID() || !again.Enrolled() {
		t.Errorf("switched on again, it is %v, enrolled %v, %v", again, again.Enrolled(), err)
	}
	if name := again.who().Name; name != "Suzuki's" {
		t.Errorf("switched on again, it is called %q", name)
	}
	if err := os.WriteFile(path, []byte(`{"seed":"AAAA"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewReader(ReaderOptions{State: path}); err == nil {
		t.Error("a damaged state is taken")
	}
}

func TestParseReaderCard(t *testing.T) {
	for text, want := range map[string]bool{
		testPAN + " 2912": true, testPAN + " 2912 chip": true, ";" + testPAN + "=29121010000000000?": true,
		testPAN: false, testPAN + " 2913": false, testPAN + " 29": false, testPAN + " 2912 stripe": false, "4242424242424241 2912": false, "": false,
	} {
		c, err := ParseReaderCard(text)
		if (err == nil) != want || want && (c.PAN.Reveal() != testPAN || c.Expiry != 2912) {
			t.Errorf("a text of %d bytes is a card: %v, want %v", len(text), err == nil, want)
		}
		if err != nil && !errors.Is(err, ErrCardText) {
			t.Error(err)
		}
		if s := fmt.Sprintf("%v %+v %#v %s", c, c, c, &c); strings.Contains(s, "4242") {
			t.Errorf("a card prints as %s", s)
		}
	}
}

// FuzzReader: whatever comes over the line, the reader goes on, and never gives a card
// away for an offer that its gateway has not signed.
func FuzzReader(f *testing.F) {
	frame := func(t tether.Type, body []byte) []byte { b, _ := tether.AppendFrame(nil, t, body); return b }
	f.Add(frame(tether.PhoneHello, nil))
	f.Add(append(frame(tether.PhoneEnrol, nil), frame(tether.PhoneEnrolled, make([]byte, 73))...))
	f.Add(append(frame(tether.PhoneOffer, make([]byte, 200)), frame(tether.PhoneAskPIN, nil)...))
	f.Add(frame(tether.PhoneEnd, []byte("551")))
	f.Fuzz(func(t *testing.T, said []byte) {
		r, err := NewReader(ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		gateway, _, _ := ed25519.GenerateKey(nil)
		if err := r.Trust(gateway); err != nil {
			t.Fatal(err)
		}
		r.Insert(stripe)
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- r.Serve(theirs) }()
		answers := tether.NewScanner(ours)
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			for {
				f, err := answers.Next()
				if err != nil {
					return
				}
				if f.Type == tether.ReaderCard || f.Type == tether.ReaderPIN {
					t.Errorf("the reader says %#x", f.Type)
				}
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		stop := context.AfterFunc(ctx, func() { ours.Close() })
		_, _ = ours.Write(said)
		stop()
		ours.Close()
		<-served
		<-heard
		if v := r.View(); v.Key || v.Plugged {
			t.Errorf("the reader is left with %+v", v)
		}
	})
}
