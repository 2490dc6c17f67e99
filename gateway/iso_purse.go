package gateway

import (
	"kessai"
	"kessai/authz"
	"kessai/pos/iso8583"
	"kessai/pos/purse"
)

// purseAccount is the account type of an electronic purse in a processing code:
// its third and fourth digits say where money comes from, the fifth and sixth
// where it goes.
const purseAccount = "60"

// isoOnPurse reports whether a processing code of six digits is about a purse.
func isoOnPurse(processing []byte) bool {
	return string(processing[2:4]) == purseAccount || string(processing[4:6]) == purseAccount
}

// isoPurseKind tells the kind of a message that is about the value on a medium.
func isoPurseKind(t iso8583.MTI, processing []byte) kessai.Kind {
	switch string(t[1:3]) + string(processing) {
	case "20400060":
		return kessai.Load
	case "20406000":
		return kessai.Unload
	case "20006000":
		return kessai.PursePurchase
	case "10316000", "20316000":
		return kessai.PurseInquiry
	case "22400060", "22406000", "22006000":
		return kessai.PurseSettlement
	}
	return kessai.KindNone
}

// purse reads what the medium says of itself. What is about the value on it needs
// that; any other message may bring it, so that what is pending is settled.
func (t *isoMapper) purse(r *authz.Request, m *iso8583.Message) isoFault {
	field := m.Get(48)
	if len(field) == 0 && !r.Kind.OnPurse() {
		return isoFault{}
	}
	text, given, err := iso8583.Private(field, iso8583.PrivateState)
	switch {
	case err != nil:
		return badField(48, whyPrivate)
	case !given && r.Kind.OnPurse():
		return badField(48, "has no state of the medium (MS)")
	case !given:
		return isoFault{}
	}
	s, err := purse.ParseStateHex(text)
	if err != nil {
		return badField(48, "has a state of the medium (MS) that is none")
	}
	r.Purse = &s
	return isoFault{}
}

// mediumOf takes the medium from its state, where the message carries no card
// number and asks for something new: an e-money medium need not have one to show.
// It is false where there is nothing to take it from.
func mediumOf(r *authz.Request) bool {
	if r.Purse == nil || !r.Kind.OnPurse() {
		return false
	}
	if r.Kind != kessai.PurseSettlement && r.Dialogue == nil {
		r.Medium = r.Purse.Medium
	}
	return true
}

// isoPurseReply puts into an approval what the medium is to write, or what is on
// it.
func isoPurseReply(out *iso8583.Message, reply *authz.Reply) {
	tx := &reply.Tx
	var b [20]byte
	switch tx.Kind {
	case kessai.PurseInquiry:
		balance := appendAvailable(b[:0], tx.Available, tx.Currency)
		copy(balance, purseAccount)
		out.Set(54, balance)
	default:
		out.Set(4, kessai.AppendDigits(b[:0], uint64(tx.Amount), 12))
	}
	if reply.Order != nil {
		out.Set(48, iso8583.AppendPrivate(nil, iso8583.PrivateOrder, []byte(reply.Order.Hex())))
	}
}
