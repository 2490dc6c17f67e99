package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/parsers/yaml"

	"kessai/configs"
)

func mustLoad(t *testing.T, s settings) *loaded {
	t.Helper()
	l, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestDefaultsFileIsComplete: the file has every setting of the struct and no
// other. Its values are the defaults by nature: the binary starts from it.
func TestDefaultsFileIsComplete(t *testing.T) {
	values, err := yaml.Parser().Unmarshal(configs.Defaults)
	if err != nil {
		t.Fatal(err)
	}
	if err := (layer{"kessai.yaml", values}).check(); err != nil {
		t.Errorf("the file has a key that the struct does not: %v", err)
	}
	have := slices.Sorted(maps.Keys(flat(values)))
	want := slices.Sorted(slices.Values(knownKeys()))
	if !slices.Equal(have, want) {
		t.Errorf("keys of the file: %v\nkeys of the struct: %v", have, want)
	}
	entry := values["iso"].(map[string]any)["listeners"].([]any)[0].(map[string]any)
	full := mustLoad(t, settings{})
	for key := range flat(entry) {
		if full.sources["iso.listeners[0]."+key] == "" {
			t.Errorf("the file's listener has no %s", key)
		}
	}
	shown := full.inForce()
	for _, s := range shown {
		if s.source != "default" {
			t.Errorf("%s stands nowhere in the file", s.key)
		}
	}
	if len(shown) != len(full.sources) {
		t.Errorf("the struct has %d settings, the file %d", len(shown), len(full.sources))
	}
}

func TestEnvironmentNamesAreUnique(t *testing.T) {
	seen := make(map[string]string)
	for _, key := range knownKeys() {
		if other, ok := seen[envName(key)]; ok {
			t.Errorf("%s and %s are both %s", key, other, envName(key))
		}
		seen[envName(key)] = key
	}
}

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "k.yaml")
	writeTest(t, file, "http: {address: '127.0.0.1:1', body_limit: 1000}\nlog: {level: warn, format: text}\nhold_for: 1h\n")
	l := mustLoad(t, settings{
		file:    file,
		environ: []string{"KESSAI_HTTP_ADDRESS=127.0.0.1:2", "KESSAI_LOG_LEVEL=error", "KESSAI_HOLD_FOR=2h", "OTHER=1", "KESSAI_SOAK=1"},
		set:     []string{"http.address=127.0.0.1:3", "log.level=debug"},
		flags:   map[string]string{"http": "127.0.0.1:4"},
	})
	if l.HTTP.Address != "127.0.0.1:4" || l.Log.Level != "debug" || l.HoldFor != 2*time.Hour || l.HTTP.BodyLimit != 1000 || l.HTTP.MaxInFlight != 1024 {
		t.Errorf("got %+v", l.Config)
	}
	for key, want := range map[string]string{
		"http.address": "--http", "log.level": "--set log.level", "hold_for": "KESSAI_HOLD_FOR",
		"http.body_limit": file, "http.max_in_flight": "default", "iso.listeners[0].address": "default",
	} {
		if l.sources[key] != want {
			t.Errorf("%s comes from %q, want %q", key, l.sources[key], want)
		}
	}
}

func TestListenersTakeDefaults(t *testing.T) {
	l := mustLoad(t, settings{environ: []string{`KESSAI_ISO_LISTENERS=[{address: ":1", framing: ascii4, tls: {cert: c, key: k}}, {address: ":2"}]`}})
	if len(l.ISO.Listeners) != 2 {
		t.Fatalf("%d listeners", len(l.ISO.Listeners))
	}
	a, b := l.ISO.Listeners[0], l.ISO.Listeners[1]
	if a.Framing != "ascii4" || a.TLS.Cert != "c" || a.Dialect != "iso87-ascii" || a.MaxConnections != 1024 || a.IdleTimeout != 10*time.Minute {
		t.Errorf("first: %+v", a)
	}
	if b.Framing != "binary2" || b.TLS.Cert != "" || b.Address != ":2" {
		t.Errorf("second: %+v", b)
	}
	if l.sources["iso.listeners[0].framing"] != "KESSAI_ISO_LISTENERS" || l.sources["iso.listeners[1].framing"] != "default" {
		t.Errorf("sources: %v", l.sources)
	}
	if none := mustLoad(t, settings{set: []string{"iso.listeners=[]"}}); len(none.ISO.Listeners) != 0 {
		t.Errorf("an empty list gives %d listeners", len(none.ISO.Listeners))
	}
}

func TestBadConfiguration(t *testing.T) {
	key := strings.Repeat("ab", 32)
	for name, c := range map[string]struct {
		file string
		env  []string
		set  []string
		code int
		want string // in what, why or next
	}{
		"unknown key":       {file: "htp: {}", code: exitConfig, want: "did you mean http?"},
		"unknown inner key": {file: "http: {adress: x}", code: exitConfig, want: "did you mean http.address?"},
		"far from any":      {file: "colour: red", code: exitConfig, want: "sets colour"},
		"in a listener":     {file: "iso: {listeners: [{port: 1}]}", code: exitConfig, want: "iso.listeners[0].port"},
		"dotted":            {file: "http.address: x", code: exitConfig, want: "indented"},
		"no group":          {file: "http: 1", code: exitConfig, want: "http must be a group"},
		"no value":          {file: "data: [1]", code: exitConfig, want: "data must be a single value"},
		"no list":           {file: "iso: {listeners: 1}", code: exitConfig, want: "iso.listeners must be a list"},
		"no YAML":           {file: "a: b: c", code: exitConfig, want: "cannot be used"},
		"key twice":         {file: "data: a\ndata: b", code: exitConfig, want: "already defined"},
		"no number":         {file: "http: {body_limit: many}", code: exitConfig, want: "body_limit"},
		"no duration":       {file: "hold_for: long", code: exitConfig, want: "hold_for"},
		"environment":       {env: []string{"KESSAI_HTTP_ADRESS=x"}, code: exitConfig, want: "did you mean KESSAI_HTTP_ADDRESS?"},
		"listeners no YAML": {env: []string{"KESSAI_ISO_LISTENERS=[{"}, code: exitConfig, want: "KESSAI_ISO_LISTENERS"},
		"set unknown":       {set: []string{"log.levle=debug"}, code: exitConfig, want: "did you mean log.level?"},
		"set a group":       {set: []string{"log=debug"}, code: exitConfig, want: "log must be a group"},
		"set without =":     {set: []string{"log.level"}, code: exitUsage, want: "no equals sign"},
		"set a secret":      {set: []string{"keys.pan=" + key}, code: exitUsage, want: "KESSAI_KEYS_PAN"},
		"level":             {set: []string{"log.level=loud"}, code: exitConfig, want: "log.level: must be"},
		"format":            {set: []string{"log.format=xml"}, code: exitConfig, want: "log.format: must be"},
		"acquirer":          {set: []string{"acquirer=12a"}, code: exitConfig, want: "acquirer: must be"},
		"zone":              {set: []string{"business_day.zone=Mars/Base"}, code: exitConfig, want: "business_day.zone"},
		"retention":         {set: []string{"book.retention=30m"}, code: exitConfig, want: "book.retention: must be 720h to 8640h"},
		"zero":              {set: []string{"http.max_connections=0"}, code: exitConfig, want: "http.max_connections: must be more than zero"},
		"two at once":       {set: []string{"data=", "http.address="}, code: exitConfig, want: "data: names no folder; http.address: is empty"},
		"half of TLS":       {set: []string{"http.tls.cert=x"}, code: exitConfig, want: "http.tls: needs both"},
		"client without CA": {file: "iso: {listeners: [{tls: {require_client_cert: true}}]}", code: exitConfig, want: "needs tls.client_ca"},
		"framing":           {file: "iso: {listeners: [{framing: odd}]}", code: exitConfig, want: "iso.listeners[0].framing"},
		"frame":             {file: "iso: {listeners: [{max_frame: 1}]}", code: exitConfig, want: "iso.listeners[0].max_frame: must be 64 to 9990"},
		"short key":         {env: []string{"KESSAI_KEYS_PAN=abcd1234"}, code: exitConfig, want: "keys.pan: must be at least 32 bytes"},
		"mode":              {set: []string{"cache.mode=all"}, code: exitConfig, want: "cache.mode: must be both, media-only, terminals-only or filter"},
		"no dialogue":       {set: []string{"dialogue.max_open=0"}, code: exitConfig, want: "dialogue.max_open: must be more than zero"},
		"half a second":     {set: []string{"reader.card_timeout=1500ms"}, code: exitConfig, want: "reader.card_timeout: must be 1s to 5m, in whole seconds"},
		"too patient":       {set: []string{"reader.approve_timeout=6m"}, code: exitConfig, want: "reader.approve_timeout: must be"},
		"no keys":           {set: []string{"reader.max_keys=0"}, code: exitConfig, want: "reader.max_keys: must be 1 to 100000"},
		"suite":             {set: []string{"reader.suite=rsa"}, code: exitConfig, want: "reader.suite: must be p256 or mlkem768-x25519"},
		"PINs for ever":     {set: []string{"reader.pin_tries=0"}, code: exitConfig, want: "reader.pin_tries: must be 1 to 10"},
		"short admin key":   {env: []string{"KESSAI_KEYS_ADMIN=abcd1234"}, code: exitConfig, want: "keys.admin: must be 32 to 128 characters"},
		"admin key by flag": {set: []string{"keys.admin=" + key}, code: exitUsage, want: "keys.admin_file or KESSAI_KEYS_ADMIN"},
		"key and file":      {env: []string{"KESSAI_KEYS_API=" + key, "KESSAI_KEYS_API_FILE=f"}, code: exitConfig, want: "keys.api: stands beside"},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings{environ: c.env, set: c.set}
			if c.file != "" {
				s.file = filepath.Join(t.TempDir(), "k.yaml")
				writeTest(t, s.file, c.file)
			}
			_, err := s.load()
			var e *exitError
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			text := e.what + " | " + e.why + " | " + e.next
			if e.code != c.code || !strings.Contains(text, c.want) {
				t.Errorf("exit code %d: %s; want %d and %q", e.code, text, c.code, c.want)
			}
			if strings.Contains(text, "abcd1234") || strings.Contains(text, key) {
				t.Errorf("the message shows a secret: %s", text)
			}
		})
	}
}

func TestBusinessDayFollowsTheZone(t *testing.T) {
	l := mustLoad(t, settings{set: []string{"business_day.zone=Asia/Tokyo"}})
	day, err := l.businessDay()
	if err != nil {
		t.Fatal(err)
	}
	midnight := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC) // 23 November, 00:00 in Tokyo
	if before, after := day(midnight.Add(-time.Nanosecond)), day(midnight); before+1 != after {
		t.Errorf("day %d becomes %d at midnight", before, after)
	}
	if got, want := day(time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)), int32(1); got != want {
		t.Errorf("2 January 1970 is day %d, want %d", got, want)
	}
}

func TestSecretKey(t *testing.T) {
	dir := t.TempDir()
	c := &Config{Data: dir}
	first, err := c.secretKey("keys.pan", "pan.key", "", "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.secretKey("keys.pan", "pan.key", "", "")
	if err != nil || string(first) != string(again) {
		t.Errorf("the second start does not use the first one's key: %v", err)
	}
	path := filepath.Join(dir, "keys", "pan.key")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.secretKey("keys.pan", "pan.key", "", ""); err == nil {
		t.Error("a key that others can read was used")
	}
	bad := filepath.Join(dir, "bad")
	writeTest(t, bad, "deadbeef")
	_, err = c.secretKey("keys.pan", "pan.key", "", bad)
	if err == nil || strings.Contains(err.Error(), "deadbeef") {
		t.Errorf("got %v", err)
	}
	given, err := c.secretKey("keys.pan", "pan.key", "0101010101010101010101010101010101010101010101010101010101010101", "")
	if err != nil || len(given) != 32 || given[0] != 1 {
		t.Errorf("got %x, %v", given, err)
	}
}

func writeTest(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
