// Package tether is what a gateway, a customer's phone and the card reader on that
// phone say to each other, byte by byte.
//
// What it is for: the offer that a reader gets for one payment ([Offer]), the sealed
// messages with the card and the PIN ([SealCard], [SealPIN], [CheckSealed]), how a
// reader is enrolled ([Enrol], [Enrolled]), and the frames between phone and reader
// ([Frame], [Scanner]). docs/READER.md describes all of it for those who build readers;
// testdata/vectors.json is what they can test with.
// What it is not for: keeping and using private keys of payments (authz/keys), deciding
// about payments (authz), the data of cards and PIN blocks (pos/card), and a reader that
// works (pos/sim). Start reading with [Offer].
//
// All numbers have their highest byte first. A field is a length in two bytes and as
// many bytes. What is decoded is refused if it is not exactly what would be encoded.
package tether
