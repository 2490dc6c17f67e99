package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"

	"kessai/configs"
)

// settings is where configuration comes from, in rising order of precedence: a
// file, the environment, and what the command line set. Keys are dotted paths.
type settings struct {
	file    string            // path of the configuration file; may be empty
	environ []string          // NAME=value, as os.Environ gives it
	flags   map[string]string // by flag: what a setting's own flag says
	set     []string          // KEY=VALUE, from --set
}

// loaded is a configuration with the origin of each value.
type loaded struct {
	Config
	sources map[string]string // by key; a listener's keys are iso.listeners[0].address and so on
}

// flagKeys are the settings that have a flag of their own.
var flagKeys = map[string]string{"data": "data", "http": "http.address"}

const (
	envPrefix    = "KESSAI_"
	listenersKey = "iso.listeners"
)

// notSettings are variables that begin like a setting and are none: the path of
// the file (as --config), and the switches of the tests, which also run this
// program.
var notSettings = map[string]bool{configEnv: true, "KESSAI_SOAK": true, "KESSAI_BROWSER": true, "KESSAI_SCREENSHOTS": true}

// secretKeys are the settings that hold a secret themselves.
var secretKeys = map[string]bool{"keys.pan": true, "keys.api": true, "keys.purse": true, "keys.admin": true}

// load lays the sources over the defaults and checks the result. Its errors have
// exit code 3, or 2 where the command line itself is wrong.
func (s settings) load() (*loaded, error) {
	k := koanf.New(".")
	if err := k.Load(rawbytes.Provider(configs.Defaults), yaml.Parser()); err != nil {
		return nil, err
	}
	l := &loaded{sources: make(map[string]string)}
	for _, key := range knownKeys() {
		l.sources[key] = "default"
	}
	template := k.Get(listenersKey).([]any)[0].(map[string]any)

	layers, err := s.layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		if err := layer.check(); err != nil {
			return nil, err
		}
		if err := k.Load(confmap.Provider(layer.values, "."), nil); err != nil {
			return nil, configError(layer.name, err)
		}
		for key := range flat(layer.values) {
			l.sources[key] = layer.name
		}
	}
	l.overlayListeners(k, template)
	if err := k.UnmarshalWithConf("", &l.Config, koanf.UnmarshalConf{Tag: "yaml"}); err != nil {
		return nil, configError("the configuration", err)
	}
	if err := l.Validate(); err != nil {
		return nil, configError("the configuration", err)
	}
	return l, nil
}

func configError(where string, err error) error {
	why := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	return &exitError{exitConfig, where + " cannot be used", why,
		"correct it; configs/kessai.yaml explains every setting, and kessai config print --sources shows where each value comes from"}
}

// layer is what one source sets.
type layer struct {
	name   string
	values map[string]any // nested
}

func (s settings) layers() (layers []layer, err error) {
	if s.file != "" {
		b, err := os.ReadFile(s.file)
		if err != nil {
			return nil, &exitError{exitConfig, "cannot read the configuration file " + s.file, plainPath(err), "give its path with --config"}
		}
		values, err := yaml.Parser().Unmarshal(b)
		if err != nil {
			return nil, configError(s.file, err)
		}
		layers = append(layers, layer{s.file, values})
	}
	env, err := s.environment()
	if err != nil {
		return nil, err
	}
	layers = append(layers, env...)
	for _, kv := range s.set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, usage("--set "+kv+" is not understood", "it has no equals sign", "write --set KEY=VALUE, for example --set log.level=debug")
		}
		if secretKeys[key] {
			return nil, usage("--set "+key+" is refused", "everyone on the machine can read a command line",
				"give the secret with "+key+"_file or "+envName(key))
		}
		one, err := single("--set "+key, key, value)
		if err != nil {
			return nil, err
		}
		layers = append(layers, one)
	}
	for _, name := range slices.Sorted(maps.Keys(s.flags)) {
		one, err := single("--"+name, flagKeys[name], s.flags[name])
		if err != nil {
			return nil, err
		}
		layers = append(layers, one)
	}
	return layers, nil
}

// environment gives a layer for every KESSAI_ variable. A variable is a key in
// capitals with underscores for dots; no two keys share one, which a test shows.
func (s settings) environment() (layers []layer, err error) {
	byName := make(map[string]string)
	var names []string
	for _, key := range knownKeys() {
		byName[envName(key)] = key
		names = append(names, envName(key))
	}
	sorted := slices.Sorted(slices.Values(s.environ))
	for _, kv := range sorted {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || notSettings[name] {
			continue
		}
		key, ok := byName[name]
		if !ok {
			return nil, unknownKey("the environment", name, names)
		}
		one, err := single(name, key, value)
		if err != nil {
			return nil, err
		}
		layers = append(layers, one)
	}
	return layers, nil
}

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// single makes a layer of one value. The list of listeners is given as YAML.
func single(name, key, text string) (layer, error) {
	var value any = text
	if key == listenersKey {
		wrapped, err := yaml.Parser().Unmarshal([]byte("list: " + text))
		if err != nil {
			return layer{}, configError(name, errors.New("the list of listeners is no YAML, such as [{address: \":8583\"}]"))
		}
		value = wrapped["list"]
	}
	path := strings.Split(key, ".")
	values := map[string]any{path[len(path)-1]: value}
	for i := len(path) - 2; i >= 0; i-- {
		values = map[string]any{path[i]: values}
	}
	return layer{name, values}, nil
}

// check refuses keys that do not exist and values of the wrong shape, so that a
// mistyped name is an error and never a setting that silently has no effect.
func (l layer) check() error { return l.checkStruct("", l.values, reflect.TypeFor[Config]()) }

func (l layer) checkStruct(prefix string, values map[string]any, t reflect.Type) error {
	fields := fieldsOf(t)
	names := slices.Sorted(maps.Keys(fields))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		field, ok := fields[name]
		if !ok {
			if strings.Contains(name, ".") {
				return configError(l.name, fmt.Errorf("%s stands on one line with dots; write each part on its own line, indented", prefix+name))
			}
			for i := range names {
				names[i] = prefix + names[i]
			}
			return unknownKey(l.name, prefix+name, names)
		}
		if err := l.checkValue(prefix+name, values[name], field); err != nil {
			return err
		}
	}
	return nil
}

func (l layer) checkValue(key string, value any, t reflect.Type) error {
	wrong := func(want string) error { return configError(l.name, fmt.Errorf("%s must be %s", key, want)) }
	switch t.Kind() {
	case reflect.Struct:
		group, ok := value.(map[string]any)
		if !ok && value != nil {
			return wrong("a group of settings")
		}
		return l.checkStruct(key+".", group, t)
	case reflect.Slice:
		list, ok := value.([]any)
		if !ok {
			return wrong("a list")
		}
		for i, v := range list {
			if err := l.checkValue(fmt.Sprintf("%s[%d]", key, i), v, t.Elem()); err != nil {
				return err
			}
		}
		return nil
	}
	switch value.(type) {
	case map[string]any, []any, nil:
		return wrong("a single value")
	}
	return nil
}

// overlayListeners gives each listener the defaults of what it leaves out.
func (l *loaded) overlayListeners(k *koanf.Koanf, template map[string]any) {
	origin := l.sources[listenersKey]
	delete(l.sources, listenersKey)
	list, _ := k.Get(listenersKey).([]any)
	full := make([]any, len(list))
	for i, entry := range list {
		one := koanf.New(".")
		given, _ := entry.(map[string]any)
		// Loading maps that were checked cannot fail.
		_ = one.Load(confmap.Provider(template, ""), nil)
		_ = one.Load(confmap.Provider(given, ""), nil)
		full[i] = one.Raw()
		own := flat(given)
		for key := range flat(one.Raw()) {
			source := "default"
			if own[key] {
				source = origin
			}
			l.sources[fmt.Sprintf("%s[%d].%s", listenersKey, i, key)] = source
		}
	}
	_ = k.Set(listenersKey, full)
}

// fieldsOf gives the settings of a group by name.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for f := range t.Fields() {
		fields[f.Tag.Get("yaml")] = f.Type
	}
	return fields
}

// knownKeys gives the dotted path of every setting, in order. A list is one.
func knownKeys() (keys []string) {
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for f := range t.Fields() {
			key := prefix + f.Tag.Get("yaml")
			if f.Type.Kind() == reflect.Struct {
				walk(key+".", f.Type)
				continue
			}
			keys = append(keys, key)
		}
	}
	walk("", reflect.TypeFor[Config]())
	return keys
}

// flat gives the dotted paths of nested values.
func flat(values map[string]any) map[string]bool {
	k := koanf.New(".")
	_ = k.Load(confmap.Provider(values, ""), nil) // a map that is there already
	keys := make(map[string]bool)
	for _, key := range k.Keys() {
		keys[key] = true
	}
	return keys
}

func unknownKey(where, key string, known []string) error {
	next := "remove it; configs/kessai.yaml lists every setting"
	if near := nearest(key, known); near != "" {
		next = "did you mean " + near + "? configs/kessai.yaml lists every setting"
	}
	return &exitError{exitConfig, where + " sets " + key, "there is no setting of that name", next}
}

// nearest gives the known name that is at most three edits away, or nothing.
func nearest(name string, known []string) (near string) {
	best := 4
	for _, k := range known {
		if d := editDistance(name, k); d < best {
			best, near = d, k
		}
	}
	return near
}

// editDistance counts the letters to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
