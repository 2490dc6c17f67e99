package rates

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"kessai"
)

// DefaultMaxAge is the age up to which rates are used. The bank publishes them on
// working days, around 16:00 of its time; at Easter four days pass without.
const DefaultMaxAge = 120 * time.Hour

// CheckEvery is how often [Source.Follow] looks whether the file has changed.
const CheckEvery = time.Minute

// Options configures a source.
type Options struct {
	File   string           // eurofxref-daily.xml; empty: there are no rates
	MaxAge time.Duration    // default [DefaultMaxAge]
	Now    func() time.Time // default time.Now

	// Observe, which may be nil, is told of each reading of the file: the table
	// that is in force afterwards, which may be nil, and what went wrong.
	Observe func(*Table, error)
}

// Source is a file of rates that is read anew when it changes. It may be used from
// many goroutines at once.
type Source struct {
	o       Options
	table   atomic.Pointer[Table]
	reading sync.Mutex // held by the one who reads; guards what is behind it
	was     stamp      // of the file that is in force
	failed  stamp      // of the file that could not be read
}

// stamp tells one state of the file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// Open gives a source, and reads the file for the first time. Where that fails, the
// source is given along with the error and has no rates until the file can be
// read: a gateway without rates can do everything else.
func Open(o Options) (*Source, error) {
	if o.MaxAge <= 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(*Table, error) {}
	}
	s := &Source{o: o}
	return s, s.Reload()
}

// Reload reads the file. On an error the rates before stay in force.
func (s *Source) Reload() error {
	s.reading.Lock()
	defer s.reading.Unlock()
	return s.read()
}

// Check reads the file if it has changed since it was read last.
func (s *Source) Check() error {
	if s.o.File == "" {
		return nil
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	now, err := s.stat()
	if err == nil && (now == s.was || now == s.failed) {
		return nil
	}
	return s.read()
}

// Follow checks the file every [CheckEvery], until ctx ends.
func (s *Source) Follow(ctx context.Context) {
	t := time.NewTicker(CheckEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			_ = s.Check() // Observe was told
		}
	}
}

func (s *Source) stat() (stamp, error) {
	info, err := os.Stat(s.o.File)
	if err != nil {
		return stamp{}, fmt.Errorf("read exchange rates: %w", err)
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

// read reads the file; the caller holds reading.
func (s *Source) read() error {
	if s.o.File == "" {
		return nil
	}
	at, err := s.stat() // before: what changes while it is read is read again
	var t *Table
	if err == nil {
		t, err = Load(s.o.File)
	}
	if err == nil {
		err = s.notToCome(t)
	}
	if err != nil {
		s.failed = at
	} else {
		s.was, s.failed = at, stamp{}
		s.table.Store(t)
	}
	s.o.Observe(s.table.Load(), err)
	return err
}

// notToCome refuses rates of a day that has not begun anywhere on earth.
func (s *Source) notToCome(t *Table) error {
	day, err := t.day()
	if err != nil {
		return err
	}
	if day.Sub(s.o.Now()) > 14*time.Hour {
		return errors.New("the exchange rates are of " + t.Date + ", which is to come: put the clock right, or the file")
	}
	return nil
}

// Table gives the rates in force, however old; nil where there are none.
func (s *Source) Table() *Table { return s.table.Load() }

// Age gives how long the day has been over that the rates in force are of, in UTC,
// and not less than zero; false where there are none.
func (s *Source) Age() (time.Duration, bool) {
	t := s.table.Load()
	if t == nil {
		return 0, false
	}
	day, err := t.day()
	if err != nil {
		return 0, false
	}
	return max(0, s.o.Now().Sub(day.AddDate(0, 0, 1))), true
}

// Convert is [Table.Convert] with the rates in force. Besides its errors there is
// [ErrStale] for rates that are too old; without any it is [ErrNoRate].
func (s *Source) Convert(amount kessai.Amount, to kessai.Currency) (converted kessai.Amount, rate, date string, err error) {
	t := s.table.Load()
	age, ok := s.Age()
	switch {
	case !ok:
		return converted, "", "", fmt.Errorf("%w: no file of rates could be read; set rates.file", ErrNoRate)
	case age > s.o.MaxAge:
		return converted, "", "", fmt.Errorf("%w: they are of %s: bring a newer file", ErrStale, t.Date)
	}
	return t.Convert(amount, to)
}
