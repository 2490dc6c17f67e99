package authz

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"kessai"
	"kessai/authz/ledger"
	"kessai/cache"
)

// benchMedia is the number of cards and terminals that the stages look among:
// more than a processor's caches hold, so that a look-up costs what it costs a
// gateway that is in use.
const benchMedia = 100_000

// benchEngine gives an engine without a book that knows benchMedia cards, and a
// function that gives a request of the next one, in no order that helps.
func benchEngine(b *testing.B) (*Engine, func() *Request) {
	_, f := sound()
	s := cache.NewBuilder(cache.Both, benchMedia, benchMedia)
	s.AddMerchant(shop)
	media := make([]kessai.MediumID, benchMedia)
	for n := range media {
		media[n] = mediumNumber(n)
		s.AddMedium(media[n], f.Medium)
		s.AddTerminal(terminalNumber(n), f.Terminal)
	}
	valid := new(cache.Cache)
	valid.Swap(s.Snapshot(morning, 1))
	r := benchRequest()
	n := 0
	return New(nil, valid, Options{}), func() *Request {
		n = (n + 7919) % benchMedia
		r.Medium, r.Terminal = media[n], terminalNumber(n)
		return r
	}
}

// mediumNumber spreads the IDs as a keyed hash does.
func mediumNumber(n int) (id kessai.MediumID) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)+1))
	copy(id[:], sum[:])
	return id
}

func terminalNumber(n int) (id kessai.TerminalID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)+1)
	return id
}

func benchRequest() *Request {
	r, _ := sound()
	r.Wire, r.Attempt = ledger.WireISO, Attempt{MTI: [4]byte([]byte("0200")), STAN: 123, Transmitted: morning}
	return &r
}

func BenchmarkJudge(b *testing.B) {
	b.Run("100k", func(b *testing.B) {
		e, next := benchEngine(b)
		b.ReportAllocs()
		for b.Loop() {
			r := next()
			e.Expect(r.Terminal, r.Medium) // as Authorize does
			if f := e.judge(r); f.Medium.Status != cache.MediumActive || f.Terminal.Status != cache.TerminalRegistered {
				b.Fatal("a card or a terminal is not known")
			}
		}
	})
}

// BenchmarkDecide is the whole stage: the verdict, and the operation for the
// book with its names.
func BenchmarkDecide(b *testing.B) {
	_, f := sound()
	e, r := New(nil, new(cache.Cache), Options{}), benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		code := Decide(r, &f)
		if code != kessai.Approved {
			b.Fatal(code)
		}
		e.op(&sink, r, &f, code)
	}
}

// BenchmarkVerdict is the part of deciding that judges.
func BenchmarkVerdict(b *testing.B) {
	_, f := sound()
	r := benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		if code := Decide(r, &f); code != kessai.Approved {
			b.Fatal(code)
		}
	}
}

// BenchmarkNames is the part of deciding that names the attempt.
func BenchmarkNames(b *testing.B) {
	own := kessai.AcquirerID{}
	b.Run("key", func(b *testing.B) {
		r := benchRequest()
		b.ReportAllocs()
		for b.Loop() {
			sink.Names[0].Key = r.attemptKey(r.Attempt, own)
		}
	})
	b.Run("digest", func(b *testing.B) {
		r := benchRequest()
		b.ReportAllocs()
		for b.Loop() {
			sink.Names[0].Digest = r.digest()
		}
	})
	b.Run("both", func(b *testing.B) {
		r := benchRequest()
		b.ReportAllocs()
		for b.Loop() {
			sink.Names = r.names(own)
		}
	})
}

// BenchmarkOpen opens dialogues from memory, each of another terminal, so that the
// table is as full as it gets.
func BenchmarkOpen(b *testing.B) {
	e, next := benchEngine(b)
	e.talks.o.MaxOpen = benchMedia
	by := NewConnection()
	b.ReportAllocs()
	for b.Loop() {
		r := next()
		r.Merchant = kessai.MerchantID{}
		if o, ok := e.Open(r, by); !ok || !o.Code.IsApproval() {
			b.Fatal(o)
		}
	}
}
