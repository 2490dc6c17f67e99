package gateway

import (
	"kessai"
	"kessai/authz"
	"kessai/pos/iso8583"
)

// isoEchoed are the fields that an answer repeats from its request. The card is
// not among them: the terminal knows it, and what is not sent cannot be seen.
// The answer to network management repeats DE70 too, that to a reversal DE90.
var isoEchoed = [...]int{3, 4, 7, 11, 12, 13, 32, 41, 42, 49}

// isoReply makes the answer to a message, of which it shares what it repeats.
// Reply is nil where the engine was not asked.
func isoReply(out, in *iso8583.Message, code kessai.ResponseCode, reply *authz.Reply) {
	out.ReplyTo(in)
	for _, f := range isoEchoed {
		out.Echo(in, f)
	}
	switch in.MTI[1] {
	case '4':
		out.Echo(in, 90)
	case '8':
		out.Echo(in, 70)
	}
	out.SetString(39, codeNames[code%100])
	if reply == nil || reply.Tx.ID == 0 {
		return
	}
	tx := &reply.Tx
	var b [20]byte
	out.Set(37, tx.ID.AppendRRN(b[:0]))
	if !code.IsApproval() {
		return
	}
	out.Set(38, tx.ID.AppendApprovalCode(b[:0]))
	switch tx.Kind {
	case kessai.Purchase, kessai.CashBack, kessai.Refund, kessai.PreAuthorization, kessai.Increment, kessai.Completion:
		out.Set(4, kessai.AppendDigits(b[:0], uint64(tx.Amount), 12))
	case kessai.Load, kessai.Unload, kessai.PursePurchase, kessai.PurseInquiry, kessai.PurseSettlement:
		isoPurseReply(out, reply)
	case kessai.BalanceInquiry:
		out.Set(54, appendAvailable(b[:0], tx.Available, tx.Currency))
	}
}

// appendAvailable writes one group of DE54: account type 00 (not specified),
// amount type 02 (available balance), currency, sign and twelve digits. A
// balance that does not fit shows as the largest that does.
func appendAvailable(b []byte, v int64, c kessai.Currency) []byte {
	sign := byte('C')
	if v < 0 {
		sign, v = 'D', -max(v, -kessai.MaxAmount)
	}
	b = append(b, "0002"...)
	b = kessai.AppendDigits(b, uint64(c), 3)
	b = append(b, sign)
	return kessai.AppendDigits(b, uint64(min(v, kessai.MaxAmount)), 12)
}
