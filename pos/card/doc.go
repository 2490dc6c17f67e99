// Package card is what a payment card says and what its holder types: the data of a
// magnetic stripe or a chip, and PIN blocks.
//
// What it is for: reading track 2 ([ParseTrack2], ISO/IEC 7813) and the data of an EMV
// chip ([ParseEMV]), and making and opening the PIN block of ISO 9564-1, format 4
// ([PINBlock], [OpenPINBlock]). The other direction is there for simulated readers.
// What it is not for: whether a card is valid (authz), how it is sealed on its way
// (pos/tether), and checking the cryptogram of a chip, for which the issuer's keys
// would be needed. Start reading with [Card].
//
// A card is a secret: however it is printed, it shows as ****, and no error says
// anything of it. What is handed in is never changed; callers wipe their own buffers.
package card
