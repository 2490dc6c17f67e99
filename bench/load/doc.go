// Package load asks a gateway for payments, as many and as fast as it is told,
// and measures how long each answer takes.
//
// What it is for: one [Run] over ISO 8583 or JSON, closed loop (so many requests
// in flight, always) or open loop (so many a second, whatever the answers do).
// What it is not for: starting gateways, reading their books, judging the numbers
// or showing them (bench, cmd/kessai); following the rules of docs/ISO8583.md like
// a terminal, with repeats and time-outs (pos/sim).
//
// Start reading with [Run], then with conn.go, which is one connection.
//
// # What is measured
//
// All times are of one clock, in nanoseconds since the run began. A request is
// sent when the write that carries it begins, and answered when the read that
// brought its answer has returned. Answers that one read brought have arrived at
// the same moment: nobody could have seen them earlier.
//
// In an open loop every request has a time at which it is due, and its latency
// counts from there: when the gateway or the generator is late with one request,
// the ones behind it wait too, and that is part of the answer (corrected for
// coordinated omission). The service time counts from the actual sending. In a closed loop
// nothing is ever due, and the two are the same.
//
// # What it costs
//
// The generator shares the machine with what it measures. So requests are encoded
// once and patched, one write carries many of them and one read many answers, and
// nothing is locked, allocated or handed over for each: about a tenth of a
// microsecond for each request and answer beside the system calls.
package load
