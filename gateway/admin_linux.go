package gateway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// errPeer says that the other end of a socket is neither the owner nor root.
var errPeer = errors.New("the caller is neither the owner of this process nor root")

// peerIsOwner asks the kernel who is at the other end (SO_PEERCRED).
func peerIsOwner(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if cred.Uid != 0 && cred.Uid != uint32(os.Geteuid()) {
		return fmt.Errorf("%w: uid %d", errPeer, cred.Uid)
	}
	return nil
}

// socketAddr gives an address for a path of any length: a socket address holds
// only 107 bytes, so a longer path is reached through its open folder. The
// folder must stay open as long as the address is used.
func socketAddr(path string) (*net.UnixAddr, *os.File, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, nil, fmt.Errorf("admin socket: %w", err)
	}
	if len(path) > maxSocketPath {
		path = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	}
	return &net.UnixAddr{Name: path, Net: "unix"}, dir, nil
}
