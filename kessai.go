// Package kessai is the vocabulary of the gateway: one type per meaning, the
// words of the standards, and nothing that does anything.
//
// What it is for: every other package speaks in these types, so that a merchant
// ID is never taken for a terminal ID and an amount never loses its currency.
// What it is not for: rules (authz), storage (authz/ledger), wires (gateway).
// Start reading with [Amount], [Kind] and [ResponseCode]; go on in authz/engine.go.
package kessai

import (
	"errors"
	"fmt"
)

// MerchantID names a merchant: the card acceptor identification code, ISO 8583
// DE42, ans 15, without its padding. The zero value names nobody.
type MerchantID [15]byte

// TerminalID names a terminal: the card acceptor terminal identification, ISO
// 8583 DE41, ans 8, without its padding. The zero value names nobody.
type TerminalID [8]byte

// AcquirerID names an acquirer: the acquiring institution identification code,
// ISO 8583 DE32, n..11. The zero value stands for the gateway's own.
type AcquirerID [11]byte

// ErrID says that an identifier is empty, too long, or holds characters that
// the standard does not allow there. It never repeats the identifier.
var ErrID = errors.New("identifier is empty, too long or has characters outside printable ASCII")

// ParseMerchantID reads a merchant ID from text, dropping trailing spaces.
func ParseMerchantID[T ~string | ~[]byte](s T) (id MerchantID, err error) {
	if !fill(id[:], s) {
		return MerchantID{}, fmt.Errorf("merchant %w (at most 15)", ErrID)
	}
	return id, nil
}

// ParseTerminalID reads a terminal ID from text, dropping trailing spaces.
func ParseTerminalID[T ~string | ~[]byte](s T) (id TerminalID, err error) {
	if !fill(id[:], s) {
		return TerminalID{}, fmt.Errorf("terminal %w (at most 8)", ErrID)
	}
	return id, nil
}

// ParseAcquirerID reads one to eleven digits.
func ParseAcquirerID[T ~string | ~[]byte](s T) (id AcquirerID, err error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return AcquirerID{}, fmt.Errorf("acquirer %w (1 to 11 digits)", ErrID)
		}
	}
	if !fill(id[:], s) {
		return AcquirerID{}, fmt.Errorf("acquirer %w (1 to 11 digits)", ErrID)
	}
	return id, nil
}

// fill copies s without trailing spaces into dst, which is zero-padded.
func fill[T ~string | ~[]byte](dst []byte, s T) bool {
	n := len(s)
	for n > 0 && s[n-1] == ' ' {
		n--
	}
	if n == 0 || n > len(dst) {
		return false
	}
	for i := range n {
		if s[i] <= ' ' && (s[i] != ' ' || i == 0) || s[i] > '~' {
			return false
		}
	}
	copy(dst, s[:n])
	return true
}

func text(b []byte) string {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return string(b[:n])
}

func (id MerchantID) String() string { return text(id[:]) }
func (id TerminalID) String() string { return text(id[:]) }
func (id AcquirerID) String() string { return text(id[:]) }

// IsZero reports whether id names nobody.
func (id MerchantID) IsZero() bool { return id == MerchantID{} }

// IsZero reports whether id names nobody.
func (id TerminalID) IsZero() bool { return id == TerminalID{} }

// TxID numbers one transaction in the book, from 1 upwards without gaps. It is
// also the retrieval reference number (RRN, ISO 8583 DE37): twelve digits on
// the wire. Zero means none.
type TxID uint64

// RRN gives the twelve digits that ISO 8583 DE37 carries.
func (id TxID) RRN() string { return string(id.AppendRRN(nil)) }

// AppendRRN appends the twelve digits of [TxID.RRN].
func (id TxID) AppendRRN(dst []byte) []byte { return AppendDigits(dst, uint64(id), 12) }

// AppendDigits appends the last n decimal digits of v, with leading zeros: the
// form of a numeric field in ISO 8583.
func AppendDigits(dst []byte, v uint64, n int) []byte {
	start := len(dst)
	for range n {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= start; i-- {
		dst[i] = '0' + byte(v%10)
		v /= 10
	}
	return dst
}

// String gives the identifier that JSON callers see, for example pay_000000000042.
func (id TxID) String() string { return "pay_" + id.RRN() }

// ParseTxID reads what [TxID.String] or [TxID.RRN] wrote.
func ParseTxID(s string) (TxID, bool) {
	if len(s) == 16 && s[:4] == "pay_" {
		s = s[4:]
	}
	if len(s) != 12 {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(s[i]-'0')
	}
	return TxID(n), n != 0
}

// ApprovalCode gives the six digits of ISO 8583 DE38 for an approved
// transaction. It is a permutation of the last six digits of the number, so
// neighbours in the book do not carry neighbouring codes.
func (id TxID) ApprovalCode() string { return string(id.AppendApprovalCode(nil)) }

// AppendApprovalCode appends the six digits of [TxID.ApprovalCode].
func (id TxID) AppendApprovalCode(dst []byte) []byte {
	return AppendDigits(dst, uint64(id)%1_000_000*387_420_489+271_828, 6)
}

// STAN is the systems trace audit number, ISO 8583 DE11: 0 to 999999.
type STAN uint32

func (s STAN) String() string { return fmt.Sprintf("%06d", uint32(s)) }

// ParseSTAN reads one to six digits.
func ParseSTAN[T ~string | ~[]byte](s T) (STAN, bool) {
	if len(s) == 0 || len(s) > 6 {
		return 0, false
	}
	var n STAN
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + STAN(s[i]-'0')
	}
	return n, true
}
