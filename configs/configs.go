// Package configs carries the files that the gateway is shipped with inside the
// binary, so that it starts on a machine that has nothing else.
//
// What it is for: the annotated default configuration, the time budget of the
// hot path, and the sample data of the demo. What it is not for: reading or checking
// them (cmd/kessai, merchants, authz/rates).
package configs

import _ "embed"

// Defaults is kessai.yaml: every setting, its meaning and its default.
//
//go:embed kessai.yaml
var Defaults []byte

// Budget is budget.yaml: how long each stage of the hot path should take, and
// how that was measured.
//
//go:embed budget.yaml
var Budget []byte

// Demo is demo.yaml: the sample merchants, terminals, customers and cards.
//
//go:embed demo.yaml
var Demo []byte

// Rates is eurofxref-daily.xml: the exchange rates of one day as the European Central
// Bank publishes them, which the demo goes by. A gateway in use needs those of its
// own day: setting rates.file.
//
//go:embed eurofxref-daily.xml
var Rates []byte
