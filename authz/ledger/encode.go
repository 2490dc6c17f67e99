package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"kessai"
)

// The kinds of entry in a block. The numbers are on disk and never change.
const (
	entryAccount   = 1 // an account is opened
	entryOverdraft = 2 // an account's overdraft changes
	entryTx        = 3 // a transaction with its outcome
	entryExpire    = 4 // a hold's deadline has passed
	entryAlias     = 5 // an attempt gets a second name
)

// entry is one line of a block: one of the kinds above.
type entry struct {
	kind      byte
	account   AccountSpec
	id        uint64 // the account or transaction that it is about
	overdraft int64
	tx        Tx
	note      []byte
	name      Name
}

// block is what is written, hashed and synced as one.
type block struct {
	number uint64
	time   int64 // Unix nanoseconds
	day    int32
	prev   [32]byte
	count  uint32
	body   []byte // the entries, encoded
}

const (
	blockVersion = 1
	blockHeader  = 1 + 8 + 8 + 4 + 32 + 4
	hashSize     = sha256.Size
)

// append encodes the block and gives its hash, which is also its last bytes.
func (b *block) append(dst []byte) ([]byte, [32]byte) {
	start := len(dst)
	dst = append(dst, blockVersion)
	dst = binary.BigEndian.AppendUint64(dst, b.number)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.time))
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.day))
	dst = append(dst, b.prev[:]...)
	dst = binary.BigEndian.AppendUint32(dst, b.count)
	dst = append(dst, b.body...)
	hash := sha256.Sum256(dst[start:])
	return append(dst, hash[:]...), hash
}

var (
	errBlockShort   = errors.New("it is too short")
	errBlockVersion = errors.New("it has an unknown version")
	errBlockHash    = errors.New("its content does not match its hash")
)

// parseBlock reads a block's header and checks its hash. The entries stay
// encoded: body points into raw.
func parseBlock(raw []byte) (b block, hash [32]byte, err error) {
	if len(raw) < blockHeader+hashSize {
		return b, hash, errBlockShort
	}
	content := raw[:len(raw)-hashSize]
	copy(hash[:], raw[len(content):])
	if sha256.Sum256(content) != hash {
		return b, hash, errBlockHash
	}
	if raw[0] != blockVersion {
		return b, hash, errBlockVersion
	}
	b.number = binary.BigEndian.Uint64(raw[1:])
	b.time = int64(binary.BigEndian.Uint64(raw[9:]))
	b.day = int32(binary.BigEndian.Uint32(raw[17:]))
	copy(b.prev[:], raw[21:])
	b.count = binary.BigEndian.Uint32(raw[53:])
	b.body = content[blockHeader:]
	return b, hash, nil
}

// entries calls f for each entry of the block.
func (b *block) entries(f func(*entry) error) error {
	d := decoder{b: b.body}
	for i := range b.count {
		e := d.entry()
		if d.bad {
			return fmt.Errorf("entry %d of %d cannot be read", i+1, b.count)
		}
		if e.kind == entryTx {
			e.tx.Block, e.tx.Time, e.tx.Day = b.number, b.time, b.day
		}
		if err := f(&e); err != nil {
			return fmt.Errorf("entry %d of %d: %w", i+1, b.count, err)
		}
	}
	if len(d.b) != 0 {
		return fmt.Errorf("%d bytes follow its last entry", len(d.b))
	}
	return nil
}

func appendAccount(dst []byte, spec *AccountSpec) []byte {
	dst = append(dst, entryAccount)
	return appendSpec(dst, spec)
}

func appendSpec(dst []byte, spec *AccountSpec) []byte {
	dst = appendBytes(dst, spec.Name)
	dst = append(dst, byte(spec.Kind))
	dst = binary.AppendUvarint(dst, uint64(spec.Currency))
	dst = binary.AppendVarint(dst, spec.Opening)
	return binary.AppendVarint(dst, spec.Overdraft)
}

func appendOverdraft(dst []byte, id AccountID, overdraft int64) []byte {
	dst = binary.AppendUvarint(append(dst, entryOverdraft), uint64(id))
	return binary.AppendVarint(dst, overdraft)
}

func appendExpire(dst []byte, id kessai.TxID) []byte {
	return binary.AppendUvarint(append(dst, entryExpire), uint64(id))
}

func appendAlias(dst []byte, id kessai.TxID, n Name) []byte {
	dst = binary.AppendUvarint(append(dst, entryAlias), uint64(id))
	return append(append(dst, n.Key[:]...), n.Digest[:]...)
}

// appendTx encodes what never changes of a transaction. Block, time and day are
// the block's.
func appendTx(dst []byte, t *Tx, note []byte) []byte {
	dst = appendFirst(append(dst, entryTx), t)
	if t.HasNote {
		dst = appendBytes(dst, note)
	}
	return dst
}

// Presence bits of appendFirst: most transactions lack most of these.
const (
	hasName0 = 1 << iota
	hasName1
	hasMedium
	hasTransmitted
	hasOriginal
	hasOriginalKey
	hasHoldFor
	hasNote
)

func appendFirst(dst []byte, t *Tx) []byte {
	flagAt := len(dst)
	dst = append(dst, 0, byte(t.Kind), byte(t.Code), byte(t.Wire)|byte(t.Counted)<<4)
	flags := byte(0)
	set := func(bit byte, present bool) bool {
		if present {
			flags |= bit
		}
		return present
	}
	dst = binary.AppendUvarint(dst, uint64(t.ID))
	dst = append(append(dst, t.Merchant[:]...), t.Terminal[:]...)
	dst = binary.AppendUvarint(dst, uint64(t.STAN))
	dst = binary.AppendUvarint(dst, uint64(t.Customer))
	dst = binary.AppendUvarint(dst, uint64(t.Shop))
	dst = binary.AppendUvarint(dst, uint64(t.Currency))
	dst = binary.AppendVarint(dst, t.Requested)
	dst = binary.AppendVarint(dst, t.Amount)
	dst = binary.AppendVarint(dst, t.CashBack)
	dst = binary.AppendVarint(dst, t.Available)
	for i, n := range t.Names {
		if set(hasName0<<i, n.Key != Key{}) {
			dst = append(append(dst, n.Key[:]...), n.Digest[:]...)
		}
	}
	if set(hasMedium, !t.Medium.IsZero() || t.Last4 != kessai.Last4{}) {
		dst = append(append(dst, t.Medium[:]...), t.Last4[:]...)
	}
	if set(hasTransmitted, t.Transmitted != 0) {
		dst = binary.AppendVarint(dst, t.Transmitted)
	}
	if set(hasOriginal, t.Original != 0) {
		dst = binary.AppendUvarint(dst, uint64(t.Original))
	}
	if set(hasOriginalKey, t.OriginalKey != Key{}) {
		dst = append(dst, t.OriginalKey[:]...)
	}
	if set(hasHoldFor, t.HoldFor != 0) {
		dst = binary.AppendVarint(dst, t.HoldFor)
	}
	set(hasNote, t.HasNote)
	dst[flagAt] = flags
	if t.hasExtension() {
		dst[flagAt+3] |= extended
		dst = appendExtension(dst, t)
	}
	if t.Kind.OnPurse() {
		dst = binary.AppendUvarint(dst, uint64(t.Purse))
		dst = binary.AppendUvarint(dst, uint64(t.Counter))
		dst = binary.AppendUvarint(dst, uint64(t.Before))
	}
	return dst
}

// appendRow encodes a whole transaction for a snapshot.
func appendRow(dst []byte, t *Tx) []byte {
	dst = appendFirst(dst, t)
	dst = binary.AppendUvarint(dst, t.Block)
	dst = binary.AppendVarint(dst, t.Time)
	dst = binary.AppendVarint(dst, int64(t.Day))
	dst = append(dst, byte(t.Status))
	dst = binary.AppendVarint(dst, t.Reversed)
	dst = binary.AppendVarint(dst, t.Refunded)
	dst = binary.AppendVarint(dst, t.Held)
	dst = binary.AppendVarint(dst, t.Deadline)
	dst = binary.AppendUvarint(dst, uint64(t.Ended))
	if t.Asks != kessai.AsksNobody {
		dst = binary.AppendUvarint(append(dst, byte(t.Told), t.Tries), uint64(t.Agreed))
	}
	return dst
}

func appendBytes[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// decoder reads what the functions above wrote. It never reads past the end:
// the first thing that does not fit sets bad, and everything after it is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) copy(dst []byte) {
	if len(d.b) < len(dst) {
		d.fail()
		return
	}
	d.b = d.b[copy(dst, d.b):]
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) name() (n Name) {
	d.copy(n.Key[:])
	d.copy(n.Digest[:])
	return n
}

func (d *decoder) entry() (e entry) {
	switch e.kind = d.byte(); e.kind {
	case entryAccount:
		e.account = d.spec()
	case entryOverdraft:
		e.id, e.overdraft = d.uvarint(), d.varint()
	case entryTx:
		e.tx = d.first()
		if e.tx.HasNote {
			e.note = d.bytes()
		}
	case entryExpire:
		e.id = d.uvarint()
	case entryAlias:
		e.id, e.name = d.uvarint(), d.name()
	default:
		d.fail()
	}
	return e
}

func (d *decoder) spec() (s AccountSpec) {
	s.Name = string(d.bytes())
	s.Kind = AccountKind(d.byte())
	s.Currency = kessai.Currency(d.uvarint())
	s.Opening, s.Overdraft = d.varint(), d.varint()
	return s
}

func (d *decoder) first() (t Tx) {
	flags := d.byte()
	t.Kind, t.Code = kessai.Kind(d.byte()), kessai.ResponseCode(d.byte())
	mixed := d.byte()
	t.Wire, t.Counted = Wire(mixed&15), Counted(mixed&^extended>>4)
	t.ID = kessai.TxID(d.uvarint())
	d.copy(t.Merchant[:])
	d.copy(t.Terminal[:])
	t.STAN = kessai.STAN(d.uvarint())
	t.Customer, t.Shop = AccountID(d.uvarint()), AccountID(d.uvarint())
	t.Currency = kessai.Currency(d.uvarint())
	t.Requested, t.Amount, t.CashBack, t.Available = d.varint(), d.varint(), d.varint(), d.varint()
	for i := range t.Names {
		if flags&(hasName0<<i) != 0 {
			t.Names[i] = d.name()
		}
	}
	if flags&hasMedium != 0 {
		d.copy(t.Medium[:])
		d.copy(t.Last4[:])
	}
	if flags&hasTransmitted != 0 {
		t.Transmitted = d.varint()
	}
	if flags&hasOriginal != 0 {
		t.Original = kessai.TxID(d.uvarint())
	}
	if flags&hasOriginalKey != 0 {
		d.copy(t.OriginalKey[:])
	}
	if flags&hasHoldFor != 0 {
		t.HoldFor = d.varint()
	}
	t.HasNote = flags&hasNote != 0
	if mixed&extended != 0 {
		d.extension(&t)
	}
	if t.Kind.OnPurse() {
		t.Purse, t.Counter, t.Before = AccountID(d.uvarint()), uint32(d.uvarint()), kessai.TxID(d.uvarint())
	}
	return t
}

func (d *decoder) row() Tx {
	t := d.first()
	t.Block, t.Time, t.Day = d.uvarint(), d.varint(), int32(d.varint())
	t.Status = Status(d.byte())
	t.Reversed, t.Refunded, t.Held, t.Deadline = d.varint(), d.varint(), d.varint(), d.varint()
	t.Ended = kessai.TxID(d.uvarint())
	if t.Asks != kessai.AsksNobody {
		t.Told, t.Tries, t.Agreed = kessai.ResponseCode(d.byte()), d.byte(), kessai.TxID(d.uvarint())
	}
	return t
}
