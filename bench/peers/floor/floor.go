// Package floor is the least durable server possible: it shows what a machine
// gives when nothing is done but to hear, to write and to answer.
//
// What it is for: the upper end of a comparison. It reads frames, writes 200
// bytes for each to one file, and answers with the request itself, its MTI
// changed to the reply's; never before the bytes are on the disk. What it is not
// for: authorizing anything. It looks at no card, keeps no balance and knows no
// repeat. Start reading with [Serve], then journal.go, where the groups form.
package floor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"kessai/bench/peers/accept"
)

// Caveat is what the server does not do that Kessai does.
const Caveat = "It judges nothing: no card, terminal, limit or balance is looked up, no repeat is known, and what it writes cannot be checked or read back."

const (
	maxFrame   = 4096     // bytes, as the gateway's default
	readBuffer = 64 << 10 // bytes; holds many frames
	maxBatch   = 1024     // frames of one connection that are written at once
)

// Serve answers on every connection that l accepts until ctx is done, and then
// gives nil. The file is made in dir, which must exist and not have one from an
// earlier run. When the file cannot be written, all connections are closed and
// the reason is given: what was not answered may be in the file or not. Serve
// closes l.
func Serve(ctx context.Context, l net.Listener, dir string) error {
	f, err := create(dir)
	if err != nil {
		return errors.Join(fmt.Errorf("make the file of the floor: %w", err), l.Close())
	}
	err = serve(ctx, l, f.write)
	return errors.Join(err, f.f.Close())
}

// serve is Serve with another way to write.
func serve(ctx context.Context, l net.Listener, write func([]byte) error) error {
	j := newJournal(write)
	return accept.Each(ctx, l, func(c net.Conn) error { return converse(c, j) })
}

// converse reads, writes and answers until the connection ends. The answer to a
// frame is the frame, so the buffer that was read into is what is written back.
// The error is of the file; what is wrong with the connection ends only that.
func converse(c net.Conn, j *journal) error {
	buf := make([]byte, readBuffer)
	have := 0
	for {
		n, err := c.Read(buf[have:])
		have += n
		if err != nil {
			return nil
		}
		for {
			frames, size, err := answer(buf[:have])
			if frames > 0 {
				if err := j.append(frames); err != nil {
					return err
				}
				if _, err := c.Write(buf[:size]); err != nil {
					return nil
				}
			}
			if err != nil {
				return nil // nobody knows where the next frame begins
			}
			have = copy(buf, buf[size:have])
			if frames < maxBatch {
				break
			}
		}
	}
}

var errFrame = errors.New("frame is empty, too long or no request")

// answer turns the whole frames at the beginning of b into their answers, at most
// maxBatch of them, and gives their number and size in bytes. After an error the
// frames before it are still to be answered.
func answer(b []byte) (frames, size int, err error) {
	const length, mti = 2, 4
	for frames < maxBatch && len(b)-size >= length {
		rest := b[size:]
		n := int(binary.BigEndian.Uint16(rest))
		if n < mti || n > maxFrame {
			return frames, size, errFrame
		}
		if len(rest) < length+n {
			break
		}
		function := &rest[length+2] // the third digit of the MTI
		if *function != '0' && *function != '2' {
			return frames, size, errFrame
		}
		*function++
		frames++
		size += length + n
	}
	return frames, size, nil
}
