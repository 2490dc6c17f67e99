package load

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind is what a request asks for.
type Kind uint8

// The kinds that a generator can ask for.
const (
	Purchase Kind = iota
	Balance
	Reversal // of an earlier purchase; a purchase where there is none left to reverse
	numKinds
)

var kindNames = [numKinds]string{"purchase", "balance", "reversal"}

func (k Kind) String() string { return kindNames[k] }

// Mix says how often each kind is asked for: parts, of their sum.
type Mix [numKinds]uint32

// ParseMix reads a mix such as purchase=90,balance=5,reversal=5.
func ParseMix(s string) (m Mix, err error) {
	total := uint64(0)
	for part := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(part, "=")
		kind := -1
		for k, n := range kindNames {
			if n == name {
				kind = k
			}
		}
		n, err := strconv.ParseUint(value, 10, 16)
		if kind < 0 || err != nil {
			return m, fmt.Errorf("%q is no part of a mix; a mix is purchase=90,balance=5,reversal=5, of whole numbers below 65536", part)
		}
		m[kind] = uint32(n)
		total += n
	}
	if total == 0 {
		return m, fmt.Errorf("the mix %q asks for nothing", s)
	}
	return m, nil
}

func (m Mix) String() string {
	var parts []string
	for k, n := range m {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", kindNames[k], n))
		}
	}
	return strings.Join(parts, ",")
}

// pick gives the kind that a random number stands for.
func (m *Mix) pick(r uint32) Kind {
	total := m[Purchase] + m[Balance] + m[Reversal]
	r = uint32(uint64(r) * uint64(total) >> 32)
	if r < m[Purchase] {
		return Purchase
	}
	if r < m[Purchase]+m[Balance] {
		return Balance
	}
	return Reversal
}

// request is one request before it is written.
type request struct {
	kind     Kind
	stan     uint32
	terminal uint32 // number in the population
	at       *place
	card     uint32
	amount   uint32 // minor units
	original uint64 // of a reversal: the number (RRN) of what it reverses
}

// place is a terminal as messages speak of it.
type place struct {
	terminal, merchant []byte
}

// reply is what is looked at in an answer.
type reply struct {
	stan uint32 // 0 where the wire answers in order and says none
	code int8   // response code; -1 where there is none
	rrn  uint64 // the transaction's number in the book; 0 where there is none
}

// wire is how one connection speaks: ISO 8583 or JSON over HTTP. It is used by
// two goroutines at most, one of which writes and one of which reads.
type wire interface {
	// tick tells the time of day, before the first request and once in each second.
	tick(now time.Time)
	// request writes a request behind dst.
	request(dst []byte, r *request) []byte
	// reply takes the first answer off buf and gives its size, which is 0 where it
	// is not there whole. After an error the connection is of no use.
	reply(buf []byte, r *reply) (size int, err error)
}
