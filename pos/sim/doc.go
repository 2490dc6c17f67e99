// Package sim is the other side of the wire: a simulated ISO 8583 terminal.
//
// What it is for: asking a gateway what a terminal asks, for the command line,
// tests and load. What it is not for: answering, or judging an answer. It keeps
// no clock of its own, so it runs in virtual time (testing/synctest, net.Pipe)
// as well as in real time. Start reading with [Client.Do]; [Sale] makes the
// messages.
package sim
