package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"kessai"
)

// jsonWire speaks HTTP/1.1 with JSON bodies, written by hand: an HTTP client would
// cost more than the gateway. One request is in flight at a time.
type jsonWire struct {
	heads [numKinds][]byte // up to the API key
	keys  map[string][]byte
	run   string // begins every idempotency key
	used  uint64
	body  []byte
}

func newJSONWire(host string, p Population, seed uint64, conn int) *jsonWire {
	w := &jsonWire{
		keys: make(map[string][]byte, p.Merchants()),
		run:  fmt.Sprintf("bench-%x-%x-%d-", time.Now().UnixNano(), seed, conn),
	}
	for m := range p.Merchants() {
		w.keys[p.MerchantID(m)] = []byte(p.APIKey(m).Reveal())
	}
	for k := range numKinds {
		path := "/v1/payments"
		if k == Reversal {
			path += "/pay_" + digits(12) + "/reverse"
		}
		w.heads[k] = []byte("POST " + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nAuthorization: Bearer ")
	}
	return w
}

func (w *jsonWire) tick(time.Time) {}

var jsonKinds = [numKinds]string{kessai.Purchase.String(), kessai.BalanceInquiry.String(), ""}

func (w *jsonWire) request(dst []byte, r *request) []byte {
	at := len(dst)
	dst = append(dst, w.heads[r.kind]...)
	if r.kind == Reversal {
		id := at + bytes.Index(dst[at:], []byte("pay_")) + len("pay_")
		putDigits(dst[id:id+12], r.original)
	}
	dst = append(dst, w.keys[string(r.at.merchant)]...)
	dst = append(append(dst, "\r\nIdempotency-Key: "...), w.run...)
	dst = strconv.AppendUint(dst, w.used, 10)
	w.used++
	w.writeBody(r)
	dst = append(dst, "\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(w.body)), 10)
	return append(append(dst, "\r\n\r\n"...), w.body...)
}

func (w *jsonWire) writeBody(r *request) {
	b := append(w.body[:0], `{"terminal":"`...)
	b = append(append(b, r.at.terminal...), '"')
	if r.kind != Reversal {
		b = append(append(b, `,"kind":"`...), jsonKinds[r.kind]...)
		b = appendDigits(append(b, `","medium":{"pan":"`...), pan(r.card), 16)
		b = append(b, `","expiry":"`+Expiry+`"}`...)
	}
	if r.kind == Purchase {
		b = strconv.AppendUint(append(b, `,"amount":{"value":`...), uint64(r.amount), 10)
		b = append(b, `,"currency":"`+Currency+`"}`...)
	}
	w.body = append(b, '}')
}

var errHTTP = errors.New("an answer is no HTTP/1.1 response with a Content-Length")

// unavailable is what an answer counts as that has no response code: a problem
// (RFC 9457), and so something that was not done.
const unavailable = int8(kessai.SystemMalfunction)

func (w *jsonWire) reply(buf []byte, r *reply) (int, error) {
	end := bytes.Index(buf, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, nil
	}
	head, body := buf[:end+2], buf[end+4:]
	if len(head) < 12 || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, errHTTP
	}
	n, err := strconv.Atoi(string(between(head, "\r\nContent-Length: ", '\r')))
	if err != nil || n < 0 || n > maxReply {
		return 0, errHTTP
	}
	if len(body) < n {
		return 0, nil
	}
	body = body[:n]
	*r = reply{code: unavailable}
	if code := between(body, `"response_code":"`, '"'); len(code) == 2 {
		if v, ok := (spot{n: 2}).number(code); ok {
			r.code = int8(v)
		}
	}
	if rrn := between(body, `"rrn":"`, '"'); len(rrn) > 0 && len(rrn) <= 12 {
		r.rrn, _ = spot{n: len(rrn)}.number(rrn)
	}
	return end + 4 + n, nil
}

// between gives what stands behind the first occurrence of a text, up to an end.
func between(b []byte, after string, end byte) []byte {
	i := bytes.Index(b, []byte(after))
	if i < 0 {
		return nil
	}
	b = b[i+len(after):]
	if i = bytes.IndexByte(b, end); i < 0 {
		return nil
	}
	return b[:i]
}
