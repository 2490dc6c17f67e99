package merchants

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kessai"
	"kessai/customers"
)

// A number and a key that may not turn up in any message.
const (
	secretPAN = "4242424242424241" // the check digit is wrong
	secretKey = "sk_live_hush"
)

func TestBadFiles(t *testing.T) {
	const (
		media = "pan,customer,expiry,status,allow,limit_single,limit_day_total,limit_day_count\n"
		good  = "4242424242424242,c-1"
		list  = "purchase cash_back refund balance_inquiry verification pre_authorization increment completion release reversal load unload purse_purchase purse_inquiry purse_settlement"
	)
	for _, c := range []struct{ name, file, text, want string }{
		{"name", "cards.txt", "", "cards.txt: has a name that does not end in .yaml, .yml or .csv"},
		{"empty YAML", "a.yaml", "", "a.yaml: is empty"},
		{"only a comment", "a.yml", "# nothing\n", "a.yml: is empty"},
		{"only a document", "a.yml", "---\n", "a.yml:2: must be a mapping of sections here"},
		{"no records", "a.yaml", "media: []\n", "a.yaml: has no records"},
		{"empty CSV", "a.csv", "", "a.csv: is empty"},
		{"only a byte order mark", "a.csv", "\xef\xbb\xbf", "a.csv: is empty"},
		{"CSV without records", "a.csv", media, "a.csv: has no records"},
		{"two documents", "a.yaml", "media: []\n---\nmedia: []\n", "a.yaml:2: has more than one YAML document"},
		{"text for sections", "a.yaml", secretPAN, "a.yaml:1: must be a mapping of sections here"},
		{"unknown section", "a.yaml", "cards: []\n", "a.yaml:1: has an unknown section; there are merchants, terminals, api_keys, customers, media and items"},
		{"section twice", "a.yaml", "media: []\ncustomers: []\nmedia: []\n", "a.yaml:3: has media twice"},
		{"section no list", "a.yaml", "media:\n  pan: " + secretPAN + "\n", "a.yaml:2: media: must be a list of records"},
		{"record no mapping", "a.yaml", "media:\n  - " + secretPAN + "\n", "a.yaml:2: media: record 1: must be fields with values"},
		{"unknown field", "a.yaml", "media:\n  - card: " + secretPAN + "\n",
			"a.yaml:2: media: record 1: has an unknown field; there are pan, customer, expiry, status, allow, limit_single, limit_day_total, limit_day_count, pin"},
		{"field twice", "a.yaml", "media:\n  - pan: " + secretPAN + "\n    pan: " + secretPAN + "\n", "a.yaml:3: has pan twice"},
		{"field without value", "a.yaml", "media:\n  - pan:\n", "a.yaml:2: media: record 1: pan must be a plain value; leave a field that has none out"},
		{"field with a list", "a.yaml", "media:\n  - pan: [" + secretPAN + "]\n", "a.yaml:2: media: record 1: pan must be a plain value; leave a field that has none out"},
		{"anchor", "a.yaml", "media: &a\n  - pan: 1\ncustomers: *a\n", "a.yaml:1: media: must be a list of records"},
		{"alias", "a.yaml", "merchants: []\nmedia:\n  - pan: *" + secretKey + "\n", "a.yaml: is no valid YAML"},
		{"tag", "a.yaml", "media:\n  - pan: !!int " + secretKey + "\n", "a.yaml:2: media: record 1: pan must be a plain value; leave a field that has none out"},
		{"indentation", "a.yaml", "media:\n  - pan: 1\n customer: 2\n", "a.yaml:2: is no valid YAML: did not find expected key"},
		{"tab", "a.yaml", "media:\n\t- pan: 1\n", "a.yaml:2: is no valid YAML: found character that cannot start any token"},
		{"large YAML", "a.yaml", "#" + strings.Repeat("x", MaxYAMLBytes), "a.yaml: is larger than 4 MiB; use CSV for so many records"},

		{"header", "a.csv", "pan,owner\n", "a.csv:1: must begin with the names of fields, each once, of one kind of record: " +
			"merchants (id,name,mcc,currency and, if wanted, status,item_prices); " +
			"terminals (id,merchant,operation and, if wanted, status,user,partial_approval,allow,limit_single,limit_day_total,limit_day_count); " +
			"api_keys (merchant,key and, if wanted, status); customers (id,name,currency and, if wanted, opening_balance,overdraft,phone,email,bank_code,branch_code,account_number,verifier); " +
			"media (pan,customer and, if wanted, expiry,status,allow,limit_single,limit_day_total,limit_day_count,pin); " +
			"items (merchant,code,name,price and, if wanted, tax)"},
		{"fields", "a.csv", media + good + "\n", "a.csv:2: has more or fewer fields on this line than the first line has"},
		{"quote", "a.csv", "pan,customer\n" + good + "\n\"" + secretPAN + "\"x\",\"c-1\n", `a.csv:3: has a quotation mark where none may be: quote the whole field, and write "" for a mark in it`},
		{"open quote", "a.csv", "pan,customer\n\"" + secretPAN + ",c-1\n" + good + "\n", "a.csv:2: has a quoted field that does not end on its line"},
		{"long line", "a.csv", "pan,customer\n" + strings.Repeat("4", MaxCSVLine) + "\n", "a.csv:2: has a line of more than 4096 bytes"},
		{"no UTF-8", "a.csv", "id,name,currency\nc-1,\xff,JPY\n", "a.csv:2: is no valid UTF-8"},
		{"zero byte", "a.csv", "id,name,currency\nc-1,a\x00,JPY\n", "a.csv:2: is no valid UTF-8"},

		{"card number", "a.csv", "pan,customer\n" + good + "\n\n" + secretPAN + ",c-1\n",
			"a.csv:4: media: record 2: pan must be a card number: 12 to 19 digits, the last of which is the check digit"},
		{"no card number", "a.csv", "pan,customer\n,c-1\n", "a.csv:2: media: record 1: pan is missing"},
		{"no customer", "a.yaml", "media:\n  - pan: 4242424242424242\n", "a.yaml:2: media: record 1: customer is missing"},
		{"card twice", "a.csv", "pan,customer\n" + good + "\n" + good + "\n", "a.csv:3: media: record 2: pan is the same as on line 2"},
		{"customer's ID", "a.csv", "pan,customer\n4242424242424242,c 1\n",
			"a.csv:2: media: record 1: customer must be 1 to 20 letters, digits, hyphens or underscores"},
		{"expiry", "a.csv", media + good + ",1229,,,,,\n", "a.csv:2: media: record 1: expiry must be the last valid month as YYMM, for example 2912 for December 2029"},
		{"expiry's length", "a.csv", media + good + ",202912,,,,,\n", "a.csv:2: media: record 1: expiry must be the last valid month as YYMM, for example 2912 for December 2029"},
		{"medium's status", "a.csv", media + good + ",2912,ok,,,,\n", "a.csv:2: media: record 1: status must be issued, active, lost, stolen or withdrawn; that it is retained, its terminal reports"},
		{"kind", "a.csv", media + good + ",2912,active,purchase sale,,,\n", "a.csv:2: media: record 1: allow must be kinds of transaction: " + list},
		{"no kind", "a.csv", media + good + ",2912,active, ,,,\n", "a.csv:2: media: record 1: allow must name a kind of transaction; leave it out to allow every kind"},
		{"limit", "a.csv", media + good + ",2912,active,,1000000000000,,\n", "a.csv:2: media: record 1: limit_single must be a whole number from 0 to 999999999999, digits only"},
		{"negative", "a.csv", media + good + ",2912,active,,,-1,\n", "a.csv:2: media: record 1: limit_day_total must be a whole number from 0 to 999999999999999, digits only"},
		{"count", "a.csv", media + good + ",2912,active,,,,4294967296\n", "a.csv:2: media: record 1: limit_day_count must be a whole number from 0 to 4294967295, digits only"},
		{"merchant's ID", "a.csv", "id,name,mcc,currency\nAOI0000000000011,a,5814,JPY\n", "a.csv:2: merchants: record 1: id must be 1 to 15 characters of printable ASCII"},
		{"MCC", "a.csv", "id,name,mcc,currency\nAOI,a,581,JPY\n", "a.csv:2: merchants: record 1: mcc must be a merchant category code of four digits"},
		{"currency", "a.csv", "id,name,mcc,currency\nAOI,a,5814,YEN\n", "a.csv:2: merchants: record 1: currency must be a code of ISO 4217, for example JPY or 392"},
		{"name of a merchant", "a.csv", "id,name,mcc,currency\nAOI,a\u200b,5814,JPY\n", "a.csv:2: merchants: record 1: name must be 1 to 64 printable characters"},
		{"merchant's status", "a.yaml", "merchants:\n  - {id: A, name: a, mcc: 5814, currency: JPY, status: on}\n", "a.yaml:2: merchants: record 1: status must be active or blocked"},
		{"merchant twice", "a.yaml", "merchants:\n  - {id: A, name: a, mcc: 5814, currency: JPY}\n  - {id: A, name: b, mcc: 5814, currency: JPY}\n",
			"a.yaml:3: merchants: record 2: id is the same as on line 2"},
		{"terminal's ID", "a.csv", "id,merchant,operation\nAOI000001,AOI,attended\n", "a.csv:2: terminals: record 1: id must be 1 to 8 characters of printable ASCII"},
		{"operation", "a.csv", "id,merchant,operation\nAOI00001,AOI,staffed\n", "a.csv:2: terminals: record 1: operation must be attended or vending"},
		{"partial approval", "a.csv", "id,merchant,operation,partial_approval\nAOI00001,AOI,attended,yes\n", "a.csv:2: terminals: record 1: partial_approval must be true or false"},
		{"short key", "a.csv", "merchant,key\nAOI,sk_hush\n", "a.csv:2: api_keys: record 1: key must be 8 to 128 characters of printable ASCII without spaces"},
		{"key twice", "a.csv", "merchant,key\nAOI," + secretKey + "\nVEND," + secretKey + "\n", "a.csv:3: api_keys: record 2: key is the same as on line 2"},
		{"overdraft", "a.csv", "id,name,currency,overdraft\nc-1,Abe,JPY,1e3\n", "a.csv:2: customers: record 1: overdraft must be a whole number from 0 to 999999999999999, digits only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseImport("/some/folder/"+c.file, strings.NewReader(c.text))
			var fault *FileError
			if !errors.As(err, &fault) || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), secretPAN) || strings.Contains(err.Error(), secretKey)) {
				t.Error("the message repeats a secret")
			}
		})
	}
}

func TestFileLimits(t *testing.T) {
	// A gigabyte of one line is refused after the first few kilobytes of it.
	endless := &counted{r: io.LimitReader(repeat('4'), 1<<30)}
	if _, err := ParseImport("a.csv", io.MultiReader(strings.NewReader("pan,customer\n"), endless)); err == nil || endless.n > 2*MaxCSVLine {
		t.Errorf("%v after %d bytes", err, endless.n)
	}
	broken := errors.New("the disk is gone")
	for _, name := range []string{"a.csv", "a.yaml"} {
		if _, err := ParseImport(name, io.MultiReader(strings.NewReader("pan,customer\n"), failing{broken})); !errors.Is(err, broken) {
			t.Errorf("%s: %v; want the reader's error", name, err)
		}
	}
}

type repeat byte

func (c repeat) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c)
	}
	return len(b), nil
}

type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Both forms of the same records are the same to the registry.
func TestFormsAgree(t *testing.T) {
	const doc = `
customers:
  - {id: 0123, name: "Abe, Ltd.", currency: 392, opening_balance: 5, overdraft: 7}
media:
  - pan: 4242424242424242
    customer: 0123
    status: lost
    expiry: 0112
    allow: [purchase, refund]
    limit_single: 1
    limit_day_total: 2
    limit_day_count: 3
`
	fromYAML := parse(t, "a.yaml", doc)
	c := parse(t, "c.csv", "\xef\xbb\xbfname,id,overdraft,opening_balance,currency\r\n\"Abe, Ltd.\",0123,7,5,JPY\r\n")
	m := parse(t, "m.csv", "pan,customer,status,expiry,allow,limit_day_count,limit_day_total,limit_single\n4242424242424242,0123,lost,0112,purchase refund,3,2,1")
	if diff := cmp.Diff(fromYAML.customers[0].v, c.customers[0].v); diff != "" {
		t.Errorf("customer (-yaml +csv):\n%s", diff)
	}
	want := customers.Medium{
		Customer: "0123", Expiry: 112, Status: customers.Lost, Allowed: kessai.KindSetOf(kessai.Purchase, kessai.Refund),
		Limits: customers.Limits{Single: 1, DayTotal: 2, DayCount: 3},
	}
	for _, im := range []*Import{fromYAML, m} {
		if diff := cmp.Diff(want, im.media[0].v.Medium); diff != "" || im.media[0].v.pan.Reveal() != "4242424242424242" {
			t.Errorf("medium (-want +got):\n%s", diff)
		}
	}
}

// Every example in the documentation is taken as it stands, in its order.
func TestDocumentedExamples(t *testing.T) {
	doc, err := os.ReadFile("../docs/REGISTRY.md")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := newRegistry(t)
	blocks := regexp.MustCompile("(?ms)^```(yaml|csv)\n(.*?)^```$").FindAllStringSubmatch(string(doc), -1)
	if len(blocks) < 6 {
		t.Fatalf("%d examples; want one in YAML and one in CSV for each kind of record", len(blocks))
	}
	for i, b := range blocks {
		do(t, r, fmt.Sprintf("example-%d.%s", i+1, b[1]), b[2])
	}
	for _, s := range sections {
		for _, f := range s.fields {
			if !strings.Contains(string(doc), "| `"+f+"` |") {
				t.Errorf("field %s of %s is not explained", f, s.name)
			}
		}
	}
	limit := fmt.Sprintf("%d MiB of YAML, %d MiB of CSV, %d bytes in a line of CSV, %d records", MaxYAMLBytes>>20, MaxCSVBytes>>20, MaxCSVLine, MaxRecords)
	if !strings.Contains(string(doc), limit) {
		t.Errorf("the limits are not given as %q", limit)
	}
	refusal := regexp.MustCompile("(?s)```\n\\$ kessai import (\\S+)\n(.*?)\n```").FindStringSubmatch(string(doc))
	if refusal == nil {
		t.Fatal("no example of a refusal")
	}
	if _, err := ParseImport(refusal[1], strings.NewReader("pan,customer\n4242424242424241,1\n")); err == nil || !strings.Contains(refusal[2], err.Error()) {
		t.Errorf("the example of a refusal does not say %q", err)
	}
}

func fuzzFile(f *testing.F, ext string) {
	for _, s := range sections {
		f.Add([]byte(strings.Join(s.fields, ",") + "\n"))
	}
	f.Add([]byte("pan,customer,expiry\n4242424242424242,c-1,2912\n"))
	f.Add([]byte("merchant,code,name,price,tax\n" + aoi + ",614141000036,Coffee,450,1000\n" + aoi + ",A1,\"Tea, green\",0,\n"))
	f.Add([]byte("id,name,currency,phone,email,bank_code,account_number,verifier\nc-1,Abe,JPY,+493023125001,a@b.jp,9999,1," + verifierA + "\n"))
	if b, err := os.ReadFile(filepath.Join("..", "configs", "demo.yaml")); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := ParseImport("f."+ext, strings.NewReader(string(data)))
		if err != nil {
			var fault *FileError
			if !errors.As(err, &fault) {
				t.Fatalf("an error that names no place: %v", err)
			}
			for _, digits := range regexp.MustCompile(`\d{12,}`).FindAllString(err.Error(), -1) {
				if digits != fmt.Sprint(int64(kessai.MaxAmount)) && digits != fmt.Sprint(int64(customers.MaxBalance)) {
					t.Fatal("the message has what may be a card number")
				}
			}
			return
		}
		checkImport(t, im)
	})
}

// checkImport holds a parsed file to what the stored types ask for.
func checkImport(t *testing.T, im *Import) {
	for _, e := range im.merchants {
		if err := e.v.Validate(); err != nil {
			t.Errorf("merchant: %v", err)
		}
	}
	for _, e := range im.terminals {
		if err := e.v.Validate(); err != nil {
			t.Errorf("terminal: %v", err)
		}
	}
	for _, e := range im.customers {
		if err := e.v.Validate(); err != nil {
			t.Errorf("customer: %v", err)
		}
	}
	for _, e := range im.items {
		if err := e.v.Validate(); err != nil {
			t.Errorf("item: %v", err)
		}
	}
	for _, e := range im.media {
		m := e.v.Medium
		m.ID[0] = 1
		if err := m.Validate(); err != nil {
			t.Errorf("medium: %v", err)
		}
	}
}

func FuzzParseYAML(f *testing.F) { fuzzFile(f, "yaml") }

func FuzzParseCSV(f *testing.F) { fuzzFile(f, "csv") }
