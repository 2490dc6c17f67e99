package ledger

import (
	"encoding/binary"
	"time"

	"kessai"
)

// extended is a bit of the byte that has wire and limits. It says that an
// extension follows: what only payments that ask have, and what is about them.
const extended = 1 << 7

func (t *Tx) hasExtension() bool {
	return t.Asks|kessai.Asks(t.Factor)|kessai.Asks(t.Ends) != 0 || t.WaitFor != 0 || t.Foreign != (Foreign{})
}

func appendExtension(dst []byte, t *Tx) []byte {
	dst = append(dst, byte(t.Asks)|byte(t.Factor)<<4, byte(t.Ends))
	dst = binary.AppendUvarint(dst, uint64(t.WaitFor))
	dst = binary.AppendUvarint(dst, uint64(t.Foreign.Currency))
	return binary.AppendVarint(dst, t.Foreign.Amount)
}

func (d *decoder) extension(t *Tx) {
	who := d.byte()
	t.Asks, t.Factor = kessai.Asks(who&15), kessai.Factor(who>>4)
	t.Ends = kessai.ResponseCode(d.byte())
	wait := d.uvarint()
	t.WaitFor = int32(min(wait, uint64(MaxWait/time.Second)))
	t.Foreign = Foreign{kessai.Currency(d.uvarint()), d.varint()}
	if t.Asks > kessai.AsksReader || !t.Factor.Known() || wait > uint64(MaxWait/time.Second) || !t.hasExtension() {
		d.fail()
	}
}
