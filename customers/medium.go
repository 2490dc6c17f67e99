package customers

import (
	"encoding/binary"
	"errors"
	"fmt"

	"kessai"
)

// Status says whether a medium may be used. The numbers are stored.
type Status uint8

// The states of a medium. That it has expired is no state: its expiry says so.
const (
	Active Status = iota + 1
	Lost
	Stolen
	Withdrawn // by the issuer
	Issued    // and not active yet
	Retained  // by a terminal, after it was lost, stolen or withdrawn
)

var statusNames = [...]string{"", "active", "lost", "stolen", "withdrawn", "issued", "retained"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// ParseStatus reads the name that [Status.String] gives.
func ParseStatus(text string) (Status, bool) {
	for s := Active; s <= Retained; s++ {
		if statusNames[s] == text {
			return s, true
		}
	}
	return 0, false
}

// Limits bounds what a medium or a terminal may do. Amounts are in minor units
// of the account's currency; zero means no limit. The fields are those of
// cache.Limits, so that one converts to the other.
type Limits struct {
	Single   int64  `json:"single,omitempty"`    // one transaction
	DayTotal int64  `json:"day_total,omitempty"` // all transactions of one business day
	DayCount uint32 `json:"day_count,omitempty"` // how many in one business day
}

// Validate says what is wrong with limits; nil for nothing.
func (l Limits) Validate() error {
	if l.Single < 0 || l.Single > kessai.MaxAmount {
		return fmt.Errorf("limit on one transaction must be 0 to %d minor units", int64(kessai.MaxAmount))
	}
	if l.DayTotal < 0 || l.DayTotal > MaxBalance {
		return fmt.Errorf("limit on a day's total must be 0 to %d minor units", int64(MaxBalance))
	}
	return nil
}

// Medium is a card, or another carrier with a number, as it is kept: the number
// itself is not part of it and is stored nowhere.
type Medium struct {
	ID       kessai.MediumID
	Customer ID
	Last4    kessai.Last4
	Expiry   uint16 // last valid month as YYMM, for example 2912; 0: does not expire
	Status   Status
	Allowed  kessai.KindSet // kinds of transaction that it may be used for; zero: every kind
	Limits   Limits
	Kept     Kept        // where and when; zero unless it is retained
	PIN      PINVerifier // asked for in a customer's card reader; zero: none is
}

// Kept says which terminal retained a medium, and when.
type Kept struct {
	By kessai.TerminalID
	At int64 // milliseconds since 1970, UTC
}

// Validate says what is wrong with a medium; nil for nothing.
func (m Medium) Validate() error {
	if m.ID.IsZero() {
		return errors.New("medium has no ID")
	}
	if _, err := ParseID(string(m.Customer)); err != nil {
		return err
	}
	if month := m.Expiry % 100; m.Expiry != 0 && (month < 1 || month > 12 || m.Expiry > 9912) {
		return errors.New("expiry must be YYMM")
	}
	if m.Status < Active || m.Status > Retained {
		return errors.New("status must be issued, active, lost, stolen, withdrawn or retained")
	}
	if retained := m.Status == Retained; retained != !m.Kept.By.IsZero() || retained != (m.Kept.At != 0) {
		return errors.New("a retained medium, and no other, has the terminal that kept it and the time")
	}
	if m.Allowed&^kessai.AllKinds != 0 {
		return errors.New("a kind of transaction that does not exist is allowed")
	}
	return m.Limits.Validate()
}

// MediumKeyPrefix begins the key of every medium in the store.
const MediumKeyPrefix = "medium/"

// MediumKey gives the key of a medium in the store.
func MediumKey(id kessai.MediumID) []byte { return append([]byte(MediumKeyPrefix), id[:]...) }

// A medium is stored in a fixed form and not as JSON because there may be
// millions, and every one is decoded each time that the cache is loaded.
//
//	0     form of the record: 1; 2 where it is retained; 3 and 4 the same with a PIN
//	1-4   last four digits
//	5-6   expiry
//	7     status
//	8-11  allowed kinds
//	12-19 limit on one transaction
//	20-27 limit on a day's total
//	28-31 limit on a day's count
//	32-   customer; in forms 2 and 4 behind
//	      the terminal that kept it (8 bytes)
//	      when, in milliseconds since 1970 (8)
//	      and in forms 3 and 4 behind
//	      the verifier of the PIN (16)
const (
	mediumForm  = 1
	isRetained  = 1 // added to the form
	hasPIN      = 2 // likewise
	mediumFixed = 32
	keptBytes   = 16
)

// Encode gives the value that is stored under [MediumKey].
func (m Medium) Encode() []byte {
	form := byte(mediumForm)
	if m.Status == Retained {
		form += isRetained
	}
	if !m.PIN.IsZero() {
		form += hasPIN
	}
	b := make([]byte, 0, mediumFixed+keptBytes+len(m.PIN)+len(m.Customer))
	b = append(b, form)
	b = append(b, m.Last4[:]...)
	b = binary.BigEndian.AppendUint16(b, m.Expiry)
	b = append(b, byte(m.Status))
	b = binary.BigEndian.AppendUint32(b, uint32(m.Allowed))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Limits.Single))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Limits.DayTotal))
	b = binary.BigEndian.AppendUint32(b, m.Limits.DayCount)
	if m.Status == Retained {
		b = append(b, m.Kept.By[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(m.Kept.At))
	}
	if !m.PIN.IsZero() {
		b = append(b, m.PIN[:]...)
	}
	return append(b, m.Customer...)
}

// ErrMedium says that a stored medium cannot be read.
var ErrMedium = errors.New("medium record cannot be read")

// DecodeMedium reads what [MediumKey] and [Medium.Encode] wrote.
func DecodeMedium(key, value []byte) (m Medium, err error) {
	if len(key) != len(MediumKeyPrefix)+len(m.ID) || len(value) <= mediumFixed {
		return Medium{}, ErrMedium
	}
	form := value[0] - mediumForm
	if form&^(isRetained|hasPIN) != 0 {
		return Medium{}, ErrMedium
	}
	r := rest{value[mediumFixed:], true}
	if kept := r.take(keptBytes * int(form&isRetained)); len(kept) > 0 {
		copy(m.Kept.By[:], kept)
		m.Kept.At = int64(binary.BigEndian.Uint64(kept[8:]))
	}
	if form&hasPIN != 0 && (copy(m.PIN[:], r.take(len(m.PIN))) == 0 || m.PIN.IsZero()) {
		return Medium{}, ErrMedium
	}
	copy(m.ID[:], key[len(MediumKeyPrefix):])
	copy(m.Last4[:], value[1:5])
	m.Expiry = binary.BigEndian.Uint16(value[5:])
	m.Status = Status(value[7])
	m.Allowed = kessai.KindSet(binary.BigEndian.Uint32(value[8:]))
	m.Limits.Single = int64(binary.BigEndian.Uint64(value[12:]))
	m.Limits.DayTotal = int64(binary.BigEndian.Uint64(value[20:]))
	m.Limits.DayCount = binary.BigEndian.Uint32(value[28:])
	m.Customer = ID(r.b)
	if !r.ok || m.Validate() != nil {
		return Medium{}, ErrMedium
	}
	return m, nil
}
