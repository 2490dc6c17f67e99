package merchants

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"kessai"
	"kessai/customers"
)

// An Import is records that have been read from a file, or added by a program,
// and found to be in order, but not yet looked at against what the registry has.
// It holds card numbers and API keys in clear, so it is not to be kept longer
// than needed. A record takes some 200 bytes of memory.
type Import struct {
	file      string
	merchants []entry[Merchant]
	terminals []entry[Terminal]
	apiKeys   []entry[keyEntry]
	customers []entry[customers.Customer]
	media     []entry[mediumEntry]
	items     []entry[Item]

	// What names a record, and where it stands: the line in a file, or else the
	// number of the record. A record comes once.
	seen struct {
		merchants map[kessai.MerchantID]int32
		terminals map[kessai.TerminalID]int32
		apiKeys   map[kessai.Secret]int32
		customers map[customers.ID]int32
		media     map[kessai.PAN]int32
		items     map[string]int32 // by key
		phones    map[string]int32 // where in customers
	}
	itemsOf map[kessai.MerchantID]int // how many
}

// NewImport begins an import without records, for a program that adds them. The
// name stands for it in messages, as that of a file does.
func NewImport(name string) *Import {
	im := &Import{file: filepath.Base(name)}
	im.seen.merchants = make(map[kessai.MerchantID]int32)
	im.seen.terminals = make(map[kessai.TerminalID]int32)
	im.seen.apiKeys = make(map[kessai.Secret]int32)
	im.seen.customers = make(map[customers.ID]int32)
	im.seen.media = make(map[kessai.PAN]int32)
	im.seen.items = make(map[string]int32)
	im.seen.phones = make(map[string]int32)
	im.itemsOf = make(map[kessai.MerchantID]int)
	return im
}

// AddMerchant adds a merchant. An error, here and in the other Add methods, is a
// [*FileError]: the record is not valid, or is there already, and is not added.
func (im *Import) AddMerchant(m Merchant) error {
	return add(im, "merchants", "id", &im.merchants, im.seen.merchants, m.ID, m, m.Validate())
}

// AddTerminal adds a terminal.
func (im *Import) AddTerminal(t Terminal) error {
	return add(im, "terminals", "id", &im.terminals, im.seen.terminals, t.ID, t, t.Validate())
}

// AddAPIKey adds a key of 8 to 128 characters of printable ASCII that its holder
// speaks for the merchant with.
func (im *Import) AddAPIKey(merchant kessai.MerchantID, key kessai.Secret, status Status) error {
	err := status.validate()
	if !isAPIKey(key.Reveal()) {
		err = errAPIKey
	}
	return add(im, "api_keys", "key", &im.apiKeys, im.seen.apiKeys, key, keyEntry{merchant, key, status}, err)
}

// AddCustomer adds a customer.
func (im *Import) AddCustomer(c customers.Customer) error {
	if i, twice := im.seen.phones[c.Phone]; twice {
		return &FileError{File: im.file, Section: "customers", Record: len(im.customers) + 1, Field: "phone",
			Problem: fmt.Sprintf("is the same as that of record %d", i+1)}
	}
	err := add(im, "customers", "id", &im.customers, im.seen.customers, c.ID, c, c.Validate())
	if err == nil {
		im.phone(c.Phone, len(im.customers)-1)
	}
	return err
}

// phone remembers whose a number is; none is nobody's.
func (im *Import) phone(number string, customer int) {
	if number != "" {
		im.seen.phones[number] = int32(customer)
	}
}

// AddMedium adds a medium. Its ID and last digits are told from the card number,
// whatever m says.
func (im *Import) AddMedium(pan kessai.PAN, m customers.Medium) error {
	valid := m
	valid.ID[0] = 1
	err := valid.Validate()
	if _, bad := kessai.ParsePAN(pan.Reveal()); bad != nil {
		err = bad
	}
	return add(im, "media", "pan", &im.media, im.seen.media, pan, mediumEntry{pan: pan, Medium: m}, err)
}

func add[T any, K comparable](im *Import, section, field string, list *[]entry[T], seen map[K]int32, key K, v T, err error) error {
	fault := &FileError{File: im.file, Section: section, Record: len(*list) + 1}
	first, twice := seen[key]
	switch {
	case err != nil:
		fault.Problem = err.Error()
		return fault
	case twice:
		fault.Field, fault.Problem = field, fmt.Sprintf("is the same as that of record %d", first)
		return fault
	case im.Len() >= MaxRecords:
		fault.Problem = tooMany
		return fault
	}
	seen[key] = int32(fault.Record)
	*list = append(*list, entry[T]{v, place{record: int32(fault.Record)}})
	return nil
}

const problemAPIKey = "must be 8 to 128 characters of printable ASCII without spaces"

var (
	errAPIKey = errors.New("key " + problemAPIKey)
	tooMany   = "has more than " + strconv.Itoa(MaxRecords) + " records; split it"
)

// Len gives the number of records.
func (im *Import) Len() int {
	return len(im.merchants) + len(im.terminals) + len(im.apiKeys) + len(im.customers) + len(im.media) + len(im.items)
}

// Format makes every verb of fmt print no more than the name of the file.
func (im *Import) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "import of %s", im.file) }

type entry[T any] struct {
	v  T
	at place
}

// place says where in the file a record stands: line, and number in its section.
type place struct{ line, record int32 }

type keyEntry struct {
	merchant kessai.MerchantID
	key      kessai.Secret
	status   Status
}

// mediumEntry is a medium whose ID is not known yet: it takes the registry's key
// to make it from the card number.
type mediumEntry struct {
	pan kessai.PAN
	pin givenPIN
	customers.Medium
}
