package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"kessai/pos/sim"
)

// tetheredCoffee asks for a coffee by phone number and card reader.
var tetheredCoffee = strings.NewReplacer(`"confirm":"phone"`, `"confirm":"reader"`, "1234567890", "+815000000001").Replace(coffee)

// fragile is the phone's end of a cable that comes out after so many frames, counted
// in both directions.
type fragile struct {
	net.Conn
	left *atomic.Int64
}

func (f fragile) Write(b []byte) (int, error) { return f.count(f.Conn.Write, b) }

func (f fragile) Read(b []byte) (int, error) { return f.count(f.Conn.Read, b) }

func (f fragile) count(do func([]byte) (int, error), b []byte) (int, error) {
	n, err := do(b)
	if f.left.Add(-1) < 0 {
		f.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// The cable between phone and reader comes out at each moment of a payment, and is
// plugged in again: the customer pays once, with the same card and PIN, and the reader
// is left without a key (system R, steps ).
func TestR_TheCableComesOutAnywhere(t *testing.T) {
	demo := startDemo(t)
	base := "http://" + demo.HTTP
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	phone, reader := withReader(t, demo.Data, base)
	phone.Detach()
	if _, err := reader.Await(ctx, func(v sim.ReaderView) bool { return !v.Plugged }); err != nil {
		t.Fatal(err)
	}
	go holder(ctx, reader)
	aoi := shop{base, sampleKeys["AOI000000000001"]}
	breaks := 0
	for after := int64(2); ; after++ { // HELLO goes and comes before that
		status, asked := aoi.ask(t, "POST", "/v1/payments", tetheredCoffee)
		if status != 202 {
			t.Fatalf("asking: %d %v", status, asked)
		}
		id := fmt.Sprint(asked["id"])
		shown, err := phone.Sale(ctx, id)
		if err != nil || shown.Confirm != "reader" {
			t.Fatalf("the phone is shown %+v, %v", shown, err)
		}
		var left atomic.Int64
		left.Store(after)
		plugIn(t, ctx, phone, reader, &left)
		step, err := phone.ApproveWithReader(ctx, &shown)
		broke := errors.Is(err, sim.ErrReaderLost)
		if broke {
			breaks++
			left.Store(1 << 40)
			plugIn(t, ctx, phone, reader, &left)
			step, err = phone.ApproveWithReader(ctx, &shown)
		}
		if err != nil || step.Step != "ended" || step.Sale.Status != "approved" {
			t.Fatalf("after a cable that came out after %d frames: %+v, %v", after, step.Sale, err)
		}
		if _, paid := aoi.ask(t, "GET", "/v1/payments/"+id+"?wait=60s", ""); paid["status"] != "approved" || paid["medium"] != nil {
			t.Fatalf("the shop hears %v", paid)
		}
		// Where the cable came out last of all, the reader was not told: its time ends that.
		if v := reader.View(); v.Key && v.Phase != "pin_sent" {
			t.Fatalf("the reader is left at %+v", v)
		}
		if !broke && left.Load() > 0 {
			break // the whole payment needs fewer frames
		}
	}
	if breaks < 4 {
		t.Errorf("the cable came out in %d payments only", breaks)
	}
}

// plugIn plugs the reader in, with a cable that lasts for so many frames.
func plugIn(t *testing.T, ctx context.Context, phone *sim.Phone, reader *sim.Reader, left *atomic.Int64) {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() { _ = reader.Serve(theirs) }()
	if _, err := phone.Attach(ctx, fragile{ours, left}); err != nil {
		t.Fatal(err)
	}
}

// holder is whoever holds the reader: puts the card in and types the PIN, whenever the
// reader asks for that.
func holder(ctx context.Context, r *sim.Reader) {
	card, err := sim.ParseReaderCard("4242424242424242 2912 chip")
	for err == nil {
		_, err = r.Await(ctx, func(v sim.ReaderView) bool { return v.Phase == "card" && !v.Card || v.Phase == "pin" })
		if !r.Insert(card) {
			r.Type(strings.Repeat("<", 12) + "1234E") // what was typed before may still be there
		}
	}
}

// Whoever gives a payment up, all are told: the shop, the holder on the reader, the
// phone (system R, steps ).
func TestR_GivenUpByAnybody(t *testing.T) {
	demo := startDemo(t)
	base := "http://" + demo.HTTP
	phone, reader := withReader(t, demo.Data, base)
	aoi := shop{base, sampleKeys["AOI000000000001"]}
	for name, c := range map[string]struct {
		does        func(id string)
		told, shows string
		reader      bool // it was the reader that gave up
	}{
		"the shop":   {func(id string) { aoi.ask(t, "POST", "/v1/payments/"+id+"/cancel", "{}") }, "17", "Cancelled", false},
		"the holder": {func(string) { reader.Press(sim.KeyCancel) }, "17", "Cancelled", true},
		"a stranger's card": {func(string) {
			card, _ := sim.ParseReaderCard("5555555555554444 2912")
			reader.Insert(card)
		}, "14", "Card not valid", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, asked := aoi.ask(t, "POST", "/v1/payments", tetheredCoffee)
			id := fmt.Sprint(asked["id"])
			shown, err := phone.Sale(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			var step sim.ReaderStep
			go func() {
				var err error
				step, err = phone.ApproveWithReader(t.Context(), &shown)
				ended <- err
			}()
			if err := reader.AwaitPhase(t.Context(), "card"); err != nil {
				t.Fatal(err)
			}
			c.does(id)
			err = <-ended
			if fault, ok := errors.AsType[*sim.ReaderFault](err); ok != c.reader || err != nil && !ok {
				t.Errorf("the reader said %v, and it ended with %v", fault, err)
			}
			if step.Step != "ended" || step.Sale.Told.Code != c.told {
				t.Errorf("the phone is told %+v, want %s", step.Sale, c.told)
			}
			if _, paid := aoi.ask(t, "GET", "/v1/payments/"+id+"?wait=60s", ""); paid["response_code"] != c.told {
				t.Errorf("the shop hears %v", paid)
			}
			v := reader.View()
			if v.Key || v.Phase != "over" || !strings.Contains(strings.Join(v.Display[:], " "), c.shows) {
				t.Errorf("the reader is left at %+v", v)
			}
			reader.Remove()
		})
	}
}
