package conversations

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"kessai"
)

// shop is a merchant that speaks JSON.
type shop struct {
	name, key, terminal string
	posts               int // idempotency keys are counted
}

func newShops() map[string]*shop {
	return map[string]*shop{
		"aoi":  {name: "aoi", key: "sk_test_aoi", terminal: "AOI00001"},
		"vend": {name: "vend", key: "sk_test_vend", terminal: "VEND0001"},
	}
}

// call is one HTTP request of a shop.
type call struct{ method, path, key, body string }

// jsonKinds are the words that make a new payment.
var jsonKinds = map[string]kessai.Kind{
	"purchase": kessai.Purchase, "cash-back": kessai.CashBack, "refund": kessai.Refund,
	"balance": kessai.BalanceInquiry, "verify": kessai.Verification, "pre-auth": kessai.PreAuthorization,
}

// jsonVerbs are the words that are about a payment, with the route below it.
var jsonVerbs = map[string]string{
	"cancel": "cancel", "increment": "increment", "complete": "capture", "release": "release", "refund": "refund", "reverse": "reverse",
}

// shopAsks makes ready what a merchant says.
func (p *play) shopAsks(s *shop, w words) (ask, error) {
	c, err := p.call(s, w)
	if err != nil {
		return nil, err
	}
	said := &utterance{who: s.name}
	p.called(w, said)
	if said.amount, err = w.amountOf(); err != nil {
		return nil, err
	}
	said.again = func() ask { return p.request(s, c, said) }
	return said.again(), nil
}

// amountOf is the amount of commands that have one, and zero of all others.
func (w words) amountOf() (int64, error) {
	if jsonVerbs[w.verb] == "" && jsonKinds[w.verb] == 0 {
		return 0, nil
	}
	return w.amount()
}

func (p *play) call(s *shop, w words) (c call, err error) {
	switch w.verb {
	case "get", "post":
		path, body, _ := strings.Cut(w.rest, " ")
		c = call{method: strings.ToUpper(w.verb), path: p.withIDs(path)}
		if key, rest, ok := strings.Cut(body, " "); ok && strings.HasPrefix(key, "key=") {
			c.key, body = key[len("key="):], rest
		}
		c.body = p.withIDs(body)
	case "wait", "watch":
		if len(w.plain) == 0 {
			return c, errors.New("nobody says for what")
		}
		path := "/v1/payments/$" + w.plain[0]
		if w.verb == "watch" {
			path += "/events"
		} else {
			path += "?wait=" + strings.Join(w.plain[1:], "")
		}
		return call{method: "GET", path: p.withIDs(path)}, nil
	case "show":
		return call{method: "GET", path: p.withIDs("/v1/payments/$" + w.rest)}, nil
	case "list":
		return call{method: "GET", path: "/v1/payments"}, nil
	case "close":
		u, ok := p.said[w.rest]
		if !ok {
			return c, fmt.Errorf("nothing was called %s", w.rest)
		}
		return call{method: "DELETE", path: "/v1/dialogues/" + u.talk}, nil
	default:
		c, err = p.payment(s, w)
		c.method, c.key = "POST", w.named["key"]
	}
	if c.method == "POST" && c.key == "" {
		s.posts++
		c.key = fmt.Sprintf("%s-%d", s.name, s.posts)
	}
	return c, err
}

// payment makes the path and the body of a new payment or of one of the posts
// below an earlier one.
func (p *play) payment(s *shop, w words) (c call, err error) {
	body := make(map[string]any)
	currency := w.or("currency", "JPY")
	amount, err := w.amount()
	if err != nil {
		return c, err
	}
	if amount != 0 {
		body["amount"] = map[string]any{"value": amount, "currency": currency}
	}
	if t := w.or("terminal", s.terminal); t != "none" {
		body["terminal"] = t
	}
	if m, ok := w.named["merchant"]; ok {
		body["merchant"] = m
	}
	if stan, ok := w.named["stan"]; ok {
		body["stan"] = stan
		body["transmitted_at"] = time.Now().UTC().Format(time.RFC3339)
	}
	if name, ok := w.named["card"]; ok {
		k, ok := cards[name]
		if !ok {
			return c, errors.New("nobody knows that card")
		}
		body["medium"] = map[string]any{"pan": k.pan, "expiry": w.or("expiry", k.expiry)}
	}
	if cash, err := strconv.ParseInt(w.named["cash"], 10, 64); err == nil {
		body["cash_back"] = cash
	}
	if leaving, err := strconv.ParseInt(w.named["leaving"], 10, 64); err == nil {
		body["replacement_amount"] = map[string]any{"value": leaving, "currency": currency}
	}
	talk, err := p.dialogue(w)
	if err = errors.Join(err, p.confirmMembers(w, body)); err != nil {
		return c, err
	}
	c.path = "/v1/payments"
	if talk != "" {
		c.path = "/v1/dialogues/" + talk + "/transaction"
	}
	of, follows := w.named["of"]
	kind, creates := jsonKinds[w.verb]
	switch {
	case follows && jsonVerbs[w.verb] != "":
		c.path = p.withIDs("/v1/payments/$" + of + "/" + jsonVerbs[w.verb])
	case w.verb == "open":
		c.path = "/v1/dialogues"
	case w.verb == "retained":
		c.path = "/v1/retained"
	case !follows && creates:
		body["kind"] = kind.String()
	default:
		return c, errors.New("a shop does not say that")
	}
	text, err := json.Marshal(body)
	c.body = string(text)
	return c, err
}

var dollar = regexp.MustCompile(`\$[0-9a-z-]+`)

// withIDs puts the IDs of payments in the place of their names.
func (p *play) withIDs(text string) string {
	return dollar.ReplaceAllStringFunc(text, func(name string) string {
		if n, err := strconv.ParseUint(name[1:], 10, 64); err == nil {
			return kessai.TxID(n).String()
		}
		u, ok := p.said[name[1:]]
		if !ok {
			p.t.Fatalf("nothing was called %s", name[1:])
		}
		if u.talk != "" {
			return u.talk
		}
		return u.id.String()
	})
}

func (p *play) request(s *shop, c call, said *utterance) ask {
	return func() answer {
		began := time.Now()
		resp, body, err := p.roundTrip(s, c)
		a := answer{who: s.name, after: time.Since(began), said: said}
		switch {
		case err == nil:
			p.heardJSON(&a, resp, body)
		case errors.Is(err, os.ErrDeadlineExceeded):
			a.text = "(silence)"
		default:
			a.text = "(connection closed)"
		}
		return a
	}
}

// roundTrip sends one request over a connection of its own.
func (p *play) roundTrip(s *shop, c call) (*http.Response, []byte, error) {
	r, err := http.NewRequest(c.method, "http://kessai"+c.path, strings.NewReader(c.body))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	if c.method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", c.key)
	}
	conn, err := p.http.dial()
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	return send(conn, r)
}

func send(conn net.Conn, r *http.Request) (*http.Response, []byte, error) {
	wait := patience
	if strings.Contains(r.URL.RequestURI(), "wait=") || strings.HasSuffix(r.URL.Path, "/events") {
		wait = longPatience
	}
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return nil, nil, err
	}
	if err := r.Write(conn); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// payment is what a story looks at in an answer.
type payment struct {
	ID           string                `json:"id"`
	Kind         string                `json:"kind"`
	Status       any                   `json:"status"`
	ResponseCode string                `json:"response_code"`
	ApprovalCode string                `json:"approval_code"`
	RRN          string                `json:"rrn"`
	Requested    struct{ Value int64 } `json:"requested"`
	Amount       struct{ Value int64 } `json:"amount"`
	CashBack     int64                 `json:"cash_back"`
	Reversed     int64                 `json:"reversed"`
	Refunded     int64                 `json:"refunded"`
	Held         int64                 `json:"held"`
	Available    *int64                `json:"available"`
	Original     string                `json:"original"`
	EndedBy      string                `json:"ended_by"`
	Number       string                `json:"number"`
	Claim        struct{ URL string }  `json:"claim"`
	Detail       string                `json:"detail"`

	Payments []payment `json:"payments"` // of a list

	ResponseText string `json:"response_text"`

	Code  string `json:"code"` // of a problem
	Field string `json:"field"`
}

// heardJSON puts an answer into words, and notes what it covers.
func (p *play) heardJSON(a *answer, resp *http.Response, body []byte) {
	a.text = strconv.Itoa(resp.StatusCode)
	var got payment
	switch kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); {
	case len(body) == 0:
		return
	case kind == "text/plain":
		a.page = string(body)
		return
	case kind == "text/event-stream":
		for data := range strings.SplitSeq(string(body), "\n") {
			if data, ok := strings.CutPrefix(data, "data: "); ok && json.Unmarshal([]byte(data), &got) == nil {
				a.text += fmt.Sprintf(", %s %v %s", got.Kind, got.Status, got.ResponseCode)
			}
		}
		return
	}
	if err := json.Unmarshal(body, &got); err != nil {
		a.text += " (no JSON)"
		return
	}
	switch {
	case got.Code != "":
		a.text += " " + got.Code
		if got.Field != "" {
			a.tail = " field=" + got.Field
		}
		p.seen.add("problem %s", got.Code)
	case got.Kind == "" && got.ResponseCode != "": // a dialogue, or a card that was kept
		a.text += fmt.Sprintf(" %s (%s)", got.ResponseCode, got.ResponseText)
		p.seen.add("json: %s is heard", got.ResponseCode)
		if a.dialogue = got.ID; a.dialogue != "" {
			a.tail = " dialogue"
		}
		a.brief = brief(got.ResponseCode, false, 0)
		return
	case got.ID != "":
		got.words(a)
		p.seen.add("json: %s is heard", got.ResponseCode)
	case got.Payments != nil:
		a.text += fmt.Sprintf(" %d payments:", len(got.Payments))
		for _, one := range got.Payments {
			a.tail += fmt.Sprintf(" %s %s %d,", one.Kind, one.Status, one.Amount.Value)
		}
		a.tail = strings.TrimSuffix(a.tail, ",")
	default:
		a.text += fmt.Sprintf(" %v", got.Status)
	}
	a.brief = a.text + a.tail
	if got.ID != "" {
		a.brief = brief(got.ResponseCode, got.Kind == kessai.Reversal.String(), got.Amount.Value)
	}
	if resp.Header.Get("Idempotency-Replayed") == "true" {
		a.tail += " replayed"
		p.seen.add("json: a stored answer is heard")
	}
}

func (g *payment) words(a *answer) {
	code, _ := strconv.Atoi(g.ResponseCode)
	a.text += fmt.Sprintf(" %s %v %s (%s)", g.Kind, g.Status, g.ResponseCode, kessai.ResponseCode(code).Text())
	a.id, _ = kessai.ParseTxID(g.ID)
	a.numbers = "rrn=" + g.RRN
	if g.ApprovalCode != "" {
		a.numbers += " approval=" + g.ApprovalCode
	}
	for _, n := range []struct {
		name  string
		value int64
	}{{"amount", g.Amount.Value}, {"cash", g.CashBack}, {"reversed", g.Reversed}, {"refunded", g.Refunded}, {"held", g.Held}} {
		if n.value != 0 {
			a.tail += fmt.Sprintf(" %s=%d", n.name, n.value)
		}
	}
	if g.Number != "" {
		a.tail += " number=" + g.Number
	}
	if g.Claim.URL != "" {
		a.tail += " qr=" + g.Claim.URL
	}
	if g.Available != nil {
		a.tail += fmt.Sprintf(" available=%d", *g.Available)
	}
}
