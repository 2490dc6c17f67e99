// Package moov is the service that one would write first: moov-io/iso8583 for the
// messages, a goroutine for each connection, a badger transaction, synced, for
// each request.
//
// What it is for: a comparison with the straightforward way. It answers
// purchases, balance inquiries and reversals (0200, 0400) of the population that
// kessai/bench/load asks for. What it is not for: being tuned. It is written as
// the libraries' own documentation suggests. Start reading with [Serve], then
// book.go, where the money moves.
package moov

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"kessai/bench/load"
	"kessai/bench/peers/accept"
)

// Caveat is what the service does not do that Kessai does.
const Caveat = "It knows no holds, limits or refunds, keeps no double entry and no chain of hashes, and would not notice a damaged store."

const maxFrame = 4096 // bytes, as the gateway's default

// Options says whom the service knows.
type Options struct {
	Population load.Population
	Balance    int64 // of each customer at the beginning, minor units; at least 0
}

// Serve makes the population in dir, which must be empty, and answers on every
// connection that l accepts until ctx is done; then it gives nil. When the store
// fails, all connections are closed and the reason is given. Serve closes l.
func Serve(ctx context.Context, l net.Listener, dir string, o Options) error {
	b, err := newBook(ctx, dir, o)
	if err != nil {
		if ctx.Err() != nil {
			err = nil
		}
		return errors.Join(err, l.Close())
	}
	err = accept.Each(ctx, l, func(c net.Conn) error { return converse(ctx, c, b) })
	return errors.Join(err, b.close())
}

// converse answers one request after the other. The error is of the store; what is
// wrong with the connection, or a message that cannot be read, ends only that.
func converse(ctx context.Context, c net.Conn, b *book) error {
	in := bufio.NewReader(c)
	var length [2]byte
	var body [maxFrame]byte
	for {
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return nil
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n == 0 || n > maxFrame {
			return nil
		}
		if _, err := io.ReadFull(in, body[:n]); err != nil {
			return nil
		}
		var m message
		mti, ok := unpack(body[:n], &m)
		if !ok || mti[:2] != "02" && mti[:2] != "04" || mti[2] != '0' {
			return nil
		}
		if err := b.answer(ctx, mti, &m); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the book of the moov service: %w", err)
		}
		out, err := pack(mti[:2]+"10", &m)
		if err != nil {
			return nil // a field of the request that cannot be repeated
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return nil
		}
	}
}
