package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// PhoneConfig is everything about payments that customers confirm on their own
// phones.
type PhoneConfig struct {
	Origin      string        `yaml:"origin"` // empty: http://localhost with the port of http.address
	Timeout     time.Duration `yaml:"timeout"`
	HoldFor     time.Duration `yaml:"hold_for"`
	MaxWaiting  int           `yaml:"max_waiting"`
	Tries       int           `yaml:"tries"`
	DayTries    int           `yaml:"day_tries"`
	Session     time.Duration `yaml:"session"`
	Iterations  int           `yaml:"iterations"`
	PushHosts   string        `yaml:"push_hosts"`
	PushContact string        `yaml:"push_contact"`
}

// RatesConfig says where exchange rates come from.
type RatesConfig struct {
	File   string        `yaml:"file"`
	MaxAge time.Duration `yaml:"max_age"`
}

// The bounds of what can be set for phones. A payment that waits keeps the
// customer's money, so nobody may be made to wait for an hour.
const (
	minPhoneTimeout = 10 * time.Second
	maxPhoneTimeout = 15 * time.Minute
	minIterations   = 4096 // RFC 7677, section 4
	maxIterations   = 10_000_000
)

func (p *PhoneConfig) validate() (errs []error) {
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("phone."+key+": "+format, args...))
	}
	if p.Origin != "" {
		if err := checkOrigin(p.Origin); err != nil {
			bad("origin", "%s", err)
		}
	}
	if p.Timeout < minPhoneTimeout || p.Timeout > maxPhoneTimeout {
		bad("timeout", "must be %s to %s", short(minPhoneTimeout), short(maxPhoneTimeout))
	}
	if p.HoldFor < time.Second {
		bad("hold_for", "must be at least 1s")
	}
	if p.MaxWaiting < 1 {
		bad("max_waiting", "must be more than zero")
	}
	if p.Tries < 1 || p.Tries > 10 {
		bad("tries", "must be 1 to 10")
	}
	if p.DayTries < p.Tries || p.DayTries > 100 {
		bad("day_tries", "must be at least phone.tries, and at most 100")
	}
	if p.Session < time.Minute || p.Session > 12*time.Hour {
		bad("session", "must be 1m to 12h")
	}
	if p.Iterations < minIterations || p.Iterations > maxIterations {
		bad("iterations", "must be %d to %d", minIterations, maxIterations)
	}
	for _, h := range strings.Fields(p.PushHosts) {
		if strings.ContainsAny(h, "/:@,;") {
			bad("push_hosts", "must be names of hosts, such as fcm.googleapis.com or *.push.apple.com")
			break
		}
	}
	return errs
}

// checkOrigin says what is wrong with the address under which browsers find the
// gateway. Browsers sign only where nobody can listen: over TLS, or at home.
func checkOrigin(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return errors.New("must be scheme and host alone, such as https://pay.example.com")
	case u.Scheme == "https":
	case u.Scheme != "http" || u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1":
		return errors.New("must begin with https:// (http:// is for localhost alone)")
	}
	return nil
}

const phoneKeyName = "phone.key"

// phoneKey gives the key that everything about phones is derived from.
func (c *Config) phoneKey() ([]byte, error) {
	key, err := c.secretKey("keys.phone", phoneKeyName, c.Keys.Phone, c.Keys.PhoneFile)
	if err == nil {
		err = checkPhoneKey(c.Data, key)
	}
	return key, err
}
