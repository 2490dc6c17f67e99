package gateway

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/valyala/fasthttp"

	"kessai"
	"kessai/authz"
	"kessai/authz/ledger"
)

var httpFieldName = regexp.MustCompile(`^([a-z_]+[0-9]?(\[[0-9]+\])?(\.[a-z_]+)?)?$`)

// httpCheckRefusal checks that a refusal is one of those that are documented,
// and that its field is a name of this API and nothing that was sent.
func httpCheckRefusal(t *testing.T, p *problem) {
	t.Helper()
	if _, known := problemKinds[p.code]; !known || !httpFieldName.MatchString(p.field) {
		t.Fatalf("refused with %q, field %q", p.code, p.field)
	}
	for _, name := range strings.FieldsFunc(p.field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if _, parameter := listParameters[name]; !jsonNames[name] && !parameter && strings.Trim(name, "0123456789") != "" {
			t.Fatalf("field %q", p.field)
		}
	}
}

func FuzzHTTPPaymentBody(f *testing.F) {
	hasher, err := kessai.NewMediumHasher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		f.Fatal(err)
	}
	who, _ := kessai.ParseMerchantID("AOI000000000001")
	for _, b := range httpBadBodies {
		if len(b.body) < 1000 {
			f.Add([]byte(b.body))
		}
	}
	f.Add([]byte(httpAsks("purchase", "450", oneCoffee, `"reference":"20261122033912-1"`)))
	f.Add([]byte(`{"kind":"pre_authorization","terminal":"VEND0001","confirm":"claim","amount":{"value":170,"currency":"JPY"}}`))
	f.Add([]byte(httpSale("cash_back", "5450", httpCard, `"cash_back":5000`, `"stan":"7"`, `"transmitted_at":"2026-11-22T03:39:12Z"`,
		httpItems(2, `{"code":"4901234567894","name":"Blend coffee","quantity":1,"price":225}`))))
	f.Fuzz(func(t *testing.T, sent []byte) {
		var body jsonCreate
		var r authz.Request
		p := jsonDecode(sent, &body)
		if p == nil {
			p = body.request(&r, who, hasher)
		}
		if p != nil {
			httpCheckRefusal(t, p)
			return
		}
		if !json.Valid(sent) {
			t.Fatal("taken, and the standard library says that it is no JSON")
		}
		if r.Merchant != who || r.Terminal.IsZero() || r.Kind == kessai.KindNone || r.Kind.FollowsUp() || r.Kind.OfCustomer() || r.Medium.IsZero() == (r.Confirm == nil) ||
			r.Amount.Value < 0 || r.Amount.Value > kessai.MaxAmount || r.CashBack < 0 || r.CashBack > r.Amount.Value || len(r.Note) > ledger.MaxNote {
			t.Fatalf("taken as %+v", r)
		}
		// Written in another way, it asks for the same.
		other := jsontext.Value(bytes.Clone(sent))
		if err := other.Canonicalize(); err != nil {
			t.Fatal(err)
		}
		var again jsonCreate
		var q authz.Request
		if p := jsonDecode(other, &again); p != nil {
			t.Fatalf("canonical form refused with %s, field %s", p.code, p.field)
		}
		if p := again.request(&q, who, hasher); p != nil {
			t.Fatalf("canonical form refused with %s, field %s", p.code, p.field)
		}
		var err1, err2 error
		r.BodyDigest, err1 = jsonDigest("/", &body, &r)
		q.BodyDigest, err2 = jsonDigest("/", &again, &q)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if d := cmp.Diff(r, q, cmpopts.IgnoreUnexported(authz.Confirm{})); d != "" {
			t.Fatalf("canonical form differs: %s", d)
		}
	})
}

func FuzzHTTPListQuery(f *testing.F) {
	for _, q := range []string{
		"", "limit=200&cursor=AAAAAAAAAAE", "status=declined&kind=refund&last4=4242", "from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00%2B09:00",
		"terminal=AOI00001&response_code=51", "limit=1&limit=2", "LIMIT=1", "%6cimit=1", "limit", "&&=", "last4=%00%00%00%00",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		var args fasthttp.Args
		args.Parse(sent)
		q, p := parseListQuery(&args)
		if p != nil {
			httpCheckRefusal(t, p)
			return
		}
		if q.Limit < 1 || q.Limit > maxPage {
			t.Fatalf("limit %d", q.Limit)
		}
		if q.Before != 0 {
			if id, ok := parseCursor(cursorAfter(q.Before)); !ok || id != q.Before {
				t.Fatalf("cursor %d does not come back", q.Before)
			}
		}
		if q.Match != nil {
			q.Match(&ledger.Tx{ID: 1, Time: time.Now().UnixNano()})
		}
	})
}
