package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"mime"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"kessai"
	"kessai/authz/ledger"
	"kessai/merchants"
)

// The limits of the admin API over HTTP. Whoever needs more has the admin socket.
const (
	maxAdminInFlight  = 4  // requests at once
	maxAdminPerSecond = 50 // requests begun in one second
)

// adminDoor guards the admin API over HTTP: a key of its own, and few at a time.
type adminDoor struct {
	control *Control
	key     [sha256.Size]byte // of the key; compared in constant time, whatever is sent
	open    bool
	now     func() time.Time

	mu     sync.Mutex
	inside int   // requests under way
	second int64 // the one that is counted
	begun  int   // requests in it
}

// newAdminDoor makes the door; without a key it stays shut, and there is nothing
// behind it.
func newAdminDoor(c *Control, key kessai.Secret, now func() time.Time) *adminDoor {
	return &adminDoor{
		control: c, key: sha256.Sum256([]byte(key.Reveal())), open: c != nil && key != "",
		now: now,
	}
}

// enter lets a request in that has the key, if there is room for it now and in
// this second.
func (d *adminDoor) enter() (leave func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.now().Unix(); now != d.second {
		d.second, d.begun = now, 0
	}
	if d.begun >= maxAdminPerSecond || d.inside >= maxAdminInFlight {
		return nil, false
	}
	d.begun++
	d.inside++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.inside--
	}, true
}

// bearer gives the key that an Authorization header carries.
func bearer(header string) (key string, ok bool) {
	scheme, key, ok := strings.Cut(header, " ")
	return key, ok && strings.EqualFold(scheme, "bearer") && key != ""
}

// fits reports whether the header has the key. Its time tells neither how much
// of a wrong key is right nor how long the right one is.
func (d *adminDoor) fits(header string) bool {
	key, ok := bearer(header)
	given := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(given[:], d.key[:]) == 1 && ok
}

// admin wraps a handler of the admin API. Requests with a wrong key are not
// counted: they cost nothing, and must not keep out those who have the right one.
func (h *HTTP) admin(serve func(c *fiber.Ctx) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		d := h.door
		if !d.open {
			return &problem{code: problemNotFound}
		}
		if !d.fits(c.Get(fiber.HeaderAuthorization)) {
			return &problem{code: problemUnauthorized, detail: "Send the header Authorization: Bearer, followed by the admin key. A merchant's API key is none."}
		}
		leave, ok := d.enter()
		if !ok {
			h.o.Metrics.Refused(ledger.WireJSON, RefusedInFlight)
			return &problem{code: problemBusy, detail: "As many admin requests as are allowed have been made. Nothing was done."}
		}
		defer leave()
		if c.Accepts(fiber.MIMEApplicationJSON) == "" {
			return &problem{code: problemNotAcceptable, field: fiber.HeaderAccept}
		}
		return serve(c)
	}
}

// validity serves GET /v1/admin/validity.
func (h *HTTP) validity(c *fiber.Ctx) error {
	return writeJSON(c, fiber.StatusOK, h.door.control.Validity())
}

// refresh serves POST /v1/admin/refresh.
func (h *HTTP) refresh(c *fiber.Ctx) error {
	if h.draining.Load() {
		return &problem{code: problemDraining, detail: "Nothing was done."}
	}
	if err := h.door.control.refresh(c.Context()); err != nil {
		return &problem{code: problemRefresh, detail: "What was read before stays in force. The gateway's log says why."}
	}
	return h.validity(c)
}

// changes serves POST /v1/admin/changes.
func (h *HTTP) changes(c *fiber.Ctx) error {
	switch contentType, _, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType)); {
	case h.draining.Load():
		return &problem{code: problemDraining, detail: "Nothing was done."}
	case err != nil || contentType != mimeJSONLines && contentType != mimeNDJSON:
		return &problem{code: problemMediaType, field: fiber.HeaderContentType, detail: "Send " + mimeJSONLines + "."}
	}
	if e := c.Get(fiber.HeaderContentEncoding); e != "" && e != "identity" {
		return &problem{code: problemEncoding, field: fiber.HeaderContentEncoding}
	}
	var skip []string
	for name, value := range c.Context().QueryArgs().All() {
		if string(name) != skipBadName {
			return &problem{code: problemInvalidParameter, detail: "The only parameter is " + skipBadName + "."}
		}
		skip = append(skip, string(value))
	}
	skipBad, err := skipsBad(skip)
	if err != nil {
		return &problem{code: problemInvalidParameter, field: skipBadName}
	}
	// Not the request's context: what is begun is done whole.
	done, err := h.door.control.Changes(context.Background(), bytes.NewReader(c.BodyRaw()), skipBad, nil)
	if fault, ok := errors.AsType[*LineFault](err); ok {
		return &problem{code: problemChange, field: "line " + itoa(fault.Line), detail: fault.Why + ". Nothing was applied."}
	}
	switch {
	case errors.Is(err, errNoChange):
		return &problem{code: problemChange, detail: "There is no change in the body."}
	case errors.Is(err, errTooBad):
		return &problem{code: problemChange, detail: "More lines are bad than are listed, so not all of it is in force."}
	case errors.Is(err, merchants.ErrImporting), errors.Is(err, merchants.ErrTooMany):
		return &problem{code: problemBusy, detail: "An import is under way, or too many changes wait to be written. Nothing was applied."}
	case err != nil:
		return &problem{code: problemInternal, detail: "The changes may be in force or not: send them again, which does no harm. The gateway's log says why."}
	}
	return writeJSON(c, fiber.StatusOK, done)
}

const (
	mimeJSONLines = "application/jsonl"
	mimeNDJSON    = "application/x-ndjson"
	skipBadName   = "skip_bad"
)

// skipsBad reads the values of the parameter skip_bad.
func skipsBad(values []string) (bool, error) {
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "0":
		return false, nil
	case len(values) == 1 && values[0] == "1":
		return true, nil
	}
	return false, errors.New(skipBadName + " must be 0 or 1")
}
