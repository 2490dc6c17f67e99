//go:build !linux

package gateway

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// peerIsOwner leaves it to the socket's mode, 0600, to keep others out.
func peerIsOwner(*net.UnixConn) error { return nil }

func socketAddr(path string) (*net.UnixAddr, *os.File, error) {
	if len(path) > 103 {
		return nil, nil, fmt.Errorf("admin socket: the path %s is longer than this system allows: use a data folder with a shorter path", path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, nil, fmt.Errorf("admin socket: %w", err)
	}
	return &net.UnixAddr{Name: path, Net: "unix"}, dir, nil
}
