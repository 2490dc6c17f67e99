package merchants

import (
	"bytes"

	"kessai"
	"kessai/customers"
)

// givenPIN is what a file says of a PIN: its digits with zeros behind them, noPIN, or
// all zeros for nothing. It is not a string, so that the line it was read from can go.
type givenPIN [customers.MaxPIN]byte

// noPIN is what a file has to take a PIN away.
const noPIN = "none"

func (w *row) pin(field string) (p givenPIN) {
	s := w.get(field)
	if s == "" {
		return p
	}
	if s != noPIN && customers.CheckPIN(s) != nil {
		w.fail(field, "must be 4 to 12 digits, or "+noPIN+" to take the PIN away")
	}
	copy(p[:], s)
	return p
}

// verifier gives what is kept of the PIN; had is what was kept before, and stays
// where nothing is given: a file of expiries and limits must not make cards of which
// no PIN is asked.
func (p givenPIN) verifier(k *customers.PINKey, id kessai.MediumID, had customers.PINVerifier) customers.PINVerifier {
	switch pin := bytes.TrimRight(p[:], "\x00"); {
	case len(pin) == 0:
		return had
	case string(pin) == noPIN:
		return customers.PINVerifier{}
	default:
		return k.Verifier(id, pin)
	}
}
