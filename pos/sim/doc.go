// Package sim is the other side of every wire: simulated ISO 8583 terminals, media,
// customers' phones and their card readers, and vending machines.
//
// What it is for: asking a gateway what they ask, for the command line, tests and
// load. What it is not for: answering, or judging an answer. It keeps no clock of
// its own, so it runs in virtual time (testing/synctest, net.Pipe) as well as in
// real time. Start reading with [Client.Do]; [Sale] makes the messages. [Phone] and
// [Vending] ask over JSON; [Reader] hangs on a phone.
package sim
