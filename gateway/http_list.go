package gateway

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"kessai"
	"kessai/authz/ledger"
)

// The sizes of one page of payments.
const (
	defaultPage = 50
	maxPage     = 200
)

// list serves GET /v1/payments: the merchant's payments as they stand now,
// newest first, without their items.
func (h *HTTP) list(c *fiber.Ctx, who kessai.MerchantID) error {
	q, p := parseListQuery(c.Context().QueryArgs())
	if p != nil {
		return p
	}
	q.Merchant = who
	size := q.Limit
	q.Limit++ // one more tells whether there is a next page
	found, err := h.o.Book.List(q)
	if errors.Is(err, ledger.ErrClosed) {
		return &problem{code: problemDraining}
	}
	if err != nil {
		h.o.Logger.Error("payments cannot be listed", "request_id", c.Locals(localRequestID), "error", err)
		return &problem{code: problemInternal}
	}
	answer := jsonList{Payments: make([]jsonPayment, 0, min(len(found), size))}
	if len(found) > size {
		found = found[:size]
		answer.NextCursor = cursorAfter(found[size-1].ID)
	}
	for i := range found {
		answer.Payments = append(answer.Payments, h.paymentOf(&found[i], nil))
	}
	return writeJSON(c, fiber.StatusOK, answer)
}

// cursorAfter names the page that begins after a payment. Callers are not to
// look inside: what it holds may change.
func cursorAfter(id kessai.TxID) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(id)))
}

func parseCursor(s string) (kessai.TxID, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 8 {
		return 0, false
	}
	id := kessai.TxID(binary.BigEndian.Uint64(b))
	return id, id != 0
}

// listFilter is what a query asks for beyond the merchant and the time. Fields
// that were not given are empty.
type listFilter struct {
	status, code string
	kind         kessai.Kind
	terminal     kessai.TerminalID
	last4        kessai.Last4
}

func (f *listFilter) match(t *ledger.Tx) bool {
	return (f.kind == kessai.KindNone || f.kind == t.Kind) &&
		(f.terminal.IsZero() || f.terminal == t.Terminal) &&
		(f.last4 == kessai.Last4{} || f.last4 == t.Last4) &&
		(f.code == "" || f.code == t.Standing().String()) &&
		(f.status == "" || f.status == jsonStatus(t))
}

// listParameters read one query parameter each, and say what it must look like
// where they cannot.
var listParameters = map[string]struct {
	read func(q *ledger.Query, f *listFilter, s string) bool
	must string
}{
	"limit": {func(q *ledger.Query, _ *listFilter, s string) bool {
		n, err := strconv.ParseUint(s, 10, 16)
		q.Limit = int(n)
		return err == nil && n >= 1 && n <= maxPage
	}, "The limit must be a number from 1 to 200."},
	"cursor": {func(q *ledger.Query, _ *listFilter, s string) (ok bool) {
		q.Before, ok = parseCursor(s)
		return ok
	}, "The cursor must be the next_cursor of an earlier answer."},
	"from": {func(q *ledger.Query, _ *listFilter, s string) bool {
		return q.From.UnmarshalText([]byte(s)) == nil
	}, "The time must be as RFC 3339 writes it; in a query, + is written %2B."},
	"to": {func(q *ledger.Query, _ *listFilter, s string) bool {
		return q.To.UnmarshalText([]byte(s)) == nil
	}, "The time must be as RFC 3339 writes it; in a query, + is written %2B."},
	"status": {func(_ *ledger.Query, f *listFilter, s string) bool {
		f.status = s
		return slices.Contains(jsonStatuses, s)
	}, "There is no such status; the API page lists them."},
	"kind": {func(_ *ledger.Query, f *listFilter, s string) (ok bool) {
		f.kind, ok = kessai.ParseKind(s)
		return ok
	}, "There is no such kind; the API page lists them."},
	"terminal": {func(_ *ledger.Query, f *listFilter, s string) bool {
		var err error
		f.terminal, err = kessai.ParseTerminalID(s)
		return err == nil
	}, "A terminal has 1 to 8 printable ASCII characters."},
	"last4": {func(_ *ledger.Query, f *listFilter, s string) bool {
		return copy(f.last4[:], s) == 4 && len(s) == 4 && isDigits(s)
	}, "Give the last four digits of the card number, and no more."},
	"response_code": {func(_ *ledger.Query, f *listFilter, s string) bool {
		f.code = s
		return len(s) == 2 && isDigits(s)
	}, "A response code has two digits."},
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// parseListQuery reads the query. What is not known, or given twice, is refused:
// a misspelt filter that is let through would show everything.
func parseListQuery(args *fasthttp.Args) (ledger.Query, *problem) {
	q, f := ledger.Query{Limit: defaultPage}, &listFilter{}
	seen := make(map[string]bool)
	for key, value := range args.All() {
		name := string(key)
		parameter, known := listParameters[name]
		switch {
		case !known:
			return q, &problem{code: problemInvalidParameter, detail: "A parameter is not known; the API page lists those that are."}
		case seen[name]:
			return q, &problem{code: problemInvalidParameter, field: name, detail: "The parameter is given twice."}
		case !parameter.read(&q, f, string(value)):
			return q, &problem{code: problemInvalidParameter, field: name, detail: parameter.must}
		}
		seen[name] = true
	}
	q.Match = f.match
	if *f == (listFilter{}) {
		q.Match = nil
	}
	return q, nil
}
