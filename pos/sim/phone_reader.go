package sim

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"kessai"
	"kessai/pos/tether"
)

// ReaderStep is how a payment with a card reader stands, as the gateway tells phones.
type ReaderStep struct {
	Step           string    `json:"step"` // approve, card, pin or ended
	Offer          string    `json:"offer"`
	OfferSignature string    `json:"offer_signature"`
	Until          time.Time `json:"until"`
	Sale           PhoneSale `json:"sale"`
}

// PhoneReader is a card reader as the customer's phone lists it.
type PhoneReader struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	AddedAt string `json:"added_at"`
}

// The errors of a phone with a reader, apart from those of type [*Problem] and
// [*ReaderFault].
var (
	ErrNoReader   = errors.New("no card reader is plugged into the phone")
	ErrReaderLost = errors.New("the line to the card reader broke")
)

// ReaderFault is what a reader said instead of doing what it was asked.
type ReaderFault struct{ tether.Fault }

func (f *ReaderFault) Error() string { return "the card reader says: " + f.String() }

// phoneLine is the phone's end of the line to a reader.
type phoneLine struct {
	reader kessai.ReaderID
	readerLine
	heard chan tether.Frame
}

// Attach plugs a card reader in, at the other end of a line, and asks it who it is. A
// reader that was plugged in before falls out.
func (p *Phone) Attach(ctx context.Context, line io.ReadWriter) (kessai.ReaderID, error) {
	l := &phoneLine{
		readerLine: readerLine{line: line, out: make(chan []byte, maxUnsent), over: make(chan struct{})},
		heard:      make(chan tether.Frame, maxUnsent),
	}
	go l.write()
	go l.hear()
	f, err := l.ask(ctx, tether.PhoneHello, nil, tether.ReaderHello)
	var hello *tether.Hello
	if err == nil {
		hello, err = tether.DecodeHello(f.Body)
	}
	if err != nil {
		l.end(nil)
		return kessai.ReaderID{}, err
	}
	l.reader = hello.Reader
	p.plug(l)
	return l.reader, nil
}

// Detach pulls the reader out.
func (p *Phone) Detach() { p.plug(nil) }

func (p *Phone) plug(l *phoneLine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reader != nil {
		p.reader.end(nil)
	}
	p.reader = l
}

func (p *Phone) plugged() (*phoneLine, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reader == nil {
		return nil, ErrNoReader
	}
	return p.reader, nil
}

// hear keeps what the reader says until somebody wants it.
func (l *phoneLine) hear() {
	for frames := tether.NewScanner(l.line); ; {
		f, err := frames.Next()
		if errors.Is(err, tether.ErrFrame) {
			continue // it is asked again
		}
		if err != nil {
			l.end(err)
			return
		}
		select {
		case l.heard <- f:
		default:
			l.end(errStuck)
			return
		}
	}
}

// ask says something and waits for the answer. What the reader said before is not it.
func (l *phoneLine) ask(ctx context.Context, t tether.Type, body []byte, want tether.Type) (tether.Frame, error) {
	for len(l.heard) > 0 {
		<-l.heard
	}
	l.send(t, body)
	for {
		select {
		case f := <-l.heard:
			if f.Type == want {
				return f, nil
			}
			if f.Type == tether.ReaderError {
				fault, err := tether.ParseFault(f.Body)
				if err != nil {
					return f, err
				}
				return f, &ReaderFault{fault}
			}
		case <-l.over:
			return tether.Frame{}, ErrReaderLost
		case <-ctx.Done():
			return tether.Frame{}, ctx.Err()
		}
	}
}

// EnrolReader has the attached reader made the customer's. The code of `kessai reader
// invite` is typed on its own pad, and the phone never sees it.
func (p *Phone) EnrolReader(ctx context.Context) (PhoneReader, error) {
	var answer struct {
		Enrolled string      `json:"enrolled"`
		Reader   PhoneReader `json:"reader"`
	}
	l, err := p.plugged()
	if err != nil {
		return answer.Reader, err
	}
	f, err := l.ask(ctx, tether.PhoneEnrol, nil, tether.ReaderEnrol)
	if err != nil {
		return answer.Reader, err
	}
	if err := p.ask(ctx, http.MethodPost, "/phone/v1/readers", map[string]string{"enrol": b64(f.Body)}, &answer); err != nil {
		l.tell(ctx, kessai.CustomerCancellation, false) // it waits for an answer that does not come
		return answer.Reader, err
	}
	body, err := fromB64(answer.Enrolled)
	if err != nil {
		return answer.Reader, err
	}
	_, err = l.ask(ctx, tether.PhoneEnrolled, body, tether.ReaderHello)
	return answer.Reader, err
}

// Readers lists the customer's readers.
func (p *Phone) Readers(ctx context.Context) ([]PhoneReader, error) {
	var answer struct {
		Readers []PhoneReader `json:"readers"`
	}
	err := p.ask(ctx, http.MethodGet, "/phone/v1/readers", nil, &answer)
	return answer.Readers, err
}

// RevokeReader ends what a reader may do.
func (p *Phone) RevokeReader(ctx context.Context, id string) error {
	return p.ask(ctx, http.MethodDelete, "/phone/v1/readers/"+url.PathEscape(id), nil, nil)
}

// BeginReader agrees to a payment as it is shown, and names the reader (step R-4).
func (p *Phone) BeginReader(ctx context.Context, shown *PhoneSale, reader kessai.ReaderID) (s ReaderStep, err error) {
	digest, err := shown.digest()
	if err != nil {
		return s, err
	}
	signature, err := p.sign(digest, []byte("reader "+reader.String()))
	if err != nil {
		return s, err
	}
	body := map[string]string{"reader": reader.String(), "signature": b64(signature)}
	return s, p.ask(ctx, http.MethodPost, readerPath(shown.Sale.ID.String(), ""), body, &s)
}

// ReaderNow says how a payment stands.
func (p *Phone) ReaderNow(ctx context.Context, sale string) (s ReaderStep, err error) {
	return s, p.ask(ctx, http.MethodGet, readerPath(sale, ""), nil, &s)
}

// SendCard hands in what the reader sealed of the card (step R-7).
func (p *Phone) SendCard(ctx context.Context, sale string, sealed, signature []byte) (ReaderStep, error) {
	return p.sendSealed(ctx, readerPath(sale, "/card"), sealed, signature)
}

// SendPIN hands in what the reader sealed of the PIN (step R-11).
func (p *Phone) SendPIN(ctx context.Context, sale string, sealed, signature []byte) (ReaderStep, error) {
	return p.sendSealed(ctx, readerPath(sale, "/pin"), sealed, signature)
}

func (p *Phone) sendSealed(ctx context.Context, path string, sealed, signature []byte) (s ReaderStep, err error) {
	return s, p.ask(ctx, http.MethodPost, path, map[string]string{"sealed": b64(sealed), "signature": b64(signature)}, &s)
}

func readerPath(sale, step string) string {
	return "/phone/v1/sales/" + url.PathEscape(sale) + "/reader" + step
}

func fromB64(s string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(s) }
