// Package configs carries the files that the gateway is shipped with inside the
// binary, so that it starts on a machine that has nothing else.
//
// What it is for: the annotated default configuration and the sample data of
// the demo. What it is not for: reading or checking them (cmd/kessai, merchants).
package configs

import _ "embed"

// Defaults is kessai.yaml: every setting, its meaning and its default.
//
//go:embed kessai.yaml
var Defaults []byte

// Demo is demo.yaml: the sample merchants, terminals, customers and cards.
//
//go:embed demo.yaml
var Demo []byte
