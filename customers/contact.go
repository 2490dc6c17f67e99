package customers

import (
	"errors"
	"strings"
)

// Bank says where a customer's money comes from in the end. All of it may be
// empty; a branch is not known everywhere.
type Bank struct {
	Code    string // 1 to 11 letters or digits: a national code, or a BIC
	Branch  string // 1 to 11 letters or digits
	Account string // 1 to 34 letters or digits: a national number, or an IBAN
}

// The longest contact fields, in bytes.
const (
	maxEmail   = 100
	maxLocal   = 64 // before the @, RFC 5321
	maxLabel   = 63 // between dots behind it, RFC 1035
	maxBank    = 11
	maxAccount = 34 // of an IBAN
)

// The errors of contact fields. They never repeat what was given.
var (
	ErrPhone = errors.New("phone must be in the international form of E.164: + and 7 to 15 digits, for example +493023125001")
	ErrEmail = errors.New("email must be an address such as name@example.com, of at most 100 letters, digits and signs of ASCII")
	ErrBank  = errors.New("bank must be a bank code and an account number, with a branch code where there is one: letters and digits only, at most 11, 34 and 11")
)

// ValidatePhone says what is wrong with a phone number; nil for nothing.
func ValidatePhone(s string) error {
	digits, ok := strings.CutPrefix(s, "+")
	if !ok || len(digits) < 7 || len(digits) > 15 || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return ErrPhone
	}
	return nil
}

// ValidateEmail says what is wrong with an e-mail address; nil for nothing. It
// knows the forms that are in use, not every one that RFC 5321 would allow:
// net/mail would take names, comments and line breaks as well.
func ValidateEmail(s string) error {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > maxLocal || len(s) > maxEmail {
		return ErrEmail
	}
	local, domain := s[:at], s[at+1:]
	if strings.ContainsFunc(local, func(r rune) bool { return !isAlnum(r) && !strings.ContainsRune(".!#$%'*+-/=?^_{|}~", r) }) ||
		local[0] == '.' || local[at-1] == '.' || strings.Contains(local, "..") || !strings.Contains(domain, ".") {
		return ErrEmail
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isAlnum(r) && r != '-' }) {
			return ErrEmail
		}
	}
	return nil
}

// Validate says what is wrong with a bank account; nil for nothing.
func (b Bank) Validate() error {
	if b == (Bank{}) {
		return nil
	}
	if b.Code == "" || b.Account == "" || len(b.Code) > maxBank || len(b.Branch) > maxBank || len(b.Account) > maxAccount {
		return ErrBank
	}
	if strings.ContainsFunc(b.Code+b.Branch+b.Account, func(r rune) bool { return !isAlnum(r) }) {
		return ErrBank
	}
	return nil
}

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}
