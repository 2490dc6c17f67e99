package merchants

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai"
	"kessai/customers"
)

func TestReadChange(t *testing.T) {
	third := card(t, third)
	expiry, never, purchases, every := uint16(2912), uint16(0), kessai.KindSetOf(kessai.Purchase, kessai.Load), kessai.KindSet(0)
	single, total, count := int64(100), int64(0), uint32(7)
	for line, want := range map[string]Change{
		`{"medium":{"pan":"4111111111111111","status":"stolen"}}`:               {Medium: &MediumChange{PAN: third, Status: customers.Stolen}},
		` { "medium" : {"status":"issued", "pan":"4111111111111111"} } ` + "\n": {Medium: &MediumChange{PAN: third, Status: customers.Issued}},
		`{"medium":{"pan":"4111111111111111","expiry":"2912","allow":["purchase","load"],"limit_single":"100","limit_day_total":0,"limit_day_count":7}}`: {
			Medium: &MediumChange{PAN: third, Expiry: &expiry, Allowed: &purchases, Single: &single, DayTotal: &total, DayCount: &count}},
		`{"medium":{"pan":"4111111111111111","expiry":"","allow":[]}}`: {Medium: &MediumChange{PAN: third, Expiry: &never, Allowed: &every}},
		`{"terminal":{"id":"AOI00001","status":"suspended"}}`:          {Terminal: &TerminalChange{terminal(t, "AOI00001"), Suspended}},
		`{"merchant":{"id":"AOI","status":"blocked"}}`:                 {Merchant: &MerchantChange{merchant(t, "AOI"), Blocked}},
		`{"api_key":{"key":"sk_test_aoi","status":"active"}}`:          {APIKey: &APIKeyChange{"sk_test_aoi", Active}},
		`{"medium":{"pan":"4111111111111111","status":"st\u006flen"}}`: {Medium: &MediumChange{PAN: third, Status: customers.Stolen}},
	} {
		got, err := ReadChange([]byte(line))
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b kessai.PAN) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", line, err, diff)
		}
	}
}

func TestBadChanges(t *testing.T) {
	const mediumFields = "pan, status, expiry, allow, limit_single, limit_day_total, limit_day_count"
	for line, want := range map[string]string{
		``:                                   "is no valid JSON",
		`{"medium"`:                          "is no valid JSON",
		`{"medium":{"pan":"41111111\xff"}}`:  "is no valid JSON",
		"{\"medium\":{\"pan\":\"\xff\"}}":    "is no valid JSON",
		`{"medium":{"pan":"41"}`:             "is no valid JSON",
		`{'medium':{}}`:                      "is no valid JSON",
		`[]`:                                 "must be a JSON object",
		`null`:                               "must be a JSON object",
		`"4111111111111112"`:                 "must be a JSON object",
		`{}`:                                 "must have one member: medium, terminal, merchant, api_key, customer or item",
		`{"card":{}}`:                        "must have one member: medium, terminal, merchant, api_key, customer or item",
		`{"4111111111111112":{}}`:            "must have one member: medium, terminal, merchant, api_key, customer or item",
		`{"medium":null}`:                    "must have an object of fields behind medium",
		`{"medium":"4111111111111112"}`:      "must have an object of fields behind medium",
		`{"medium":{"4111111111111112":""}}`: "medium: has an unknown field; there are " + mediumFields,
		`{"medium":{"pan":"4111111111111111","customer":"c"}}`:                                                        "medium: has an unknown field; there are " + mediumFields,
		`{"terminal":{"id":"AOI00001","status":"suspended","pan":""}}`:                                                "terminal: has an unknown field; there are id, status",
		`{"medium":{"pan":"4111111111111111","pan":"4111111111111111"}}`:                                              "has a field twice",
		`{"terminal":{"id":"A","status":"suspended"},"terminal":{"id":"B","status":"suspended"}}`:                     "has a field twice",
		`{"medium":{"pan":"4111111111111111","status":"lost"},"terminal":{}}`:                                         "must have one member: medium, terminal, merchant, api_key, customer or item",
		`{"terminal":{"id":"AOI00001","status":"suspended"}} {}`:                                                      "must be one JSON object, with nothing behind it",
		`{"terminal":{"id":"AOI00001","status":"suspended"}}x`:                                                        "must be one JSON object, with nothing behind it",
		`{"medium":{"status":"lost"}}`:                                                                                "medium: pan is missing",
		`{"medium":{"pan":"4111111111111111"}}`:                                                                       "names a record and changes nothing: give what is to be changed",
		`{"medium":{"pan":"4111111111111112","status":"lost"}}`:                                                       "medium: pan must be a card number: 12 to 19 digits, the last of which is the check digit",
		`{"medium":{"pan":4111111111111111,"status":"lost"}}`:                                                         "medium: pan must be a string; a limit, a price and a tax may be numbers",
		`{"medium":{"pan":"` + strings.Repeat("4", 400) + `","status":"lost"}}`:                                       "medium: pan must be a card number: 12 to 19 digits, the last of which is the check digit",
		`{"medium":{"pan":"4111111111111111","status":"retained"}}`:                                                   "medium: status must be issued, active, lost, stolen or withdrawn; that it is retained, its terminal reports",
		`{"medium":{"pan":"4111111111111111","status":"blocked"}}`:                                                    "medium: status must be issued, active, lost, stolen or withdrawn; that it is retained, its terminal reports",
		`{"medium":{"pan":"4111111111111111","status":""}}`:                                                           "medium: status is empty; leave a field out that is not to be changed",
		`{"medium":{"pan":"4111111111111111","status":null}}`:                                                         "medium: status must be a string; a limit, a price and a tax may be numbers",
		`{"medium":{"pan":"4111111111111111","expiry":"1229"}}`:                                                       "medium: expiry must be the last valid month as YYMM, for example 2912 for December 2029",
		`{"medium":{"pan":"4111111111111111","allow":"purchase"}}`:                                                    "medium: allow must be a list of kinds of transaction",
		`{"medium":{"pan":"4111111111111111","allow":["purchase refund"]}}`:                                           "medium: allow must be kinds of transaction: " + kindList,
		`{"medium":{"pan":"4111111111111111","allow":["sale"]}}`:                                                      "medium: allow must be kinds of transaction: " + kindList,
		`{"medium":{"pan":"4111111111111111","allow":["purchase"`:                                                     "is no valid JSON",
		`{"medium":{"pan":"4111111111111111","limit_single":-1}}`:                                                     "medium: limit_single must be a whole number from 0 to 999999999999, digits only",
		`{"medium":{"pan":"4111111111111111","limit_single":1e3}}`:                                                    "medium: limit_single must be a whole number from 0 to 999999999999, digits only",
		`{"medium":{"pan":"4111111111111111","limit_single":1.5}}`:                                                    "medium: limit_single must be a whole number from 0 to 999999999999, digits only",
		`{"medium":{"pan":"4111111111111111","limit_day_count":4294967296}}`:                                          "medium: limit_day_count must be a whole number from 0 to 4294967295, digits only",
		`{"medium":{"pan":"4111111111111111","limit_single":""}}`:                                                     "medium: limit_single is empty; leave a field out that is not to be changed",
		`{"terminal":{"id":"AOI000001","status":"suspended"}}`:                                                        "terminal: id must be 1 to 8 characters of printable ASCII",
		`{"terminal":{"id":"AOI00001"}}`:                                                                              "terminal: status is missing",
		`{"terminal":{"id":"AOI00001","status":"blocked"}}`:                                                           "terminal: status must be registered, suspended or withdrawn",
		`{"merchant":{"id":"AOI0000000000011","status":"blocked"}}`:                                                   "merchant: id must be 1 to 15 characters of printable ASCII",
		`{"merchant":{"id":"AOI","status":"suspended"}}`:                                                              "merchant: status must be active or blocked",
		`{"api_key":{"key":"short","status":"blocked"}}`:                                                              "api_key: key " + problemAPIKey,
		`{"medium":{"pan":"4111111111111111","status":"lost"` + strings.Repeat(" ", MaxChangeLine) + `}}`:             "has more than 4096 bytes",
		`{"medium":` + strings.Repeat("[", 2000):                                                                      "must have an object of fields behind medium",
		`{"medium":{"pan":"4111111111111111","allow":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}}`: "medium: allow must be kinds of transaction: " + kindList,
	} {
		c, err := ReadChange([]byte(line))
		fault := (*FileError)(nil)
		switch {
		case !errors.As(err, &fault) || c != (Change{}):
			t.Errorf("%s: %+v, %v", line, c, err)
		case err.Error() != "change: "+want && !strings.Contains(want, "kinds of transaction"):
			t.Errorf("%.100s:\ngot  %v\nwant %s", line, err, want)
		case strings.Contains(err.Error(), "411111111111111") || strings.Contains(err.Error(), "short"):
			t.Errorf("%.100s: the error repeats it: %v", line, err)
		}
	}
}

// Whatever comes in: it is read or refused, and what is read can be done to a
// registry or is refused there, with nothing of the line in the messages.
func FuzzReadChange(f *testing.F) {
	f.Add([]byte(`{"medium":{"pan":"4111111111111111","status":"stolen","expiry":"2912","allow":["purchase"],"limit_single":1}}`))
	f.Add([]byte(`{"terminal":{"id":"AOI00001","status":"suspended"}}`))
	f.Add([]byte(`{"merchant":{"id":"AOI000000000001","status":"blocked"}}`))
	f.Add([]byte(`{"api_key":{"key":"sk_test_aoi","status":"blocked"}}`))
	f.Add([]byte(`{"medium":{"pan":"4111111111111111","expiry":"","allow":[]}}`))
	f.Add([]byte(`{"customer":{"id":"1234567890","phone":"+493023125001","email":"","bank_code":"9999","account_number":"1","verifier":""}}`))
	f.Add([]byte(`{"item":{"merchant":"AOI000000000001","code":"2000000000015","name":"Coffee","price":450,"tax":"1000"}}`))
	r := &Registry{o: testOptions(f, "", newAccounts())}
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := ReadChange(line)
		if err != nil {
			if fault := (*FileError)(nil); !errors.As(err, &fault) || c != (Change{}) {
				t.Errorf("%v with %+v", err, c)
			}
			return
		}
		if !json.Valid(line) {
			t.Error("what is no JSON is read")
		}
		target, err := r.target(c)
		if err != nil {
			t.Fatalf("what was read is refused: %v", err)
		}
		if _, err := decodePatch(mustJSON(target.patch)); err != nil {
			t.Error(err)
		}
		if m := (customers.Medium{ID: kessai.MediumID{1}, Customer: "c", Status: customers.Lost}); c.Medium != nil {
			target.patch.medium(&m)
			if err := m.Validate(); err != nil {
				t.Errorf("what was read makes a medium that is not valid: %v", err)
			}
		}
	})
}
