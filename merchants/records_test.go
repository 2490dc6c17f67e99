package merchants

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai"
	"kessai/customers"
)

func card(t testing.TB, digits string) kessai.PAN {
	t.Helper()
	p, err := kessai.ParsePAN(digits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A program that adds records gets what a file of the same records brings.
func TestAddedRecordsAreThoseOfAFile(t *testing.T) {
	added := NewImport("/some/folder/added")
	aoi := merchant(t, "AOI000000000001")
	err := errors.Join(
		added.AddMerchant(Merchant{ID: aoi, Name: "Kissaten Aoi", MCC: "5814", Currency: kessai.JPY, Status: Active}),
		added.AddTerminal(Terminal{ID: terminal(t, "AOI00001"), Merchant: aoi, Status: Registered, Operation: Attended, Limits: customers.Limits{DayCount: 500}}),
		added.AddAPIKey(aoi, "sk_test_aoi", Active),
		added.AddCustomer(customers.Customer{ID: "c-1", Name: "Abe", Currency: kessai.JPY, Opening: 100}),
		added.AddMedium(card(t, "4242424242424242"), customers.Medium{Customer: "c-1", Expiry: 2912, Status: customers.Lost}),
	)
	if err != nil || added.Len() != 5 {
		t.Fatalf("%d records, %v", added.Len(), err)
	}
	file := parse(t, "file.yaml", `
merchants: [{id: AOI000000000001, name: Kissaten Aoi, mcc: 5814, currency: JPY}]
terminals: [{id: AOI00001, merchant: AOI000000000001, operation: attended, limit_day_count: 500}]
api_keys: [{merchant: AOI000000000001, key: sk_test_aoi}]
customers: [{id: c-1, name: Abe, currency: JPY, opening_balance: 100}]
media: [{pan: 4242424242424242, customer: c-1, expiry: 2912, status: lost}]
`)
	var dumps []map[string]string
	for _, im := range []*Import{added, file} {
		r, _ := newRegistry(t)
		if sum, err := r.Import(t.Context(), im, nil); err != nil || sum.Media.Added != 1 || sum.APIKeys.Added != 1 {
			t.Fatalf("%+v, %v", sum, err)
		}
		dumps = append(dumps, dump(t, r.db))
	}
	if diff := cmp.Diff(dumps[0], dumps[1]); diff != "" {
		t.Errorf("store (-added +file):\n%s", diff)
	}
	if got := fmt.Sprintf("%v", added); got != "import of added" {
		t.Errorf("an import prints as %q", got)
	}
}

// What a file may not have, a program may not add, and no message has a secret.
func TestAddRefuses(t *testing.T) {
	im := NewImport("bench")
	aoi := merchant(t, "AOI000000000001")
	wrong, _ := kessai.ParsePAN(secretPAN)
	good := customers.Medium{Customer: "c-1", Status: customers.Active}
	late := good
	late.Expiry = 2913
	if err := errors.Join(im.AddMedium(card(t, "4242424242424242"), good), im.AddAPIKey(aoi, secretKey, Active)); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"bench: merchants: record 1: merchant has no ID":                                                  im.AddMerchant(Merchant{}),
		"bench: terminals: record 1: terminal has no merchant":                                            im.AddTerminal(Terminal{ID: terminal(t, "AOI00001")}),
		"bench: api_keys: record 2: key must be 8 to 128 characters of printable ASCII without spaces":    im.AddAPIKey(aoi, "sk hush hush", Active),
		"bench: api_keys: record 2: status must be active or blocked":                                     im.AddAPIKey(aoi, "sk_live_other", ""),
		"bench: api_keys: record 2: key is the same as that of record 1":                                  im.AddAPIKey(aoi, secretKey, Active),
		"bench: customers: record 1: customer ID must be 1 to 20 letters, digits, hyphens or underscores": im.AddCustomer(customers.Customer{ID: "c 1"}),
		"bench: media: record 2: card number must have 12 to 19 digits and a valid check digit":           im.AddMedium(wrong, good),
		"bench: media: record 2: expiry must be YYMM":                                                     im.AddMedium(card(t, "4012888888881881"), late),
		"bench: media: record 2: pan is the same as that of record 1":                                     im.AddMedium(card(t, "4242424242424242"), good),
	} {
		var fault *FileError
		if !errors.As(err, &fault) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), secretPAN)) {
			t.Error("the message repeats a secret")
		}
	}
	if im.Len() != 2 {
		t.Errorf("%d records; want the two that are in order", im.Len())
	}
	r, _ := newRegistry(t)
	do(t, r, "demo.yaml", demo(t))
	const want = "bench: media: record 1: customer is neither in this file nor in the registry"
	if _, err := r.Import(t.Context(), im, nil); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
