package sim

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kessai"
	"kessai/pos/card"
	"kessai/pos/tether"
)

// ReaderCard is a card that can be put into a reader's slot. It cannot be printed.
type ReaderCard struct {
	PAN    kessai.PAN
	Expiry uint16 // YYMM
	Chip   bool   // the reader asks its chip; otherwise it reads track 2

	// Raw is handed over in place of what the card says, whatever it is: for tests of
	// the other side. Kind goes with it.
	Raw  []byte
	Kind tether.CardKind
}

// Format makes every verb of fmt print ****.
func (ReaderCard) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("****")) }

// ErrCardText says that a text describes no card. It never repeats the text.
var ErrCardText = errors.New("a card is its number, its month as YYMM, and the word chip where it has one; or its track 2")

// ParseReaderCard reads "4242424242424242 2912", the same with "chip" behind it, or
// track 2 as it stands on a card (";4242424242424242=29121010000000000?").
func ParseReaderCard(text string) (ReaderCard, error) {
	if strings.Contains(text, "=") {
		c, err := card.ParseTrack2([]byte(strings.TrimSpace(text)))
		if err != nil {
			return ReaderCard{}, ErrCardText
		}
		return ReaderCard{PAN: c.PAN, Expiry: c.Expiry}, nil
	}
	words := strings.Fields(text)
	if len(words) < 2 || len(words) > 3 || len(words) == 3 && words[2] != "chip" {
		return ReaderCard{}, ErrCardText
	}
	pan, err := kessai.ParsePAN(words[0])
	month, merr := strconv.ParseUint(words[1], 10, 16)
	if err != nil || merr != nil || len(words[1]) != 4 || month%100 < 1 || month%100 > 12 {
		return ReaderCard{}, ErrCardText
	}
	return ReaderCard{PAN: pan, Expiry: uint16(month), Chip: len(words) == 3}, nil
}

// read gives what the card says for a payment. The caller wipes it.
func (c *ReaderCard) read(amount kessai.Amount) (kind tether.CardKind, data []byte, err error) {
	data = make([]byte, 0, tether.CardSize) // so that it is never moved, and nothing stays behind
	switch {
	case c.Raw != nil:
		return c.Kind, append(data, c.Raw...), nil
	case c.Chip:
		data, err = card.AppendEMV(data, &card.Card{PAN: c.PAN, Expiry: c.Expiry, EMV: chip(amount)})
		return tether.CardEMV, data, err
	}
	data, err = card.AppendTrack2(data, c.PAN, c.Expiry, "101", "0000000000")
	return tether.CardTrack2, data, err
}

// chip gives what a chip says of one transaction. Its cryptogram is chance: only the
// issuer could tell, and there is none.
func chip(amount kessai.Amount) *card.EMV {
	e := &card.EMV{
		Information: 0x80, IssuerData: []byte{6, 1, 10, 3, 0xa0, 0, 0}, Profile: [2]byte{0x20, 0}, Results: [5]byte{0x80},
		Amount: amount.Value, Currency: amount.Currency, Country: 392,
	}
	var random [14]byte
	_, _ = rand.Read(random[:]) // never fails
	copy(e.Cryptogram[:], random[:8])
	copy(e.Unpredictable[:], random[8:12])
	e.Counter = binary.BigEndian.Uint16(random[12:])
	y, m, d := time.Now().Date()
	for i, n := range [3]int{y % 100, int(m), d} {
		e.Date[i] = byte(n/10<<4 | n%10)
	}
	return e
}
