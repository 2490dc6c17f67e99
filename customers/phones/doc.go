// Package phones knows the phones that customers confirm payments with: their
// devices, sessions, passkeys, push subscriptions and card readers, and what they
// prove.
//
// What it is for: who is asking (sign-in, sessions), whether a proof fits a sale
// (password by SCRAM-SHA-256, passkey by WebAuthn, each signed by the device as
// well), what is kept of a proof (evidence), and telling a phone that somebody
// waits (Web Push). What it is not for: money, the counting of wrong passwords
// and the question who wins (authz, authz/ledger), routes and cookies (gateway),
// names and verifiers of customers (customers, merchants). Start reading with
// [Service].
//
// # What a phone sends
//
// SCRAM runs as in RFC 5802 and RFC 7677 with channel binding. The binding is not
// of TLS but names what is agreed to, so a proof fits that and nothing else. The
// first message is p=NAME,,n=CUSTOMER,r=NONCE where NAME and the 32 bytes of
// channel binding data are
//
//	kessai-sale     SHA-256 of the sale's canonical encoding (pos/sale)
//	kessai-device   SHA-256 of the device key (SubjectPublicKeyInfo) that signs in
//	kessai-change   SHA-256 of the attestation object of the passkey to be added
//
// The device signs with its own key (ECDSA, P-256, SHA-256, 64 bytes r and s):
//
//	"kessai approve v1" 00 | digest (32 bytes) | SHA-256(what was said)
//
// where the digest is that of the table above (kessai-device also for sign-in
// with a passkey, for renewals and for invitations), and what was said is
//
//	password     SCRAM's AuthMessage: client-first-bare,server-first,client-final-without-proof
//	passkey      the client data JSON
//	renewal      the challenge, 32 bytes
//	invitation   the verifier's text
//	card reader  "reader " and the reader's ID, 16 hexadecimal digits
//
// The challenge of a passkey that approves a sale is
// SHA-256("kessai passkey v1" 00 | digest | nonce (32 bytes)).
package phones

import "errors"

// The errors of a [Service]. Whoever is told ErrRefused must not be told why: it
// is the same for an unknown customer, a wrong password and a locked account.
var (
	// ErrRefused: the proof does not hold.
	ErrRefused = errors.New("refused")
	// ErrLocked: too many wrong passwords today. Only a signed-in phone hears it.
	ErrLocked = errors.New("locked after too many wrong passwords: it opens with the next business day, or the operator unlocks it")
	// ErrGone: there is no such try, session, device, passkey or invitation, or
	// not any more. A try is good for one use and two minutes.
	ErrGone = errors.New("gone: it was used, it expired or it never was")
	// ErrFull: a limit is reached.
	ErrFull = errors.New("full: end or remove one first, or wait")
	// ErrMalformed: what was sent cannot be read. Errors that wrap it say what is
	// wrong with the form, and nothing about who it is about.
	ErrMalformed = errors.New("malformed")
	// ErrNoPasskeys: the gateway's public address has no host name, and passkeys
	// belong to one.
	ErrNoPasskeys = errors.New("passkeys need a public address (phone.origin) with a host name")
)
