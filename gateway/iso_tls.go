package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSConfig reads a certificate and its key from PEM files, for TLS 1.2 and
// later. With clientCAFile, a connection must present a certificate that one of
// the authorities in that file has signed; without it (empty), none is asked for.
//
// Wrap the listener with tls.NewListener: the handshake is then made by the
// connection's own goroutine, within the handshake timeout, and holds up nobody
// else.
func TLSConfig(certFile, keyFile, clientCAFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if clientCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(clientCAFile)
	if err != nil {
		return nil, fmt.Errorf("TLS client authorities: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("TLS client authorities: %w: %s", errors.New("no certificate in PEM form"), clientCAFile)
	}
	return c, nil
}
