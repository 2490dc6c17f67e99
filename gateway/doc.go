// Package gateway holds every socket and every route: it turns wire into
// requests and replies back into wire.
//
// What it is for: two wires onto one engine, ISO 8583 over TCP ([ISO]) and JSON
// over HTTP ([HTTP]), with their limits, their refusals, their health and their
// metrics. What it is not for: rules of business. Whether a request is approved
// is for authz and authz/ledger; the gateway itself refuses only what it cannot
// read, what nobody may ask, and what it has no room for.
//
// Start reading with http.go and its table of routes, then http_payments.go;
// openapi.yaml says the same for callers. A JSON request goes through
// json_request.go (what was sent), authz.Engine, and json_payment.go (what is
// answered); everything that goes wrong on the way is a problem of problem.go.
package gateway
