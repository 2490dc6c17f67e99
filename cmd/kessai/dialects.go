package main

import (
	"fmt"
	"strings"

	"github.com/moov-io/iso8583/specs"

	"kessai/pos/iso8583"
)

// findDialect gives a built-in dialect, or one from a folder of specifications
// (none where dir is empty).
func findDialect(name, dir string) (*iso8583.Dialect, error) {
	all := iso8583.BuiltIn()
	if dir != "" {
		own, err := iso8583.LoadDialects(dir, specs.ImportJSON)
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	var names []string
	for _, d := range all {
		if d.Name() == name {
			return d, nil
		}
		names = append(names, d.Name())
	}
	return nil, fmt.Errorf("there is no dialect %q; there are %s", name, strings.Join(names, ", "))
}
