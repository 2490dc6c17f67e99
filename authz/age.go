package authz

import (
	"sync/atomic"
	"time"

	"kessai/cache"
)

// ageLimit is the age, in nanoseconds, from which on the cache approves nothing;
// zero: any will do.
type ageLimit struct{ atomic.Int64 }

// MaxAge gives what [Options.MaxAge] was, or [Engine.SetMaxAge] made of it.
func (e *Engine) MaxAge() time.Duration { return time.Duration(e.limit.Load()) }

// SetMaxAge changes it, while requests are being judged.
func (e *Engine) SetMaxAge(d time.Duration) { e.limit.Store(int64(d)) }

// stale reports whether what memory knows is too old at a time.
func (e *Engine) stale(s *cache.Snapshot, now time.Time) bool {
	most := e.MaxAge()
	return most > 0 && now.Sub(s.Loaded()) > most
}
