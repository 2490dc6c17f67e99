package merchants

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kessai/cache"
	"kessai/customers"
)

// pinOf gives which of the PINs a card has; empty where it has none.
func pinOf(t testing.TB, r *Registry, pan string, of ...string) string {
	t.Helper()
	m, ok, err := r.Medium(medium(t, pan))
	if err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	for _, pin := range of {
		if testPINs(t).Check(m.PIN, m.ID, []byte(pin)) {
			return pin
		}
	}
	if !m.PIN.IsZero() {
		return "another"
	}
	return ""
}

// A file gives a PIN, changes it and takes it away; one that says nothing of it leaves
// it. Whatever else happens to the card leaves it too.
func TestR13_PINsComeFromFiles(t *testing.T) {
	r, _ := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	check := func(when, want string) {
		t.Helper()
		if got := pinOf(t, r, suzuki, "1234", "0042", "123456789012"); got != want {
			t.Errorf("%s: the PIN is %q, want %q", when, got, want)
		}
	}
	check("demo", "1234")
	if pin := pinOf(t, r, "4012888888881881"); pin != "" {
		t.Error("the card without a PIN has one")
	}
	if pin := pinOf(t, r, "5555555555554444", "1234"); pin != "another" {
		t.Errorf("another card has the PIN %q", pin)
	}
	const head = "pan,customer,status,pin\n" + suzuki + ",1234567890,"
	do(t, r, "m.csv", head+"active,0042\n")
	check("another", "0042")
	if sum := do(t, r, "m.csv", head+"active,0042\n"); sum.Media.Unchanged != 1 {
		t.Errorf("the same once more: %+v", sum)
	}
	do(t, r, "m.csv", "pan,customer,limit_single\n"+suzuki+",1234567890,7\n")
	check("a file of limits", "0042")
	apply(t, r, status(t, suzuki, "stolen"))
	check("reported stolen", "0042")
	if err := r.Retain(medium(t, suzuki), terminal(t, "AOI00001"), time.UnixMilli(1_772_366_400_000)); err != nil {
		t.Fatal(err)
	}
	check("retained", "0042")
	do(t, r, "m.csv", head+"lost,\n")
	if m, _, _ := r.Medium(medium(t, suzuki)); m.Status != customers.Retained {
		t.Errorf("a retained card is %v", m.Status)
	}
	do(t, r, "m.yaml", "media: [{pan: "+suzuki+", customer: \"1234567890\", pin: 123456789012}]\n")
	check("of twelve digits", "123456789012")
	do(t, r, "m.csv", head+"active,none\n")
	check("taken away", "")
	if f, err := r.MediumFacts(medium(t, suzuki)); err != nil || f.Status != cache.MediumActive {
		t.Errorf("the facts: %+v, %v", f, err)
	}
}

func TestR13_PINsThatAreNone(t *testing.T) {
	for _, pin := range []string{"123", "1234567890123", "12a4", " 1234", "١٢٣٤", "None", "0x12"} {
		_, err := ParseImport("m.csv", strings.NewReader("pan,customer,pin\n"+suzuki+",1234567890,"+pin+"\n"))
		if err == nil || err.Error() != "m.csv:2: media: record 1: pin must be 4 to 12 digits, or none to take the PIN away" {
			t.Errorf("%q: %v", pin, err)
		}
	}
	o := testOptions(t, t.TempDir(), newAccounts())
	o.PINKey = nil
	r, err := OpenRegistry(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = r.Import(t.Context(), parse(t, "demo.yaml", demo(t)), nil)
	if err == nil || !strings.HasSuffix(err.Error(), "media: record 1: pin cannot be kept: the registry was opened without a key for PINs") {
		t.Errorf("without a key: %v", err)
	}
}

// No PIN and no verifier is in a file of the registry, a message or what is printed;
// a control finds what is there.
func TestR13_PINsStayInside(t *testing.T) {
	r, _ := newRegistry(t)
	const pin = "839201745566"
	im := parse(t, "m.yaml", "customers: [{id: c, name: Carol, currency: JPY}]\nmedia: [{pan: "+suzuki+", customer: c, pin: \""+pin+"\"}]\n")
	m := customers.Medium{PIN: testPINs(t).Verifier(medium(t, suzuki), []byte(pin))}
	printed := fmt.Sprintf("%v %+v %v %+v", im, im, m, m)
	if strings.Contains(printed, pin) || strings.Contains(printed, fmt.Sprintf("%x", [16]byte(m.PIN))) {
		t.Errorf("printed: %s", printed)
	}
	during := 0
	r.step = func(string) { during += search(t, r.dir, pin) }
	if _, err := r.Import(t.Context(), im, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := search(t, r.dir, pin); n+during > 0 {
		t.Errorf("%d files have the PIN, %d had it during the import", n, during)
	}
	if search(t, r.dir, "Carol") == 0 {
		t.Error("the search finds nothing at all")
	}
}

// search gives how many files of a folder have a text.
func search(t *testing.T, dir, text string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			n++
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return n
}
