package floor

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// recordSize is what one message leaves in the file, in bytes.
const recordSize = 200

// group is the messages that one write to the disk covers.
type group struct {
	records []byte
	done    chan struct{} // closed when the records are on the disk, or err is set
	err     error
}

// journal has callers wait until their records are on the disk. Whoever comes
// first into a group leads it: it waits until the group before is on the disk,
// takes what has gathered meanwhile, and writes. The others of the group wait for
// it. A caller that comes alone does everything itself, without another goroutine.
//
// Tried and left: a goroutine that owns the file. It costs a caller that comes
// alone two switches, and gains nothing for the others.
type journal struct {
	write func(records []byte) error // returns when the records are on the disk

	disk   chan struct{} // holds one token, which the leader takes that writes
	failed error         // the token's holder's: what is in the file is not known, so nothing follows

	mu        sync.Mutex
	gathering *group // nil when nobody waits for its leader
	number    uint64 // of the last record
	spare     []byte // the records of an earlier group, to be used again
}

func newJournal(write func([]byte) error) *journal {
	j := &journal{write: write, disk: make(chan struct{}, 1)}
	j.disk <- struct{}{}
	return j
}

// append adds n records and returns when they are on the disk. Records carry a
// number and a filler, nothing of a message: card numbers do not go to the disk.
func (j *journal) append(n int) error {
	j.mu.Lock()
	g, leads := j.gathering, j.gathering == nil
	if leads {
		g = &group{records: j.spare[:0], done: make(chan struct{})}
		j.gathering, j.spare = g, nil
	}
	for range n {
		j.number++
		g.records = append(g.records, filler[:]...)
		binary.BigEndian.PutUint64(g.records[len(g.records)-recordSize:], j.number)
	}
	j.mu.Unlock()
	if leads {
		j.commit(g)
	} else {
		<-g.done
	}
	return g.err
}

func (j *journal) commit(g *group) {
	<-j.disk
	j.mu.Lock()
	j.gathering = nil // from here on, others form the next group
	j.mu.Unlock()
	if j.failed == nil {
		j.failed = j.write(g.records)
	}
	if j.failed != nil {
		g.err = fmt.Errorf("write to the file of the floor: %w", j.failed)
	}
	j.disk <- struct{}{}
	close(g.done)
	j.mu.Lock()
	j.spare = g.records
	j.mu.Unlock()
}

// filler is the same in every record, and no row of zeros.
var filler = func() (b [recordSize]byte) {
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	return b
}()
