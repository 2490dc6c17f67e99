package gateway

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// What a request carries from one handler to the next, in fiber's locals.
const (
	localRequestID = "request_id"
	localRoute     = "route"
	localMerchant  = "merchant"
	localPayment   = "payment"
	localProblem   = "problem"
)

const headerRequestID = "X-Request-Id"

// named notes the route's pattern, which metrics and logs show instead of the
// path: a path can hold anything.
func named(path string, serve fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Locals(localRoute, path)
		return serve(c)
	}
}

// around is what every request goes through: its ID, the security headers,
// problems and panics, metrics and one line in the log.
func (h *HTTP) around(c *fiber.Ctx) error {
	start := time.Now()
	id := requestID(c.Get(headerRequestID))
	c.Locals(localRequestID, id)
	if err := h.recovered(c); err != nil {
		h.fail(c, problemOf(err))
	}
	h.finish(c, id)
	h.observe(c, time.Since(start))
	return nil
}

// finish sets the headers that every answer has.
func (h *HTTP) finish(c *fiber.Ctx, id string) {
	c.Set(headerRequestID, id)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	if len(c.Response().Header.Peek(fiber.HeaderContentSecurityPolicy)) == 0 {
		c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'")
	}
	if c.Context().IsTLS() {
		c.Set(fiber.HeaderStrictTransportSecurity, "max-age=31536000")
	}
}

// fail answers with a problem.
func (h *HTTP) fail(c *fiber.Ctx, p *problem) {
	id, _ := c.Locals(localRequestID).(string)
	p.write(c, id)
	c.Locals(localProblem, string(p.code))
	h.problems.WithLabelValues(string(p.code)).Inc()
}

// recovered calls the next handler and turns a panic into an error. What the
// panic says is not logged, because it can hold what was sent; its type and
// where it happened are.
func (h *HTTP) recovered(c *fiber.Ctx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			h.o.Logger.Error("a request handler panicked", "request_id", c.Locals(localRequestID),
				"type", fmt.Sprintf("%T", r), "stack", stackWithoutArguments())
			c.Response().Reset()
			err = &problem{code: problemInternal}
		}
	}()
	return c.Next()
}

// stackWithoutArguments gives the names and lines of the running goroutine's
// calls. Arguments are addresses and small integers at best, but they go too.
func stackWithoutArguments() string {
	var b strings.Builder
	for line := range bytes.Lines(debug.Stack()) {
		if i := bytes.LastIndexByte(line, '('); i > 0 && line[0] != '\t' {
			line = append(line[:i:i], '\n')
		}
		b.Write(line)
	}
	return b.String()
}

// observe counts and logs a request that has been answered.
func (h *HTTP) observe(c *fiber.Ctx, took time.Duration) {
	route, ok := c.Locals(localRoute).(string)
	if !ok {
		route = "none"
	}
	method := c.Method()
	switch method {
	case fiber.MethodGet, fiber.MethodHead, fiber.MethodPost, fiber.MethodPut, fiber.MethodDelete:
	default:
		method = "other"
	}
	status := c.Response().StatusCode()
	h.o.Metrics.HTTP(route, method, status, took)
	level := slog.LevelInfo
	switch {
	case status >= 500:
		level = slog.LevelError
	case !strings.HasPrefix(route, "/v1/") && status < 400:
		level = slog.LevelDebug // health checks and scrapes come by the minute
	}
	attrs := []slog.Attr{
		slog.Any("request_id", c.Locals(localRequestID)), slog.String("method", method),
		slog.String("route", route), slog.Int("status", status), slog.Duration("took", took),
	}
	for _, name := range [...]string{localMerchant, localPayment, localProblem} {
		if v, ok := c.Locals(name).(string); ok {
			attrs = append(attrs, slog.String(name, v))
		}
	}
	h.o.Logger.LogAttrs(c.Context(), level, "http request", attrs...)
}

// protocolError answers what never came to a handler: bytes that are no HTTP,
// headers or bodies over their limits, requests that did not arrive in time.
func (h *HTTP) protocolError(c *fiber.Ctx, err error) error {
	id := requestID("")
	c.Locals(localRequestID, id)
	h.fail(c, problemOf(err))
	h.finish(c, id)
	h.observe(c, 0)
	return nil
}

// ambiguous reports whether a proxy in front might see the request end elsewhere
// than this server did: a header name that is followed by a space or is a folded
// line (RFC 9112, 5.1 and 5.2), or a Transfer-Encoding, which nobody needs for
// bodies as small as these.
func ambiguous(header []byte) bool {
	for line := range bytes.Lines(header) {
		name, _, ok := bytes.Cut(line, []byte(":"))
		trimmed := bytes.TrimSpace(name)
		if ok && len(trimmed) != len(name) || bytes.EqualFold(trimmed, []byte(fiber.HeaderTransferEncoding)) {
			return true
		}
	}
	return false
}

// refuseOddMethods answers methods that fiber does not know, which it would
// answer itself, in plain text and past every handler; and what is ambiguous,
// after which nothing more is read from the connection.
func (h *HTTP) refuseOddMethods() {
	known := make(map[string]bool)
	for _, m := range fiber.DefaultMethods {
		known[m] = true
	}
	server := h.app.Server()
	next := server.Handler
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		if !known[string(ctx.Method())] {
			c := h.app.AcquireCtx(ctx)
			defer h.app.ReleaseCtx(c)
			_ = h.protocolError(c, fiber.ErrMethodNotAllowed)
			return
		}
		if ambiguous(ctx.Request.Header.RawHeaders()) {
			c := h.app.AcquireCtx(ctx)
			defer h.app.ReleaseCtx(c)
			_ = h.protocolError(c, fiber.ErrBadRequest)
			ctx.SetConnectionClose()
			return
		}
		next(ctx)
	}
}

// requestID takes over the caller's ID where it is sane, and makes one where it
// is not. One with 12 or more digits, whatever separates them, is not taken: it
// could hold a card number, and request IDs are logged.
func requestID(given string) string {
	sane, letters, digits, longest := len(given) >= 1 && len(given) <= 64, false, 0, 0
	for i := range len(given) {
		switch b := given[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z':
			letters, digits = true, 0
		case '0' <= b && b <= '9':
			digits++
			longest = max(longest, digits)
		case b == '-', b == '_', b == '.':
		default:
			sane = false
		}
	}
	if sane && letters && longest < 12 {
		return given
	}
	return "req_" + strings.ToLower(rand.Text())
}
