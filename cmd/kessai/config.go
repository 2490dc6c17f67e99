package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"kessai"
	"kessai/cache"
	"kessai/pos/iso8583"
)

// Config is all that can be set. What each setting means, in which unit, and its
// default stand in configs/kessai.yaml, which the binary carries and starts from;
// loadConfig lays file, environment and flags over it.
type Config struct {
	Data        string         `yaml:"data"`
	Acquirer    string         `yaml:"acquirer"`
	HoldFor     time.Duration  `yaml:"hold_for"`
	BusinessDay BusinessDay    `yaml:"business_day"`
	HTTP        HTTPConfig     `yaml:"http"`
	ISO         ISOConfig      `yaml:"iso"`
	Book        BookConfig     `yaml:"book"`
	Cache       CacheConfig    `yaml:"cache"`
	Dialogue    DialogueConfig `yaml:"dialogue"`
	Budget      string         `yaml:"budget"` // path of a file; empty: configs/budget.yaml as it was built in
	Purse       PurseConfig    `yaml:"purse"`
	Phone       PhoneConfig    `yaml:"phone"`
	Reader      ReaderConfig   `yaml:"reader"`
	Rates       RatesConfig    `yaml:"rates"`
	Log         LogConfig      `yaml:"log"`
	Keys        KeysConfig     `yaml:"keys"`
	Admin       AdminConfig    `yaml:"admin"`
	Shutdown    ShutdownConfig `yaml:"shutdown"`
}

// BusinessDay says where one day ends and the next begins.
type BusinessDay struct {
	Zone string `yaml:"zone"`
}

// HTTPConfig is the JSON listener.
type HTTPConfig struct {
	Address        string        `yaml:"address"`
	TLS            HTTPTLS       `yaml:"tls"`
	BodyLimit      int           `yaml:"body_limit"` // bytes
	ReadTimeout    time.Duration `yaml:"read_timeout"`
	WriteTimeout   time.Duration `yaml:"write_timeout"`
	IdleTimeout    time.Duration `yaml:"idle_timeout"`
	MaxConnections int           `yaml:"max_connections"`
	MaxInFlight    int           `yaml:"max_in_flight"`
	MaxWaiting     int           `yaml:"max_waiting"`
}

// HTTPTLS names the PEM files of the JSON listener.
type HTTPTLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// ISOConfig is everything about ISO 8583.
type ISOConfig struct {
	DialectsDir string           `yaml:"dialects_dir"`
	Listeners   []ListenerConfig `yaml:"listeners"`
}

// ListenerConfig is one ISO 8583 listener.
type ListenerConfig struct {
	Address                  string        `yaml:"address"`
	Dialect                  string        `yaml:"dialect"`
	Framing                  string        `yaml:"framing"`
	LengthCountsItself       bool          `yaml:"length_counts_itself"`
	TPDU                     bool          `yaml:"tpdu"`
	TLS                      ISOTLS        `yaml:"tls"`
	MaxConnections           int           `yaml:"max_connections"`
	MaxInFlight              int           `yaml:"max_in_flight"`
	MaxInFlightPerConnection int           `yaml:"max_in_flight_per_connection"`
	MaxFrame                 int           `yaml:"max_frame"` // bytes
	IdleTimeout              time.Duration `yaml:"idle_timeout"`
	WriteTimeout             time.Duration `yaml:"write_timeout"`
	RequireSignOn            bool          `yaml:"require_sign_on"`
}

// ISOTLS names the PEM files of an ISO 8583 listener.
type ISOTLS struct {
	Cert              string `yaml:"cert"`
	Key               string `yaml:"key"`
	ClientCA          string `yaml:"client_ca"`
	RequireClientCert bool   `yaml:"require_client_cert"`
}

// BookConfig bounds the book.
type BookConfig struct {
	MaxQueue  int           `yaml:"max_queue"`
	Retention time.Duration `yaml:"retention"`
}

// CacheConfig says what the cache holds and how fresh it is kept.
type CacheConfig struct {
	Mode         string        `yaml:"mode"`
	RefreshEvery time.Duration `yaml:"refresh_every"`
	MaxAge       time.Duration `yaml:"max_age"`
}

// DialogueConfig bounds the dialogues that begin with a verification.
type DialogueConfig struct {
	Timeout time.Duration `yaml:"timeout"`
	MaxOpen int           `yaml:"max_open"`
}

// PurseConfig bounds what media may carry.
type PurseConfig struct {
	MaxBalance int64 `yaml:"max_balance"` // minor units
}

// LogConfig says how the log is written.
type LogConfig struct {
	Format string `yaml:"format"`
	Level  string `yaml:"level"`
}

// KeysConfig holds secrets or names the files that hold them.
type KeysConfig struct {
	PAN       kessai.Secret `yaml:"pan"`
	PANFile   string        `yaml:"pan_file"`
	API       kessai.Secret `yaml:"api"`
	APIFile   string        `yaml:"api_file"`
	Purse     kessai.Secret `yaml:"purse"`
	PurseFile string        `yaml:"purse_file"`
	Phone     kessai.Secret `yaml:"phone"`
	PhoneFile string        `yaml:"phone_file"`
	Admin     kessai.Secret `yaml:"admin"`
	AdminFile string        `yaml:"admin_file"`
}

// AdminConfig is the socket for commands to a running gateway.
type AdminConfig struct {
	Socket string `yaml:"socket"`
}

// ShutdownConfig bounds the end.
type ShutdownConfig struct {
	Timeout time.Duration `yaml:"timeout"`
}

// The book remembers attempts for at least the 30 days that callers are
// promised, and for less than a year: an attempt's name has no year in it.
const (
	minRetention = 30 * 24 * time.Hour
	maxRetention = 360 * 24 * time.Hour
)

// Validate checks everything that can be checked without opening anything. It
// gives all that is wrong at once, each with the key's name.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
	}
	positive := func(key string, n int64) {
		if n <= 0 {
			bad(key, "must be more than zero")
		}
	}
	if c.Data == "" {
		bad("data", "names no folder")
	}
	if _, err := kessai.ParseAcquirerID(c.Acquirer); err != nil {
		bad("acquirer", "must be 1 to 11 digits")
	}
	if _, err := time.LoadLocation(c.BusinessDay.Zone); err != nil || c.BusinessDay.Zone == "" {
		bad("business_day.zone", "%q is no IANA time zone, such as Asia/Tokyo", c.BusinessDay.Zone)
	}
	if c.HoldFor < time.Second {
		bad("hold_for", "must be at least 1s")
	}
	if c.Book.Retention < minRetention || c.Book.Retention > maxRetention {
		bad("book.retention", "must be %s to %s (30 to 360 days)", short(minRetention), short(maxRetention))
	}
	if _, err := parseLevel(c.Log.Level); err != nil {
		bad("log.level", "must be debug, info, warn or error")
	}
	if c.Log.Format != "json" && c.Log.Format != "text" {
		bad("log.format", "must be json or text")
	}
	errs = append(errs, c.Keys.validate()...)
	if (c.HTTP.TLS.Cert == "") != (c.HTTP.TLS.Key == "") {
		bad("http.tls", "needs both cert and key, or neither")
	}
	if c.HTTP.Address == "" {
		bad("http.address", "is empty")
	}
	positive("http.body_limit", int64(c.HTTP.BodyLimit))
	positive("http.read_timeout", int64(c.HTTP.ReadTimeout))
	positive("http.write_timeout", int64(c.HTTP.WriteTimeout))
	positive("http.idle_timeout", int64(c.HTTP.IdleTimeout))
	positive("http.max_connections", int64(c.HTTP.MaxConnections))
	positive("http.max_in_flight", int64(c.HTTP.MaxInFlight))
	positive("book.max_queue", int64(c.Book.MaxQueue))
	if _, ok := cache.ParseMode(c.Cache.Mode); !ok {
		bad("cache.mode", "must be both, media-only, terminals-only or filter")
	}
	positive("cache.refresh_every", int64(c.Cache.RefreshEvery))
	positive("cache.max_age", int64(c.Cache.MaxAge))
	positive("dialogue.timeout", int64(c.Dialogue.Timeout))
	positive("dialogue.max_open", int64(c.Dialogue.MaxOpen))
	positive("http.max_waiting", int64(c.HTTP.MaxWaiting))
	errs = append(errs, c.Phone.validate()...)
	errs = append(errs, c.Reader.validate()...)
	positive("rates.max_age", int64(c.Rates.MaxAge))
	if c.Purse.MaxBalance < 1 || c.Purse.MaxBalance > kessai.MaxAmount {
		bad("purse.max_balance", "must be 1 to %d minor units", int64(kessai.MaxAmount))
	}
	positive("shutdown.timeout", int64(c.Shutdown.Timeout))
	for i := range c.ISO.Listeners {
		errs = append(errs, c.ISO.Listeners[i].validate(fmt.Sprintf("iso.listeners[%d].", i))...)
	}
	return errors.Join(errs...)
}

func (k KeysConfig) validate() (errs []error) {
	for _, s := range []struct {
		key   string
		value kessai.Secret
		file  string
		check func(kessai.Secret) error
	}{
		{"keys.pan", k.PAN, k.PANFile, checkKey}, {"keys.api", k.API, k.APIFile, checkKey},
		{"keys.purse", k.Purse, k.PurseFile, checkKey}, {"keys.phone", k.Phone, k.PhoneFile, checkKey},
		{"keys.admin", k.Admin, k.AdminFile, checkAdminKey},
	} {
		if s.value == "" {
			continue
		}
		if s.file != "" {
			errs = append(errs, fmt.Errorf("%s: stands beside %s_file; set one of them", s.key, s.key))
		}
		if err := s.check(s.value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.key, err))
		}
	}
	return errs
}

// maxFrame is the longest message that every kind of framing can carry: the
// 9,999 of four decimal digits, less the length's own four and a TPDU's five.
const maxFrame = 9990

func (l *ListenerConfig) validate(prefix string) (errs []error) {
	bad := func(key, text string) { errs = append(errs, errors.New(prefix+key+": "+text)) }
	if l.Address == "" {
		bad("address", "is empty")
	}
	if l.Dialect == "" {
		bad("dialect", "is empty")
	}
	if _, err := l.framing(); err != nil {
		bad("framing", "must be binary2, ascii4 or bcd2")
	}
	if (l.TLS.Cert == "") != (l.TLS.Key == "") {
		bad("tls", "needs both cert and key, or neither")
	}
	if l.TLS.ClientCA != "" && l.TLS.Cert == "" {
		bad("tls.client_ca", "needs tls.cert and tls.key too")
	}
	if l.TLS.RequireClientCert && l.TLS.ClientCA == "" {
		bad("tls.require_client_cert", "needs tls.client_ca")
	}
	for _, n := range []struct {
		key   string
		value int64
	}{
		{"max_connections", int64(l.MaxConnections)},
		{"max_in_flight", int64(l.MaxInFlight)},
		{"max_in_flight_per_connection", int64(l.MaxInFlightPerConnection)},
		{"idle_timeout", int64(l.IdleTimeout)},
		{"write_timeout", int64(l.WriteTimeout)},
	} {
		if n.value <= 0 {
			bad(n.key, "must be more than zero")
		}
	}
	if l.MaxFrame < 64 || l.MaxFrame > maxFrame {
		bad("max_frame", fmt.Sprintf("must be 64 to %d", maxFrame))
	}
	return errs
}

// framing gives how messages are told apart on the listener's connections.
func (l *ListenerConfig) framing() (iso8583.Framing, error) {
	form, err := iso8583.ParseLengthForm(l.Framing)
	return iso8583.Framing{Length: form, Inclusive: l.LengthCountsItself, TPDU: l.TPDU}, err
}

// adminSocket gives the path of the admin socket.
func (c *Config) adminSocket() string {
	if c.Admin.Socket != "" {
		return c.Admin.Socket
	}
	return filepath.Join(c.Data, "admin.sock")
}

// businessDay gives the function that numbers business days, in days since
// 1970-01-01, by the calendar of the zone.
func (c *Config) businessDay() (func(time.Time) int32, error) {
	zone, err := time.LoadLocation(c.BusinessDay.Zone)
	if err != nil {
		return nil, err
	}
	return func(t time.Time) int32 {
		y, m, d := t.In(zone).Date()
		return int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
	}, nil
}

func parseLevel(s string) (level slog.Level, err error) {
	switch s {
	case "debug", "info", "warn", "error":
		err = level.UnmarshalText([]byte(s))
		return level, err
	}
	return 0, errors.New("no such level")
}

// decodeKey reads a key in hexadecimal. Its errors never show any of it.
func decodeKey(s kessai.Secret) ([]byte, error) {
	key, err := hex.DecodeString(s.Reveal())
	if err != nil || len(key) < kessai.MinKeyBytes {
		return nil, fmt.Errorf("must be at least %d bytes in hexadecimal", kessai.MinKeyBytes)
	}
	return key, nil
}

func checkKey(s kessai.Secret) error {
	_, err := decodeKey(s)
	return err
}

// short writes a duration without the zeros at its end: 840h, not 840h0m0s.
func short(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if len(s) > len(zero) && s[len(s)-len(zero):] == zero {
			s = s[:len(s)-2]
		}
	}
	return s
}
