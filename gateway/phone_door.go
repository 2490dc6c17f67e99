package gateway

import (
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"

	"kessai/authz/ledger"
)

// The door of the phone app: pages that run nothing but their own code, and an API
// that only they can call.
//
// A browser sends the session's cookie along with whatever page asks, so the cookie
// alone must not be enough: it goes out from this site only (SameSite=Strict), what
// changes anything carries a header that other sites cannot set without asking, and
// the site that asks must be this one (OWASP, Cross-Site Request Forgery Prevention).

const (
	phoneCookie = "kessai_session"
	phonePath   = "/phone"
	headerPhone = "X-Kessai-Phone"
)

// phonePolicy lets the app's pages load what this gateway serves, and nothing that
// stands in the page itself. Frames are named apart: the shop floor shows a phone.
const phonePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; " +
	"connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "

// pageHeaders sets what every page of the app has.
func (p *phoneSide) pageHeaders(c *fiber.Ctx) {
	frames, old := "'none'", "DENY"
	if p.o.Framed {
		frames, old = "'self'", "SAMEORIGIN"
	}
	c.Set(fiber.HeaderContentSecurityPolicy, phonePolicy+frames)
	c.Set(fiber.HeaderXFrameOptions, old)
	c.Set("Permissions-Policy", "camera=(self), publickey-credentials-get=(self), publickey-credentials-create=(self), serial=(self), usb=(self), geolocation=(), microphone=(), payment=()")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// phoneHandler serves a phone that is signed in.
type phoneHandler func(c *fiber.Ctx, who phoneUser) error

// Phones have places of their own among the requests that are worked on: what they
// do, and what strangers do at their door, never keeps a merchant out. Each is a
// share of what merchants have.
const (
	strangersShare = 4  // of all strangers
	peerShare      = 16 // of those at one address
)

// open wraps a handler that needs no session.
func (p *phoneSide) open(serve fiber.Handler) fiber.Handler {
	serve = p.guarded(serve)
	return func(c *fiber.Ctx) error {
		peer := peerOf(c.Context().RemoteAddr())
		if !p.strangers.enter(peer) {
			return p.full()
		}
		defer p.strangers.leave(peer)
		return serve(c)
	}
}

// signedIn wraps a handler for which the phone must be signed in.
func (p *phoneSide) signedIn(serve phoneHandler) fiber.Handler {
	guarded := p.guarded(func(c *fiber.Ctx) error {
		who, fault := p.user(c)
		if fault != nil {
			return fault
		}
		return serve(c, who)
	})
	return func(c *fiber.Ctx) error {
		select {
		case p.working <- struct{}{}:
			defer func() { <-p.working }()
			return guarded(c)
		default:
			return p.full()
		}
	}
}

func (p *phoneSide) full() error {
	p.h.o.Metrics.Refused(ledger.WireJSON, RefusedInFlight)
	return &problem{code: problemBusy, detail: "As many requests as are allowed are being worked on. Nothing was done."}
}

// guarded keeps answers out of every cache, and lets own pages alone change things.
func (p *phoneSide) guarded(serve fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderCacheControl, "no-store")
		if fault := p.ownPage(c); fault != nil {
			return fault
		}
		return serve(c)
	}
}

// ownPage refuses what changes something and does not come from a page of this
// gateway.
func (p *phoneSide) ownPage(c *fiber.Ctx) *problem {
	if c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead {
		return nil
	}
	if p.h.draining.Load() {
		p.h.o.Metrics.Refused(ledger.WireJSON, RefusedDraining)
		return &problem{code: problemDraining, detail: "Nothing was done."}
	}
	site := c.Get("Sec-Fetch-Site")
	if c.Get(headerPhone) != "1" || site != "" && site != "same-origin" || !p.sameOrigin(c.Get(fiber.HeaderOrigin), string(c.Request().Host())) {
		return &problem{code: problemOtherSite, detail: "Only the phone app itself may ask for this. Open it at its own address and try again."}
	}
	if e := c.Get(fiber.HeaderContentEncoding); e != "" && e != "identity" {
		return &problem{code: problemEncoding, field: fiber.HeaderContentEncoding}
	}
	if len(c.BodyRaw()) > 0 && !isJSON(c.Get(fiber.HeaderContentType)) {
		return &problem{code: problemMediaType, field: fiber.HeaderContentType}
	}
	return nil
}

// sameOrigin reports whether a request's Origin is this gateway: as it is set, or
// as the request itself names it. Programs that are no browsers send none. Where the
// gateway's address is https, a page that came over http may be anybody's.
func (p *phoneSide) sameOrigin(origin, host string) bool {
	if origin == "" || origin == p.o.Origin {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host) &&
		(u.Scheme == "https" || u.Scheme == "http" && !p.overTLS())
}

// overTLS reports whether phones reach the gateway over TLS, be it that a proxy ends
// it.
func (p *phoneSide) overTLS() bool { return strings.HasPrefix(p.o.Origin, "https://") }

// local reports whether a host is this very machine, as its users name it: there
// browsers keep to their rules without TLS.
func local(host string) bool {
	name, _, _ := strings.Cut(host, ":")
	return name == "localhost" || name == "127.0.0.1"
}

// keep hands the session to the browser, for as long as it is good.
func (p *phoneSide) keep(c *fiber.Ctx, token string, seconds int) {
	c.Cookie(&fiber.Cookie{
		Name: phoneCookie, Value: token, Path: phonePath, MaxAge: seconds,
		HTTPOnly: true, SameSite: fiber.CookieSameSiteStrictMode,
		Secure: c.Context().IsTLS() || p.overTLS() || !local(string(c.Request().Host())),
	})
}

// drop takes the session from the browser.
func (p *phoneSide) drop(c *fiber.Ctx) { p.keep(c, "", -1) }
