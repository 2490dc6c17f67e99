package gateway

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"
)

// problemCode names one way in which an HTTP request can fail. Callers may rely
// on it: a code never changes its meaning or its status.
type problemCode string

const (
	problemMalformedJSON    problemCode = "malformed_json"
	problemDuplicateField   problemCode = "duplicate_field"
	problemInvalidParameter problemCode = "invalid_parameter"
	problemBadRequest       problemCode = "bad_request"
	problemKeyMissing       problemCode = "idempotency_key_missing"
	problemKeyInvalid       problemCode = "idempotency_key_invalid"
	problemUnauthorized     problemCode = "unauthorized"
	problemOtherMerchant    problemCode = "other_merchant"
	problemNotFound         problemCode = "not_found"
	problemPaymentNotFound  problemCode = "payment_not_found"
	problemDialogueNotFound problemCode = "dialogue_not_found"
	problemMethod           problemCode = "method_not_allowed"
	problemNotAcceptable    problemCode = "not_acceptable"
	problemTimeout          problemCode = "request_timeout"
	problemTooLarge         problemCode = "body_too_large"
	problemMediaType        problemCode = "unsupported_media_type"
	problemEncoding         problemCode = "unsupported_encoding"
	problemUnknownField     problemCode = "unknown_field"
	problemWrongType        problemCode = "wrong_type"
	problemMissingField     problemCode = "missing_field"
	problemInvalidField     problemCode = "invalid_field"
	problemItems            problemCode = "items_do_not_add_up"
	problemReused           problemCode = "attempt_reused"
	problemChange           problemCode = "change_refused"
	problemHeaders          problemCode = "headers_too_large"
	problemInternal         problemCode = "internal"
	problemUnknown          problemCode = "outcome_unknown"
	problemBusy             problemCode = "busy"
	problemDraining         problemCode = "draining"
	problemUnjudged         problemCode = "registry_stale"
	problemRefresh          problemCode = "refresh_failed"
	problemOtherSite        problemCode = "other_site"
	problemSignedOut        problemCode = "signed_out"
	problemSignIn           problemCode = "sign_in_refused"
	problemProof            problemCode = "proof_refused"
	problemTryGone          problemCode = "try_gone"
	problemPasswordLocked   problemCode = "password_locked"
	problemNoPasskeys       problemCode = "no_passkeys"
	problemPushHost         problemCode = "push_refused"
	problemClaim            problemCode = "claim_refused"
	problemTooMany          problemCode = "too_many"
	problemReader           problemCode = "reader_refused"
	problemReaderStep       problemCode = "reader_step"
)

// problemKinds gives each code its HTTP status and its title.
var problemKinds = map[problemCode]struct {
	status int
	title  string
}{
	problemMalformedJSON:    {http.StatusBadRequest, "The body is not well-formed JSON"},
	problemDuplicateField:   {http.StatusBadRequest, "A member is given twice"},
	problemInvalidParameter: {http.StatusBadRequest, "A query parameter is not valid"},
	problemBadRequest:       {http.StatusBadRequest, "The request is not valid HTTP"},
	problemKeyMissing:       {http.StatusBadRequest, "The Idempotency-Key header is missing"},
	problemKeyInvalid:       {http.StatusBadRequest, "The Idempotency-Key header is not valid"},
	problemUnauthorized:     {http.StatusUnauthorized, "No valid API key was given"},
	problemOtherMerchant:    {http.StatusForbidden, "The API key belongs to another merchant"},
	problemNotFound:         {http.StatusNotFound, "There is nothing at this address"},
	problemPaymentNotFound:  {http.StatusNotFound, "There is no such payment"},
	problemDialogueNotFound: {http.StatusNotFound, "There is no such dialogue"},
	problemMethod:           {http.StatusMethodNotAllowed, "The method is not served here"},
	problemNotAcceptable:    {http.StatusNotAcceptable, "Only JSON can be given"},
	problemTimeout:          {http.StatusRequestTimeout, "The request took too long to arrive"},
	problemTooLarge:         {http.StatusRequestEntityTooLarge, "The body is too large"},
	problemMediaType:        {http.StatusUnsupportedMediaType, "The body must be application/json"},
	problemEncoding:         {http.StatusUnsupportedMediaType, "The body must not be compressed"},
	problemUnknownField:     {http.StatusUnprocessableEntity, "A member is not known"},
	problemWrongType:        {http.StatusUnprocessableEntity, "A member has the wrong type"},
	problemMissingField:     {http.StatusUnprocessableEntity, "A member is missing"},
	problemInvalidField:     {http.StatusUnprocessableEntity, "A member is not valid"},
	problemItems:            {http.StatusUnprocessableEntity, "The items do not add up to the amount"},
	problemReused:           {http.StatusUnprocessableEntity, "The attempt was made before with different content"},
	problemChange:           {http.StatusUnprocessableEntity, "A change cannot be applied"},
	problemHeaders:          {http.StatusRequestHeaderFieldsTooLarge, "The headers are too large"},
	problemInternal:         {http.StatusInternalServerError, "The gateway failed"},
	problemUnknown:          {http.StatusInternalServerError, "The outcome is not known"},
	problemBusy:             {http.StatusServiceUnavailable, "The gateway is busy"},
	problemDraining:         {http.StatusServiceUnavailable, "The gateway is shutting down"},
	problemUnjudged:         {http.StatusServiceUnavailable, "What is known of cards and terminals is too old"},
	problemRefresh:          {http.StatusInternalServerError, "The registry could not be read again"},
	problemOtherSite:        {http.StatusForbidden, "The request does not come from the phone app"},
	problemSignedOut:        {http.StatusUnauthorized, "Nobody is signed in"},
	problemSignIn:           {http.StatusUnauthorized, "Signing in is refused"},
	problemProof:            {http.StatusForbidden, "The proof is refused"},
	problemTryGone:          {http.StatusGone, "What was begun is over"},
	problemPasswordLocked:   {http.StatusForbidden, "The password is locked for today"},
	problemNoPasskeys:       {http.StatusConflict, "There is no passkey"},
	problemPushHost:         {http.StatusUnprocessableEntity, "The phone cannot be reached there"},
	problemClaim:            {http.StatusNotFound, "The payment cannot be claimed"},
	problemTooMany:          {http.StatusTooManyRequests, "There are as many as may be"},
	problemReader:           {http.StatusForbidden, "The card reader is refused"},
	problemReaderStep:       {http.StatusConflict, "The payment is at another step"},
}

// problem is a failed HTTP request (RFC 9457). Detail and field are written by
// the gateway alone: nothing that was sent is ever repeated in them, because
// what was sent may hold a card number in any place.
type problem struct {
	code   problemCode
	detail string
	field  string // the member or parameter it is about, by the name this API gives it
}

func (p *problem) Error() string { return string(p.code) }

// retryAfter is the number of seconds after which a repeat makes sense.
const retryAfter = 1

// problemBody is the wire form. Its type is a reference to the API page, which
// explains every code.
type problemBody struct {
	Type      string      `json:"type"`
	Code      problemCode `json:"code"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail,omitempty"`
	Field     string      `json:"field,omitempty"`
	RequestID string      `json:"request_id"`
}

// write answers a request with the problem.
func (p *problem) write(c *fiber.Ctx, requestID string) {
	kind := problemKinds[p.code]
	body, err := json.Marshal(problemBody{
		Type: "/docs#problem-" + string(p.code), Code: p.code, Title: kind.title, Status: kind.status,
		Detail: p.detail, Field: p.field, RequestID: requestID,
	})
	if err != nil { // seven plain members: cannot happen
		body = []byte(`{"code":"internal","status":500}`)
	}
	c.Status(kind.status)
	c.Response().SetBodyRaw(body)
	c.Set(fiber.HeaderContentType, "application/problem+json")
	c.Set(fiber.HeaderCacheControl, "no-store")
	switch p.code {
	case problemBusy, problemDraining, problemUnknown, problemUnjudged:
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(retryAfter))
	case problemUnauthorized:
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="kessai"`)
	}
}

// problemOf turns what fiber says went wrong into a problem. The text of its
// errors is dropped: it can repeat the path or the bytes that were sent.
func problemOf(err error) *problem {
	switch e := err.(type) {
	case *problem:
		return e
	case *fiber.Error:
		switch e.Code {
		case fiber.StatusNotFound:
			return &problem{code: problemNotFound}
		case fiber.StatusMethodNotAllowed:
			return &problem{code: problemMethod, detail: "The Allow header lists the methods that are."}
		case fiber.StatusRequestTimeout:
			return &problem{code: problemTimeout}
		case fiber.StatusRequestEntityTooLarge:
			return &problem{code: problemTooLarge}
		case fiber.StatusRequestHeaderFieldsTooLarge:
			return &problem{code: problemHeaders}
		case fiber.StatusBadRequest, fiber.StatusBadGateway:
			return &problem{code: problemBadRequest}
		}
	}
	return &problem{code: problemInternal}
}
