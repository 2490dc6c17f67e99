package phones

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Where a push message goes is what a browser said, so whoever signs in could have
// this gateway call any address. Hence the list of hosts, and for what a name of
// that list leads to: public addresses only, no redirects, short answers.

// DefaultPushHosts are the push services of the browsers.
var DefaultPushHosts = []string{
	"fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com", "*.push.apple.com", "*.notify.windows.com",
}

// checkEndpoint says whether messages may go to an address. The error names the
// host and nothing more of it.
func (p *Pusher) checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("%w: endpoint is no address of a push service", ErrMalformed)
	case p.loose && strings.HasPrefix(endpoint, "http://localhost:"):
		return nil
	case u.Scheme != "https" || u.Port() != "" && u.Port() != "443":
		return fmt.Errorf("%w: endpoint must be https on port 443", ErrMalformed)
	}
	host := strings.ToLower(u.Hostname())
	for _, allowed := range p.o.Hosts {
		if host == allowed {
			return nil
		}
		if domain, ok := strings.CutPrefix(allowed, "*"); ok && len(host) > len(domain) && strings.HasSuffix(host, domain) {
			return nil
		}
	}
	return fmt.Errorf("%w: %.64q is not among the push services that are allowed (phone.push_hosts)", ErrMalformed, host)
}

// checkHosts checks what is set.
func checkHosts(hosts []string) error {
	for _, h := range hosts {
		name := strings.TrimPrefix(h, "*.")
		u, err := url.Parse("https://" + name + "/")
		if _, isIP := netip.ParseAddr(name); err != nil || isIP == nil || u.Host != name || name != strings.ToLower(name) ||
			!strings.Contains(name, ".") || strings.ContainsAny(name, "*:") {
			return fmt.Errorf("push host %q must be a name such as push.example.com or *.push.example.com", h)
		}
	}
	return nil
}

var errPrivate = errors.New("the address is not a public one")

// notPublic are the blocks that netip.Addr has no word for: those that lead back
// into a network of one's own (RFC 6890), and those that carry an IPv4 address.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// public reports whether an address is one of the Internet at large.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// checkDial is asked once a name has become an address, and before it is called:
// what the name leads to cannot change in between.
func (p *Pusher) checkDial(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return errPrivate
	}
	if p.loose && to.Addr().IsLoopback() || public(to.Addr()) {
		return nil
	}
	return errPrivate
}

// client calls push services and nobody else.
func (p *Pusher) client() *http.Client {
	dial := &net.Dialer{Timeout: 5 * time.Second, Control: p.checkDial}
	return &http.Client{
		Timeout:       p.o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: nil, // one would call for us, and look at nothing
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return dial.DialContext(ctx, network, address)
			},
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  p.o.Timeout,
			MaxResponseHeaderBytes: 16 << 10,
			MaxIdleConns:           p.o.Workers, MaxIdleConnsPerHost: p.o.Workers, MaxConnsPerHost: p.o.Workers,
			IdleConnTimeout:    90 * time.Second,
			DisableCompression: true,
			ForceAttemptHTTP2:  true,
		},
	}
}
