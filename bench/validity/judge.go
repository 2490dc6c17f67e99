package validity

import (
	"bytes"
	"errors"
	"time"

	"kessai"
	"kessai/authz"
	"kessai/cache"
	"kessai/merchants"
	"kessai/pos/iso8583"
)

// ask judges one question. ok is false where the answer has to wait for the
// registry, because memory alone does not know enough.
type ask func(q *question) (code kessai.ResponseCode, ok bool, err error)

// judge turns the bytes of a request into a verdict, as the gateway does: the card
// number becomes a keyed hash, the facts are found, and authz judges them. It is
// for one goroutine.
type judge struct {
	hasher   *kessai.MediumHasher
	engine   *authz.Engine // in force with a cache, and the registry for what that lacks
	registry *merchants.Registry
	r        authz.Request
}

func newJudge(s *Stores, valid *cache.Cache) *judge {
	e := authz.New(nil, valid, authz.Options{Registry: authz.Registry{
		Medium: s.Registry.MediumFacts, Terminal: s.Registry.TerminalFacts, Version: s.Registry.Version,
	}})
	return &judge{hasher: s.Hasher, engine: e, registry: s.Registry, r: authz.Request{Kind: kessai.Verification, Received: time.Now()}}
}

// parties reads the two IDs, which is the part of judging before any look-up.
func (j *judge) parties(r *authz.Request, pan, terminal []byte) error {
	if err := j.terminal(r, terminal); err != nil {
		return err
	}
	return j.medium(r, pan)
}

// expected is parties with what is known of them on its way: of the terminal while
// the card number is hashed.
func (j *judge) expected(r *authz.Request, pan, terminal []byte) error {
	if err := j.terminal(r, terminal); err != nil {
		return err
	}
	j.engine.Expect(r.Terminal, kessai.MediumID{})
	err := j.medium(r, pan)
	j.engine.Expect(kessai.TerminalID{}, r.Medium)
	return err
}

func (j *judge) terminal(r *authz.Request, id []byte) (err error) {
	r.Merchant = kessai.MerchantID{}
	r.Terminal, err = kessai.ParseTerminalID(id)
	return err
}

func (j *judge) medium(r *authz.Request, number []byte) error {
	pan, err := kessai.ParsePAN(number)
	r.Medium = j.hasher.Medium(pan)
	return err
}

// full gives the verdict that a transaction gets: memory, and the registry for
// what memory lacks.
func (j *judge) full(q *question) (kessai.ResponseCode, bool, error) {
	err := j.expected(&j.r, q.pan[:], q.terminal[:])
	return j.engine.Judge(&j.r), true, err
}

// together is the number of requests that one read of a busy connection brings.
const together = 32

// several gives the verdicts on requests that came together, as the engine carries
// them out: all are read, and then all are judged.
type several struct {
	judge
	all [together]authz.Request
}

func (s *several) full(qs []question) (wrong int, err error) {
	for i := range qs {
		r := &s.all[i]
		r.Kind, r.Received = s.r.Kind, s.r.Received
		if e := s.expected(r, qs[i].pan[:], qs[i].terminal[:]); e != nil {
			err = e
		}
	}
	for i := range qs {
		if s.engine.Judge(&s.all[i]) != qs[i].want {
			wrong++
		}
	}
	return wrong, err
}

// early gives the answer that opens a dialogue: from memory alone.
func (j *judge) early(q *question) (kessai.ResponseCode, bool, error) {
	err := j.expected(&j.r, q.pan[:], q.terminal[:])
	code, sure := j.engine.JudgeEarly(&j.r)
	if code == kessai.NoReasonToDecline {
		code = kessai.Approved
	}
	return code, sure, err
}

// ask asks the registry for everything, every time.
func (j *judge) ask(q *question) (kessai.ResponseCode, bool, error) {
	if err := j.parties(&j.r, q.pan[:], q.terminal[:]); err != nil {
		return 0, false, err
	}
	var f authz.Facts
	var err, err2 error
	f.Terminal, err = j.registry.TerminalFacts(j.r.Terminal)
	f.Medium, err2 = j.registry.MediumFacts(j.r.Medium)
	return j.by(&f), true, errors.Join(err, err2)
}

// by judges by facts. What became of the merchant is in its terminals' status.
func (j *judge) by(f *authz.Facts) kessai.ResponseCode {
	j.r.Merchant, f.KnownMerchant = f.Terminal.Merchant, true
	return authz.Decide(&j.r, f)
}

// name only reads the two IDs.
func (j *judge) name(q *question) (kessai.ResponseCode, bool, error) {
	return q.want, true, j.parties(&j.r, q.pan[:], q.terminal[:])
}

// reader judges whole messages: a request to verify a card, as it comes off the
// wire.
type reader struct {
	*judge
	dialect       *iso8583.Dialect
	m             iso8583.Message
	frame         []byte
	pan, terminal []byte // where the two IDs are in the frame
}

func newReader(j *judge) (*reader, error) {
	r := &reader{judge: j, dialect: iso8583.BuiltIn()[0]}
	const pan, terminal = "9999000000000000", "TERMINAL"
	m := iso8583.Message{MTI: iso8583.MTI([]byte("0100"))}
	for field, value := range map[int]string{2: pan, 3: "330000", 7: "1122093000", 11: "000001", 14: "9912", 41: terminal, 49: "392"} {
		m.SetString(field, value)
	}
	var err error
	if r.frame, err = r.dialect.Append(nil, &m); err != nil {
		return nil, err
	}
	r.pan = r.frame[bytes.Index(r.frame, []byte(pan)):][:len(pan)]
	r.terminal = r.frame[bytes.Index(r.frame, []byte(terminal)):][:len(terminal)]
	return r, nil
}

// message judges from the bytes of a whole message on.
func (r *reader) message(q *question) (kessai.ResponseCode, bool, error) {
	copy(r.pan, q.pan[:])
	copy(r.terminal, q.terminal[:])
	if err := r.dialect.Decode(&r.m, r.frame); err != nil {
		return 0, false, err
	}
	err := r.expected(&r.r, r.m.Get(2), r.m.Get(41))
	return r.engine.Judge(&r.r), true, err
}
