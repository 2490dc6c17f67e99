package merchants

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai/customers"
)

// history is a registry on disk after several imports, and what it holds.
type history struct {
	dir      string // as a killed process leaves it
	closed   string // closed in order
	older    string // closed in order, before the last import
	accounts *accounts
	want     map[string]string
}

// writeHistory imports a number of files. The last one reports a card stolen.
func writeHistory(t *testing.T) history {
	t.Helper()
	h := history{dir: t.TempDir(), closed: t.TempDir(), older: t.TempDir(), accounts: newAccounts()}
	var many strings.Builder
	many.WriteString("pan,customer,expiry\n")
	for i := range 1500 {
		fmt.Fprintf(&many, "%s,1234567890,2912\n", pan(i))
	}
	files := []struct{ name, text string }{
		{"demo.yaml", demo(t)},
		{"many.csv", many.String()},
		{"lost.csv", "pan,customer,status\n" + pan(7) + ",1234567890,lost\n"},
		{"key.csv", "merchant,key\nAOI000000000001,sk_test_more\n"},
		{"merchant.csv", "id,name,mcc,currency,status\nVEND00000000001,Vending,5499,JPY,blocked\n"},
		{"stolen.csv", "pan,customer,status\n4242424242424242,1234567890,stolen\n"},
	}
	for i, f := range files {
		if i == len(files)-1 {
			copyFolder(t, h.dir, h.older)
		}
		r, err := open(testOptions(t, h.dir, h.accounts), 256, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		do(t, r, f.name, f.text)
		if i < len(files)-1 {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		h.want = dump(t, r.db)
		killed := copyLive(t, h.dir)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		copyFolder(t, h.dir, h.closed)
		h.dir = killed
	}
	return h
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// copyLive copies the folder of an open registry. Badger may take a table away
// meanwhile that it has compacted; then it is copied once more.
func copyLive(t *testing.T, from string) (to string) {
	t.Helper()
	for {
		to = filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(to, os.DirFS(from)); err == nil {
			return to
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// listing gives the name and digest of every file.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		sum := sha256.Sum256(b)
		all[path] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// opens opens a damaged registry. It has to be refused, and left as it is, or be
// whole; opens tells which.
func (h history) opens(t *testing.T, what, dir string) (refusal error) {
	t.Helper()
	before := listing(t, dir)
	a := &accounts{all: maps.Clone(h.accounts.all)}
	r, err := OpenRegistry(testOptions(t, dir, a))
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: refused without saying that the registry is damaged: %v", what, err)
		}
		if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
			t.Fatalf("%s: a refused opening (%v) changed files (-before +after):\n%s", what, err, diff)
		}
		return err
	}
	defer r.Close()
	if diff := cmp.Diff(h.want, dump(t, r.db)); diff != "" {
		t.Fatalf("%s: opened with another content (-want +got):\n%s", what, diff)
	}
	if m, ok, err := r.Medium(medium(t, pan(7))); err != nil || !ok || m.Status != customers.Lost {
		t.Fatalf("%s: medium %+v, %v, %v", what, m, ok, err)
	}
	return nil
}

// TestV1_DamageIsNeverAnOlderRegistry flips bits and cuts files, one at a time,
// at random places of all files of the registry. It runs in processes of its
// own, a few rounds each, because badger gives nothing back of what a failed
// opening took.
func TestV1_DamageIsNeverAnOlderRegistry(t *testing.T) {
	const variable = "KESSAI_TEST_SEED"
	seed, err := strconv.ParseUint(os.Getenv(variable), 10, 64)
	if err != nil {
		children := 7
		if raceEnabled { // what is looked for here are no races
			children = 1
		}
		if os.Getenv("KESSAI_SOAK") != "" {
			children *= 20
		}
		var running sync.WaitGroup
		places := make(chan struct{}, 2*runtime.NumCPU()) // they wait for the disk half of the time
		for i := range children {
			places <- struct{}{}
			running.Go(func() {
				c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
				c.Env = append(os.Environ(), variable+"="+strconv.Itoa(i))
				if out, err := c.CombinedOutput(); err != nil {
					t.Errorf("seed %d: %v\n%s", i, err, out)
				}
				<-places
			})
		}
		running.Wait()
		return
	}
	rnd := rand.New(rand.NewPCG(seed, 11))
	h := writeHistory(t)
	refused, whole := 0, 0
	rounds := 50
	if raceEnabled {
		rounds = 20
	}
	for i := range rounds {
		from := []string{h.dir, h.closed}[i%2]
		dir := filepath.Join(t.TempDir(), "data")
		copyFolder(t, from, dir)
		if err := h.opens(t, spoil(t, rnd, dir), dir); err != nil {
			refused++
		} else {
			whole++
		}
		os.RemoveAll(dir)
	}
	if refused < rounds/5 || whole == 0 {
		t.Errorf("%d refused and %d whole: the damage is not of every kind", refused, whole)
	}
}

// spoil flips a bit of a file or cuts its end off, within what is written of it,
// and tells what it did.
func spoil(t *testing.T, rnd *rand.Rand, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "registry", "store", "*"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, filepath.Join(dir, "registry", "seal"))
	for {
		path := files[rnd.IntN(len(files))]
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		used := len(bytes.TrimRight(b, "\x00"))
		if used == 0 || filepath.Base(path) == "LOCK" {
			continue
		}
		at, what := rnd.IntN(used), "cut"
		if rnd.IntN(4) == 0 {
			at = used - 1 - rnd.IntN(min(used, 64)) // where a table's footer or the last commit is
		}
		if rnd.IntN(2) == 0 {
			what = "flipped"
			b[at] ^= 1 << rnd.IntN(8)
		} else {
			b = b[:at]
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s %s at %d of %d", filepath.Base(path), what, at, used)
	}
}

// TestV1_LostImportIsRefused takes the last import away: with the seal as it is,
// the stolen card must not become good again. With an older seal it would, which
// shows that nothing else notices.
func TestV1_LostImportIsRefused(t *testing.T) {
	h := writeHistory(t)
	dir := t.TempDir()
	copyFolder(t, h.older, dir)
	copySeal(t, h.closed, dir)
	err := h.opens(t, "older store", dir)
	if err == nil {
		t.Fatal("opened without the last import")
	}
	for _, part := range []string{"version 5 and its seal at 6", "what came later is lost", "Nothing in", "backup", "import all files again"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in the message: %v", part, err)
		}
	}
	copySeal(t, h.older, dir)
	r, err := OpenRegistry(testOptions(t, dir, h.accounts))
	if err != nil || r.Version() != 5 {
		t.Fatalf("the control, with the older seal: %v", err)
	}
	r.Close()
}

func copySeal(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(from, "registry", "seal"))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, "registry", "seal"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestSeal damages the seal instead of the store. Version 6 is in slot 0, and
// version 5 in slot 1.
func TestSeal(t *testing.T) {
	h := writeHistory(t)
	flip := func(at int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "registry", "seal")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[at] ^= 4
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	other := newHistoryOf(t, 6)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string // empty: opens
	}{
		"newer slot torn":   {flip(9), ""},
		"older slot torn":   {flip(sealSlot), ""},
		"one import behind": {func(t *testing.T, dir string) { copySeal(t, h.older, dir) }, ""},
		"both slots torn":   {func(t *testing.T, dir string) { flip(70)(t, dir); flip(sealSlot+70)(t, dir) }, "seal of the registry cannot be read"},
		"gone":              {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "registry", "seal")) }, "seal of the registry cannot be read"},
		"of another":        {func(t *testing.T, dir string) { copySeal(t, other, dir) }, "do not belong together"},
		"far behind":        {func(t *testing.T, dir string) { copySeal(t, newHistoryOf(t, 3), dir) }, "do not belong together"},
		"store gone":        {func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "registry", "store")) }, "the store is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyFolder(t, h.dir, dir)
			c.spoil(t, dir)
			err := h.opens(t, name, dir)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v; want %s", err, c.want)
				}
				return
			}
			s := seal{path: filepath.Join(dir, "registry", "seal")}
			if sealErr := s.read(); err != nil || sealErr != nil || s.version != 6 {
				t.Errorf("%v; afterwards the seal is at %d, %v", err, s.version, sealErr)
			}
		})
	}
}

// newHistoryOf makes a registry of n imports that is not the one of writeHistory.
func newHistoryOf(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	r, err := OpenRegistry(testOptions(t, dir, newAccounts()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range n {
		do(t, r, "c.csv", fmt.Sprintf("id,name,currency\nc-%d,Abe,JPY\n", i))
	}
	return dir
}

// TestUnfinishedImportIsExamined takes a record away, or a part of what is
// staged, from an import that a kill left marked: carrying the rest out would
// make a part of it.
func TestUnfinishedImportIsExamined(t *testing.T) {
	staged := func(spoil func([]byte) []byte) func(*testing.T, *Registry) {
		return func(t *testing.T, r *Registry) {
			path := filepath.Join(r.dir, stagedName)
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, spoil(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, spoil := range map[string]func(*testing.T, *Registry){
		"a record gone": func(t *testing.T, r *Registry) {
			wb := r.db.NewWriteBatch()
			if err := errors.Join(wb.Delete([]byte("merchant/AOI000000000001")), wb.Flush()); err != nil {
				t.Fatal(err)
			}
		},
		"staged record gone": staged(func(b []byte) []byte { return b[stagedLen(b):] }),
		"staged end gone":    staged(func(b []byte) []byte { return b[:len(b)-1] }),
		"staged bit flipped": staged(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
		"all staged gone":    staged(func([]byte) []byte { return nil }),
	} {
		dir, a := t.TempDir(), newAccounts()
		o := testOptions(t, dir, a)
		r, err := open(o, 2, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		do(t, r, "demo.yaml", demo(t))
		var at string
		r.step = killer(4, &at)
		survive(func() {
			_, _ = r.Import(t.Context(), parse(t, "many.csv", "pan,customer\n"+pan(1)+",1234567890\n"+pan(2)+",1234567890\n"), nil)
		})
		if at != "marked" {
			t.Fatalf("killed after %q, not after the mark", at)
		}
		spoil(t, r)
		if err := r.closeFiles(); err != nil {
			t.Fatal(err)
		}
		before := len(a.all)
		if r, err = OpenRegistry(o); !errors.Is(err, ErrDamaged) || len(a.all) != before {
			t.Errorf("%s: %v; want ErrDamaged", what, err)
			if err == nil {
				r.Close()
			}
		}
	}
}

// TestOlderForm: a registry whose records are as they once were is not taken for
// damaged.
func TestOlderForm(t *testing.T) {
	for key, value := range map[string]string{
		customers.KeyPrefix + "1234567890": `{"name":"Customer","currency":"JPY"}`,
		terminalPrefix + "AOI00001":        `{"merchant":"AOI000000000001","status":"active","operation":"attended","limits":{}}`,
		terminalPrefix + "AOI00002":        `{"merchant":"AOI000000000001","status":"blocked","operation":"attended","limits":{}}`,
		"meta/import":                      `{"committed":true}`,
	} {
		o := testOptions(t, t.TempDir(), newAccounts())
		r, err := OpenRegistry(o)
		if err != nil {
			t.Fatal(err)
		}
		do(t, r, "demo.yaml", demo(t))
		wb := r.db.NewWriteBatch()
		if err = errors.Join(wb.Set([]byte(key), []byte(value)), wb.Flush(), r.Close()); err != nil {
			t.Fatal(err)
		}
		r, err = OpenRegistry(o)
		if err == nil {
			r.Close()
		}
		if !errors.Is(err, errOlderForm) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "import all files again") {
			t.Errorf("%s: opened with %v", key, err)
		}
	}
}

// TestSealThatCannotBeWritten: the import is in the store then, but not secured,
// so it is not reported as done; the next one brings the seal up first.
func TestSealThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, dir, newAccounts())
	r, err := OpenRegistry(o)
	if err != nil {
		t.Fatal(err)
	}
	path := r.seal.path
	r.seal.path = filepath.Join(dir, "nowhere", "seal")
	for range 2 {
		if _, err := r.Import(t.Context(), parse(t, "demo.yaml", demo(t)), nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v; want the error of writing the seal", err)
		}
	}
	r.seal.path = path
	if sum := do(t, r, "key.csv", "merchant,key\nAOI000000000001,sk_test_more\n"); sum.Version != 2 {
		t.Errorf("version %d; want 2", sum.Version)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenRegistry(o); err != nil {
		t.Fatal(err)
	}
	r.Close()
}

func FuzzSeal(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seal")
	s := seal{path: path}
	for version := range uint64(3) {
		if err := s.put(meta{Version: version, Digest: digest{byte(version)}}); err != nil {
			f.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		var s seal
		if s.parse(file) != nil {
			if s.version != 0 || s.digest != (digest{}) {
				t.Fatal("a seal that cannot be read says something")
			}
			return
		}
		if !bytes.Contains(file, append(binary.BigEndian.AppendUint64(nil, s.version), s.digest[:]...)) {
			t.Fatal("the seal says what is not in the file")
		}
	})
}
