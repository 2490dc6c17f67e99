package gateway

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"kessai/cache"
	"kessai/merchants"
)

// ControlOptions configures [NewControl]. Apply is needed for changes; a control of
// a registry that no gateway runs on has nothing else.
type ControlOptions struct {
	// Apply puts changes in force, all of them or none, and returns when every
	// later decision knows them. A [*merchants.ChangeError] names the first that
	// cannot be.
	Apply   func(context.Context, []merchants.Change) (version uint64, err error)
	Refresh func(context.Context) error // reads the registry again
	Cache   *cache.Cache                // what is in force
	MaxAge  func() time.Duration        // when the cache is too old to approve anything on its word

	Metrics *Metrics         // default: a set that nobody reads
	Logger  *slog.Logger     // default: none
	Now     func() time.Time // default: time.Now
}

// Control is what whoever runs the gateway may do to what it knows of media and
// terminals while it runs: change it, have it read again, look how it is. Both
// doors lead here, the admin socket ([Admin]) and the admin API over HTTP.
type Control struct {
	o    ControlOptions
	last atomic.Pointer[refreshed]
}

// refreshed is how the last refresh ended.
type refreshed struct {
	at  time.Time
	err error
}

// NewControl makes a control.
func NewControl(o ControlOptions) *Control {
	if o.Metrics == nil {
		o.Metrics = NewMetrics(MetricsOptions{})
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxAge == nil {
		o.MaxAge = func() time.Duration { return 0 }
	}
	if o.Cache == nil {
		o.Cache = new(cache.Cache)
	}
	return &Control{o: o}
}

// Refreshed is told of every load of the cache: how long it took and how it
// ended. One that failed leaves what was in force as it was.
func (c *Control) Refreshed(took time.Duration, err error) {
	c.o.Metrics.Refreshed(took, err)
	c.last.Store(&refreshed{c.o.Now(), err})
	if err != nil {
		c.o.Logger.Error("the cache could not be refreshed", "error", err, "took", took)
	}
}

// Validity says what the gateway judges by at this moment.
type Validity struct {
	Mode      string    `json:"mode"`
	Media     int       `json:"media"`     // in memory
	Terminals int       `json:"terminals"` // in memory
	Bytes     int       `json:"bytes"`     // that they take
	Version   uint64    `json:"version"`   // of the registry
	LoadedAt  time.Time `json:"loaded_at"` // when the registry was read, or found unchanged
	Age       float64   `json:"age_seconds"`
	Stale     bool      `json:"stale"` // too old: nothing is approved on its word
	LastError string    `json:"last_error,omitzero"`
}

// Validity gives what is in force.
func (c *Control) Validity() Validity {
	s := c.o.Cache.Load()
	v := Validity{Mode: s.Mode().String(), Bytes: s.Bytes(), Version: s.Version(), LoadedAt: s.Loaded().UTC()}
	v.Media, v.Terminals = s.Sizes()
	age := c.o.Now().Sub(s.Loaded())
	if v.Stale = c.tooOld(age); !s.Loaded().IsZero() {
		v.Age = age.Seconds()
	}
	if last := c.last.Load(); last != nil && last.err != nil {
		v.LastError = last.err.Error()
	}
	return v
}

func (c *Control) tooOld(age time.Duration) bool {
	most := c.o.MaxAge()
	return most > 0 && age > most
}

// Check says for readiness whether what is known of media and terminals may be
// relied upon. A refresh that failed is told before it comes to that.
func (c *Control) Check() Check {
	now, s := c.o.Now(), c.o.Cache.Load()
	age := now.Sub(s.Loaded())
	check := Check{Name: "cache", OK: !c.tooOld(age)}
	if !check.OK {
		check.Detail = "the registry was last read " + age.Round(time.Second).String() + " ago: nothing is approved any more"
	}
	if last := c.last.Load(); last != nil && last.err != nil {
		if check.Detail != "" {
			check.Detail += "; "
		}
		check.Detail += "the last refresh failed " + now.Sub(last.at).Round(time.Second).String() + " ago"
	}
	return check
}

func (c *Control) refresh(ctx context.Context) error {
	err := c.o.Refresh(ctx)
	c.o.Logger.Info("refresh asked for", "error", err)
	return err
}

// Changed says what became of a file of changes.
type Changed struct {
	Version uint64      `json:"version"` // of the registry, afterwards
	Applied int         `json:"applied"`
	Skipped []LineFault `json:"skipped,omitempty"`
}

// LineFault is a line of changes that cannot be applied, and why. It repeats
// nothing of the line: that may be a card number.
type LineFault struct {
	Line int    `json:"line"` // from 1
	Why  string `json:"error"`
}

func (f *LineFault) Error() string { return "line " + itoa(f.Line) + ": " + f.Why }

// Changes applies a file of changes, one JSON object a line: all of them, or none
// and the first bad line as a [*LineFault]: the first that cannot be read, or
// where all can, the first that does not fit what is there. With skipBad, bad
// lines are left out and listed, and the others are applied in groups. Progress, which may be nil, is told of long ones.
func (c *Control) Changes(ctx context.Context, r io.Reader, skipBad bool, progress Progress) (Changed, error) {
	if progress == nil {
		progress = func(string, uint64, uint64) {}
	}
	began := c.o.Now()
	done, err := c.changeAll(ctx, r, skipBad, progress)
	refused := len(done.Skipped)
	if err != nil {
		refused = 1
	}
	c.o.Metrics.changed(done.Applied, refused)
	c.o.Logger.Info("changes", "applied", done.Applied, "skipped", len(done.Skipped), "version", done.Version,
		"took", c.o.Now().Sub(began), "error", err)
	return done, err
}

func (c *Control) changeAll(ctx context.Context, r io.Reader, skipBad bool, progress Progress) (done Changed, err error) {
	var read []numbered
	lines := newFeedLines(r)
	for {
		l, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return Changed{}, err
		}
		switch {
		case l.fault != "" && !skipBad:
			return Changed{}, &LineFault{l.line, l.fault}
		case l.fault != "":
			if done.Skipped, err = skip(done.Skipped, LineFault{l.line, l.fault}); err != nil {
				return Changed{}, err
			}
		case len(read) == merchants.MaxChanges:
			return Changed{}, &LineFault{l.line, "more than " + itoa(merchants.MaxChanges) + " changes at once: nothing was applied, split the file"}
		default:
			read = append(read, l)
		}
		if l.line%progressEvery == 0 {
			progress("reading", uint64(l.line), 0)
		}
	}
	if len(read)+len(done.Skipped) == 0 {
		return Changed{}, errNoChange
	}
	progress("applying", 0, uint64(len(read)))
	out, err := c.apply(ctx, read, skipBad)
	if err != nil {
		return Changed{}, err
	}
	done.Skipped = append(done.Skipped, out.bad...)
	progress("applying", uint64(len(read)), uint64(len(read)))
	sortFaults(done.Skipped)
	done.Version, done.Applied = out.version, len(read)-len(out.bad)
	return done, nil
}
