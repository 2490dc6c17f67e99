package iso8583

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moov-io/iso8583"
)

// ParseSpec reads a message specification. moov's is specs.ImportJSON of
// github.com/moov-io/iso8583/specs; it is passed in by whoever loads files,
// because that package brings a YAML parser along, which a codec has no use for.
type ParseSpec func(text []byte) (*iso8583.MessageSpec, error)

// LoadDialects reads every *.json file of a folder as a dialect, in the order of
// their names. One bad file is an error, and so is a file with the name of a
// built-in dialect.
func LoadDialects(dir string, parse ParseSpec) ([]*Dialect, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*Dialect
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".json" {
			continue
		}
		d, err := LoadDialect(filepath.Join(dir, e.Name()), parse)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// LoadDialect reads one file as a dialect, which is called like the file without
// its .json.
func LoadDialect(path string, parse ParseSpec) (d *Dialect, err error) {
	name := strings.TrimSuffix(filepath.Base(path), ".json")
	if _, ok := ByName(name); ok {
		return nil, fmt.Errorf("%s: there is a built-in dialect of that name: give the file another", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { // moov panics over some specifications that contradict themselves
		if p := recover(); p != nil {
			d, err = nil, fmt.Errorf("%s is no message specification: %v", path, p)
		}
	}()
	spec, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s is no message specification: %w", path, err)
	}
	if d, err = Compile(name, spec); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}
