package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"kessai"
	"kessai/pos/iso8583"
	"kessai/pos/sim"
)

// crashAttempt is one transaction that the crash test asks for. It can be asked
// for again in the very same words.
type crashAttempt struct {
	kind   kessai.Kind
	card   int      // index of the card
	sale   sim.Sale // its amount is what is asked for; of a reversal, the original's
	stands int64    // of a reversal: what is to stand of the original
	over   wire

	original *crashAttempt // of a follow-up
	byNumber bool          // it names its original by RRN, not by its request
	undone   bool          // a reversal of it was sent before it was answered

	key  string // Idempotency-Key
	name bool   // over JSON: STAN and time are sent as well

	answer *crashAnswer // nil: nobody was told what became of it
}

type wire bool

const (
	overISO  wire = false
	overJSON wire = true
)

// crashAnswer is what the gateway said of an attempt.
type crashAnswer struct {
	id        uint64
	code      string
	approval  string
	amount    int64
	available int64
	replayed  bool // known over JSON only
}

// same reports whether two answers tell the terminal the same.
func (a crashAnswer) same(b crashAnswer) bool {
	a.replayed, b.replayed = false, false
	return a == b
}

func (a *crashAttempt) String() string {
	over := "ISO 8583"
	if a.over == overJSON {
		over = "JSON, key " + a.key
	}
	return fmt.Sprintf("%s of %d at %s, STAN %s (%s)", a.kind, a.sale.Amount, a.sale.Terminal, a.sale.STAN, over)
}

// message makes the attempt's ISO 8583 message.
func (a *crashAttempt) message() *iso8583.Message {
	var o sim.Original
	switch {
	case a.original == nil:
	case a.byNumber:
		o.RRN, o.ApprovalCode = kessai.TxID(a.original.answer.id).RRN(), a.original.answer.approval
	default:
		o = sim.ByRequest(a.original.message())
	}
	switch a.kind {
	case kessai.PreAuthorization:
		return a.sale.PreAuth()
	case kessai.Completion:
		return a.sale.Complete(o)
	case kessai.Release:
		return a.sale.Release(o)
	case kessai.Reversal:
		return a.sale.Reverse(o, a.stands)
	}
	return a.sale.Purchase()
}

// post makes the path and the body of the attempt over JSON.
func (a *crashAttempt) post() (path string, body []byte) {
	amount := map[string]any{"value": a.sale.Amount, "currency": "JPY"}
	b := map[string]any{}
	if a.name {
		b["terminal"], b["stan"] = a.sale.Terminal, a.sale.STAN.String()
		b["transmitted_at"] = a.sale.Time.UTC().Format(time.RFC3339)
	}
	path = "/v1/payments"
	if a.original != nil {
		path += "/" + kessai.TxID(a.original.answer.id).String()
	}
	switch a.kind {
	case kessai.Completion:
		path, b["amount"] = path+"/capture", amount
	case kessai.Release:
		path += "/release"
	case kessai.Reversal:
		path, b["replacement_amount"] = path+"/reverse", map[string]any{"value": a.stands, "currency": "JPY"}
	default:
		b["kind"], b["terminal"] = a.kind.String(), a.sale.Terminal
		b["medium"] = map[string]any{"pan": a.sale.PAN.Reveal(), "expiry": a.sale.Expiry}
		if a.kind != kessai.BalanceInquiry {
			b["amount"] = amount
		}
	}
	body, _ = json.Marshal(b) // a map of texts and numbers
	return path, body
}

// crashClient speaks to one running gateway over both wires.
type crashClient struct {
	address string
	http    http.Client
	iso     *sim.Client
}

func newCrashClient(g *crashGateway) (*crashClient, error) {
	conn, err := net.Dial("tcp", g.ISO[0])
	if err != nil {
		return nil, err
	}
	return &crashClient{
		address: g.HTTP,
		http:    http.Client{Transport: new(http.Transport), Timeout: patience},
		iso:     sim.New(conn, sim.Options{Timeout: patience}),
	}, nil
}

func (c *crashClient) close() {
	_ = c.iso.Close()
	c.http.CloseIdleConnections()
}

// unexpected is an answer that a gateway must not give to these tests.
type unexpected struct{ what string }

func (u unexpected) Error() string { return u.what }

// ask sends an attempt and gives its answer. An error that is not of type
// unexpected means that no answer came.
func (c *crashClient) ask(a *crashAttempt, repeat bool) (crashAnswer, error) {
	if a.over == overJSON {
		return c.askJSON(a)
	}
	m := a.message()
	if repeat {
		m = sim.Repeat(m)
	}
	r, err := c.iso.Do(context.Background(), m)
	if err != nil {
		return crashAnswer{}, err
	}
	answer := crashAnswer{code: string(r.Get(39)), approval: string(r.Get(38))}
	id, ok := kessai.ParseTxID(string(r.Get(37)))
	if !ok {
		return answer, unexpected{fmt.Sprintf("%s: answered with %s and no RRN", a, answer.code)}
	}
	answer.id = uint64(id)
	answer.amount, _ = strconv.ParseInt(string(r.Get(4)), 10, 64)
	return answer, nil
}

func (c *crashClient) askJSON(a *crashAttempt) (answer crashAnswer, err error) {
	path, body := a.post()
	req, err := http.NewRequest(http.MethodPost, "http://"+c.address+path, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", a.key)
	var p crashPayment
	status, header, err := c.do(req, &p)
	if err != nil {
		return answer, err
	}
	id, ok := kessai.ParseTxID(p.ID)
	if status != http.StatusCreated || !ok || p.RRN != id.RRN() {
		return answer, unexpected{fmt.Sprintf("%s: answered with status %d", a, status)}
	}
	answer = crashAnswer{id: uint64(id), code: p.ResponseCode, approval: p.ApprovalCode, amount: p.Amount.Value,
		available: p.Available, replayed: header.Get("Idempotency-Replayed") == "true"}
	return answer, nil
}

// do sends a request and reads all of its JSON answer.
func (c *crashClient) do(req *http.Request, into any) (int, http.Header, error) {
	req.Header.Set("Authorization", "Bearer "+crashKey)
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	return res.StatusCode, res.Header, err
}

// crashPayment is what the JSON API shows of a payment.
type crashPayment struct {
	ID            string     `json:"id"`
	Kind          string     `json:"kind"`
	Status        string     `json:"status"`
	ResponseCode  string     `json:"response_code"`
	ApprovalCode  string     `json:"approval_code"`
	RRN           string     `json:"rrn"`
	Terminal      string     `json:"terminal"`
	STAN          string     `json:"stan"`
	TransmittedAt string     `json:"transmitted_at"`
	Requested     crashMoney `json:"requested"`
	Amount        crashMoney `json:"amount"`
	Held          int64      `json:"held"`
	Available     int64      `json:"available"`
	Original      string     `json:"original"`

	number uint64
}

type crashMoney struct {
	Value int64 `json:"value"`
}

// list gives the payments with numbers above after, oldest first.
func (c *crashClient) list(after uint64) (payments []crashPayment, err error) {
	for cursor, more := "", true; more; {
		req, err := http.NewRequest(http.MethodGet, "http://"+c.address+"/v1/payments?limit=200"+cursor, nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Payments []crashPayment `json:"payments"`
			Next     string         `json:"next_cursor"`
		}
		status, _, err := c.do(req, &page)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		if err != nil {
			return nil, fmt.Errorf("the list of payments: %w", err)
		}
		for _, p := range page.Payments {
			id, _ := kessai.ParseTxID(p.ID)
			if p.number = uint64(id); p.number <= after {
				page.Next = ""
				break
			}
			payments = append(payments, p)
		}
		cursor, more = "&cursor="+page.Next, page.Next != ""
	}
	for i, j := 0, len(payments)-1; i < j; i, j = i+1, j-1 {
		payments[i], payments[j] = payments[j], payments[i]
	}
	return payments, nil
}
