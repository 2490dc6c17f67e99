package rates_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kessai"
	"kessai/authz/rates"
)

// clock is a time that tests put on.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func at(t testing.TB, s string) time.Time {
	t.Helper()
	now, err := time.Parse(time.DateTime, s)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// write puts a file in place and gives it a time of its own: tests are faster than
// what file systems tell apart.
func write(t testing.TB, path, text string, minute int) {
	t.Helper()
	when := time.Date(2026, 10, 7, 0, minute, 0, 0, time.UTC)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, when, when)); err != nil {
		t.Fatal(err)
	}
}

var yen = kessai.Amount{Value: 1000, Currency: kessai.JPY}

// P-13: rates are used until they are too old, over Easter and no longer.
func TestP13_RatesGrowOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eurofxref-daily.xml")
	// 2027-03-25 is the Thursday before Easter. The next rates come on Tuesday.
	write(t, path, envelope(`<Cube time="2027-03-25"><Cube currency="JPY" rate="160"/></Cube>`), 0)
	c := &clock{at(t, "2027-03-25 15:00:00")}
	s, err := rates.Open(rates.Options{File: path, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		now  string
		age  time.Duration
		want error
	}{
		{"2027-03-25 15:00:00", 0, nil},
		{"2027-03-26 00:00:00", 0, nil},
		{"2027-03-30 15:00:00", 111 * time.Hour, nil},
		{"2027-03-31 00:00:00", 120 * time.Hour, nil},
		{"2027-03-31 00:00:01", 120*time.Hour + time.Second, rates.ErrStale},
		{"2027-03-25 01:00:00", 0, nil}, // the clock was put back
	} {
		c.now = at(t, step.now)
		got, rate, date, err := s.Convert(yen, kessai.EUR)
		if !errors.Is(err, step.want) || (err == nil) != (got.Value == 625 && rate == "0.00625" && date == "2027-03-25") {
			t.Errorf("%s: %v at %s of %s, %v; want %v", step.now, got, rate, date, err, step.want)
		}
		if age, ok := s.Age(); !ok || age != step.age {
			t.Errorf("%s: age %v, want %v", step.now, age, step.age)
		}
	}
}

// A file that cannot be read leaves what was in force; it is read again when it
// has changed, and told of once.
func TestFileThatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eurofxref-daily.xml")
	c := &clock{at(t, "2026-10-07 12:00:00")}
	var told []string
	s, err := rates.Open(rates.Options{File: path, Now: c.Now, Observe: func(table *rates.Table, err error) {
		state := "none"
		if table != nil {
			state = table.Date
		}
		if err != nil {
			state += " failed"
		}
		told = append(told, state)
	}})
	if !errors.Is(err, os.ErrNotExist) || s == nil || s.Table() != nil {
		t.Fatalf("no file: %v", err)
	}
	if _, _, _, err := s.Convert(yen, kessai.EUR); !errors.Is(err, rates.ErrNoRate) {
		t.Errorf("no file: %v", err)
	}
	if _, ok := s.Age(); ok {
		t.Error("what is not there has an age")
	}
	of := func(date, rate string) string {
		return envelope(`<Cube time="` + date + `"><Cube currency="JPY" rate="` + rate + `"/></Cube>`)
	}
	check := func(want string, wantErr bool) {
		t.Helper()
		told = nil
		if err := s.Check(); (err != nil) != wantErr {
			t.Errorf("check: %v", err)
		}
		if got := strings.Join(told, ", "); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	check("none failed", true)
	write(t, path, of("2026-10-06", "160"), 1)
	check("2026-10-06", false)
	check("", false)
	whole := of("2026-10-07", "200")
	write(t, path, whole[:len(whole)/2], 2) // it is being written
	check("2026-10-06 failed", true)
	check("", false) // told already
	if got, _, _, err := s.Convert(yen, kessai.EUR); err != nil || got.Value != 625 {
		t.Errorf("with half a file: %v, %v; the one before is in force", got, err)
	}
	write(t, path, whole, 3)
	check("2026-10-07", false)
	write(t, path, of("2026-10-09", "300"), 4) // not even on Line Islands, UTC+14
	check("2026-10-07 failed", true)
	write(t, path, of("2026-10-08", "250"), 5)
	check("2026-10-08", false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("2026-10-08 failed", true)
	if got, _, _, err := s.Convert(yen, kessai.EUR); err != nil || got.Value != 400 {
		t.Errorf("without the file: %v, %v", got, err)
	}
	write(t, path, of("2026-10-07", "200"), 6)
	told = nil
	if err := s.Reload(); err != nil || len(told) != 1 || told[0] != "2026-10-07" {
		t.Errorf("reload: %v, %v", told, err)
	}
}

func TestNoFile(t *testing.T) {
	s, err := rates.Open(rates.Options{})
	if err := errors.Join(err, s.Check(), s.Reload()); err != nil {
		t.Error(err)
	}
	if _, _, _, err := s.Convert(yen, kessai.EUR); !errors.Is(err, rates.ErrNoRate) {
		t.Error(err)
	}
}

// Whoever converts sees one table or the other, while the file changes all the time
// and is half written most of it.
func TestReadWhileWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eurofxref-daily.xml")
	texts := [2]string{ // both rates change together
		day(`<Cube currency="JPY" rate="100"/><Cube currency="USD" rate="1"/>`),
		day(`<Cube currency="JPY" rate="300"/><Cube currency="USD" rate="3"/>`),
	}
	write(t, path, texts[0], 0)
	c := &clock{at(t, "2026-10-07 12:00:00")}
	s, err := rates.Open(rates.Options{File: path, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				got, rate, _, err := s.Convert(kessai.Amount{Value: 100, Currency: kessai.USD}, kessai.JPY)
				if err != nil || got.Value != 100 || rate != "100" {
					t.Errorf("1 USD is %v at %s, %v", got, rate, err)
					return
				}
			}
		})
	}
	failed := 0
	for i := range 300 {
		text := texts[i%2]
		if i%3 > 0 {
			text = text[:i]
		}
		write(t, path, text, i+1)
		if s.Check() != nil {
			failed++
		}
	}
	cancel()
	all.Wait()
	if failed != 200 {
		t.Errorf("%d readings failed, want the 200 of half a file", failed)
	}
}

// The file is looked at once a minute.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eurofxref-daily.xml")
	synctest.Test(t, func(t *testing.T) {
		readings := 0
		s, err := rates.Open(rates.Options{File: path, Now: func() time.Time { return at(t, "2026-10-07 12:00:00") }, Observe: func(_ *rates.Table, err error) {
			if err == nil {
				readings++
			}
		}})
		if err == nil || readings != 0 {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Follow(ctx) }()
		write(t, path, day(`<Cube currency="JPY" rate="100"/>`), 1)
		time.Sleep(10*rates.CheckEvery + time.Second)
		synctest.Wait()
		if readings != 1 {
			t.Errorf("%d readings, want one", readings)
		}
		write(t, path, day(`<Cube currency="JPY" rate="200"/>`), 2)
		time.Sleep(rates.CheckEvery)
		synctest.Wait()
		if readings != 2 {
			t.Errorf("%d readings, want two", readings)
		}
		cancel()
		<-done
	})
}
