package gateway

import (
	"net"
	"net/netip"
	"sync"
)

// crowd bounds the requests of those who have not shown who they are: all of them
// together, and those of one address, so that nobody alone keeps the others out. A
// refused sign-in takes a third of a second, and merchants must not wait for it.
type crowd struct {
	most, perPeer int

	mu      sync.Mutex
	working int
	peers   map[string]int
}

func newCrowd(most, perPeer int) *crowd {
	return &crowd{most: most, perPeer: perPeer, peers: make(map[string]int)}
}

// enter takes a place; false where there is none.
func (d *crowd) enter(peer string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.working >= d.most || d.peers[peer] >= d.perPeer {
		return false
	}
	d.working++
	d.peers[peer]++
	return true
}

// count gives the number of those inside.
func (d *crowd) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.working
}

func (d *crowd) leave(peer string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.working--
	if d.peers[peer]--; d.peers[peer] == 0 {
		delete(d.peers, peer)
	}
}

// ownNetwork is the part of an IPv6 address that a subscriber is given; the rest
// they may choose.
const ownNetwork = 64

// peerOf names who is at the other end of a connection. Behind a proxy that is the
// proxy: what a request says of itself, anybody can write.
func peerOf(a net.Addr) string {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return ""
	}
	ip := at.Addr().Unmap()
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(ownNetwork); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
