package purse

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"kessai"
)

var (
	testMaster = must(NewMaster([]byte("a master key that is for tests only")))
	testID     = kessai.MediumID{0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	testKey    = testMaster.Key(testID)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func testState() State {
	s := State{Medium: testID, Counter: 41, Balance: 1_500, Currency: kessai.JPY, Last: 77}
	testKey.SignState(&s)
	return s
}

func testOrder() Order {
	o := Order{Medium: testID, Counter: 41, Balance: 1_050, Currency: kessai.JPY, Transaction: 78, Operation: Purchase, Amount: 450}
	testKey.SignOrder(&o)
	return o
}

// TestVectors holds docs/PURSE.md to the code: its vectors, one a line in a block
// of code, as a name and a value.
func TestVectors(t *testing.T) {
	doc, err := os.ReadFile("../../docs/PURSE.md")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^(master|medium|key|state|order|written|read)\s+([0-9a-f]+)$`).FindAllStringSubmatch(string(doc), -1) {
		found[m[1]] = m[2]
	}
	master := make([]byte, 32)
	for i := range master {
		master[i] = byte(i)
	}
	key := must(NewMaster(master)).Key(testID)
	s := State{Medium: testID, Counter: 41, Balance: 1_500, Currency: kessai.JPY, Last: 77}
	key.SignState(&s)
	o := Order{Medium: testID, Counter: 41, Balance: 1_050, Currency: kessai.JPY, Transaction: 78, Operation: Purchase, Amount: 450}
	key.SignOrder(&o)
	written := must(key.Write(s, &o))
	read := key.Read(written)
	for name, want := range map[string]string{
		"master": hex.EncodeToString(master), "medium": testID.String(), "key": hex.EncodeToString(key.Reveal()),
		"state": s.Hex(), "order": o.Hex(), "written": written.Hex(), "read": read.Hex(),
	} {
		if found[name] != want {
			t.Errorf("docs/PURSE.md: %s\n has %s\nwant %s", name, found[name], want)
		}
	}
}

func TestRecordsAreReadAsWritten(t *testing.T) {
	s, o := testState(), testOrder()
	if back, err := ParseStateHex(s.Hex()); err != nil || back != s || !testKey.VerifyState(&back) {
		t.Errorf("%+v, %v", back, err)
	}
	if back, err := ParseOrderHex(strings.ToUpper(o.Hex())); err != nil || back != o || !testKey.VerifyOrder(&back) {
		t.Errorf("%+v, %v", back, err)
	}
}

// TestEveryBitCounts: a record of which one bit is another is refused, either
// for its form or for its MAC, whichever bit it is.
func TestEveryBitCounts(t *testing.T) {
	s, o := testState(), testOrder()
	for i := range StateSize * 8 {
		b := s.Append(nil)
		b[i/8] ^= 1 << (i % 8)
		if back, err := ParseState(b); err == nil && testKey.VerifyState(&back) {
			t.Fatalf("bit %d of a state can change unseen", i)
		}
	}
	for i := range OrderSize * 8 {
		b := o.Append(nil)
		b[i/8] ^= 1 << (i % 8)
		if back, err := ParseOrder(b); err == nil && testKey.VerifyOrder(&back) {
			t.Fatalf("bit %d of an order can change unseen", i)
		}
	}
}

// TestKeysAreApart: neither another medium's key, nor another master's, nor a
// record of the other kind gives the MAC.
func TestKeysAreApart(t *testing.T) {
	s := testState()
	for name, k := range map[string]Key{
		"another medium's": testMaster.Key(kessai.MediumID{1}),
		"another master's": must(NewMaster([]byte("another master key, for tests only too"))).Key(testID),
		"none":             {},
	} {
		if k.VerifyState(&s) {
			t.Errorf("the key of %s gives the MAC", name)
		}
	}
	content := s.content(nil)
	if testKey.mac(labelState, content) == testKey.mac(labelOrder, content) {
		t.Error("a state and an order have the same MAC")
	}
	if _, err := NewMaster(make([]byte, MinMasterBytes-1)); err == nil {
		t.Error("a short master key is taken")
	}
}

func TestWhatIsNoRecord(t *testing.T) {
	s, o := testState(), testOrder()
	state := func(change func([]byte)) []byte { b := s.Append(nil); change(b); return b }
	order := func(change func([]byte)) []byte { b := o.Append(nil); change(b); return b }
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"short":            s.Append(nil)[:StateSize-1],
		"long":             append(s.Append(nil), 0),
		"version":          state(func(b []byte) { b[0] = 2 }),
		"an order":         state(func(b []byte) { b[1] = 'O' }),
		"no medium":        state(func(b []byte) { clear(b[2:18]) }),
		"negative balance": state(func(b []byte) { b[22] = 0xff }),
		"balance":          state(func(b []byte) { b[24] = 1 }),
		"currency":         state(func(b []byte) { b[30], b[31] = 0, 0 }),
		"transaction":      state(func(b []byte) { b[32] = 0x80 }),
	} {
		if _, err := ParseState(b); !errors.Is(err, ErrRecord) {
			t.Errorf("state, %s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"short":          o.Append(nil)[:OrderSize-1],
		"no operation":   order(func(b []byte) { b[40] = 0 }),
		"operation":      order(func(b []byte) { b[40] = 4 }),
		"no amount":      order(func(b []byte) { clear(b[41:49]) }),
		"amount":         order(func(b []byte) { b[41] = 1 }),
		"no transaction": order(func(b []byte) { clear(b[32:40]) }),
	} {
		if _, err := ParseOrder(b); !errors.Is(err, ErrRecord) {
			t.Errorf("order, %s: %v", name, err)
		}
	}
	for _, text := range []string{"", "zz", s.Hex()[1:], strings.Repeat("g", 2*StateSize)} {
		if _, err := ParseStateHex(text); !errors.Is(err, ErrRecord) || strings.Contains(err.Error(), "ggg") {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

// TestMediumTakesOnlyItsOrder: every way in which an order can be for something
// else leaves the medium as it is.
func TestMediumTakesOnlyItsOrder(t *testing.T) {
	s := testState()
	for name, c := range map[string]struct {
		change func(*Order)
		want   error
	}{
		"another medium's":    {func(o *Order) { o.Medium[0]++ }, ErrOtherMedium},
		"another currency's":  {func(o *Order) { o.Currency = kessai.EUR }, ErrOtherMedium},
		"an earlier state's":  {func(o *Order) { o.Counter-- }, ErrDead},
		"a later state's":     {func(o *Order) { o.Counter++ }, ErrDead},
		"a wrong sum":         {func(o *Order) { o.Balance++ }, ErrSum},
		"a load as purchase":  {func(o *Order) { o.Operation = Load }, ErrSum},
		"more than there is":  {func(o *Order) { o.Amount, o.Balance = 1_501, -1 }, ErrSum},
		"more than can be on": {func(o *Order) { o.Operation, o.Amount, o.Balance = Load, kessai.MaxAmount, kessai.MaxAmount+1_500 }, ErrSum},
	} {
		o := testOrder()
		c.change(&o)
		if after, err := testKey.Write(s, &o); !errors.Is(err, ErrMAC) || after != s {
			t.Errorf("%s, altered: %v", name, err)
		}
		testKey.SignOrder(&o)
		if after, err := testKey.Write(s, &o); !errors.Is(err, c.want) || after != s {
			t.Errorf("%s, with its MAC: %v", name, err)
		}
	}
	o := testOrder()
	after, err := testKey.Write(s, &o)
	if err != nil || after.Balance != 1_050 || after.Last != 78 || after.Counter != 42 || !testKey.VerifyState(&after) {
		t.Fatalf("%+v, %v", after, err)
	}
	if _, err := testKey.Write(after, &o); !errors.Is(err, ErrDead) {
		t.Errorf("the same order is taken twice: %v", err)
	}
	if _, err := testKey.Write(testKey.Read(s), &o); !errors.Is(err, ErrDead) {
		t.Errorf("an order is taken after the medium was read again: %v", err)
	}
	s.Counter, o.Counter = math.MaxUint32, math.MaxUint32
	testKey.SignOrder(&o)
	if _, err := testKey.Write(s, &o); !errors.Is(err, ErrDead) {
		t.Errorf("a counter at its end goes on: %v", err)
	}
	if again := testKey.Read(s); again.Counter != math.MaxUint32 {
		t.Errorf("a counter at its end becomes %d", again.Counter)
	}
}

func TestKeysCannotPrint(t *testing.T) {
	secret := hex.EncodeToString(testKey.Reveal())
	for _, v := range []any{testKey, &testKey, testMaster, *testMaster, struct{ K Key }{testKey}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, secret[:8]) || strings.Contains(text, "a master") || !strings.Contains(text, "*") {
				t.Errorf("%s of %T shows %q", verb, v, text)
			}
		}
		if b, err := json.Marshal(v); err != nil || !strings.Contains(string(b), "****") {
			t.Errorf("%T as JSON: %s, %v", v, b, err)
		}
	}
	if testKey.LogValue().String() != "****" || testMaster.LogValue().String() != "****" {
		t.Error("a key can be logged")
	}
}

// FuzzRecord reads arbitrary bytes as either record: no panic, and what is read is
// written as it was.
func FuzzRecord(f *testing.F) {
	s, o := testState(), testOrder()
	f.Add(s.Append(nil))
	f.Add(o.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseState(b); err == nil {
			if string(s.Append(nil)) != string(b) || s.Balance < 0 || s.Balance > kessai.MaxAmount {
				t.Fatalf("%x is read as %+v", b, s)
			}
			if after, err := testKey.Write(s, &o); err == nil && after.Balance != s.Balance-o.Amount {
				t.Fatalf("%+v becomes %+v", s, after)
			}
		}
		if o, err := ParseOrder(b); err == nil && (string(o.Append(nil)) != string(b) || o.Amount <= 0) {
			t.Fatalf("%x is read as %+v", b, o)
		}
		_, _ = ParseStateHex(b)
		_, _ = ParseOrderHex(b)
	})
}
