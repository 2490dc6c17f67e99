package merchants

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"kessai"
	"kessai/customers"
)

// The limits of files. A YAML file is held in memory whole; of a CSV file its
// records are, see [Import].
const (
	MaxYAMLBytes = 4 << 20
	MaxCSVBytes  = 1 << 30
	MaxCSVLine   = 4 << 10    // bytes
	MaxRecords   = 20_000_000 // in one file
)

// FileError says what is wrong in a file of records, and where. It never repeats
// what the file has there: that may be a card number or a key.
type FileError struct {
	File    string
	Line    int    // from 1; zero where no line can be named
	Section string // for example media; empty where it is not about a record
	Record  int    // in its section, from 1
	Field   string // for example expiry; empty where it is not about one
	Problem string // what is wrong, and what is expected
}

func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
	}
	b.WriteString(": ")
	if e.Section != "" {
		b.WriteString(e.Section + ": ")
	}
	if e.Record > 0 {
		b.WriteString("record " + strconv.Itoa(e.Record) + ": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + " ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// ParseImport reads a file of records; docs/REGISTRY.md describes the two forms,
// YAML and CSV, of which the end of the name tells (.yaml, .yml, .csv). It is
// strict: whatever it does not know, it refuses. Errors are of type [*FileError],
// but for those of r.
func ParseImport(name string, r io.Reader) (*Import, error) {
	im := NewImport(name)
	p := &parser{im: im}
	var err error
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		err = p.yaml(r)
	case ".csv":
		err = p.csv(r)
	default:
		err = p.fault(0, "has a name that does not end in .yaml, .yml or .csv")
	}
	if err != nil {
		return nil, err
	}
	if im.Len() == 0 {
		return nil, p.fault(0, "has no records")
	}
	return im, nil
}

// parser turns rows into the records of an import.
type parser struct{ im *Import }

func (p *parser) fault(line int, problem string) error {
	return &FileError{File: p.im.file, Line: line, Problem: problem}
}

// section is a kind of record: its name, its fields with the required ones
// first, and how a row becomes a record. The same fields serve both forms.
type section struct {
	name     string
	fields   []string
	required int
	add      func(*parser, *row)
}

var sections = []section{
	{"merchants", []string{"id", "name", "mcc", "currency", "status", "item_prices"}, 4, (*parser).addMerchant},
	{"terminals", []string{"id", "merchant", "operation", "status", "user", "partial_approval", "allow",
		"limit_single", "limit_day_total", "limit_day_count"}, 3, (*parser).addTerminal},
	{"api_keys", []string{"merchant", "key", "status"}, 2, (*parser).addAPIKey},
	{"customers", []string{"id", "name", "currency", "opening_balance", "overdraft",
		"phone", "email", "bank_code", "branch_code", "account_number", "verifier"}, 3, (*parser).addCustomer},
	{"media", []string{"pan", "customer", "expiry", "status", "allow",
		"limit_single", "limit_day_total", "limit_day_count", "pin"}, 2, (*parser).addMedium},
	{"items", []string{"merchant", "code", "name", "price", "tax"}, 4, (*parser).addItem},
}

func sectionNamed(name string) *section {
	for i := range sections {
		if sections[i].name == name {
			return &sections[i]
		}
	}
	return nil
}

// index gives a field's place in the section; -1 where it has no such field.
func (s *section) index(field string) int {
	for i, f := range s.fields {
		if f == field {
			return i
		}
	}
	return -1
}

// row is one record as the file has it: the text of each field, in the order of
// the section's. It keeps the first fault that is found.
type row struct {
	p     *parser
	s     *section
	at    place
	text  []string
	lines []int32 // of each field; nil where all are on the record's own
	err   error
}

// record turns a row into a record.
func (p *parser) record(w *row) error {
	w.p = p
	if p.im.Len() >= MaxRecords {
		return p.fault(int(w.at.line), tooMany)
	}
	for _, f := range w.s.fields[:w.s.required] {
		if w.get(f) == "" {
			w.fail(f, "is missing")
			return w.err
		}
	}
	w.s.add(p, w)
	return w.err
}

func (w *row) get(field string) string { return w.text[w.s.index(field)] }

func (w *row) fail(field, problem string) {
	if w.err != nil {
		return
	}
	line := w.at.line
	if w.lines != nil {
		if l := w.lines[w.s.index(field)]; l != 0 {
			line = l
		}
	}
	w.err = &FileError{
		File: w.p.im.file, Line: int(line), Section: w.s.name, Record: int(w.at.record),
		Field: field, Problem: problem,
	}
}

// once refuses a record that the file has already.
func once[K comparable](w *row, field string, key K, seen map[K]int32) {
	if w.err != nil {
		return
	}
	if line, ok := seen[key]; ok {
		w.fail(field, fmt.Sprintf("is the same as on line %d", line))
	}
	seen[key] = w.at.line
}

func (p *parser) addMerchant(w *row) {
	m := Merchant{
		ID: w.merchantID("id"), Name: w.shown("name"), MCC: strings.Clone(w.get("mcc")), Currency: w.currency("currency"),
		Status: w.status(), MustMatch: w.itemPrices(),
	}
	if !isMCC(m.MCC) {
		w.fail("mcc", "must be a merchant category code of four digits")
	}
	once(w, "id", m.ID, p.im.seen.merchants)
	p.im.merchants = append(p.im.merchants, entry[Merchant]{m, w.at})
}

func (p *parser) addTerminal(w *row) {
	t := Terminal{
		ID: w.terminalID("id"), Merchant: w.merchantID("merchant"), Status: w.terminalStatus(),
		Operation: Operation(w.get("operation")), Partial: w.yes("partial_approval"),
		Allowed: w.kinds("allow"), Limits: w.limits(),
	}
	if w.get("user") != "" {
		t.User = w.customerID("user")
	}
	if t.Operation != Attended && t.Operation != Vending {
		w.fail("operation", "must be attended or vending")
	}
	once(w, "id", t.ID, p.im.seen.terminals)
	p.im.terminals = append(p.im.terminals, entry[Terminal]{t, w.at})
}

func (p *parser) addAPIKey(w *row) {
	k := keyEntry{merchant: w.merchantID("merchant"), key: w.apiKey("key"), status: w.status()}
	once(w, "key", k.key, p.im.seen.apiKeys)
	p.im.apiKeys = append(p.im.apiKeys, entry[keyEntry]{k, w.at})
}

func (w *row) apiKey(field string) kessai.Secret {
	key := w.get(field)
	if !isAPIKey(key) {
		w.fail(field, problemAPIKey)
	}
	return kessai.Secret(key)
}

func isAPIKey(s string) bool {
	return len(s) >= 8 && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func (p *parser) addMedium(w *row) {
	m := mediumEntry{pan: w.pan("pan"), pin: w.pin("pin")}
	m.Customer, m.Expiry, m.Status = w.customerID("customer"), w.expiry("expiry"), w.mediumStatus("status")
	m.Allowed, m.Limits = w.kinds("allow"), w.limits()
	once(w, "pan", m.pan, p.im.seen.media)
	p.im.media = append(p.im.media, entry[mediumEntry]{m, w.at})
}

func (w *row) merchantID(field string) kessai.MerchantID {
	id, err := kessai.ParseMerchantID(w.get(field))
	if err != nil {
		w.fail(field, "must be 1 to 15 characters of printable ASCII")
	}
	return id
}

func (w *row) terminalID(field string) kessai.TerminalID {
	id, err := kessai.ParseTerminalID(w.get(field))
	if err != nil {
		w.fail(field, "must be 1 to 8 characters of printable ASCII")
	}
	return id
}

func (w *row) customerID(field string) customers.ID {
	id, err := customers.ParseID(w.get(field))
	if err != nil {
		w.fail(field, "must be 1 to 20 letters, digits, hyphens or underscores")
	}
	return customers.ID(strings.Clone(string(id))) // of its own, so that the line it was read from can go
}

func (w *row) name(field string) string {
	s := w.get(field)
	if customers.ValidateName(s) != nil {
		w.fail(field, "must be 1 to "+strconv.Itoa(customers.MaxNameLength)+" printable characters")
	}
	return strings.Clone(s)
}

func (w *row) currency(field string) kessai.Currency {
	c, ok := kessai.ParseCurrency(w.get(field))
	if !ok {
		w.fail(field, "must be a code of ISO 4217, for example JPY or 392")
	}
	return c
}

func (w *row) status() Status {
	switch s := w.get("status"); s {
	case "", string(Active):
		return Active
	case string(Blocked):
		return Blocked
	}
	w.fail("status", "must be active or blocked")
	return ""
}

func (w *row) terminalStatus() TerminalStatus {
	s := TerminalStatus(w.get("status"))
	if s == "" {
		return Registered
	}
	if s.validate() != nil {
		w.fail("status", "must be registered, suspended or withdrawn")
	}
	return TerminalStatus(strings.Clone(string(s)))
}

func (w *row) mediumStatus(field string) customers.Status {
	text := w.get(field)
	if text == "" {
		return customers.Active
	}
	s, ok := customers.ParseStatus(text)
	if !ok || s == customers.Retained {
		w.fail(field, "must be "+mediumStatuses)
	}
	return s
}

// mediumStatuses are those that a file may give. That a medium is retained, the
// terminal reports that has it.
const mediumStatuses = "issued, active, lost, stolen or withdrawn; that it is retained, its terminal reports"

func (w *row) pan(field string) kessai.PAN {
	pan, err := kessai.ParsePAN(w.get(field))
	if err != nil {
		w.fail(field, "must be a card number: 12 to 19 digits, the last of which is the check digit")
	}
	return pan
}

func (w *row) expiry(field string) uint16 {
	s := w.get(field)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || len(s) != 4 || n%100 < 1 || n%100 > 12 {
		w.fail(field, "must be the last valid month as YYMM, for example 2912 for December 2029")
	}
	return uint16(n)
}

func (w *row) yes(field string) bool {
	switch w.get(field) {
	case "", "false":
		return false
	case "true":
		return true
	}
	w.fail(field, "must be true or false")
	return false
}

func (w *row) kinds(field string) (set kessai.KindSet) {
	for text := range strings.FieldsSeq(w.get(field)) {
		k, ok := kessai.ParseKind(text)
		if !ok || k.OfCustomer() {
			w.fail(field, "must be kinds of transaction: "+kindList)
		}
		set |= kessai.KindSetOf(k)
	}
	if set == 0 && w.get(field) != "" {
		w.fail(field, "must name a kind of transaction; leave it out to allow every kind")
	}
	return set
}

var kindList = func() string {
	var names []string
	for _, k := range kessai.Kinds() {
		if !k.OfCustomer() {
			names = append(names, k.String())
		}
	}
	return strings.Join(names, " ")
}()

func (w *row) limits() customers.Limits {
	return customers.Limits{
		Single:   w.number("limit_single", kessai.MaxAmount),
		DayTotal: w.number("limit_day_total", customers.MaxBalance),
		DayCount: uint32(w.number("limit_day_count", math.MaxUint32)),
	}
}

// number reads decimal digits; an absent field is zero.
func (w *row) number(field string, most int64) int64 {
	s := w.get(field)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || int64(n) > most {
		w.fail(field, "must be a whole number from 0 to "+strconv.FormatInt(most, 10)+", digits only")
		return 0
	}
	return int64(n)
}
