// Package bench says what a run of load was worth: the registry that it needs, the
// result with every number, the thresholds that it must keep, and whether the book
// agrees with what was answered.
//
// What it is for: everything of a benchmark that is neither load (bench/load), nor
// a page (bench/report), nor a process or a flag (cmd/kessai). What it is not for:
// measuring parts of the program; that is what Go's own benchmarks are for.
//
// Start reading with [Result]; docs/BENCH.md says how to run one and what its
// numbers do not say.
package bench
