package authz

import "time"

// MaxAge gives the age from which on the cache approves nothing; zero: any will do.
func (e *Engine) MaxAge() time.Duration { return time.Duration(e.maxAge.Load()) }

// SetMaxAge changes it, while requests are being judged.
func (e *Engine) SetMaxAge(d time.Duration) { e.maxAge.Store(int64(d)) }

// stale reports whether a cache of that age is too old.
func (e *Engine) stale(age time.Duration) bool {
	most := e.MaxAge()
	return most > 0 && age > most
}
