package purse

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"kessai"
)

// MACSize is the size of a MAC in bytes: all of HMAC-SHA-256.
const MACSize = 32

// The sizes of the records in bytes, with their MAC.
const (
	StateSize = 40 + MACSize
	OrderSize = 49 + MACSize
)

const (
	version   = 1
	kindState = 'S'
	kindOrder = 'O'
)

// The errors of reading a record. They never repeat any of it.
var (
	ErrRecord = errors.New("is no record of a medium")
	ErrMAC    = errors.New("the MAC is not the medium's")
)

// State is what a medium says of itself when it is read, and when it has been
// written.
type State struct {
	Medium kessai.MediumID
	// Counter counts how often the medium was read or written. It only ever goes
	// up, and each state has one of its own, so a state that was said before is
	// known by it, and an order for an earlier state is dead.
	Counter  uint32
	Balance  int64 // minor units, 0 to kessai.MaxAmount
	Currency kessai.Currency
	Last     kessai.TxID // the transaction that was written last; zero: none yet
	MAC      [MACSize]byte
}

// Operation says what an order does. The numbers are on media and never change.
type Operation uint8

// The operations.
const (
	Load     Operation = 1 // puts the amount on the medium
	Unload   Operation = 2 // takes it off, back to the customer's account
	Purchase Operation = 3 // takes it off, for a merchant
)

func (o Operation) String() string {
	return [...]string{"none", "load", "unload", "purchase"}[o&3]
}

// OperationOf gives the operation that a kind of transaction is to a medium.
func OperationOf(k kessai.Kind) (Operation, bool) {
	switch k {
	case kessai.Load:
		return Load, true
	case kessai.Unload:
		return Unload, true
	case kessai.PursePurchase:
		return Purchase, true
	}
	return 0, false
}

// Order is what a medium is to write. It is good for one state of one medium.
type Order struct {
	Medium      kessai.MediumID
	Counter     uint32 // of the state that it was made for
	Balance     int64  // what is on the medium once it is written
	Currency    kessai.Currency
	Transaction kessai.TxID
	Operation   Operation
	Amount      int64 // minor units, 1 to kessai.MaxAmount
	MAC         [MACSize]byte
}

// head writes what both records begin with.
func head(dst []byte, kind byte, id kessai.MediumID, counter uint32, balance int64, c kessai.Currency, tx kessai.TxID) []byte {
	dst = append(append(dst, version, kind), id[:]...)
	dst = binary.BigEndian.AppendUint32(dst, counter)
	dst = binary.BigEndian.AppendUint64(dst, uint64(balance))
	dst = binary.BigEndian.AppendUint16(dst, uint16(c))
	return binary.BigEndian.AppendUint64(dst, uint64(tx))
}

// content is what of a state the MAC is made over.
func (s *State) content(dst []byte) []byte {
	return head(dst, kindState, s.Medium, s.Counter, s.Balance, s.Currency, s.Last)
}

func (o *Order) content(dst []byte) []byte {
	dst = head(dst, kindOrder, o.Medium, o.Counter, o.Balance, o.Currency, o.Transaction)
	return binary.BigEndian.AppendUint64(append(dst, byte(o.Operation)), uint64(o.Amount))
}

// Append appends the record's [StateSize] bytes.
func (s *State) Append(dst []byte) []byte { return append(s.content(dst), s.MAC[:]...) }

// Append appends the record's [OrderSize] bytes.
func (o *Order) Append(dst []byte) []byte { return append(o.content(dst), o.MAC[:]...) }

// Hex gives the record as both wires carry it.
func (s *State) Hex() string { return hex.EncodeToString(s.Append(nil)) }

// Hex gives the record as both wires carry it.
func (o *Order) Hex() string { return hex.EncodeToString(o.Append(nil)) }

// ParseState reads a state. It does not check the MAC: see [Key.VerifyState].
func ParseState(b []byte) (s State, err error) {
	if len(b) != StateSize {
		return State{}, fmt.Errorf("%w: a state has %d bytes, not %d", ErrRecord, StateSize, len(b))
	}
	if err := parseHead(b, kindState, &s.Medium, &s.Counter, &s.Balance, &s.Currency, &s.Last); err != nil {
		return State{}, err
	}
	copy(s.MAC[:], b[StateSize-MACSize:])
	return s, nil
}

// ParseOrder reads an order. It does not check the MAC: see [Key.VerifyOrder].
func ParseOrder(b []byte) (o Order, err error) {
	if len(b) != OrderSize {
		return Order{}, fmt.Errorf("%w: an order has %d bytes, not %d", ErrRecord, OrderSize, len(b))
	}
	if err := parseHead(b, kindOrder, &o.Medium, &o.Counter, &o.Balance, &o.Currency, &o.Transaction); err != nil {
		return Order{}, err
	}
	o.Operation = Operation(b[40])
	amount := binary.BigEndian.Uint64(b[41:])
	if o.Operation < Load || o.Operation > Purchase {
		return Order{}, fmt.Errorf("%w: no such operation", ErrRecord)
	}
	if amount == 0 || amount > kessai.MaxAmount || o.Transaction == 0 {
		return Order{}, fmt.Errorf("%w: an order without a transaction or with an impossible amount", ErrRecord)
	}
	o.Amount = int64(amount)
	copy(o.MAC[:], b[OrderSize-MACSize:])
	return o, nil
}

func parseHead(b []byte, kind byte, id *kessai.MediumID, counter *uint32, balance *int64, c *kessai.Currency, tx *kessai.TxID) error {
	if b[0] != version || b[1] != kind {
		return fmt.Errorf("%w: unknown version, or another kind of record", ErrRecord)
	}
	copy(id[:], b[2:])
	*counter = binary.BigEndian.Uint32(b[18:])
	sum := binary.BigEndian.Uint64(b[22:])
	*c = kessai.Currency(binary.BigEndian.Uint16(b[30:]))
	number := binary.BigEndian.Uint64(b[32:])
	if id.IsZero() || sum > kessai.MaxAmount || !c.Known() || number > math.MaxInt64 {
		return fmt.Errorf("%w: medium, balance, currency or transaction is impossible", ErrRecord)
	}
	*balance, *tx = int64(sum), kessai.TxID(number)
	return nil
}

// ParseStateHex reads a state in hexadecimal, of either case.
func ParseStateHex[T ~string | ~[]byte](text T) (State, error) {
	b, err := unhex(text, StateSize)
	if err != nil {
		return State{}, err
	}
	return ParseState(b)
}

// ParseOrderHex reads an order in hexadecimal, of either case.
func ParseOrderHex[T ~string | ~[]byte](text T) (Order, error) {
	b, err := unhex(text, OrderSize)
	if err != nil {
		return Order{}, err
	}
	return ParseOrder(b)
}

func unhex[T ~string | ~[]byte](text T, size int) ([]byte, error) {
	if len(text) != 2*size {
		return nil, fmt.Errorf("%w: it has %d hexadecimal digits, not %d", ErrRecord, len(text), 2*size)
	}
	b := make([]byte, size)
	if _, err := hex.Decode(b, []byte(text)); err != nil {
		return nil, fmt.Errorf("%w: it is not hexadecimal", ErrRecord)
	}
	return b, nil
}
